"""Sounds on paper and in the ear: waves and log-mel pictures beside what was seen, players, and heat maps in a row."""

import base64
import io
import wave as wav
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from IPython.display import display
from jaxtyping import Float, Real
from matplotlib.figure import Figure

from mmlib.check import check_positive, refuse
from mmlib.plots.style import (
    FAINT,
    PALETTE,
    SHADES,
    WIDTH,
    Array,
    Number,
    blank,
    fit,
    ink_on,
    matrix_in,
    place,
    same_length,
    text_at,
    type_style,
)

LOUDEST = 0.9  # of what a wav file can hold


def plot_sounds(
    pictures: Real[Array, "n 1 h w"],
    waves: Real[Array, "_ samples"],
    logmels: Real[Array, "_ f m"],
    captions: Sequence[str],
) -> Figure:
    """What is seen and what is heard, row by row: the picture, the wave over a second, its log-mel picture.

    Args:
        pictures: values from 0, paper, to 1, ink.
        waves: one for each picture.
        logmels: of the waves; low bands are drawn below. All have one scale.
        captions: one a row.

    Raises:
        ValueError: not one wave, one log-mel picture and one caption for each picture.
    """
    for name, values in (("waves", waves), ("log-mel pictures", logmels), ("captions", captions)):
        same_length("plots.plot_sounds", name, values, len(pictures))
    side, below = 84, 22
    figure = blank(30 + (side + 10) * len(pictures) + below)
    largest, limits = float(abs(waves).max()), (float(logmels.min()), float(logmels.max()))
    for n, (picture, wave, logmel, caption) in enumerate(zip(pictures, waves, logmels, captions, strict=True)):
        top, titles = 26 + (side + 10) * n, ("seen", "heard: the wave", "log-mel picture") if n == 0 else ("",) * 3
        text_at(figure, 132, top + side / 2, fit(caption, 124, lines=4), ha="right", va="center")
        ink_in(place(figure, 144, top, side, side, titles[0]), picture)
        wave_in(place(figure, 262, top, 250, side, titles[1]), wave, largest)
        axes = place(figure, 540, top, WIDTH - 540 - 16, side, titles[2])
        logmel_in(axes, logmel, limits)
    for middle, text in ((387, "one second"), (692, "one second; high pitch above")):
        text_at(figure, middle, figure.bbox.height - 8, text, ha="center", va="baseline")
    return figure


def ink_in(axes, picture: Real[Array, "1 h w"]):
    """Draw one grey picture into axes, 0 as white paper and 1 as black ink."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(FAINT)
    return axes.imshow(np.asarray(picture)[0], cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")


def wave_in(axes, wave: Real[Array, " samples"], largest: Number):
    """Draw one sound into axes: pressure against time."""
    axes.set(xticks=[], yticks=[], ylim=(-largest, largest), xlim=(0, len(wave)))
    axes.spines[:].set_visible(False)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    return axes.plot(np.asarray(wave), color=PALETTE["blue"], linewidth=0.5)[0]


def logmel_in(axes, logmel: Real[Array, "f m"], limits: tuple[Number, Number]):
    """Draw one log-mel picture into axes, low bands below."""
    low, high = limits
    image = axes.imshow(np.asarray(logmel), cmap=SHADES, vmin=low, vmax=high, aspect="auto", origin="lower")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


def plot_grids(
    grids: Mapping[str, Real[Array, "rows columns"]],
    rows: Sequence[str],
    columns: Sequence[str],
    ylabel: str = "",
    xlabel: str = "",
    limits: tuple[Number, Number] = (0, 1),
    across: int = 3,
) -> Figure:
    """Small heat maps with their numbers, side by side and on one scale.

    Args:
        grids: title -> values.
        rows, columns: labels of the cells, the same for all.
        ylabel, xlabel: what rows and columns are.
        limits: of the scale.
        across: heat maps in a row.

    Raises:
        ValueError: a grid of another size than its labels.
    """
    left, top, gap = 74, 34, 30
    across = min(across, len(grids))
    side = int(min(250, (WIDTH - left - 96 - gap * (across - 1)) / across))
    block = side + top + 26
    lines = -(-len(grids) // across)
    figure = blank(block * lines + 30)
    for n, (title, values) in enumerate(grids.items()):
        values = np.asarray(values, dtype=float)
        same_length("plots.plot_grids", "row labels", rows, values.shape[0])
        same_length("plots.plot_grids", "column labels", columns, values.shape[1])
        axes = place(figure, left + (side + gap) * (n % across), top + block * (n // across), side, side)
        axes.set_title(fit(title, side, weight="bold"), loc="left", **type_style(weight="bold"))
        image = matrix_in(axes, values, limits)
        for (row, column), value in np.ndenumerate(values):
            text = f"{value:.2f}".replace("0.", ".", 1) if value < 0.995 else "1.0"
            axes.text(column, row, text, ha="center", va="center", **type_style(color=ink_on(image, value)))
        axes.set_xticks(range(len(columns)), columns, **type_style())
        axes.set_yticks(range(len(rows)), rows if n % across == 0 else [""] * len(rows), **type_style())
        axes.set_ylabel(ylabel if n % across == 0 else "", **type_style())
        axes.set_xlabel(xlabel if n // across == lines - 1 else "", **type_style())
    scale = figure.colorbar(image, cax=place(figure, left + (side + gap) * across, top, 14, side))
    scale.outline.set_edgecolor(FAINT)
    scale.ax.tick_params(labelsize=11)
    return figure


def to_wav(wave: Real[Array, " samples"], rate: int) -> bytes:
    """A sound as the bytes of a wav file, one channel of 16 bits; what is too loud is made softer, as a whole.

    Args:
        wave: values from -1 to 1.
        rate: samples a second.

    Raises:
        ValueError: a rate that is not above 0, values that are not numbers.
    """
    check_positive("to_wav", "rate", float(rate), "It is how many samples make a second: 8000 here.")
    samples = np.asarray(wave, dtype=np.float64)
    if not np.isfinite(samples).all():
        refuse("to_wav", "a sound of numbers", "NaN or infinity", "Look for a division by zero before this call.")
    samples = samples * (LOUDEST / max(LOUDEST, abs(samples).max(initial=0)))
    stream = io.BytesIO()
    with wav.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * (2**15 - 1)).astype("<i2").tobytes())
    return stream.getvalue()


def show_sounds(waves: Float[Array, "n samples"], rate: int, captions: Sequence[str], columns: int = 3) -> None:
    """Display a player for each sound, over its caption. The sounds stay in the notebook's file: few and short.

    Raises:
        ValueError: not one caption for each sound, or what `to_wav` refuses.
    """
    same_length("plots.show_sounds", "captions", captions, len(waves))
    cells = []
    for wave, caption in zip(waves, captions, strict=True):
        source = f"data:audio/wav;base64,{base64.b64encode(to_wav(wave, rate)).decode()}"
        label = escape(caption, quote=True)
        player = f'<audio controls preload="metadata" aria-label="{label}" src="{source}" style="width:100%"></audio>'
        cells.append(f'<figure style="margin:0"><figcaption>{escape(caption)}</figcaption>{player}</figure>')
    grid = f"display:grid;grid-template-columns:repeat({min(columns, len(cells))},1fr);gap:8px 16px;max-width:{WIDTH}px"
    page = f'<div style="{grid}">{"".join(cells)}</div>'
    display({"text/html": page, "text/plain": "Sounds to play: " + "; ".join(captions) + "."}, raw=True)
