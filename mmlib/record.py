"""Watch attention while it works: the weights of a real forward pass, and what they say about where a model looks.

The fused attention of `mmlib.layers.Attend` never writes its weights down. `record` listens to the queries, keys and
masks that it receives, and computes the weights from those. While a model trains, hold `mmlib.train.lock` around it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from einops import einsum, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmlib.check import refuse
from mmlib.layers import Attend


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, list[Float[Tensor, "b heads i j"]]]]:
    """Collect the attention weights of every forward pass inside the `with` block.

    Args:
        model: any module that holds `Attend` modules.

    Yields:
        The name of each `Attend` inside the model, in the model's order -> its weights on the CPU, one entry a pass;
        rows sum to 1.

    Raises:
        ValueError: there is no attention in the model.

    >>> attend, q = Attend(), torch.zeros(1, 1, 2, 4)
    >>> with record(nn.Sequential(attend)) as attn:
    ...     _ = attend(q, q, q, causal=True)
    >>> attn["0"][0].tolist()
    [[[[1.0, 0.0], [0.5, 0.5]]]]
    """
    watched = {name: module for name, module in model.named_modules() if isinstance(module, Attend)}
    if not watched:
        refuse("record", "a model with mmlib.layers.Attend in it", type(model).__name__, "Record the whole encoder.")
    attn = {name: [] for name in watched}

    def keep(name: str):
        return lambda module, args, kwargs, mixed: attn[name].append(attention_weights(*args, **kwargs).cpu())

    hooks = [module.register_forward_hook(keep(name), with_kwargs=True) for name, module in watched.items()]
    try:
        yield attn
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def attention_weights(
    q: Float[Tensor, "b heads i k"],
    k: Float[Tensor, "b heads j k"],
    v: Float[Tensor, "b heads j k"],
    mask: Bool[Tensor, "*#b i j"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "b heads i j"]:
    """How much of each value goes into each mixture: what `Attend`, called with the same arguments, multiplies `v` by.

    Equation: A = softmax(Q K^T / sqrt(k))  (1.10; Vaswani et al. 2017, eq. 1)

    Args:
        q, k, v: queries, keys and values; `v` has no say in the weights.
        mask: True where attention is allowed. A query that may look nowhere gets weights of 0.
        causal: query i sees the keys j <= i only.
    """
    scores = einsum(q, k, "b heads i k, b heads j k -> b heads i j") / q.shape[-1] ** 0.5
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if causal:
        allowed = allowed.tril()
    if mask is not None:
        allowed = allowed & mask
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).masked_fill(~allowed, 0)


def attention_rollout(layers: Sequence[Float[Tensor, "b heads _ n"]]) -> Float[Tensor, "b _ n"]:
    """How much of each token of the first layer reaches each token of the last, the residual paths included.

    Equation: R_l = (A_l + I) / 2 R_(l-1), with R_0 = I  (1.15; Abnar & Zuidema 2020, section 3)

    Args:
        layers: the weights of one pass, from the first layer to the last; the last may hold the first tokens' rows
            alone, as where a model computes only the token that it reads.

    Returns:
        Row i says where token i comes from; rows sum to 1. Uniform attention gives (1/2)^layers of a token to itself,
        plus its share of the rest.

    >>> attention_rollout([torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])]).tolist()
    [[[1.0, 0.0], [0.25, 0.75]]]
    """
    identity = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype, device=layers[0].device)
    rollout = identity.expand(len(layers[0]), -1, -1)
    for attn in layers:
        mean_head = reduce(attn, "b heads i j -> b i j", "mean")
        rollout = (mean_head + identity[: mean_head.shape[1]]) / 2 @ rollout
    return rollout
