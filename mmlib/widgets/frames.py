"""How much of a motion is seen in how few frames: one model, one clip, and from 1 to 16 frames of it."""

import math
from collections.abc import Mapping, Sequence

from ipywidgets import SelectionSlider
from jaxtyping import Int, UInt8
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import check_positive, refuse
from mmlib.widgets.clips import ClipPicker, Strip, probabilities_of
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import ClassBars, control, counted

UNITS = ((1e12, "trillion "), (1e9, "billion "), (1e6, "million "), (1e3, "thousand "), (1, ""))


class FrameCountExplorer(Demo):
    """Choose how many frames of a clip the model sees: its answer, how often such answers are right, what they cost.

    Args:
        model: videos (b t 3 h w) with values from 0 to 1 to logits, for every number of frames that is asked for.
        clips: values from 0 to 255, with as many frames as the largest number.
        motions: of the clips, as places in `names`.
        names: of all motions that the model tells apart.
        accuracy_at: number of frames -> held-out top-1, from 0 to 1.
        cost_at: number of frames -> multiply-adds of one clip.

    Raises:
        ValueError: clips or motions that do not fit; numbers of frames that the clips do not have, or that are not the
            same in both tables; an accuracy outside [0, 1], or a cost that is not positive.
    """

    css_class = "frame-count-explorer"

    def __init__(
        self,
        model: nn.Module,
        clips: UInt8[Tensor, "n t c h w"],
        motions: Int[Tensor, " _"],
        names: Sequence[str],
        accuracy_at: Mapping[int, float | int],
        cost_at: Mapping[int, float | int],
    ):
        self.picker = ClipPicker("FrameCountExplorer", clips, motions, names)
        _check_tables(accuracy_at, cost_at, clips.shape[1])
        self.model, self.accuracy_at, self.cost_at = model, dict(accuracy_at), dict(cost_at)
        self.motion, self.clip = self.picker.motion, self.picker.clip
        counts = sorted(accuracy_at)
        self.frames = control(SelectionSlider, "frames", 330, options=counts, value=counts[-1])
        super().__init__(*self._figure(counts, clips.shape[1]), [[self.frames, self.motion, self.clip]])

    def state(self) -> dict:
        """The numbers shown: frames, sampled (their places), clip, right, predicted, probabilities, accuracy, cost."""
        count, clip = self.frames.value, self.picker.place
        video = self.picker.clips[clip]
        sampled = sample_places(len(video), count)
        probabilities = probabilities_of(self.model, video[None, sampled], len(self.picker.names))[0]
        return {
            "frames": count,
            "sampled": sampled,
            "clip": clip,
            "right": self.motion.value,
            "predicted": int(probabilities.argmax()),
            "probabilities": probabilities.tolist(),
            "accuracy": self.accuracy_at[count],
            "cost": self.cost_at[count],
        }

    def _figure(self, counts: list[int], frames: int) -> tuple[Figure, list[Artist]]:
        names, below = self.picker.names, 8 + Strip.height(frames) + 22
        height = max(ClassBars.height(names), 300)
        figure = plots.blank(below + height + 12)
        self.strip = Strip(figure, 8, frames, f"the clip, {frames} frames; outlined: what the model sees", fade=0.4)
        self.bars = ClassBars(figure, below, names)
        each = (height - 28 - 50 - 50) // 2  # what titles, numbers and labels leave for two curves
        self.accuracy = Curve(figure, below, each, self.accuracy_at)
        chance = 1 / len(names)
        plots.landmark_in(self.accuracy.axes, chance, "chance")
        end = {"xytext": (0, 2), "xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        self.accuracy.axes.annotate("chance", (1, chance), **end, ha="right", **plots.type_style())
        self.accuracy.axes.set(ylim=(0, 1.05), yticks=[0, 0.5, 1])
        self.accuracy.axes.set_xticks(counts, [""] * len(counts))
        self.cost = Curve(figure, below + each + 50, each, self.cost_at)
        largest = max(self.cost_at.values())
        self.cost.axes.set(ylim=(0, 1.15 * largest), yticks=[0, largest])
        self.size, self.unit = next((size, unit) for size, unit in UNITS if largest >= size or size == 1)
        self.cost.axes.yaxis.set_major_formatter(lambda cost, place: f"{cost / self.size:.3g}")
        self.cost.axes.set_xlabel("frames", **plots.type_style())
        return figure, [*self.strip.moving, *self.bars.moving, *self.accuracy.moving, *self.cost.moving]

    def draw(self, state: dict) -> None:
        """Show the clip with its sampled frames, the answer, and where this number of frames lies on both curves."""
        count, video = state["frames"], self.picker.clips[state["clip"]]
        seen = [place in state["sampled"] for place in range(len(video))]
        self.strip.show(video, range(1, len(video) + 1), seen)
        self.bars.mark(state["probabilities"], {state["right"]: ("//", "the motion")})
        self.accuracy.show(count, f"held-out top-1: {state['accuracy']:.2f}")
        self.cost.show(count, f"{self.unit}multiply-adds a clip: {state['cost'] / self.size:.3g}")

    def words(self, state: dict) -> str:
        """What the picture shows."""
        names, probabilities, fewest = self.picker.names, state["probabilities"], min(self.cost_at)
        right, predicted = state["right"], state["predicted"]
        answer = f"a clip of “{names[right]}” is called “{names[predicted]}” ({probabilities[predicted]:.0%})"
        answer += ", which is right" if predicted == right else f"; the right motion gets {probabilities[right]:.0%}"
        ratio = state["cost"] / self.cost_at[fewest]
        more = f", {ratio:.1f} times what {counted(fewest, 'frame')} would cost" if ratio != 1 else ""
        count, cost = counted(state["frames"], "frame"), f"{state['cost'] / self.size:.3g} {self.unit}"
        return (
            f"With {count} {answer}. Of all held-out clips, {state['accuracy']:.0%} are called right with {count}. "
            f"A clip then costs {cost}multiply-adds{more}. Shown is clip {self.picker.clip.value} of the motion."
        )


class Curve:
    """A curve over the number of frames, with a dot and a title that move.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        height: of the axes, in pixels.
        values: number of frames -> what is drawn.
    """

    def __init__(self, figure: Figure, top: int, height: int, values: Mapping[int, float | int]):
        left, counts = 556, sorted(values)
        self.values = values
        self.axes = plots.place(figure, left, top + 28, plots.WIDTH - left - 24, height)
        self.axes.set_xticks(counts, [str(count) for count in counts])
        margin = 0.03 * (counts[-1] - counts[0])
        self.axes.set_xlim(counts[0] - margin, counts[-1] + margin)
        self.axes.plot(counts, [values[n] for n in counts], "o-", color=plots.PALETTE["blue"], markersize=5)
        self.title = plots.title_at(figure, left, top)
        (self.dot,) = self.axes.plot([], [], "o", color=plots.PALETTE["vermillion"], markersize=11, clip_on=False)
        self.moving = [self.title, self.dot]

    def show(self, count: int, title: str) -> None:
        """Put the dot at this number of frames."""
        self.dot.set_data([count], [self.values[count]])
        self.title.set_text(title)


def sample_places(frames: int, count: int) -> list[int]:
    """The places of `count` frames out of so many: the middles of equal parts of the clip.

    >>> sample_places(16, 4)
    [2, 6, 10, 14]
    """
    return [math.floor((i + 0.5) / count * frames) for i in range(count)]


def _check_tables(accuracy_at: Mapping[int, float | int], cost_at: Mapping[int, float | int], frames: int) -> None:
    where, counts = "FrameCountExplorer", sorted(accuracy_at)
    if counts != sorted(cost_at) or len(counts) < 2:
        got = f"{counts} and {sorted(cost_at)}"
        refuse(where, "accuracy_at and cost_at for the same numbers of frames, two or more", got)
    if not 1 <= counts[0] <= counts[-1] <= frames:
        refuse(where, f"numbers of frames from 1 to {frames}", str(counts), "Give clips with the largest number.")
    for count in counts:
        check_positive(where, f"cost_at[{count}]", float(cost_at[count]), "Take it from count_macs.")
        if not 0 <= accuracy_at[count] <= 1:
            refuse(where, f"accuracy_at[{count}] in [0, 1]", str(accuracy_at[count]), "It is a share of the clips.")
