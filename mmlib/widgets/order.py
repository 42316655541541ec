"""What the order of frames means to a model: the same frames forward, backward, and with some of them swapped."""

from collections.abc import Mapping, Sequence

import torch
from ipywidgets import Dropdown, IntSlider
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.widgets.clips import ClipPicker, Strip, probabilities_of
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import ClassBars, control

MIRROR, RANDOM = "first with last", "at random"


class OrderExplorer(Demo):
    """Play a clip forward or backward, swap more and more of its frames, and follow a motion and its time reversal.

    Frames change places in pairs. Swapped first with last, from the ends to the middle, all of them are the clip
    played backward; swapped at random (always the same pairs), all of them are a heap of pictures.

    Args:
        model: videos (b t 3 h w) with values from 0 to 1 to logits.
        clips: values from 0 to 255, of two frames or more.
        motions: of the clips, as places in `names`.
        names: of all motions that the model tells apart.
        reverse: name of each motion -> name of the motion that it is when played backward.

    Raises:
        ValueError: clips or motions that do not fit, clips of one frame, a motion without its reversal.
    """

    css_class = "order-explorer"

    def __init__(
        self,
        model: nn.Module,
        clips: UInt8[Tensor, "n t c h w"],
        motions: Int[Tensor, " _"],
        names: Sequence[str],
        reverse: Mapping[str, str],
    ):
        self.picker = ClipPicker("OrderExplorer", clips, motions, names)
        if clips.shape[1] < 2:
            refuse("OrderExplorer", "clips of two frames or more", "one frame", "One frame has no order.")
        lost = [name for name in names if reverse.get(name) not in names]
        if lost:
            refuse("OrderExplorer", "a reversal, among the names, of each motion", f"none of {', '.join(lost)}")
        self.model, self.motion, self.clip = model, self.picker.motion, self.picker.clip
        self.reversal_of = [list(names).index(reverse[name]) for name in names]
        frames = clips.shape[1]
        self.pairs_of = {MIRROR: mirrored_pairs(frames), RANDOM: random_pairs(frames)}
        self.play = control(Dropdown, "play", 190, options=["forward", "backward"])
        self.swapped = control(IntSlider, "frames swapped", 440, min=0, max=frames // 2 * 2, step=2)
        self.pairs = control(Dropdown, "swap", 190, options=[MIRROR, RANDOM])
        names, below = self.picker.names, 8 + Strip.height(frames) + 22
        height = max(ClassBars.height(names), 260)
        figure = plots.blank(below + height + 12)
        self.strip = Strip(figure, 8, frames, "what the model sees, in this order; outlined: swapped")
        self.bars = ClassBars(figure, below, names)
        self.paths = Paths(figure, below, height - 62 - 44, frames // 2 * 2)
        moving = [*self.strip.moving, *self.bars.moving, *self.paths.moving]
        super().__init__(figure, moving, [[self.motion, self.clip, self.play], [self.swapped, self.pairs]])

    def state(self) -> dict:
        """The numbers shown: play, swapped, order (places of the frames), moved (places where another one stood),
        clip, motion, reversal, predicted, probabilities, and for each number of swapped frames motion_at, reversal_at.
        """
        play, swapped, clip, motion = self.play.value, self.swapped.value, self.picker.place, self.motion.value
        pairs, video = self.pairs_of[self.pairs.value], self.picker.clips[clip]
        start = list(range(len(video)))[:: -1 if play == "backward" else 1]
        orders = [swap(start, pairs[:n]) for n in range(len(pairs) + 1)]
        probabilities = probabilities_of(self.model, video[torch.tensor(orders)], len(self.picker.names))
        now, reversal = swapped // 2, self.reversal_of[motion]
        return {
            "play": play,
            "swapped": swapped,
            "order": orders[now],
            "moved": [place for pair in pairs[:now] for place in pair],
            "clip": clip,
            "motion": motion,
            "reversal": reversal,
            "predicted": int(probabilities[now].argmax()),
            "probabilities": probabilities[now].tolist(),
            "motion_at": probabilities[:, motion].tolist(),
            "reversal_at": probabilities[:, reversal].tolist(),
        }

    def draw(self, state: dict) -> None:
        """Show the frames in their order, the answer, and both probabilities against the number of swapped frames."""
        order, motion, reversal = state["order"], state["motion"], state["reversal"]
        video = self.picker.clips[state["clip"]]
        self.strip.show(video[order], [n + 1 for n in order], [place in state["moved"] for place in range(len(order))])
        marks = {reversal: ("..", "its reversal")} | {motion: ("//", "the motion")}
        self.bars.mark(state["probabilities"], marks)
        self.paths.show(state["swapped"], state["motion_at"], state["reversal_at"] if motion != reversal else None)

    def words(self, state: dict) -> str:
        """What the picture shows."""
        names, probabilities = self.picker.names, state["probabilities"]
        motion, reversal, predicted = (names[state[key]] for key in ("motion", "reversal", "predicted"))
        own, other = (f"{probabilities[state[key]]:.0%}" for key in ("motion", "reversal"))
        numbers = [n + 1 for n in state["order"]]
        forward = list(range(1, len(numbers) + 1))
        ways = {tuple(forward): ", the clip forward", tuple(forward[::-1]): ", the clip backward"}
        heard = f"Frames {' '.join(map(str, numbers))}{ways.get(tuple(numbers), '')}. The model calls it “{predicted}”"
        shown = f" Shown is clip {self.picker.clip.value} of the motion."
        if motion == reversal:
            return f"{heard}. “{motion}” has {own}; played backward it is still “{motion}”.{shown}"
        kind = {motion: ", the motion", reversal: ", the reversal"}.get(predicted, f" ({max(probabilities):.0%})")
        return f"{heard}{kind}. “{motion}” has {own}, its time reversal “{reversal}” {other}.{shown}"


class Paths:
    """The probabilities of a motion and of its time reversal, as more and more frames are swapped."""

    def __init__(self, figure: Figure, top: int, height: int, most: int):
        left = 560
        self.axes = plots.place(figure, left, top + 62, plots.WIDTH - left - 24, height)
        plots.title_at(figure, left, top, "as frames are swapped")
        self.axes.set(xlim=(-0.3, most + 0.3), ylim=(0, 1.05), yticks=[0, 0.5, 1])
        self.axes.set_xticks(range(0, most + 1, 2 * max(1, most // 10)))
        self.axes.set_xlabel("frames swapped", **plots.type_style())
        self.swapped = range(0, most + 1, 2)
        self.now = self.axes.axvline(0, color=plots.FAINT, linewidth=6)
        self.lines = []
        for label, colour, style in (("the motion", "blue", "o-"), ("its reversal", "vermillion", "s--")):
            self.lines += self.axes.plot([], [], style, color=plots.PALETTE[colour], label=label, markersize=6)
        self.axes.legend(loc="lower left", bbox_to_anchor=(-0.05, 1), ncols=2, frameon=False, prop={"size": plots.FONT})
        self.moving = [self.now, *self.lines]

    def show(self, swapped: int, motion_at: Sequence[float], reversal_at: Sequence[float] | None) -> None:
        """Draw both curves, or one where a motion is its own reversal."""
        self.now.set_xdata([swapped, swapped])
        for line, values in zip(self.lines, (motion_at, reversal_at), strict=True):
            line.set_visible(values is not None)
            line.set_data(self.swapped, values if values is not None else [0] * len(self.swapped))


def mirrored_pairs(frames: int) -> list[tuple[int, int]]:
    """The first place with the last, the second with the last but one, and so on.

    >>> mirrored_pairs(5)
    [(0, 4), (1, 3)]
    """
    return [(place, frames - 1 - place) for place in range(frames // 2)]


def random_pairs(frames: int) -> list[tuple[int, int]]:
    """Pairs of places, drawn at random but always the same; once all are swapped, little is left of the order of time.

    >>> random_pairs(8) == random_pairs(8)
    True
    """
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randperm(frames, generator=generator).tolist() for _ in range(100)]
    candidates = [list(zip(places[0::2], places[1::2], strict=False)) for places in drawn]
    return min(candidates, key=lambda pairs: abs(_order_left(swap(list(range(frames)), pairs))))


def swap(order: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The order after the frames at each pair of places have changed places.

    >>> swap([0, 1, 2, 3], [(0, 3)])
    [3, 1, 2, 0]
    """
    order = list(order)
    for one, other in pairs:
        order[one], order[other] = order[other], order[one]
    return order


def _order_left(order: Sequence[int]) -> float:
    """Covariance of frames and places: the largest for the clip forward, the smallest for it backward."""
    middle = (len(order) - 1) / 2
    return sum((place - middle) * (frame - middle) for place, frame in enumerate(order))
