"""Data in, matplotlib Figure out: the pictures, matrices, bars and curves of the notebooks."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Real, UInt8
from matplotlib.figure import Figure
from numpy import ndarray

from mmlib.check import refuse
from mmlib.plots.style import (
    DPI,
    FAINT,
    LINE_HEIGHT,
    LINES,
    PALETTE,
    WIDTH,
    Array,
    Number,
    Numbers,
    blank,
    caption_in,
    fit,
    ink_on,
    landmark_in,
    matrix_in,
    name_the_ends,
    picture_in,
    place,
    same_length,
    thumbnails,
    type_style,
)


def plot_pictures(
    pictures: UInt8[Array, "n 3 h w"], captions: Sequence[str], columns: int = 6, lines: int = 3
) -> Figure:
    """Pictures in rows, each over its caption; a caption of more lines than this is cut with an ellipsis."""
    if not len(pictures):
        refuse("plots.plot_pictures", "one picture or more", "none")
    same_length("plots.plot_pictures", "captions", captions, len(pictures))
    columns = min(columns, len(pictures))
    cell, side = WIDTH / columns, min(WIDTH / columns - 24, 120)
    wrapped = [fit(caption, cell - 12, lines=lines) for caption in captions]
    row_height = side + 16 + LINE_HEIGHT * max(text.count("\n") + 1 for text in wrapped)
    figure = blank(round(row_height * -(-len(pictures) // columns)))
    for n, (picture, text) in enumerate(zip(pictures, wrapped, strict=True)):
        left, top = cell * (n % columns) + (cell - side) / 2, row_height * (n // columns) + 4
        axes = place(figure, left, top, side, side)
        picture_in(axes, picture)
        caption_in(axes, 6 / side, text)
    return figure


def plot_matrix(
    values: Real[Array, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    limits: tuple[Number, Number] | None = None,
    pictures: UInt8[Array, "rows 3 h w"] | None = None,
) -> Figure:
    """A matrix from light (low) to dark (high): numbers where a cell has room, pictures before the rows."""
    values = np.asarray(values, dtype=float)
    same_length("plots.plot_matrix", "row labels", rows, values.shape[0])
    same_length("plots.plot_matrix", "column labels", columns, values.shape[1])
    cell = int(min(72, 420 / values.shape[0], 420 / values.shape[1]))
    left, top, below = 200 + cell, 34, 150
    figure = blank(top + cell * values.shape[0] + below)
    axes = place(figure, left, top, cell * values.shape[1], cell * values.shape[0], title)
    image = matrix_in(axes, values, limits)
    axes.set_yticks(range(len(rows)), [fit(label, 190) for label in rows], **type_style())
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(columns)), [fit(label, 170) for label in columns], **type_style(), **slant)
    if pictures is not None:
        axes.tick_params(axis="y", pad=(cell + 6) * 72 / DPI)
        thumbnails(place(figure, left - cell - 3, top, cell, cell * len(rows)), pictures)
    if cell >= 48:
        _write_numbers(axes, values, image)
    scale = figure.colorbar(image, cax=place(figure, left + cell * values.shape[1] + 24, top, 14, cell * len(rows)))
    scale.outline.set_edgecolor(FAINT)
    return figure


def plot_bars(
    values: Mapping[str, Number],
    title: str = "",
    landmarks: Mapping[str, Number] | None = None,
    right: str | None = None,
    limit: Number = 1.0,
) -> Figure:
    """Horizontal bars with their numbers: probabilities, or the accuracies of a table.

    Args:
        values: label to length, 0 or more.
        landmarks: label to value, such as `{"chance": 0.05}`: dashed lines, named above the bars.
        right: the label whose bar is the right answer; it is hatched and says so.
        limit: end of the axis.
    """
    figure = blank(64 + 34 * len(values) + 30)
    axes = place(figure, 310, 58, WIDTH - 310 - 130, 34 * len(values))
    axes.set_title(title, loc="left", pad=24, **type_style(weight="bold"))
    lengths = list(values.values())
    hatches = ["//" if label == right else "" for label in values]
    axes.barh(range(len(values)), lengths, height=0.62, color=PALETTE["blue"], hatch=hatches, edgecolor="white")
    numbers = type_style(bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=3)
    for n, (label, value) in enumerate(values.items()):
        note = "  ◄ right" if label == right else ""
        axes.annotate(f"{value:.3f}{note}", (value, n), (5, 0), textcoords="offset points", va="center", **numbers)
    axes.set_yticks(range(len(values)), [fit(label, 290) for label in values], **type_style())
    axes.set_xlim(0, limit)
    axes.set_ylim(len(values) - 0.4, -0.6)
    for label, value in (landmarks or {}).items():
        axes.axvline(value, color=PALETTE["vermillion"], linestyle="--", linewidth=1.5)
        axes.annotate(label, (value, -0.6), (0, 3), textcoords="offset points", ha="center", **type_style())
    return figure


def plot_lines(
    curves: Mapping[str, tuple[Numbers, Numbers]],
    xlabel: str,
    ylabel: str,
    landmarks: Mapping[str, Number] | None = None,
    log_x: bool = False,
) -> Figure:
    """Curves and landmark lines (`{"log b": 5.5}`), all of them named at their right ends.

    Args:
        curves: label to (x, y).
        landmarks: label to a value of y that a reader should see the curves against.
        log_x: a logarithmic x axis, for temperatures.
    """
    figure = blank(360)
    axes = place(figure, 80, 24, WIDTH - 80 - 200, 270)
    axes.set_xscale("log" if log_x else "linear")
    for n, (label, (x, y)) in enumerate(curves.items()):
        colour, dash = list(PALETTE.values())[n % len(PALETTE)], LINES[n % len(LINES)]
        axes.plot(x, y, label=label, color=colour, linestyle=dash, linewidth=2)
    axes.set_xlabel(xlabel, **type_style())
    axes.set_ylabel(ylabel, **type_style())
    axes.grid(color=FAINT, linewidth=0.8)
    axes.margins(x=0)
    if log_x:
        axes.xaxis.set_major_formatter("{x:g}")
    for label, value in (landmarks or {}).items():
        landmark_in(axes, value, label)
    name_the_ends(axes)
    return figure


def plot_attention(
    pictures: UInt8[Array, "n 3 h w"],
    weights: Real[Array, "n rows columns"],
    captions: Sequence[str],
) -> Figure:
    """Pictures under the weight of each patch: what is not attended to fades, an outline holds half of the weight."""
    same_length("plots.plot_attention", "weights", weights, len(pictures))
    figure = plot_pictures(pictures, captions)
    for axes, grid in zip(figure.axes, np.asarray(weights, dtype=float), strict=True):
        attention_in(axes, grid)
    return figure


def attention_in(axes, grid: Real[ndarray, "rows columns"]) -> None:
    """Fade what is not attended to in a picture that was drawn into axes, and outline what holds half of the weight."""
    whole = axes.images[0].get_extent()
    veil = np.ones((*grid.shape, 4))
    veil[..., 3] = 0.85 * (1 - grid / grid.max())
    axes.imshow(veil, extent=whole, interpolation="nearest", aspect="auto")
    heavy = np.pad(np.kron(half_of_weight(grid), np.ones((8, 8))), 1)
    axes.contour(heavy, [0.5], extent=whole, origin="upper", colors=PALETTE["vermillion"], linewidths=1.5)


def half_of_weight(grid: ndarray) -> ndarray:
    """1 on the fewest patches that together hold half of the weight, 0 elsewhere."""
    heaviest = np.sort(grid.ravel())[::-1]
    enough = np.searchsorted(heaviest.cumsum(), grid.sum() / 2)
    return (grid >= heaviest[enough]).astype(float)


def _write_numbers(axes, values: ndarray, image) -> None:
    for (row, column), value in np.ndenumerate(values):
        style = type_style(color=ink_on(image, value))
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", **style)
