"""Exercise 1 of notebook 2: from tokens to rows along time, one row a patch, and back."""

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import Finding, call, check_gradient, check_shape, check_value, exercise, name_of
from mmlib.exercises.core import OldMistake as Mistake

# ---- there


def _by_frame(patches: Float[Tensor, "b tokens d"], t: int) -> Float[Tensor, "b t n d"]:
    return rearrange(patches, "b (t n) d -> b t n d", t=t)


def _by_patch(patches: Float[Tensor, "b tokens d"], t: int) -> Float[Tensor, "b t n d"]:
    return rearrange(patches, "b (n t) d -> b t n d", t=t)


def _frames_outside(patches: Float[Tensor, "b tokens d"], t: int) -> Float[Tensor, "b t n d"]:
    b, tokens, d = patches.shape
    return patches.reshape(t, b, tokens // t, d).transpose(0, 1)


def _cut(split: Float[Tensor, "b t n d"]) -> Float[Tensor, "rows t d"]:
    b, t, n, d = split.shape
    return split.reshape(b * n, t, d)


def tubes_of(
    patches: Float[Tensor, "b tokens d"],
    t: int,
    *,
    split: Callable = _by_frame,
    flatten: Callable = lambda split: rearrange(split, "b t n d -> (b n) t d"),
) -> Float[Tensor, "rows t d"]:
    """Tokens, which lie frame by frame, to one row a patch: split into frames and patches, then flatten.

    Equation: the rows in which attention along time (2.3) takes its softmax.
    """
    return flatten(split(patches, t))


TUBES_MISTAKES = [
    Mistake(
        "each of your rows mixes patches: it holds t neighbours of one frame. A reshape alone never changes the order "
        "of the numbers, and the tokens lie frame by frame, (t n). Split (t n), swap the two axes, then flatten.",
        {"split": _by_patch},
    ),
    Mistake(
        "the rows are right, but come patch by patch, (n b). Row v * n + p is patch p of video v: flatten (b n).",
        {"flatten": lambda split: rearrange(split, "b t n d -> (n b) t d")},
    ),
    Mistake(
        "each of your rows mixes videos: you split off the frames first. The videos are the outer axis: (b, t, n, d).",
        {"split": _frames_outside},
    ),
    Mistake(
        "you swapped videos and frames, so a row mixes patches and videos. Swap frames and patches: axes 1 and 2.",
        {"flatten": lambda split: _cut(split.transpose(0, 1).reshape(split.shape))},
    ),
    Mistake(
        "you read the tokens as (n t), but they lie frame by frame: split (b, t, n, d), and only then swap t and n.",
        {"split": _by_patch, "flatten": _cut},
    ),
    Mistake(
        "the frames run backward in your rows.", {"flatten": lambda x: rearrange(x.flip(1), "b t n d -> (b n) t d")}
    ),
]

# ---- and back


def tokens_of(
    tubes: Float[Tensor, "rows t d"],
    b: int,
    *,
    split: Callable = lambda tubes, b: rearrange(tubes, "(b n) t d -> b t n d", b=b),
    merge: Callable = lambda split: rearrange(split, "b t n d -> b (t n) d"),
) -> Float[Tensor, "b tokens d"]:
    """One row a patch to tokens that lie frame by frame: split into videos and patches, then merge."""
    return merge(split(tubes, b))


def _rows_as_frames(tubes: Float[Tensor, "rows t d"], b: int) -> Float[Tensor, "b t n d"]:
    rows, t, d = tubes.shape
    return tubes.reshape(b, t, rows // b, d)


TOKENS_MISTAKES = [
    Mistake(
        "the tokens come back patch by patch, (n t). They lay frame by frame: all patches of frame 0, then all of "
        "frame 1. Swap n and t before you flatten: (t n).",
        {"merge": lambda split: rearrange(split, "b t n d -> b (n t) d")},
    ),
    Mistake(
        "the tokens come back in another video. The rows are (b n), all patches of video 0 first; you read (n b).",
        {"split": lambda tubes, b: rearrange(tubes, "(n b) t d -> b t n d", b=b)},
    ),
    Mistake(
        "you read the rows as (b t), but a row is one patch over time: split them into (b, n, t, d), swap n and t.",
        {"split": _rows_as_frames, "merge": lambda split: rearrange(split, "b t n d -> b (n t) d")},
    ),
]

# ---- the check


def _numbered(b: int, t: int, n: int, d: int) -> tuple[Float[Tensor, "b tokens d"], int]:
    """Tokens whose numbers say where they come from: 123 is video 1, frame 2, patch 3."""
    video, frame, patch = (torch.arange(size, dtype=torch.float32) for size in (b, t, n))
    number = 100 * video[:, None, None] + 10 * frame[:, None] + patch
    return rearrange(number[..., None] + 0.1 * torch.arange(d), "b t n d -> b (t n) d"), t


SIZES = [(2, 3, 4, 1), (2, 4, 3, 2), (3, 2, 2, 5), (2, 1, 3, 2), (1, 3, 1, 2)]
TUBES_CASES = [_numbered(*sizes) for sizes in SIZES]
TOKENS_CASES = [(tubes_of(*case), sizes[0]) for case, sizes in zip(TUBES_CASES, SIZES, strict=True)]


def _label(b: int, t: int, n: int, d: int) -> str:
    return f"{b} videos, {t} frames, {n} patches, numbered 100 video + 10 frame + patch"


def _check_there(to_tubes: Callable) -> None:
    name = name_of(to_tubes)
    for i, (b, t, n, d) in enumerate(SIZES):
        hints = {
            (b, t * n, d): "Nothing is cut into rows yet: one row a patch of a video, (b n) of them.",
            (b, t, n, d): "Frames and patches are apart, and that is a good start. Now swap them, and flatten (b n).",
            (b, n, t, d): "Nearly there: attention takes rows, so flatten videos and patches, (b n).",
            (b * n, d, t): "Time and width are swapped: a row is t tokens of width d.",
            (n, b * t, d): "A row holds all the videos one behind the other, and they would look at each other.",
            (
                b * t,
                n,
                d,
            ): "Frames and patches are swapped: those are rows across space. Here a row is one patch over time.",
        }
        got = call(to_tubes, *TUBES_CASES[i])
        check_shape(name, got, (b * n, t, d), hints, "One row a patch of a video: (b n) rows of t tokens.")
        check_value(name, got, tubes_of, TUBES_CASES[: i + 1], TUBES_MISTAKES, _label(*SIZES[i]))
    check_gradient(to_tubes, tubes_of, TUBES_CASES[0])


def _check_back(from_tubes: Callable) -> None:
    name = name_of(from_tubes)
    for i, (b, t, n, d) in enumerate(SIZES):
        hints = {
            (b * n, t, d): "Those are still rows. Give each video its tokens back.",
            (b, n, t, d): "Swap patches and frames, then flatten the two: (t n).",
            (b, t, n, d): "Flatten frames and patches: (t n).",
            (b * t, n, d): "Those are rows of one frame. The first axis must be the videos.",
        }
        got = call(from_tubes, *TOKENS_CASES[i])
        check_shape(name, got, (b, t * n, d), hints, "Every video gets its tokens back, frame by frame: (t n).")
        check_value(name, got, tokens_of, TOKENS_CASES[: i + 1], TOKENS_MISTAKES, _label(*SIZES[i]))
    check_gradient(from_tubes, tokens_of, TOKENS_CASES[0])


@exercise
def check_temporal_reshape(to_tubes: Callable, from_tubes: Callable) -> str:
    """Check `to_tubes(patches (b t*n d), t) -> (b*n t d)` and `from_tubes(tubes (b*n t d), b) -> (b t*n d)`."""
    _check_there(to_tubes)
    try:
        _check_back(from_tubes)
    except Finding as finding:
        raise Finding(f"{finding} ({name_of(to_tubes)} is right already.)") from None
    return "each row is one patch over time, and there and back changes nothing."
