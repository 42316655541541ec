"""Clips on paper and in motion: strips of frames, who looks at whom, and animations that say what they show."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from IPython.display import display
from jaxtyping import Bool, Real, UInt8
from matplotlib.figure import Figure

from mmlib.check import refuse
from mmlib.plots.figures import attention_in
from mmlib.plots.style import (
    LINE_HEIGHT,
    WIDTH,
    Array,
    blank,
    fit,
    matrix_in,
    picture_in,
    place,
    same_length,
    text_at,
    type_style,
)

LEFT = 180  # pixels, for the captions of strips


def plot_strips(
    clips: UInt8[Array, "n t 3 h w"],
    captions: Sequence[str],
    weights: Real[Array, "_ t rows columns"] | None = None,
) -> Figure:
    """Clips as strips of frames, one under the other, each behind its caption.

    Args:
        clips: values from 0 to 255.
        captions: one a clip; what is longer than the strip is high is cut with an ellipsis.
        weights: of each patch of each frame: what is not attended to fades, an outline holds half of a frame's weight.

    Raises:
        ValueError: not one caption, or not one map of weights, for each clip.
    """
    for name, values in (("captions", captions), ("weights", clips if weights is None else weights)):
        same_length("plots.plot_strips", name, values, len(clips))
    step = min((WIDTH - LEFT) // clips.shape[1], 84)  # pixels from one frame to the next
    figure = blank(24 + step * len(clips))
    for row, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        top = 22 + step * row
        text = fit(caption, LEFT - 16, lines=int(step // LINE_HEIGHT))
        text_at(figure, LEFT - 12, top + step / 2, text, ha="right", va="center")
        for i, frame in enumerate(clip):
            axes = place(figure, LEFT + step * i, top, step - 4, step - 4)
            picture_in(axes, frame).set_interpolation("nearest")  # the noise of a clip, smoothed, makes a PNG large
            if weights is not None:
                attention_in(axes, np.asarray(weights[row][i], dtype=float))
            if row == 0:
                axes.set_title(str(i + 1), pad=3, **type_style())
    return figure


def plot_patterns(
    patterns: Mapping[str, Real[Array, "i j"] | Bool[Array, "i j"]], xlabel: str = "", ylabel: str = ""
) -> Figure:
    """Who looks at whom: squares side by side, the darker the more a row looks at a column, on one scale for all.

    Args:
        patterns: title -> weights of 0 or more, or True where a row may look at a column.
        xlabel: what the columns are.
        ylabel: what the rows are.
    """
    side = min(250, (WIDTH - 40) // len(patterns) - 30)
    figure = blank(side + 64)
    values = {title: np.asarray(pattern, dtype=float) for title, pattern in patterns.items()}
    darkest = 1.3 * max(pattern.max() for pattern in values.values())  # a shade that is not yet black
    for n, (title, pattern) in enumerate(values.items()):
        axes = place(figure, 40 + (side + 30) * n, 34, side, side, title)
        matrix_in(axes, pattern, (0, darkest))
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(xlabel, **type_style())
        axes.set_ylabel(ylabel if n == 0 else "", **type_style())
        edges = np.arange(len(pattern) + 1) - 0.5
        axes.vlines(edges, -0.5, len(pattern) - 0.5, color="white", linewidth=1)
        axes.hlines(edges, -0.5, len(pattern) - 0.5, color="white", linewidth=1)
        axes.spines[:].set_visible(True)
    return figure


def show_gif(gif: bytes, alt: str, width: int = WIDTH // 2) -> None:
    """Display an animation, with a text for readers who do not see it.

    Args:
        gif: the bytes of a GIF file.
        alt: what there is to see.
        width: in pixels; small pictures are enlarged without blurring.

    Raises:
        ValueError: no alt text, or something that is no GIF.
    """
    if not alt.strip():
        refuse("plots.show_gif", "an alt text", "an empty one", "Say in a sentence what the animation shows.")
    if gif[:4] != b"GIF8":
        refuse("plots.show_gif", "the bytes of a GIF", repr(gif[:4]), "Take them from mmlib.data.motion.to_gif.")
    style = f"width:{width}px;max-width:100%;image-rendering:pixelated"
    source = f"data:image/gif;base64,{base64.b64encode(gif).decode()}"
    image = f'<img src="{source}" alt="{escape(alt, quote=True)}" style="{style}">'
    display({"text/html": image, "text/plain": alt}, raw=True)
