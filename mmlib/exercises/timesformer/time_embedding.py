"""Exercise 4 of notebook 2: time embeddings for a number of frames that was not learned."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of


def _on_the_line(time: Float[Tensor, "frames d"], i: Int[Tensor, " t"], r: Float[Tensor, " t"]) -> Float[Tensor, "t d"]:
    following = (i + 1).clamp(max=len(time) - 1)
    return (1 - r)[:, None] * time[i] + r[:, None] * time[following]


def stretched(
    time: Float[Tensor, "frames d"],
    t: int,
    *,
    place: Callable = lambda k, frames, t: (k + 0.5) * frames / t - 0.5,
    hold: Callable = lambda s, frames: s.clamp(0, frames - 1),
    mix: Callable = _on_the_line,
) -> Float[Tensor, "t d"]:
    """Place `t` frames among the learned ones, hold them inside, mix the two neighbours.

    Equation: e(s) = (1 - r) e_i + r e_(i+1), s = (k + 1/2) frames / t - 1/2, i = floor(s), r = s - i  (2.9)
    """
    frames = len(time)
    s = hold(place(torch.arange(t, dtype=time.dtype), frames, t), frames)
    i = s.floor().long().clamp(0, max(frames - 2, 0))
    return mix(time, i, s - i)


def _averaged(time: Tensor, i: Tensor, r: Tensor) -> Float[Tensor, "t d"]:
    return rearrange(F.adaptive_avg_pool1d(rearrange(time, "frames d -> 1 d frames"), len(i)), "1 d t -> t d")


NEAREST = "you took the nearest learned row. Mix the two neighbours, each by how near it is: mode linear."
TIME_MISTAKES = [
    Mistake(
        "you took the learned rows one after the other. Three frames or thirty, the clip lasts as long: spread them.",
        {"place": lambda k, frames, t: k},
    ),
    Mistake(NEAREST, {"place": lambda k, frames, t: (k * frames / t).floor()}),
    Mistake(NEAREST, {"place": lambda k, frames, t: ((k + 0.5) * frames / t).floor()}),
    Mistake(
        "your first and last frame lie on the first and last learned row (align_corners=True). A frame stands for the "
        "middle of its share of the clip: s = (k + 1/2) frames / t - 1/2.",
        {"place": lambda k, frames, t: k * (frames - 1) / max(t - 1, 1)},
    ),
    Mistake(
        "both halves are missing: k frames / t is where a frame begins. Take its middle: k + 1/2, then - 1/2.",
        {"place": lambda k, frames, t: k * frames / t},
    ),
    Mistake(
        "you left out the - 1/2 at the end: everything comes half a frame late, even when t is the learned number.",
        {"place": lambda k, frames, t: (k + 0.5) * frames / t},
    ),
    Mistake(
        "you counted frames from 1 in one place and from 0 in another. From 0: s = (k + 1/2) frames / t - 1/2.",
        {"place": lambda k, frames, t: (k - 0.5) * frames / t + 0.5},
    ),
    Mistake(
        "before the first learned row and behind the last you follow the line outward. Hold s in 0 to frames - 1.",
        {"hold": lambda s, frames: s},
    ),
    Mistake(
        "the two weights are swapped. The nearer row counts more: 1 - r for row i, r for row i + 1.",
        {"mix": lambda time, i, r: _on_the_line(time, i, 1 - r)},
    ),
    Mistake("you averaged over all rows of a share. Mix the two neighbours only.", {"mix": _averaged}),
]


def _case(frames: int, d: int, t: int) -> tuple[Float[Tensor, "frames d"], int]:
    return torch.randn(frames, d, generator=torch.Generator().manual_seed(frames)), t


TIME_CASES = [_case(8, 2, 3), _case(5, 3, 8), _case(4, 2, 4), _case(3, 2, 1), _case(1, 2, 3)]


@exercise
def check_time_embedding(stretch_time: Callable) -> str:
    """Check `stretch_time(time (frames d), t) -> (t d)`."""
    name = name_of(stretch_time)
    for i, case in enumerate(TIME_CASES):
        (frames, d), t = case[0].shape, case[1]
        hints = {
            (frames, d): "Those are as many rows as were learned. One row for each of the t frames.",
            (d, t): "That is transposed: one row a frame.",
            (1, t, d): "One axis too many: take the batch of one away again.",
            (1, d, t): "F.interpolate works along the last axis of (1, d, frames). Turn the result back: (t, d).",
            (frames, t): "You stretched the width. Time must be the last axis while you stretch.",
        }
        got = call(stretch_time, *case)
        check_shape(name, got, (t, d), hints, "One row for each of the t frames.")
        label = f"{frames} learned rows, t = {t}"
        check_value(name, got, stretched, TIME_CASES[: i + 1], TIME_MISTAKES, label)
    check_gradient(stretch_time, stretched, TIME_CASES[0])
    return "one table serves every frame count, and at the learned count it is the table itself."
