"""The parts that all the models share: attention, the pre-norm block, and two ways to turn a picture into tokens.

`d` is the model's width, `heads` the number of attention heads, `k` the width of a head, `i` and `j` the positions of
queries and keys. A mask is True where attention is allowed.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmlib.check import check_sizes, refuse, typechecked


class Attend(nn.Module):
    """Scaled dot-product attention, in one fused call.

    Equation: Attn(Q, K, V) = softmax(Q K^T / sqrt(k)) V  (1.10; Vaswani et al. 2017, eq. 1)

    It is a module of its own, with no parameters, so that `mmlib.record` can watch what really happens in it.
    """

    @typechecked
    def forward(
        self,
        q: Float[Tensor, "b heads i k"],
        k: Float[Tensor, "b heads j k"],
        v: Float[Tensor, "b heads j k"],
        mask: Bool[Tensor, "*#b i j"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "b heads i k"]:
        """Mix the values `v` with weights that say how well each key fits each query."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


class Attention(nn.Module):
    """Multi-head attention: tokens ask (query), the context offers (key) and gives (value).

    Args:
        d: model width; a multiple of `heads`.
        heads: number of attention heads.
        causal: token i sees the tokens j <= i only.

    Raises:
        ValueError: `d` is not a multiple of `heads`.
    """

    def __init__(self, d: int, heads: int, causal: bool = False):
        super().__init__()
        check_sizes("Attention", d=d, heads=heads)
        if d % heads:
            refuse("Attention", f"a width that is a multiple of heads={heads}", f"d={d}", "Change one of the two.")
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(d, 3 * d)
        self.attend = Attend()
        self.out = nn.Linear(d, d)

    @typechecked
    def forward(
        self,
        tokens: Float[Tensor, "b i d"],
        context: Float[Tensor, "b j d"] | None = None,
        mask: Bool[Tensor, "b 1 i j"] | None = None,
    ) -> Float[Tensor, "b i d"]:
        """Let the tokens look at each other, or at a context; a mask is True where they may look."""
        keys = (tokens if context is None else context).shape[1]
        if mask is not None and mask.shape[3] != keys:
            refuse("Attention", f"a mask (b, 1, i, j={keys})", str(tuple(mask.shape)), "One column for each key.")
        if context is None:
            qkv = self.qkv(tokens).chunk(3, dim=-1)
            q, k, v = (rearrange(x, "b n (heads k) -> b heads n k", heads=self.heads) for x in qkv)
        else:
            (for_q, for_kv), (bias_q, bias_kv) = (p.tensor_split([len(p) // 3]) for p in self.qkv.parameters())
            q = rearrange(F.linear(tokens, for_q, bias_q), "b i (heads k) -> b heads i k", heads=self.heads)
            kv = F.linear(context, for_kv, bias_kv)
            k, v = rearrange(kv, "b j (two heads k) -> two b heads j k", two=2, heads=self.heads)
        mixed = self.attend(q, k, v, mask=mask, causal=self.causal and context is None)
        return self.out(rearrange(mixed, "b heads i k -> b i (heads k)"))


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), close to GELU: what OpenAI's CLIP was trained with, so what its weights need.

    >>> QuickGELU()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1542,  0.0000,  0.8458])
    """

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Let large values pass, and hold small ones back."""
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a feed-forward network, each added to what was there.

    Equation: x' = x + Attn(LN(x)),  x'' = x' + MLP(LN(x'))  (1.11; Xiong et al. 2020, fig. 1b)

    Args:
        d: model width.
        heads: number of attention heads.
        hidden: width of the feed-forward network's middle layer.
        causal: token i sees the tokens j <= i only.
        activation: of the middle layer; `QuickGELU` in the published CLIP.
    """

    def __init__(
        self, d: int, heads: int, hidden: int, causal: bool = False, activation: Callable[[], nn.Module] = nn.GELU
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.attention = Attention(d, heads, causal)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), activation(), nn.Linear(hidden, d))

    def forward(
        self,
        tokens: Float[Tensor, "b i d"],
        context: Float[Tensor, "b j d"] | None = None,
        mask: Bool[Tensor, "b 1 i j"] | None = None,
    ) -> Float[Tensor, "b i d"]:
        """Update every token by what it saw, in itself and the others or in a context, then by itself."""
        seen = None if context is None else self.norm1(context)
        tokens = tokens + self.attention(self.norm1(tokens), seen, mask)
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbedding(nn.Module):
    """Picture to a grid of tokens with one large convolution: each patch by itself, one linear map.

    Paper: Dosovitskiy et al. 2021, eq. 1.

    Args:
        d: width of a token.
        patch: side of a patch, in pixels.
        bias: whether a vector is added to every token; CLIP does without, TimeSformer has one.
    """

    def __init__(self, d: int, patch: int, bias: bool = False):
        super().__init__()
        check_sizes("PatchEmbedding", d=d, patch=patch)
        self.convolution = nn.Conv2d(3, d, patch, stride=patch, bias=bias)

    @typechecked
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d rows columns"]:
        """Turn patches into tokens."""
        return self.convolution(image)


class ConvStem(nn.Module):
    """Picture to a grid of tokens with small convolutions that overlap: edges first, then parts, then tokens.

    Paper: Xiao et al. 2021, section 3. Each 3x3 convolution of stride 2 halves the grid, and there are more channels
    where there are fewer places: d/4, d/2, 2d for a patch of 8, then a 1x1 convolution to d.

    Args:
        d: width of a token.
        patch: side of a patch, in pixels; a power of two.

    Raises:
        ValueError: the patch is not a power of two.
    """

    def __init__(self, d: int, patch: int):
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch < 2 or patch != 2**halvings:
            refuse("ConvStem", "a patch that is a power of two", str(patch), "Use 4, 8 or 16.")
        check_sizes("ConvStem", d=d // (patch // 2))  # the first convolution's share of the channels
        widths = [3, *(d // 2 ** (halvings - i) for i in range(1, halvings)), 2 * d]
        layers: list[nn.Module] = []
        for wide_in, wide_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(wide_in, wide_out, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(wide_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], d, 1)).to(memory_format=torch.channels_last)

    @typechecked
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d rows columns"]:
        """Turn overlapping patches into tokens."""
        return self.layers(image.contiguous(memory_format=torch.channels_last))  # faster on a CPU
