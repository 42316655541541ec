"""What the demos of video share: the choice of a clip, its frames in a row, and the probabilities of all motions."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from einops import rearrange
from ipywidgets import BoundedIntText, Dropdown, Layout
from jaxtyping import Float, Int, UInt8
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.train import evaluate
from mmlib.widgets.live import LABEL

ROW_OF_CONTROLS = {"align_items": "center", "grid_gap": "14px"}
MOST = 16  # motions shown, the most probable ones
BAR_STEP = 24  # pixels from one bar to the next


def probabilities_of(model: nn.Module, video: UInt8[Tensor, "b t 3 h w"], classes: int) -> Float[Tensor, "b classes"]:
    """Probabilities of all classes for a few videos, from one state of the model even while it trains.

    Raises:
        ValueError: the model tells another number of classes apart.
    """
    logits = evaluate(model, lambda video: model(video / 255), video)
    if logits.shape != (len(video), classes):
        got = f"logits {tuple(logits.shape)}"
        refuse("probabilities_of", f"logits (b={len(video)}, classes={classes})", got, "Give the names of all classes.")
    return logits.float().softmax(dim=1)


def show_all(artists: Sequence[Artist], visible: bool) -> None:
    """Show artists, or hide them."""
    for artist in artists:
        artist.set_visible(visible)


class ClipPicker:
    """Two controls that choose a clip: its motion, and a number among the clips of that motion.

    Args:
        where: who refuses bad input.
        clips: values from 0 to 255; at least one.
        motions: of the clips, as places in `names`.
        names: of all motions that the model tells apart.

    Raises:
        ValueError: clips that are no videos of bytes, not one motion for each, or a motion without a name.
    """

    def __init__(self, where: str, clips: Tensor, motions: Int[Tensor, " _"], names: Sequence[str]):
        _check_clips(where, clips, motions, names)
        self.clips, self.names = clips.cpu(), list(names)
        self._places = {m: (motions == m).nonzero()[:, 0].tolist() for m in motions.unique().tolist()}
        options = [(self.names[m], m) for m in self._places]
        self.motion = Dropdown(options=options, description="motion", style=LABEL, layout=Layout(width="260px"))
        most = min(len(places) for places in self._places.values())  # so that every motion has each of the numbers
        label = f"clip (1 to {most})"
        self.clip = BoundedIntText(1, min=1, max=most, description=label, style=LABEL, layout=Layout(width="160px"))

    @property
    def place(self) -> int:
        """The place of the chosen clip among all clips."""
        return self._places[self.motion.value][self.clip.value - 1]


class Strip:
    """Frames in a row with their numbers; those that are marked have an outline and a bold number.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        frames: how many.
        fade: how clear the frames without a mark are, from 0 to 1.
    """

    def __init__(self, figure: Figure, top: int, frames: int, title: str, fade: float = 1.0):
        step = self.step(frames)
        side, self.fade = step - 8, fade
        axes = plots.place(figure, 0, top + 24, plots.WIDTH, step + 16)
        axes.set_axis_off()
        figure.text(8 / plots.WIDTH, 1 - top / figure.bbox.height, title, va="top", **plots.type_style(weight="bold"))
        self.frames, self.outlines, self.numbers = [], [], []
        for left in range(8, 8 + step * frames, step):
            box, edge = (left, left + side, side + 4, 4), plots.PALETTE["vermillion"]
            self.frames.append(axes.imshow(np.ones((1, 1, 3)), extent=box, interpolation="bilinear", aspect="auto"))
            outline = Rectangle((left - 1.5, 2.5), side + 3, side + 3, fill=False, edgecolor=edge, linewidth=2)
            self.outlines.append(axes.add_patch(outline))
            middle = {"ha": "center", "va": "top"} | plots.type_style()
            self.numbers.append(axes.text(left + side / 2, side + 9, "", **middle))
        axes.set(xlim=(0, plots.WIDTH), ylim=(step + 16, 0))
        self.moving = [*self.frames, *self.outlines, *self.numbers]

    @staticmethod
    def step(frames: int) -> int:
        """Pixels from one frame to the next."""
        return min((plots.WIDTH - 8) // frames, 100)

    @staticmethod
    def height(frames: int) -> int:
        """Height in pixels, title and numbers included."""
        return 24 + Strip.step(frames) + 14

    def show(self, video: UInt8[Tensor, "t 3 h w"], numbers: Sequence[int], marked: Sequence[bool]) -> None:
        """Draw the frames in this order, with these numbers below."""
        pixels = rearrange(video, "t c h w -> t h w c").numpy()
        parts = zip(self.frames, self.outlines, self.numbers, pixels, numbers, marked, strict=True)
        for image, outline, text, frame, number, mark in parts:
            image.set(data=frame, alpha=1.0 if mark else self.fade)
            outline.set_visible(mark)
            faint = not mark and self.fade < 1
            colour = plots.PALETTE["grey" if faint else "ink"]
            text.set(text=str(number), weight="bold" if mark else "normal", color=colour)


class Bars:
    """The probability of each motion as a bar; some bars are marked, with a hatching and a word.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        names: of all motions; of more than 16, those are shown that are most probable.
    """

    def __init__(self, figure: Figure, top: int, names: Sequence[str]):
        self.names, rows = list(names), self.rows(names)
        axes = plots.place(figure, 206, top + 28, 156, BAR_STEP * rows)
        axes.set(xlim=(0, 1), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
        axes.spines["bottom"].set_visible(False)
        left, height = 8 / plots.WIDTH, figure.bbox.height
        title = "what the model says" if rows == len(names) else f"what the model says, the first {rows} motions"
        figure.text(left, 1 - top / height, title, va="top", **plots.type_style(weight="bold"))
        right = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        style = {"height": 0.66, "color": plots.PALETTE["blue"], "edgecolor": "white", "linewidth": 0}
        self.labels = [axes.text(-0.05, n, "", **right, **plots.type_style()) for n in range(rows)]
        self.bars = axes.barh(range(rows), np.zeros(rows), **style)
        self.values = [axes.text(0, n, "", va="center", **plots.type_style()) for n in range(rows)]
        self.moving = [*self.bars, *self.values]
        if rows < len(names):  # else each motion keeps its row
            self.moving += self.labels
        self.show([0.0] * len(names), {})

    @staticmethod
    def rows(names: Sequence[str]) -> int:
        """How many motions are shown."""
        return min(len(names), MOST)

    @staticmethod
    def height(names: Sequence[str]) -> int:
        """Height in pixels, title included."""
        return 28 + BAR_STEP * Bars.rows(names)

    def show(self, probabilities: Sequence[float], marks: Mapping[int, tuple[str, str]]) -> None:
        """Draw the probabilities; marks are motion -> (hatching, word)."""
        likely = torch.tensor(probabilities).argsort(descending=True).tolist()
        first = [*marks, *(m for m in likely if m not in marks)][: len(self.labels)]
        for m, label, bar, value in zip(sorted(first), self.labels, self.bars, self.values, strict=True):
            hatch, word = marks.get(m, ("", ""))
            label.set(text=plots.fit(self.names[m], 190))
            bar.set(width=probabilities[m], hatch=hatch)
            note = f"  ◄ {word}" if word else ""
            value.set(x=probabilities[m] + 0.03, text=f"{probabilities[m]:.2f}{note}")
            value.set_visible(bool(word) or probabilities[m] >= 0.005)  # a column of zeros tells nothing


def _check_clips(where: str, clips: Tensor, motions: Tensor, names: Sequence[str]) -> None:
    shape = tuple(clips.shape)
    if len(shape) != 5 or shape[2] != 3 or 0 in shape:
        fix = 'Use rearrange(x, "n c t h w -> n t c h w").' if shape[1:2] == (3,) else ""
        refuse(where, "clips (n, t, c=3, h, w)", str(shape), fix)
    if clips.dtype != torch.uint8:
        refuse(where, "clips of bytes, 0 to 255", str(clips.dtype), "Give them as make_clips made them.")
    if len(motions) != len(clips):
        refuse(where, f"{len(clips)} motions", str(len(motions)), "Give one for each clip.")
    if not 0 <= motions.min() <= motions.max() < len(names):
        got = f"from {motions.min()} to {motions.max()}"
        refuse(where, f"motions from 0 to {len(names) - 1}", got, "Give the names of all motions.")
