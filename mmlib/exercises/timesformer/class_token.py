"""Exercise 3 of notebook 2: a class token that was set aside, so that every video gets the same answer."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import (
    OldMistake as Mistake,
)
from mmlib.exercises.core import (
    call,
    check_gradient,
    check_shape,
    check_value,
    exercise,
    name_of,
    not_started,
    not_yet,
)
from mmlib.exercises.timesformer.block import CLASS_TOKEN_MISTAKES, divided
from mmlib.exercises.timesformer.parts import in_rows, make_block, make_tokens


def encode(
    blocks: list[SimpleNamespace],
    tokens: Float[Tensor, "b tokens d"],
    t: int,
    *,
    run: Callable = divided,
    read: Callable = lambda tokens: tokens[:, 0],
) -> Float[Tensor, "b d"]:
    """Run the blocks one behind the other, and read the class token."""
    for block in blocks:
        tokens = run(block, tokens, t)
    return read(tokens)


def _nothing(block: SimpleNamespace, c: Tensor, x: Tensor) -> Tensor:
    return torch.zeros_like(c)


def _set_aside(block: SimpleNamespace, tokens: Tensor, t: int, *, brings: Callable = _nothing) -> Tensor:
    """The block of the exercise: the patches look at each other only, and the class token gets what `brings` says."""
    c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b t n d", t=t)
    x = x + block.project(in_rows(block.temporal, block.norm_time(x), "(b n) t d"))
    c = c + brings(block, c, x)
    x = x + in_rows(block.spatial, block.norm_space(x), "(b t) n d")
    tokens = torch.cat([c, rearrange(x, "b t n d -> b (t n) d")], dim=1)
    return tokens + block.mlp(block.norm_mlp(tokens))


def _added_to(brings: Callable) -> dict[str, Callable]:
    return {"run": lambda block, tokens, t: _set_aside(block, tokens, t, brings=brings)}


def _asks_each_frame(block: SimpleNamespace, c: Tensor, x: Tensor) -> Tensor:
    frames = torch.cat([repeat(c, "b 1 d -> b t 1 d", t=x.shape[1]), x], dim=2)
    seen = in_rows(block.spatial, block.norm_space(frames), "(b t) n d")
    return reduce(seen[:, :, :1], "b t 1 d -> b 1 d", "mean")


def _asks_all(block: SimpleNamespace, c: Tensor, x: Tensor) -> Tensor:
    every = torch.cat([c, rearrange(x, "b t n d -> b (t n) d")], dim=1)
    return block.spatial(block.norm_space(every))[:, :1]


def _asks_mean_frame(block: SimpleNamespace, c: Tensor, x: Tensor) -> Tensor:
    return block.spatial(block.norm_space(torch.cat([c, x.mean(dim=1)], dim=1)))[:, :1]


def _mean_of_patches(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].mean(dim=1)


def _joins_time(block: SimpleNamespace, tokens: Tensor, t: int) -> Tensor:
    c, x = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b t n d", t=t)
    tubes = torch.cat([repeat(c, "b 1 d -> b 1 n d", n=x.shape[2]), x], dim=1)
    tubes = tubes + block.project(in_rows(block.temporal, block.norm_time(tubes), "(b n) t d"))
    c, x = tubes[:, :1].mean(dim=2), tubes[:, 1:]
    x = x + in_rows(block.spatial, block.norm_space(x), "(b t) n d")
    tokens = torch.cat([c, rearrange(x, "b t n d -> b (t n) d")], dim=1)
    return tokens + block.mlp(block.norm_mlp(tokens))


GIVEN = {"run": _set_aside}
NOT_READ = "you read the patches in place of the class token. That would work, but then it has no use. Mend the block."
ENCODE_MISTAKES = [
    Mistake(
        "the class token asks the patches now, but the patches cannot ask it. Attend once, over the class token "
        "and the patches of a frame together, and use the whole result.",
        _added_to(_asks_each_frame),
    ),
    Mistake(
        "the class token asks all frames at once, in one softmax: that is joint attention. Let it ask in each frame.",
        _added_to(_asks_all),
    ),
    Mistake(
        "you averaged the frames, and then let the class token look. Let it look first, then average what it saw.",
        _added_to(_asks_mean_frame),
    ),
    Mistake(
        "you added the mean of the patches to the class token. It should ask: attention weighs the patches.",
        _added_to(lambda block, c, x: reduce(x, "b t n d -> b 1 d", "mean")),
    ),
    Mistake(
        "the class token joined the attention along time. It has no place, so it joins each frame, across space.",
        {"run": _joins_time},
    ),
    Mistake(NOT_READ, {"run": _set_aside, "read": _mean_of_patches}),
    Mistake(NOT_READ, {"read": _mean_of_patches}),
    Mistake(
        "you read the mean of all tokens. Read the class token, index 0.", {"read": lambda tokens: tokens.mean(dim=1)}
    ),
    *(Mistake(mistake.says, {"run": partial(divided, **mistake.knobs)}) for mistake in CLASS_TOKEN_MISTAKES),
]


def _videos(b: int, t: int, n: int) -> Float[Tensor, "b tokens d"]:
    """Tokens of videos that begin with one and the same class token, as in a model."""
    tokens = make_tokens(b, t, n)
    tokens[:, 0] = tokens[0, 0]
    return tokens


SIZES = [(3, 2, 3), (2, 3, 2), (2, 1, 4)]
ENCODE_CASES = [
    ([make_block(seed), make_block(seed + 1)], _videos(*sizes), sizes[1]) for seed, sizes in enumerate(SIZES)
]


def spread_over_videos(encoded: Float[Tensor, "b d"]) -> float:
    """Standard deviation over the videos, mean of the features: 0 when every video gets the same vector."""
    return encoded.std(dim=0).mean().item()


def _class_token_joins(encode_video: Callable) -> bool:
    """Whether the attention across space of the first block sees more tokens than the patches of a frame."""
    blocks, tokens, t = ENCODE_CASES[0]
    lengths = set()

    def spatial(rows: Tensor) -> Tensor:
        lengths.add(rows.shape[1])
        return blocks[0].spatial(rows)

    call(encode_video, [SimpleNamespace(**{**vars(blocks[0]), "spatial": spatial}), *blocks[1:]], tokens, t)
    return lengths != {SIZES[0][2]}


@exercise
def check_class_token(encode_video: Callable) -> str:
    """Check `encode_video(blocks, tokens (b 1+t*n d), t) -> (b d)`, in which the reader mends one bug."""
    name = name_of(encode_video)
    for i, (b, t, n) in enumerate(SIZES):
        got, d = call(encode_video, *ENCODE_CASES[i]), 4
        hints = {
            (b, 1, d): "One axis too many: take the class token itself, [:, 0].",
            (b, 1 + t * n, d): "That is every token. Read the class token, [:, 0].",
            (b * t, d): "That is a class token for each frame. Take the mean over the frames in every block.",
            (b, t, d): "That is a class token for each frame. Take the mean over the frames in every block.",
        }
        check_shape(name, got, (b, d), hints, "One vector a video.")
        if i == 0 and spread_over_videos(got) < 1e-6:
            spread = f"{b} videos, standard deviation {spread_over_videos(got):.4f}"
            right = f"{spread_over_videos(encode(*ENCODE_CASES[i])):.4f}"
            if _class_token_joins(encode_video):
                not_yet(
                    f"the class token looks at the frames, but what it saw is lost ({spread}, expected {right}). "
                    "Index 0 of each frame's result is its share: add the mean of them to the class token."
                )
            not_started(
                f"every video still gets the same vector ({spread}, expected {right}). Follow class_token down the "
                "function: where could it learn anything about the video?"
            )
        label = f"{b} videos, {t} frames, {n} patches"
        check_value(name, got, encode, ENCODE_CASES[: i + 1], ENCODE_MISTAKES, label)
    check_gradient(encode_video, encode, ENCODE_CASES[0])
    return "the class token looks into every frame, the frames look at it, and each video gets a vector of its own."
