"""What exercises 2 and 3 of notebook 2 are tried on: the parts of a block with random weights, and random tokens."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmlib.check import refuse


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


def in_rows(attend: Callable, x: Float[Tensor, "b t n d"], rows: str) -> Float[Tensor, "b t n d"]:
    """Let tokens attend inside rows, given as an einops pattern, and put them back in their places."""
    sizes = dict(zip("btnd", x.shape, strict=True))
    return rearrange(attend(rearrange(x, f"b t n d -> {rows}")), f"{rows} -> b t n d", **sizes)


def make_tokens(b: int, t: int, n: int, d: int = 4) -> Float[Tensor, "b tokens d"]:
    """Random tokens of `b` videos of `t` frames of `n` patches, behind one class token each."""
    return torch.randn(b, 1 + t * n, d, generator=torch.Generator().manual_seed(b + 10 * t + 100 * n))
