"""The drawings of the demos of sound: what is seen and heard, weights, what a model says, and tables of answers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from mmlib import plots
from mmlib.widgets.clips import BAR_STEP, Bars, show_all

SIDE, TOP, RIGHT = 150, 34, 566  # pixels
DIGITS = 10
LOG_MEL = (-11.5, 6.0)  # of a clip, from silence to loud noise


class Senses:
    """One figure, drawn by `plots.blank`, and the artists in it that move.

    Args:
        pixels: rows and columns of a picture.
        logmel: bands and frames of a log-mel picture.
        models: names of all models.
    """

    def __init__(self, pixels: tuple[int, int], logmel: tuple[int, int], models: Sequence[str]):
        names = [str(digit) for digit in range(DIGITS)]
        below = TOP + SIDE + 30
        self.names = list(models)
        self.figure = plots.blank(below + max(Bars.height(names), 28 + BAR_STEP * len(models)) + 12)
        self._titles(below)
        self.picture = plots.ink_in(plots.place(self.figure, 8, TOP, SIDE, SIDE), np.zeros((1, *pixels)))
        self.logmel = plots.logmel_in(plots.place(self.figure, 184, TOP, 340, SIDE), np.zeros(logmel), LOG_MEL)
        self.blank_words = [self._centre(8 + SIDE // 2, "blindfold"), self._centre(184 + 170, "mute")]
        self.learned = Shares(self.figure, TOP)
        self.best = Shares(self.figure, TOP + 76, "inverse variance, at this noise")
        self.bars = Bars(self.figure, below, names)
        self.table = Table(self.figure, below, RIGHT, models)
        parts = (self.learned, self.best, self.bars, self.table)
        sensed = [self.picture, self.logmel, *self.blank_words, self.learned.line]
        self.moving = [*sensed, *(artist for part in parts for artist in part.moving)]

    def hide(self) -> None:
        """Show nothing that moves."""
        show_all(self.moving, False)

    def show(self, state: dict, image: Float[Tensor, "1 1 h w"] | None, logmel: Float[Tensor, "1 f m"] | None) -> None:
        """Draw a state of the explorer; what is not sensed is a blank with a word on it."""
        show_all(self.moving, True)
        for artist, words, sensed in zip((self.picture, self.logmel), self.blank_words, (image, logmel), strict=True):
            artist.set_visible(sensed is not None)
            words.set_visible(sensed is None)
            if sensed is not None:
                artist.set_data(sensed.reshape(sensed.shape[-2:]).numpy())
        own = f"{state['fusion']}, {'for this pair' if state['fusion'] == 'attention' else 'for every pair'}"
        self.learned.line.set_text(own if state["weights"] else f"{state['fusion']}: no weights to read")
        self.learned.show(state["weights"])
        self.best.show(state["inverse_variance"])
        show_all(self.bars.moving, state["probabilities"] is not None)
        if state["probabilities"] is not None:
            seen, heard = state["digit"], state["heard"]
            apart = {heard: ("..", "heard"), seen: ("//", "seen")}
            self.bars.show(state["probabilities"], {seen: ("//", "right")} if seen == heard else apart)
        rows = [
            (0.0, "senses nothing") if answer is None else (answer[1], f"{answer[1]:.2f}, says {answer[0]}")
            for answer in state["answers"].values()
        ]
        self.table.show(rows, self.names.index(state["fusion"]))

    def _titles(self, below: int) -> None:
        for left, top, title in (
            (8, 8, "what it sees"),
            (184, 8, "what it hears, as a log-mel picture"),
            (RIGHT, 8, "weight of each sense"),
            (440, below, "all models: probability of the digit seen"),
        ):
            place = left / plots.WIDTH, 1 - top / self.figure.bbox.height
            self.figure.text(*place, title, va="top", **plots.type_style(weight="bold"))

    def _centre(self, left: int, word: str):
        place = left / plots.WIDTH, 1 - (TOP + SIDE / 2) / self.figure.bbox.height
        return self.figure.text(*place, word, ha="center", va="center", **plots.type_style(color=plots.PALETTE["grey"]))


class Shares:
    """A bar from 0 to 1 that is divided between picture and sound, under a line that says whose weights they are."""

    def __init__(self, figure: Figure, top: int, line: str = ""):
        height = figure.bbox.height
        self.line = figure.text(RIGHT / plots.WIDTH, 1 - (top + 2) / height, line, va="top", **plots.type_style())
        axes = plots.place(figure, RIGHT, top + 24, plots.WIDTH - RIGHT - 24, 34)
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        self.parts = [
            axes.barh([0.5], [0], height=1, color=plots.PALETTE["blue"], edgecolor="white")[0],
            axes.barh([0.5], [0], height=1, color="white", hatch="//", edgecolor=plots.PALETTE["vermillion"])[0],
        ]
        colours = "white", plots.PALETTE["ink"]
        under = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
        self.texts = [
            axes.text(x, 0.5, "", ha=side, va="center", **plots.type_style(color=colour), **box)
            for x, side, colour, box in zip((0.02, 0.98), ("left", "right"), colours, ({}, under), strict=True)
        ]
        self.moving = [*self.parts, *self.texts]

    def show(self, weights: Sequence[float] | None) -> None:
        """Divide the bar by the weights, or leave it empty."""
        show_all([*self.parts, *self.texts], weights is not None)
        if weights is None:
            return
        start = 0.0
        for part, text, weight, name in zip(self.parts, self.texts, weights, ("picture", "sound"), strict=True):
            part.set(x=start, width=weight)
            text.set(text=f"{name} {weight:.2f}", visible=weight > 0.36)  # where there is room for it
            start += weight


class Table:
    """Probabilities as bars in a table: a name before each, and a few words behind it.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        left: pixels from the left edge to where the bars begin; the names end there.
        names: of the rows.
    """

    def __init__(self, figure: Figure, top: int, left: int, names: Sequence[str]):
        axes = plots.place(figure, left, top + 28, 130, BAR_STEP * len(names))
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xticks=[], yticks=[])
        axes.spines["bottom"].set_visible(False)
        right = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        style = {"height": 0.66, "color": plots.PALETTE["blue"], "edgecolor": "white", "linewidth": 0}
        for n, name in enumerate(names):
            axes.text(-0.05, n, name, **right, **plots.type_style())
        self.bars = axes.barh(range(len(names)), np.zeros(len(names)), **style)
        self.values = [axes.text(0, n, "", va="center", **plots.type_style()) for n in range(len(names))]
        self.moving = [*self.bars, *self.values]

    def show(self, rows: Sequence[tuple[float, str]], chosen: int) -> None:
        """Draw (probability, words) of each row; the words of the chosen one are in bold, behind an arrow."""
        for n, (bar, value, (probability, words)) in enumerate(zip(self.bars, self.values, rows, strict=True)):
            bar.set_width(probability)
            text, weight = (f"◄ {words}", "bold") if n == chosen else (words, "normal")
            value.set(x=probability + 0.03, text=text, weight=weight)
