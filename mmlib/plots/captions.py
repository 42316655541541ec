"""Captions on paper: where a model looked for each word, and how beam search came to a caption."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Real, UInt8
from matplotlib.figure import Figure

from mmlib.check import refuse
from mmlib.plots.figures import attention_in
from mmlib.plots.style import LINE_HEIGHT, PALETTE, WIDTH, Array, blank, caption_in, fit, picture_in, place, type_style


def plot_looks(
    pictures: UInt8[Array, "n 3 h w"],
    words: Sequence[Sequence[str]],
    weights: Sequence[Real[Array, "_ rows columns"]],
) -> Figure:
    """One row a picture: the picture, then for each word of its caption where the model looked.

    Args:
        pictures: values from 0 to 255.
        words: of each caption, written under the picture; text in two lines has room.
        weights: a map a word: what is not looked at fades, an outline holds half of the weight.

    Raises:
        ValueError: the numbers of pictures, captions and maps differ.
    """
    said, looked = [len(caption) for caption in words], [len(maps) for maps in weights]
    if said != looked or len(said) != len(pictures):
        got = f"{len(pictures)} pictures, captions of {said} words, {looked} maps"
        refuse("plots.plot_looks", "a caption for each picture, a map for each word", got, "Give one for each.")
    step = WIDTH // (1 + max(map(len, words)))  # pixels from one word to the next
    side = min(step - 8, 96)
    figure = blank((side + 48) * len(pictures))
    for row, (picture, caption, maps) in enumerate(zip(pictures, words, weights, strict=True)):
        top = 4 + (side + 48) * row
        picture_in(place(figure, 0, top, side, side), picture)
        for n, (text, grid) in enumerate(zip(caption, maps, strict=True), start=1):
            axes = place(figure, step * n, top, side, side)
            picture_in(axes, picture)
            attention_in(axes, np.asarray(grid, dtype=float))
            lines = "\n".join(fit(line, step - 4) for line in text.split("\n"))
            caption_in(axes, 4 / side, lines)
    return figure


class Node(NamedTuple):
    """A beam at one step of beam search."""

    text: str  # the word that was added; below it, after a line break, what is to be said of it
    parent: int  # the node of the step before that it grew from; 0 at the first step
    kept: bool = True  # or dropped, since others were better


def plot_tree(steps: Sequence[Sequence[Node]], root: str = "<start>") -> Figure:
    """Beam search from left to right: what was kept in full lines, what was dropped in broken ones, the best in colour.

    Args:
        steps: the nodes of each step; the first of the last step is the caption that won.
        root: what stands before the first word.

    Raises:
        ValueError: no step, or one without nodes.
    """
    if not steps or not all(steps):
        refuse("plots.plot_tree", "a node or more in each step", str([len(nodes) for nodes in steps]))
    rows, columns = max(map(len, steps)), len(steps)
    height = 34 + LINE_HEIGHT * max(node.text.count("\n") for nodes in steps for node in nodes)  # of a row, in pixels
    figure = blank(24 + height * rows)
    axes = place(figure, 50, 8, WIDTH - 110, height * rows)
    axes.set_axis_off()
    axes.set(xlim=(0, columns), ylim=(rows - 0.5, -0.5))
    heights = [[(rows - len(nodes)) / 2 + n for n in range(len(nodes))] for nodes in steps]
    best, node = set(), 0
    for step in reversed(range(columns)):
        best.add((step, node))
        node = steps[step][node].parent
    boxed = {"boxstyle": "round,pad=0.25", "facecolor": "white"}
    centre = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(0, (rows - 1) / 2, root, bbox=boxed | {"edgecolor": PALETTE["ink"]}, **centre, **type_style())
    for step, nodes in enumerate(steps):
        for n, node in enumerate(nodes):
            won = (step, n) in best
            colour = PALETTE["vermillion" if won else "ink" if node.kept else "grey"]
            before = heights[step - 1][node.parent] if step else (rows - 1) / 2
            dash, width = "-" if node.kept else (0, (3, 3)), 2.5 if won else 1.2
            axes.plot([step, step + 1], [before, heights[step][n]], color=colour, linestyle=dash, linewidth=width)
            edge = boxed | {"edgecolor": colour, "linestyle": dash, "linewidth": width}
            text = "\n".join(fit(line, (WIDTH - 110) / columns - 16) for line in node.text.split("\n"))
            axes.text(step + 1, heights[step][n], text, bbox=edge, **centre, **type_style(color=colour))
    return figure
