"""The exercises of notebook 2: rows along time, the block, a class token that is blind, other frame counts."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from mmlib.check import refuse
from mmlib.exercises.core import Exercise, call, in_turn, not_started, not_yet

__all__ = ["check_block", "check_class_token", "check_temporal_reshape", "check_time_embedding"]

# ---- Exercise 1: from tokens to rows along time, one row a patch, and back


def to_tubes(patches: Float[Tensor, "b tokens d"], t: int) -> Float[Tensor, "rows t d"]:
    """Tokens, which lie frame by frame, to one row a patch: split into frames and patches, then flatten.

    Equation: the rows in which attention along time (2.3) takes its softmax.
    """
    frames = rearrange(patches, "b (t n) d -> b t n d", t=t)
    return rearrange(frames, "b t n d -> (b n) t d")


def _hints_of_tubes(b: int, t: int, tokens: int, d: int) -> dict[tuple[int, ...], str]:
    n = tokens // t
    return {
        (b, tokens, d): "Nothing is cut into rows yet: one row a patch of a video, (b n) of them.",
        (b, t, n, d): "Frames and patches are apart, and that is a good start. Now swap them, and flatten (b n).",
        (b, n, t, d): "Nearly there: attention takes rows, so flatten videos and patches, (b n).",
        (b * n, d, t): "Time and width are swapped: a row is t tokens of width d.",
        (n, b * t, d): "A row holds all the videos one behind the other, and they would look at each other.",
        (b * t, n, d): "Frames and patches are swapped: those are rows across space. Here a row is one patch over "
        "time.",
    }


def _numbered(b: int, t: int, n: int, d: int) -> tuple[Float[Tensor, "b tokens d"], int]:
    """Tokens whose numbers say where they come from: 123 is video 1, frame 2, patch 3."""
    video, frame, patch = (torch.arange(size, dtype=torch.float32) for size in (b, t, n))
    number = 100 * video[:, None, None] + 10 * frame[:, None] + patch
    return rearrange(number[..., None] + 0.1 * torch.arange(d), "b t n d -> b (t n) d"), t


def _label(b: int, t: int, n: int) -> str:
    return f"{b} videos, {t} frames, {n} patches, numbered 100 video + 10 frame + patch"


FLATTEN = 'rearrange(frames, "b t n d -> (b n) t d")'
there = Exercise(
    reference=to_tubes,
    cases=[_numbered(*sizes) for sizes in [(2, 3, 4, 1), (2, 4, 3, 2), (3, 2, 2, 5), (2, 1, 3, 2), (1, 3, 1, 2)]],
    mistakes={
        "each of your rows mixes patches: it holds t neighbours of one frame. A reshape alone never changes the order "
        "of the numbers, and the tokens lie frame by frame, (t n). Split (t n), swap the two axes, then flatten.": {
            "b (t n) d": "b (n t) d"
        },
        "the rows are right, but come patch by patch, (n b). Row v * n + p is patch p of video v: flatten (b n).": {
            "-> (b n) t d": "-> (n b) t d"
        },
        "each of your rows mixes videos: you split off the frames first. The videos are the outer axis: "
        "(b, t, n, d).": {
            'rearrange(patches, "b (t n) d -> b t n d", t=t)': (
                "patches.reshape(t, len(patches), -1, patches.shape[2]).transpose(0, 1)"
            )
        },
        "you swapped videos and frames, so a row mixes patches and videos. Swap frames and patches: axes 1 and 2.": {
            FLATTEN: "frames.transpose(0, 1).reshape(-1, t, patches.shape[2])"
        },
        "you read the tokens as (n t), but they lie frame by frame: split (b, t, n, d), and only then swap t and n.": {
            "b (t n) d": "b (n t) d",
            FLATTEN: "frames.reshape(-1, t, patches.shape[2])",
        },
        "the frames run backward in your rows.": {"rearrange(frames": "rearrange(frames.flip(1)"},
    },
    shape="One row a patch of a video: (b n) rows of t tokens.",
    hints=_hints_of_tubes,
    label=lambda b, t, tokens: _label(b, t, tokens // t),
)


def from_tubes(tubes: Float[Tensor, "rows t d"], b: int) -> Float[Tensor, "b tokens d"]:
    """One row a patch to tokens that lie frame by frame: split into videos and patches, then merge."""
    frames = rearrange(tubes, "(b n) t d -> b t n d", b=b)
    return rearrange(frames, "b t n d -> b (t n) d")


def _hints_of_tokens(b: int, t: int, rows: int, d: int) -> dict[tuple[int, ...], str]:
    n = rows // b
    return {
        (rows, t, d): "Those are still rows. Give each video its tokens back.",
        (b, n, t, d): "Swap patches and frames, then flatten the two: (t n).",
        (b, t, n, d): "Flatten frames and patches: (t n).",
        (b * t, n, d): "Those are rows of one frame. The first axis must be the videos.",
    }


back = Exercise(
    reference=from_tubes,
    cases=[(to_tubes(patches, t), len(patches)) for patches, t in there.cases],
    mistakes={
        "the tokens come back patch by patch, (n t). They lay frame by frame: all patches of frame 0, then all of "
        "frame 1. Swap n and t before you flatten: (t n).": {"-> b (t n) d": "-> b (n t) d"},
        "the tokens come back in another video. The rows are (b n), all patches of video 0 first; you read (n b).": {
            "(b n) t d": "(n b) t d"
        },
        "you read the rows as (b t), but a row is one patch over time: split them into (b, n, t, d), swap n and t.": {
            'rearrange(tubes, "(b n) t d -> b t n d", b=b)': "tubes.reshape(b, tubes.shape[1], -1, tubes.shape[2])",
            "-> b (t n) d": "-> b (n t) d",
        },
    },
    shape="Every video gets its tokens back, frame by frame: (t n).",
    hints=_hints_of_tokens,
    label=lambda b, t, rows: _label(b, t, rows // b),
    praise="each row is one patch over time, and there and back changes nothing.",
)
check_temporal_reshape = in_turn(there, back)

# ---- Exercise 2: the block of divided attention, put together from its parts


def make_block(seed: int, d: int = 4) -> SimpleNamespace:
    """Stand in for a `DividedBlock`: the same seven names, plain functions, and each with random weights of its own."""
    generator = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> Float[Tensor, "..."]:
        return torch.randn(*shape, generator=generator) / d**0.5

    def norm() -> Callable:
        scale, shift = 1 + weights(d), weights(d)
        return lambda tokens: F.layer_norm(tokens, [d], scale, shift)

    def attention(where: str) -> Callable:
        to_qkv, out = weights(3, d, d), weights(d, d)

        def attend(rows: Float[Tensor, "..."]) -> Float[Tensor, "rows tokens d"]:
            if rows.dim() != 3:
                fix = "Each row is a sequence of its own: flatten all that stands before its tokens."
                refuse(where, "rows (rows, tokens, d)", str(tuple(rows.shape)), fix)
            return F.scaled_dot_product_attention(*(rows @ w for w in to_qkv)) @ out

        return attend

    project, wide, narrow = weights(d, d), weights(d, 2 * d), weights(2 * d, d)
    return SimpleNamespace(
        norm_time=norm(),
        temporal=attention("block.temporal"),
        project=lambda tokens: tokens @ project,
        norm_space=norm(),
        spatial=attention("block.spatial"),
        norm_mlp=norm(),
        mlp=lambda tokens: F.gelu(tokens @ wide) @ narrow,
    )


def make_tokens(b: int, t: int, n: int, d: int = 4) -> Float[Tensor, "b tokens d"]:
    """Random tokens of `b` videos of `t` frames of `n` patches, behind one class token each."""
    return torch.randn(b, 1 + t * n, d, generator=torch.Generator().manual_seed(b + 10 * t + 100 * n))


def divided_block(block: Any, tokens: Float[Tensor, "b count d"], t: int) -> Float[Tensor, "b count d"]:
    """Attention along time, then across space with a copy of the class token in each frame, then the MLP.

    Equation: z' = z + W Attn_time(LN(z)), z'' = z' + Attn_space(LN(z')), z''' = z'' + MLP(LN(z''))  (2.5), where the
    class token skips the first and moves by the mean of its copies' steps in the second (2.6).

    Args:
        block: what holds the parts: `make_block`, or a `DividedBlock` of the package.
    """
    b = len(tokens)
    class_token, patches = tokens[:, :1], tokens[:, 1:]
    tubes = rearrange(patches, "b (t n) d -> (b n) t d", t=t)
    tubes = tubes + block.project(block.temporal(block.norm_time(tubes)))
    frames = rearrange(tubes, "(b n) t d -> (b t) n d", b=b)
    copies = class_token.repeat_interleave(t, dim=0)
    frames = torch.cat([copies, frames], dim=1)
    seen = block.spatial(block.norm_space(frames))
    frames = frames + seen
    class_token = reduce(frames[:, :1], "(b t) 1 d -> b 1 d", "mean", b=b)
    patches = rearrange(frames[:, 1:], "(b t) n d -> b (t n) d", b=b)
    tokens = torch.cat([class_token, patches], dim=1)
    return tokens + block.mlp(block.norm_mlp(tokens))


# What stands in the block, and in the encoder of exercise 3, for the mistakes that both can have.
TUBES = 'rearrange(patches, "b (t n) d -> (b n) t d", t=t)'
ALONG_TIME = "tubes = tubes + block.project(block.temporal(block.norm_time(tubes)))"
FRAMES = 'rearrange(tubes, "(b n) t d -> (b t) n d", b=b)'
COPIES = "class_token.repeat_interleave(t, dim=0)"
CLASS_TOKEN = 'reduce(frames[:, :1], "(b t) 1 d -> b 1 d", "mean", b=b)'
PATCHES = 'rearrange(frames[:, 1:], "(b t) n d -> b (t n) d", b=b)'
MLP = "tokens + block.mlp(block.norm_mlp(tokens))"
PATCHES_ALONE = {  # the patches do not attend to the class token
    "frames + seen": "frames + torch.cat([seen[:, :1], block.spatial(block.norm_space(frames[:, 1:]))], dim=1)"
}
SEEN_BY_PATCHES = {"frames + seen": "frames + seen"}  # else the class token is set aside
SET_ASIDE = {
    "torch.cat([copies, frames], dim=1)": "frames",
    CLASS_TOKEN: "class_token",
    "frames[:, 1:]": "frames",
}

STEP_MISTAKES = {
    "the residual along time is missing: z' = z + what it brings.": {"tubes + block.project": "block.project"},
    "the residual across space is missing: z'' = z' + what it brings.": [
        {"frames[:, 1:]": "seen[:, 1:]"},  # of the patches
        {"frames + seen": "seen"},  # of the class token too
    ],
    "the residual of the MLP is missing: z''' = z'' + what it brings.": {"tokens + block.mlp": "block.mlp"},
    "the step along time has no effect on the result.": {ALONG_TIME: "pass"},
    "the step across space has no effect on the patches.": {"frames[:, 1:]": "(frames - seen)[:, 1:]"},
    "the MLP has no effect on the result.": {MLP: "tokens"},
    "norm_time is missing: attention along time sees normalised tokens.": {"block.norm_time(tubes)": "tubes"},
    "norm_space is missing: attention across space sees normalised tokens.": {"block.norm_space(frames)": "frames"},
    "norm_mlp is missing: the MLP sees normalised tokens.": {"block.norm_mlp(tokens)": "tokens"},
    "along time you used norm_space. Each step has its norm.": {"norm_time": "norm_space"},
    "across space you used norm_time. Each step has its norm.": {"norm_space": "norm_time"},
    "before the MLP you used norm_space. Each step has its norm.": {"norm_mlp": "norm_space"},
    "block.project is missing: W, behind the attention along time.": {"block.project(": "("},
    "time comes after space. The order is time, space, MLP.": {
        ALONG_TIME: "pass",
        f"patches = {PATCHES}": 'tubes = rearrange(frames[:, 1:], "(b t) n d -> (b n) t d", b=b); '
        f'{ALONG_TIME}; patches = rearrange(tubes, "(b n) t d -> b (t n) d", b=b)',
    },
    "time and space stand side by side: across space you look at the patches as they were. Give it the result of "
    "the step along time.": {
        FRAMES: 'rearrange(patches, "b (t n) d -> (b t) n d", t=t)',
        PATCHES: 'rearrange(seen[:, 1:], "(b t) n d -> b (t n) d", b=b) '
        '+ rearrange(tubes, "(b n) t d -> b (t n) d", b=b)',
    },
    "your rows along time mix patches. The tokens lie frame by frame: (t n), then swap, then rows (b n).": {
        TUBES: "patches.reshape(-1, t, patches.shape[2])",
        FRAMES: "tubes.reshape(b * t, -1, tubes.shape[2])",
    },
    "your first attention looks across space: its rows are frames. Along time a row is one patch: (b n) t d.": {
        TUBES: 'rearrange(patches, "b (t n) d -> (b t) n d", t=t)',
        FRAMES: "tubes",
    },
    "the class token takes part in the attention along time. It has no place, so it skips that step.": {
        "block.norm_time(tubes))": "block.norm_time(torch.cat([class_token.repeat_interleave(len(tubes) // b, dim=0), "
        "tubes], dim=1)))[:, 1:]"
    },
    "along time you called block.spatial. That is block.temporal's work.": {"block.temporal": "block.spatial"},
    "across space you called block.temporal. That is block.spatial's work.": {"block.spatial": "block.temporal"},
    "across space all frames stand in one row: that is joint attention. A row is one frame: (b t) n d.": [
        {
            "block.spatial(block.norm_space(frames))": "rearrange(block.spatial(rearrange(block.norm_space(frames), "
            '"(b t) n d -> b (t n) d", t=t)), "b (t n) d -> (b t) n d", t=t)'
        },
        {FRAMES: 'rearrange(tubes, "(b n) t d -> b (t n) d", b=b)', COPIES: "class_token"}
        | {CLASS_TOKEN: "frames[:, :1]", PATCHES: "frames[:, 1:]"},  # one class token, in front of all frames
    ],
}
CLASS_TOKEN_MISTAKES = {
    "the copies of the class token stand in another order than the frames, so a frame gets the class token of "
    "another video. Frames are (b t); c.repeat(t, 1, 1) gives (t b). Use repeat(c, 'b 1 d -> (b t) 1 d', t=t), "
    "or c.repeat_interleave(t, dim=0).": {COPIES: "class_token.repeat(t, 1, 1)"},
    "the class token asks the patches now, but the patches cannot ask it. Attend once, over the class token "
    "and the patches of a frame together, and use the whole result.": PATCHES_ALONE,
    "the class token moves by what it saw in the first frame alone. Take the mean over all frames.": {
        CLASS_TOKEN: "frames[::t, :1]"
    },
    "the class token moves by what it saw in the last frame alone. Take the mean over all frames.": {
        CLASS_TOKEN: "frames[t - 1 :: t, :1]"
    },
    "you summed over frames what the class token saw. Take the mean, or long videos shout.": [
        {CLASS_TOKEN: 'class_token + reduce(seen[:, :1], "(b t) 1 d -> b 1 d", "sum", b=b)'},
        {'"mean"': '"sum"'},
    ],
    "the class token forgets what it was: you kept the mean of what it saw. Add that to the old one.": {
        "frames[:, :1]": "seen[:, :1]"
    },
    "the class token counts twice: its copies hold what it was already. Their mean is the new one.": {
        "class_token = reduce(": "class_token = class_token + reduce("
    },
    "you added the mean of the patches to the class token. It should ask: attention weighs the patches.": [
        {CLASS_TOKEN: f'{old}reduce({patches}, "(b {axis}) {other} d -> b 1 d", "mean", b=b)', **alone}
        for patches, axis, other in [("tubes", "n", "t"), ("frames[:, 1:]", "t", "n"), ("seen[:, 1:]", "t", "n")]
        for old in ("class_token + ", "")
        for alone in ({}, PATCHES_ALONE)
    ],
    "the class token enters the attention across space as it is. Normalise it as well: norm_space.": {
        "block.norm_space(frames)": "torch.cat([copies, block.norm_space(frames[:, 1 :])], dim=1)"
    },
    "the class token skips the MLP. Every token goes through it.": {
        MLP: "torch.cat([class_token, patches + block.mlp(block.norm_mlp(patches))], dim=1)"
    },
}

check_block = Exercise(
    reference=divided_block,
    cases=[
        (make_block(seed), make_tokens(b, t, n), t)
        for seed, (b, t, n) in enumerate([(2, 3, 2), (3, 2, 4), (1, 1, 3), (2, 4, 1)])
    ],
    mistakes={
        **STEP_MISTAKES,
        "the class token is in every frame, but what it saw there is thrown away. Keep index 0 of each frame's "
        "result.": {CLASS_TOKEN: "class_token", **SEEN_BY_PATCHES},
        "the class token is set aside: it attends to no frame, and no frame attends to it. Put a copy of it before the "
        "patches of each frame.": SET_ASIDE,
        **CLASS_TOKEN_MISTAKES,
        "the class token is last. It comes first.": {"[class_token, patches]": "[patches, class_token]"},
    },
    shape="A block keeps the shape: the class token, then the patches.",
    hints=lambda b, t, count, d: {
        (b, count - 1, d): "The class token is gone: put it back in front.",
        (b, t + count - 1, d): "Each frame still has its class token. Make one of them: the mean of what they saw.",
        (b, t, 1 + count // t, d): (
            "Each frame still has its class token. Make one of them, then flatten the patches."
        ),
        (b * t, 1 + count // t, d): "Those are still rows of one frame. Give each video its tokens back.",
        (b, 1, d): "That is the class token alone. The patches go on to the next block.",
        (b, d): "That is the class token alone. The patches go on to the next block.",
    },
    label=lambda b, t, count: f"{b} videos, {t} frames, {count // t} patches",
    advice="Try one frame, and block.project = torch.zeros_like: then it is the pre-norm block of notebook 1.",
    praise="time, space, MLP, each added to what was there. This is the block that the package trains.",
)

# ---- Exercise 3: a class token that was set aside, so that every video gets the same answer


def encode_video(blocks: list[SimpleNamespace], tokens: Float[Tensor, "b count d"], t: int) -> Float[Tensor, "b d"]:
    """Run the blocks one behind the other, and read the class token."""
    b = len(tokens)
    for block in blocks:
        class_token, patches = tokens[:, :1], tokens[:, 1:]
        tubes = rearrange(patches, "b (t n) d -> (b n) t d", t=t)
        tubes = tubes + block.project(block.temporal(block.norm_time(tubes)))
        frames = rearrange(tubes, "(b n) t d -> (b t) n d", b=b)
        copies = class_token.repeat_interleave(t, dim=0)
        frames = torch.cat([copies, frames], dim=1)
        seen = block.spatial(block.norm_space(frames))
        frames = frames + seen
        class_token = reduce(frames[:, :1], "(b t) 1 d -> b 1 d", "mean", b=b)
        patches = rearrange(frames[:, 1:], "(b t) n d -> b (t n) d", b=b)
        tokens = torch.cat([class_token, patches], dim=1)
        tokens = tokens + block.mlp(block.norm_mlp(tokens))
    return tokens[:, 0]


def _videos(seed: int, b: int, t: int, n: int) -> tuple[list[SimpleNamespace], Float[Tensor, "b count d"], int]:
    """Two blocks, and tokens of videos that begin with one and the same class token, as in a model."""
    tokens = make_tokens(b, t, n)
    tokens[:, 0] = tokens[0, 0]
    return [make_block(seed), make_block(seed + 1)], tokens, t


def spread_over_videos(encoded: Float[Tensor, "b d"]) -> float:
    """Standard deviation over the videos, mean of the features: 0 when every video gets the same vector."""
    return encoded.std(dim=0).mean().item()


def _class_token_joins(answer: Callable, blocks: list[SimpleNamespace], tokens: Tensor, t: int) -> bool:
    """Whether the attention across space of the first block sees more tokens than the patches of a frame."""
    lengths = set()

    def spatial(rows: Tensor) -> Tensor:
        lengths.add(rows.shape[1])
        return blocks[0].spatial(rows)

    call(answer, [SimpleNamespace(**{**vars(blocks[0]), "spatial": spatial}), *blocks[1:]], tokens, t)
    return lengths != {tokens.shape[1] // t}


def _differ(answer: Callable, got: Tensor, blocks: list[SimpleNamespace], tokens: Tensor, t: int) -> None:
    """The videos of a batch get vectors that differ."""
    if spread_over_videos(got) >= 1e-6:
        return
    right = spread_over_videos(encode_video(blocks, tokens, t))
    spread = f"{len(got)} videos, standard deviation {spread_over_videos(got):.4f}, expected {right:.4f}"
    if _class_token_joins(answer, blocks, tokens, t):
        not_yet(
            f"the class token looks at the frames, but what it saw is lost ({spread}). "
            "Index 0 of each frame's result is its share: add the mean of them to the class token."
        )
    not_started(
        f"every video still gets the same vector ({spread}). Follow class_token down the "
        "function: where could it learn anything about the video?"
    )


def _asks(rows: str) -> dict[str, str]:
    """The class token attends to these rows, apart from the patches."""
    return {
        **PATCHES_ALONE,
        CLASS_TOKEN: f"class_token + block.spatial(block.norm_space(torch.cat([class_token, {rows}], dim=1)))[:, :1]",
    }


MEAN_OF_PATCHES = {"return tokens[:, 0]": "return tokens[:, 1:].mean(dim=1)"}
check_class_token = Exercise(
    reference=encode_video,
    cases=[_videos(0, 3, 2, 3), _videos(1, 2, 3, 2), _videos(2, 2, 1, 4)],
    mistakes={
        "the class token asks all frames at once, in one softmax: that is joint attention. Let it ask in each frame.": (
            _asks('rearrange(tubes, "(b n) t d -> b (t n) d", b=b)')
        ),
        "you averaged the frames, and then let the class token look. Let it look first, then average what it saw.": (
            _asks('reduce(tubes, "(b n) t d -> b n d", "mean", b=b)')
        ),
        "the class token joined the attention along time. It has no place, so it joins each frame, across space.": {
            **SET_ASIDE,
            TUBES: f"torch.cat([class_token.repeat_interleave(patches.shape[1] // t, dim=0), {TUBES}], dim=1)",
            FRAMES: 'rearrange(tubes[:, 1:], "(b n) t d -> (b t) n d", b=b)',
            CLASS_TOKEN: 'reduce(tubes[:, :1], "(b n) 1 d -> b 1 d", "mean", b=b)',
        },
        "you read the patches in place of the class token. That would work, but then it has no use. Mend the block.": [
            {**SET_ASIDE, **MEAN_OF_PATCHES},
            MEAN_OF_PATCHES,
        ],
        "you read the mean of all tokens. Read the class token, index 0.": {
            "return tokens[:, 0]": "return tokens.mean(dim=1)"
        },
        **CLASS_TOKEN_MISTAKES,
        **STEP_MISTAKES,
    },
    shape="One vector a video.",
    hints=lambda b, t, count, d: {
        (b, 1, d): "One axis too many: take the class token itself, [:, 0].",
        (b, count, d): "That is every token. Read the class token, [:, 0].",
        (b * t, d): "That is a class token for each frame. Take the mean over the frames in every block.",
        (b, t, d): "That is a class token for each frame. Take the mean over the frames in every block.",
    },
    also=_differ,
    label=lambda b, t, count: f"{b} videos, {t} frames, {count // t} patches",
    advice="Go through it beside your block of exercise 2: what differs, line by line?",
    praise="the class token looks into every frame, the frames look at it, and each video gets a vector of its own.",
)

# ---- Exercise 4: time embeddings for a number of frames that was not learned


def stretch_time(time: Float[Tensor, "frames d"], t: int) -> Float[Tensor, "t d"]:
    """Place `t` frames among the learned ones, hold them inside, mix the two neighbours.

    Equation: e(s) = (1 - r) e_i + r e_(i+1), s = (k + 1/2) frames / t - 1/2, i = floor(s), r = s - i  (2.9)
    """
    frames, k = len(time), torch.arange(t, dtype=time.dtype)
    s = (k + 0.5) * frames / t - 0.5
    s = s.clamp(0, frames - 1)
    i = s.floor().long().clamp(0, max(frames - 2, 0))
    following = (i + 1).clamp(max=frames - 1)
    r = (s - i)[:, None]
    return (1 - r) * time[i] + r * time[following]


def _learned(frames: int, d: int, t: int) -> tuple[Float[Tensor, "frames d"], int]:
    return torch.randn(frames, d, generator=torch.Generator().manual_seed(frames)), t


PLACE = "(k + 0.5) * frames / t - 0.5"
MIX = "(1 - r) * time[i] + r * time[following]"
check_time_embedding = Exercise(
    reference=stretch_time,
    cases=[_learned(8, 2, 3), _learned(5, 3, 8), _learned(4, 2, 4), _learned(3, 2, 1), _learned(1, 2, 3)],
    mistakes={
        "you took the learned rows one after the other. Three frames or thirty, the clip lasts as long: spread them.": {
            PLACE: "k"
        },
        "you took the nearest learned row. Mix the two neighbours, each by how near it is: mode linear.": [
            {PLACE: "(k * frames / t).floor()"},
            {PLACE: "((k + 0.5) * frames / t).floor()"},
        ],
        "your first and last frame lie on the first and last learned row (align_corners=True). A frame stands for the "
        "middle of its share of the clip: s = (k + 1/2) frames / t - 1/2.": {PLACE: "k * (frames - 1) / max(t - 1, 1)"},
        "both halves are missing: k frames / t is where a frame begins. Take its middle: k + 1/2, then - 1/2.": {
            PLACE: "k * frames / t"
        },
        "you left out the - 1/2 at the end: everything comes half a frame late, even when t is the learned number.": {
            "/ t - 0.5": "/ t"
        },
        "you counted frames from 1 in one place and from 0 in another. From 0: s = (k + 1/2) frames / t - 1/2.": {
            PLACE: "(k - 0.5) * frames / t + 0.5"
        },
        "you are off by one: your first frame is number 1. Count from 0: k runs from 0 to t - 1.": [
            {"k + 0.5": "k + 1.5"},
            {"k + 0.5": "k + 1"},
        ],
        "you are off by one: you spread the t frames over frames - 1 rows. There are `frames` of them.": {
            "* frames / t": "* (frames - 1) / t"
        },
        "you are off by one: you mix each row with the one before it. Mix row floor(s) and the next.": {
            "(i + 1)": "(i - 1).clamp(min=0)"
        },
        "you wrote the number 8. Use the number of learned rows, len(time).": {"* frames / t": "* 8 / t"},
        "before the first learned row and behind the last you follow the line outward. Hold s in 0 to frames - 1.": {
            "s.clamp(0, frames - 1)": "s"
        },
        "the last learned row is never reached: you hold s in 0 to frames - 2. The last row is frames - 1.": {
            "s.clamp(0, frames - 1)": "s.clamp(0, max(frames - 2, 0))"
        },
        "the two weights are swapped. The nearer row counts more: 1 - r for row i, r for row i + 1.": {
            MIX: "r * time[i] + (1 - r) * time[following]"
        },
        "you averaged over all rows of a share. Mix the two neighbours only.": {
            MIX: "F.adaptive_avg_pool1d(time.T[None], t)[0].T"
        },
    },
    shape="One row for each of the t frames.",
    hints=lambda frames, d, t: {
        (frames, d): "Those are as many rows as were learned. One row for each of the t frames.",
        (d, t): "That is transposed: one row a frame.",
        (1, t, d): "One axis too many: take the batch of one away again.",
        (1, d, t): "F.interpolate works along the last axis of (1, d, frames). Turn the result back: (t, d).",
        (frames, t): "You stretched the width. Time must be the last axis while you stretch.",
    },
    label=lambda frames, t: f"{frames} learned rows, t = {t}",
    praise="one table serves every frame count, and at the learned count it is the table itself.",
)
