"""What the demos of video share: the choice of a clip, its frames in a row, and the probabilities of all motions."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from ipywidgets import BoundedIntText, Dropdown
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.train import evaluate
from mmlib.widgets.parts import control


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
        self.motion = control(Dropdown, "motion", 260, options=[(self.names[m], m) for m in self._places])
        most = min(len(places) for places in self._places.values())  # so that every motion has each of the numbers
        self.clip = control(BoundedIntText, f"clip (1 to {most})", 160, value=1, min=1, max=most)

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
        plots.title_at(figure, 8, top, title)
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
