"""Exercise 2 of notebook 2: the block of divided attention, put together from its parts."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of
from mmlib.exercises.timesformer.parts import in_rows, make_block, make_tokens


def _mean_over_frames(copied: Float[Tensor, "b t 1 d"], seen: Float[Tensor, "b t 1 d"]) -> Float[Tensor, "b 1 d"]:
    return reduce(copied + seen, "b t 1 d -> b 1 d", "mean")


def divided(
    block: Any,
    tokens: Float[Tensor, "b tokens d"],
    t: int,
    *,
    order: Callable = list,
    read_time: Callable = lambda block, patches: block.norm_time(patches),
    along: Callable = lambda block, patches, c: in_rows(block.temporal, patches, "(b n) t d"),
    project: Callable = lambda block, moved: block.project(moved),
    add_time: Callable = torch.add,
    copies: Callable = lambda class_token, t: repeat(class_token, "b 1 d -> b t 1 d", t=t),
    read_space: Callable = lambda block, frames: block.norm_space(frames),
    across: Callable = lambda block, frames: in_rows(block.spatial, frames, "(b t) n d"),
    pool: Callable = _mean_over_frames,
    add_space: Callable = torch.add,
    read_mlp: Callable = lambda block, tokens: block.norm_mlp(tokens),
    add_mlp: Callable = torch.add,
    join: Callable = lambda class_token, patches: [class_token, patches],
) -> Float[Tensor, "b tokens d"]:
    """Attention along time, then across space with a copy of the class token in each frame, then the MLP.

    Equation: z' = z + W Attn_time(LN(z)), z'' = z' + Attn_space(LN(z')), z''' = z'' + MLP(LN(z''))  (2.5), where the
    class token skips the first and moves by the mean of its copies' steps in the second (2.6).

    Args:
        block: what holds the parts: `make_block`, or a `DividedBlock` of the package.
    """

    def time(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return c, add_time(x, project(block, along(block, read_time(block, x), c)))

    def space(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        copied = copies(c, t)
        seen = across(block, read_space(block, torch.cat([copied, x], dim=2)))
        return pool(copied, seen[:, :, :1]), add_space(x, seen[:, :, 1:])

    class_token, patches = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b t n d", t=t)
    for step in order([time, space]):
        class_token, patches = step(class_token, patches)
    tokens = torch.cat(join(class_token, rearrange(patches, "b t n d -> b (t n) d")), dim=1)
    return add_mlp(tokens, block.mlp(read_mlp(block, tokens)))


def _side_by_side(steps: list[Callable]) -> list[Callable]:
    time, space = steps

    def both(c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        class_token, seen = space(c, x)
        return class_token, time(c, x)[1] + seen - x

    return [both]


def _with_class_token(block: Any, patches: Tensor, c: Tensor) -> Float[Tensor, "b t n d"]:
    c = repeat(block.norm_time(c), "b 1 d -> b 1 n d", n=patches.shape[2])
    return in_rows(block.temporal, torch.cat([c, patches], dim=1), "(b n) t d")[:, 1:]


def _copies_by_repeat(class_token: Float[Tensor, "b 1 d"], t: int) -> Float[Tensor, "b t 1 d"]:
    return rearrange(class_token.repeat(t, 1, 1), "(b t) 1 d -> b t 1 d", t=t)


def _all_but_class_token(x: Tensor, step: Tensor) -> Tensor:
    return torch.cat([x[:, :1], (x + step)[:, 1:]], dim=1)


def _cut_into(attend: Callable, x: Float[Tensor, "b t n d"], length: int) -> Float[Tensor, "b t n d"]:
    return attend(x.reshape(-1, length, x.shape[3])).reshape(x.shape)


CLASS_TOKEN_MISTAKES = [
    Mistake(
        "the copies of the class token stand in another order than the frames, so a frame gets the class token of "
        "another video. Frames are (b t); c.repeat(t, 1, 1) gives (t b). Use repeat(c, 'b 1 d -> (b t) 1 d', t=t), "
        "or c.repeat_interleave(t, dim=0).",
        {"copies": _copies_by_repeat},
    ),
    Mistake(
        "the class token moves by what it saw in the first frame alone. Take the mean over all frames.",
        {"pool": lambda copied, seen: copied[:, 0] + seen[:, 0]},
    ),
    Mistake(
        "the class token moves by what it saw in the last frame alone. Take the mean over all frames.",
        {"pool": lambda copied, seen: copied[:, -1] + seen[:, -1]},
    ),
    Mistake(
        "you summed over frames what the class token saw. Take the mean, or long videos shout.",
        {"pool": lambda copied, seen: copied.mean(dim=1) + seen.sum(dim=1)},
    ),
    Mistake(
        "the class token forgets what it was: you kept the mean of what it saw. Add that to the old one.",
        {"pool": lambda copied, seen: seen.mean(dim=1)},
    ),
    Mistake(
        "the class token enters the attention across space as it is. Normalise it as well: norm_space.",
        {"read_space": lambda block, x: torch.cat([x[:, :, :1], block.norm_space(x[:, :, 1:])], dim=2)},
    ),
    Mistake("the class token skips the MLP. Every token goes through it.", {"add_mlp": _all_but_class_token}),
]
BLOCK_MISTAKES = [
    Mistake("the residual along time is missing: z' = z + what it brings.", {"add_time": lambda x, step: step}),
    Mistake("the residual across space is missing: z'' = z' + what it brings.", {"add_space": lambda x, step: step}),
    Mistake("the residual of the MLP is missing: z''' = z'' + what it brings.", {"add_mlp": lambda x, step: step}),
    Mistake("the step along time has no effect on the result.", {"add_time": lambda x, step: x}),
    Mistake("the step across space has no effect on the patches.", {"add_space": lambda x, step: x}),
    Mistake("the MLP has no effect on the result.", {"add_mlp": lambda x, step: x}),
    Mistake("norm_time is missing: attention along time sees normalised tokens.", {"read_time": lambda block, x: x}),
    Mistake(
        "norm_space is missing: attention across space sees normalised tokens.", {"read_space": lambda block, x: x}
    ),
    Mistake("norm_mlp is missing: the MLP sees normalised tokens.", {"read_mlp": lambda block, x: x}),
    Mistake(
        "along time you used norm_space. Each step has its norm.", {"read_time": lambda block, x: block.norm_space(x)}
    ),
    Mistake(
        "across space you used norm_time. Each step has its norm.", {"read_space": lambda block, x: block.norm_time(x)}
    ),
    Mistake(
        "before the MLP you used norm_space. Each step has its norm.",
        {"read_mlp": lambda block, x: block.norm_space(x)},
    ),
    Mistake("block.project is missing: W, behind the attention along time.", {"project": lambda block, moved: moved}),
    Mistake("time comes after space. The order is time, space, MLP.", {"order": lambda steps: steps[::-1]}),
    Mistake(
        "time and space stand side by side: across space you look at the patches as they were. Give it the result of "
        "the step along time.",
        {"order": _side_by_side},
    ),
    Mistake(
        "your rows along time mix patches. The tokens lie frame by frame: (t n), then swap, then rows (b n).",
        {"along": lambda block, x, c: _cut_into(block.temporal, x, x.shape[1])},
    ),
    Mistake(
        "your first attention looks across space: its rows are frames. Along time a row is one patch: (b n) t d.",
        {"along": lambda block, x, c: in_rows(block.temporal, x, "(b t) n d")},
    ),
    Mistake(
        "the class token takes part in the attention along time. It has no place, so it skips that step.",
        {"along": _with_class_token},
    ),
    Mistake(
        "along time you called block.spatial. That is block.temporal's work.",
        {"along": lambda block, x, c: in_rows(block.spatial, x, "(b n) t d")},
    ),
    Mistake(
        "across space you called block.temporal. That is block.spatial's work.",
        {"across": lambda block, x: in_rows(block.temporal, x, "(b t) n d")},
    ),
    Mistake(
        "across space all frames stand in one row: that is joint attention. A row is one frame: (b t) n d.",
        {"across": lambda block, x: in_rows(block.spatial, x, "b (t n) d")},
    ),
    Mistake(
        "the class token is in every frame, but what it saw there is thrown away. Keep index 0 of each frame's result.",
        {"pool": lambda copied, seen: copied.mean(dim=1)},
    ),
    *CLASS_TOKEN_MISTAKES,
    Mistake("the class token is last. It comes first.", {"join": lambda class_token, patches: [patches, class_token]}),
]


SIZES = [(2, 3, 2), (3, 2, 4), (1, 1, 3), (2, 4, 1)]
BLOCK_CASES = [(make_block(seed), make_tokens(*sizes), sizes[1]) for seed, sizes in enumerate(SIZES)]


@exercise
def check_block(divided_block: Callable) -> str:
    """Check `divided_block(block, tokens (b 1+t*n d), t) -> (b 1+t*n d)`."""
    name = name_of(divided_block)
    for i, (b, t, n) in enumerate(SIZES):
        got, d = call(divided_block, *BLOCK_CASES[i]), 4
        hints = {
            (b, t * n, d): "The class token is gone: put it back in front.",
            (b, t * (1 + n), d): "Each frame still has its class token. Make one of them: the mean of what they saw.",
            (b, t, 1 + n, d): "Each frame still has its class token. Make one of them, then flatten the patches.",
            (b * t, 1 + n, d): "Those are still rows of one frame. Give each video its tokens back.",
            (b, 1, d): "That is the class token alone. The patches go on to the next block.",
            (b, d): "That is the class token alone. The patches go on to the next block.",
        }
        check_shape(name, got, (b, 1 + t * n, d), hints, "A block keeps the shape: the class token, then the patches.")
        label = f"{b} videos, {t} frames, {n} patches"
        check_value(name, got, divided, BLOCK_CASES[: i + 1], BLOCK_MISTAKES, label)
    check_gradient(divided_block, divided, BLOCK_CASES[0])
    return "time, space, MLP, each added to what was there. This is the block that the package trains."
