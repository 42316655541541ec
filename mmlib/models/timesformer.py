"""TimeSformer: a transformer that watches a video by looking along time, then across space, in every block.

Paper: Bertasius et al. 2021, "Is Space-Time Attention All You Need for Video Understanding?", section 3, fig. 1 and 2.
Differs from the paper:
- patches may come from a few small convolutions (Xiao et al. 2021), which learn faster from few clips;
- each frame loses its own mean colour, where the published code takes the same from all: what moves is noticed sooner;
- time embeddings start as large as the patches that they are added to: from scratch, small ones are never noticed;
- time embeddings are interpolated along a straight line, where the published code takes the nearest;
- the last block updates the class token alone, since nothing reads the patches after it: the same result for less;
- sizes: a minute on a laptop in place of days on 32 GPUs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmlib.check import check_config, check_patches, check_video, refuse, typechecked
from mmlib.layers import Attention, Block, ConvStem, PatchEmbedding


@dataclass(frozen=True)
class TimeSformerConfig:
    """Sizes of a TimeSformer, and its scheme of attention."""

    classes: int
    attention: str = "divided"  # or "joint", or "space": which tokens look at which
    image_size: int = 32  # pixels, rows and columns
    patch: int = 8  # pixels, side of a patch
    frames: int = 8  # time embeddings that are learned; other counts are interpolated
    width: int = 64
    layers: int = 3
    heads: int = 2
    time_std: float = 0.5  # of the time embeddings at the start
    centre: bool = True  # each frame loses its own mean colour; False where the stem takes the same from all
    stem: Callable[[int, int], nn.Module] = ConvStem  # or PatchEmbedding, as in the paper


BASE = TimeSformerConfig(
    classes=400, image_size=224, patch=16, width=768, layers=12, heads=12, stem=partial(PatchEmbedding, bias=True)
)


class DividedBlock(nn.Module):
    """Pre-norm block with two attentions: each patch along time, then each frame across space, then the MLP.

    Equation: z' = z + W Attn_time(LN(z)),  z'' = z' + Attn_space(LN(z')),  z''' = z'' + MLP(LN(z''))
    (2.5; Bertasius et al. 2021, eq. 10 and 11)

    Equation: c'' = c + 1/t sum_t Attn_space(LN(c), LN(z'_t))_0  (2.6; the published code)

    The class token c has no place in time. It skips the first attention, joins every frame in the second, and moves by
    the mean of what it saw there. W starts at zero, so that a new block begins as one that knows no time.

    Args:
        d: model width.
        heads: number of attention heads, in time and in space.
        hidden: width of the feed-forward network's middle layer.
    """

    def __init__(self, d: int, heads: int, hidden: int):
        super().__init__()
        self.norm_time = nn.LayerNorm(d)
        self.temporal = Attention(d, heads)
        self.project = nn.Linear(d, d)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.norm_space = nn.LayerNorm(d)
        self.spatial = Attention(d, heads)
        self.norm_mlp = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    def forward(
        self, class_token: Float[Tensor, "b 1 d"], patches: Float[Tensor, "b n t d"], last: bool = False
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b n t d"] | None]:
        """Update the class token, and the patches at `n` places in `t` frames unless this is the `last` block."""
        tubes = rearrange(patches, "b n t d -> (b n) t d")
        tubes = tubes + self.project(self.temporal(self.norm_time(tubes)))
        class_tokens = repeat(class_token, "b 1 d -> b t 1 d", t=patches.shape[2])
        frames = torch.cat([class_tokens, rearrange(tubes, "(b n) t d -> b t n d", b=len(patches))], dim=2)
        normed = rearrange(self.norm_space(frames), "b t n d -> (b t) n d")
        if last:  # only the class token is read, so only it attends
            seen, frames = self.spatial(normed[:, :1], context=normed), class_tokens
        else:
            seen = self.spatial(normed)
        frames = frames + rearrange(seen, "(b t) n d -> b t n d", b=len(frames))
        class_token = reduce(frames[:, :, :1], "b t 1 d -> b 1 d", "mean")  # one again: its old self, and what it saw
        class_token = class_token + self.mlp(self.norm_mlp(class_token))
        if last:
            return class_token, None
        patches = rearrange(frames[:, :, 1:], "b t n d -> b n t d")
        return class_token, patches + self.mlp(self.norm_mlp(patches))


class TimeSformer(nn.Module):
    """Video to class scores, by divided, joint or space-only attention.

    Args:
        config: the sizes.

    Raises:
        ValueError: sizes that do not fit each other; a video that is not what the sizes say.

    >>> TimeSformer(TimeSformerConfig(classes=12))(torch.rand(2, 5, 3, 32, 32)).shape
    torch.Size([2, 12])
    """

    def __init__(self, config: TimeSformerConfig):
        super().__init__()
        _check_config(config)
        self.config = config
        d = config.width
        block = DividedBlock if config.attention == "divided" else Block
        self.patches = config.stem(d, config.patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(d))
        self.position = nn.Parameter(0.02 * torch.randn(1 + _patches(config), d))
        if config.attention != "space":
            self.time = nn.Parameter(config.time_std * torch.randn(config.frames, d))
        self.blocks = nn.ModuleList(block(d, config.heads, 4 * d) for _ in range(config.layers))
        self.norm = nn.LayerNorm(d)
        self.classify = nn.Linear(d, config.classes)

    @typechecked
    def forward(self, video: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b classes"]:
        """Score the classes of videos with values in [0, 1] and any number of frames."""
        tokens = self.embed(video)
        *blocks, last = self.blocks
        if self.config.attention == "divided":
            parts = tokens[:, :1], rearrange(tokens[:, 1:], "b (t n) d -> b n t d", t=video.shape[1])
            for block in blocks:
                parts = block(*parts)
            class_token, _ = last(*parts, last=True)
        else:
            for block in blocks:
                tokens = block(tokens)
            class_token = last(tokens[:, :1], context=tokens)  # the only one that is read
        class_token = reduce(class_token, "(b rows) 1 d -> b d", "mean", b=len(video))  # a row a frame for space-only
        return self.classify(self.norm(class_token))

    @typechecked
    def embed(self, video: Float[Tensor, "b t c h w"]) -> Float[Tensor, "rows tokens d"]:
        """Turn videos into tokens that know their place in space and in time.

        Equation: z_(p,t) = E x_(p,t) + e_p + e_t  (2.1; Bertasius et al. 2021, eq. 1)

        Returns:
            The class token, then the patches, frame by frame; for space-only attention one such row a frame.
        """
        check_video("TimeSformer", video, self.config.image_size)
        b, t = video.shape[:2]
        colour = reduce(video, "b t c h w -> b t c 1 1", "mean") if self.config.centre else 0
        frames = rearrange(video - colour, "b t c h w -> (b t) c h w")
        patches = rearrange(self.patches(frames), "bt d h w -> bt (h w) d") + self.position[1:]
        if self.config.attention != "space":
            patches = rearrange(patches, "(b t) n d -> b (t n) d", b=b)
            patches = patches + repeat(self.time_of(t), "t d -> (t n) d", n=_patches(self.config))
        class_token = (self.class_token + self.position[0]).expand(len(patches), 1, -1)
        return torch.cat([class_token, patches], dim=1)

    def time_of(self, t: int) -> Float[Tensor, "t d"]:
        """Time embeddings of `t` frames, spread evenly over the time that the learned ones cover.

        Equation: e(s) = (1 - r) e_i + r e_(i+1), s = (t' + 1/2) frames / t - 1/2, i = floor(s), r = s - i  (2.9)
        """
        if t == len(self.time):
            return self.time
        rows = rearrange(self.time, "frames d -> 1 d frames")
        return rearrange(F.interpolate(rows, size=t, mode="linear"), "1 d t -> t d")


def count_macs(config: TimeSformerConfig, frames: int) -> int:
    """Multiply-adds of one video: matrix products, convolutions and attention, as `torch.utils.flop_counter` counts.

    Equation: joint attention costs 2 d (t n + 1)^2, divided 2 d (n t^2 + t (n + 1)^2)
    (2.7; Bertasius et al. 2021, section 3)

    >>> round(count_macs(BASE, frames=8) / 1e9, 2)  # three views are the published 0.59 T
    195.83
    """
    d, n, t = config.width, _patches(config), frames
    tokens = t * (n + 1) if config.attention == "space" else t * n + 1
    joint, space, time = _attention_macs(d, 1, tokens), _attention_macs(d, t, n + 1), _attention_macs(d, n, t)
    attention = {"joint": joint, "space": space, "divided": time + d**2 * n * t + space}[config.attention]
    return t * _stem_macs(config) + config.layers * (attention + 8 * d**2 * tokens) + d * config.classes


def unread_macs(config: TimeSformerConfig, frames: int) -> int:
    """Multiply-adds that `count_macs` counts and `TimeSformer` saves: in the last block the patches still give keys and
    values, but nothing reads what they would become.

    Equation: t n (10 d^2 + 2 d m) for rows of m tokens: queries, output, MLP, and the scores and mixtures of patches

    >>> round(unread_macs(BASE, frames=8) / 1e9, 2)
    9.72
    """
    d, n, t = config.width, _patches(config), frames
    row = t * n + 1 if config.attention == "joint" else n + 1
    return t * n * (10 * d**2 + 2 * d * row)


def _stem_macs(config: TimeSformerConfig) -> int:
    """Each weight of a convolution works once at each place of its output."""
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        stem = config.stem(config.width, config.patch)
    macs, side = 0, config.image_size
    for layer in (layer for layer in stem.modules() if isinstance(layer, nn.Conv2d)):
        side //= layer.stride[0]
        macs += layer.weight.numel() * side**2
    return macs


def _attention_macs(d: int, rows: int, tokens: int) -> int:
    """Queries, keys, values and output cost 4 d^2 a token; scores and mixtures 2 d for each pair in a row."""
    return rows * (4 * d**2 * tokens + 2 * d * tokens**2)


def _patches(config: TimeSformerConfig) -> int:
    return (config.image_size // config.patch) ** 2


def _check_config(config: TimeSformerConfig) -> None:
    check_config("TimeSformer", config)
    if config.attention not in ("divided", "joint", "space"):
        refuse("TimeSformer", "attention divided, joint or space", repr(config.attention))
    check_patches("TimeSformer", config.image_size, config.patch)
