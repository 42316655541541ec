"""The look of every figure: its size in pixels, its type, its colours, and text that stays inside its place.

Figures are object-oriented (never pyplot, which is not safe in the threads that widgets run in), have a fixed size in
pixels, a white ground and dark ink under any theme, and type of 11 points or more. Every colour of the palette can be
read as text on white (a contrast of 4.5 or more, as WCAG 2 asks). Lines differ in dash as well as in
colour, bars in hatching, and matrices run from light to dark, so nothing is told by colour alone.
"""

import io
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from einops import rearrange
from IPython.display import display
from jaxtyping import Real, UInt8
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy import ndarray
from torch import Tensor

from mmlib.check import refuse

Array: TypeAlias = Tensor | ndarray
Number: TypeAlias = float | int
Numbers: TypeAlias = Array | Sequence
PALETTE = {"blue": "#0072B2", "vermillion": "#BF5200", "purple": "#7B2D72", "grey": "#767676", "ink": "#222222"}
LINES = ["-", "--", "-.", ":", (0, (8, 2, 1, 2, 1, 2))]
FAINT = "#D9D9D9"  # grids: there to be overlooked
SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", "#7FB4D6", "#0072B2", "#00263D"])
WIDTH, FONT, DPI = 860, 11, 100  # pixels (fits a notebook beside an open sidebar), points, pixels an inch
LINE_HEIGHT = 19  # pixels from one line of text to the next


def blank(height: int, width: int = WIDTH) -> Figure:
    """An empty white figure of this many pixels."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: Number, top: Number, width: Number, height: Number, title: str = ""):
    """Axes at a place in pixels from the upper left corner of a figure, in the style of the course."""
    total_width, total_height = figure.get_size_inches() * figure.dpi
    box = (left / total_width, 1 - (top + height) / total_height, width / total_width, height / total_height)
    axes = figure.add_axes(box, facecolor="white")
    axes.tick_params(labelsize=FONT, colors=PALETTE["ink"], length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(PALETTE["ink"])
    axes.set_title(title, loc="left", **type_style(weight="bold"))
    return axes


def type_style(**other) -> dict:
    """Settings of every text, whatever the reader has set in pyplot; a dollar sign is a dollar sign."""
    return {"fontsize": FONT, "family": "DejaVu Sans", "color": PALETTE["ink"], "parse_math": False} | other


def text_at(figure: Figure, left: Number, top: Number, text: str = "", **style) -> Text:
    """Write text whose upper left corner is at a place in pixels from that of a figure that was just made."""
    place = left / figure.bbox.width, 1 - top / figure.bbox.height
    return figure.text(*place, text, **{"va": "top"} | type_style(**style))


def title_at(figure: Figure, left: Number, top: Number, text: str = "") -> Text:
    """Write a title at a place in pixels, as `text_at` does."""
    return text_at(figure, left, top, text, weight="bold")


def caption_in(axes, gap: Number, text: str = "", **style) -> Text:
    """Write text under the middle of axes, this share of their height below them."""
    return axes.text(0.5, -gap, text, transform=axes.transAxes, ha="center", va="top", **type_style(**style))


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG with a text for readers who do not see it.

    Raises:
        ValueError: no alt text.
    """
    if not alt.strip():
        refuse("plots.show", "an alt text", "an empty one", "Say in a sentence what the figure shows.")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor="white")
    display({"image/png": stream.getvalue()}, raw=True, metadata={"image/png": {"alt": alt}})


def picture_in(axes, picture: UInt8[Array, "3 h w"]):
    """Draw one picture into axes, without ticks or frame."""
    axes.set_axis_off()
    return axes.imshow(rearrange(np.asarray(picture), "c h w -> h w c"), interpolation="bilinear", aspect="auto")


def thumbnails(axes, pictures: UInt8[Array, "n 3 h w"]):
    """Draw pictures one under the other, so that they stand beside the rows of a matrix."""
    return picture_in(axes, rearrange(np.asarray(pictures), "n c h w -> c (n h) w"))


def same_length(where: str, what: str, values: Numbers, count: int) -> None:
    """Refuse labels, captions or weights that are more or fewer than what they belong to.

    Raises:
        ValueError: not `count` values.
    """
    if len(values) != count:
        refuse(where, f"{count} {what}", str(len(values)), "Give one for each.")


def matrix_in(axes, values: Real[Array, "rows columns"], limits: tuple[Number, Number] | None = None):
    """Draw a matrix into axes, from light to dark, with fine lines between the cells."""
    low, high = limits or (None, None)
    image = axes.imshow(values, cmap=SHADES, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def ink_on(image, value: Number) -> str:
    """Black or white, whichever is read more easily on the shade of a value in a matrix that was drawn."""
    shade = np.array(image.cmap(image.norm(value))[:3])
    linear = np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"  # where both have the same contrast


def landmark_in(axes, value: Number, label: str) -> None:
    """Draw a horizontal line at a value that means something."""
    axes.axhline(value, label=label, color=PALETTE["ink"], linestyle=(0, (2, 2)), linewidth=1.2)


def name_the_ends(axes) -> None:
    """Write the name of each line of the axes at its right end, moved apart where two would touch."""
    axes.autoscale_view()  # matplotlib puts it off until it draws, and the ends are where the limits put them
    box = axes.get_window_extent()
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    heights = {line: axes.transData.transform((1, line.get_ydata()[-1]))[1] - box.y0 for line in named}
    ceiling = np.inf
    for line in sorted(named, key=heights.get, reverse=True):
        ceiling = min(heights[line], ceiling - LINE_HEIGHT)
        style = type_style(color=line.get_color(), weight="bold", va="center")
        label = fit(line.get_label(), 190, weight="bold")
        axes.annotate(label, (1, ceiling / box.height), (6, 0), "axes fraction", "offset points", **style)


def fit(text: str, pixels: Number, lines: int = 1, weight: str = "normal") -> str:
    """Break a text into lines no wider than this. An ellipsis cuts what does not fit; a missing glyph is a box."""

    def fits(row: str) -> bool:
        return _width(row, weight) <= pixels

    words, rows = "".join(map(_drawable, text[:500])).split(), [""]
    while words and len(rows) <= lines:
        word = words.pop(0)
        longer = f"{rows[-1]} {word}".strip()
        if fits(longer):
            rows[-1] = longer
        elif rows[-1]:
            rows, words = [*rows, ""], [word, *words]
        else:  # one word wider than a line
            head = max((n for n in range(1, len(word)) if fits(word[:n])), default=1)
            rows, words = [*rows[:-1], word[:head], ""], [word[head:], *words]
    if len(rows) <= lines:
        return "\n".join(rows)
    last = rows[lines - 1]
    while last and not fits(last + "…"):
        last = last[:-1]
    return "\n".join([*rows[: lines - 1], last.rstrip() + "…"])


@lru_cache(maxsize=4096)
def _width(text: str, weight: str) -> float:
    """Width in pixels of one line of our type."""
    family = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    font = font_manager.get_font(font_manager.findfont(family))
    font.set_size(FONT, DPI)
    font.set_text(text, 0.0)
    return font.get_width_height()[0] / 64


@lru_cache(maxsize=4096)
def _drawable(character: str) -> str:
    """The character, or a box where our font lacks it, or nothing where it lacks a joiner or a combining mark."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_char_index(ord(character))
    if known or character.isspace():
        return character
    return "" if unicodedata.category(character)[0] in "MC" else "□"
