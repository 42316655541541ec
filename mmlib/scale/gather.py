"""The contrastive loss over several processes: each picture meets the texts of all of them."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.check import refuse
from mmlib.losses import clip_loss
from mmlib.scale.processes import is_distributed


def clip_loss_of_all(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    log_scale: Float[Tensor, ""],
    key: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """`clip_loss` over the pairs of all processes; in a process that is alone, over its own.

    Every process gets the loss of the whole batch, and its gradients with the factor that DistributedDataParallel's
    mean takes away again. Nothing is weighted, so the processes may hold different numbers of pairs.

    Equation: dL/dtheta = 1/W sum_r (sum_r' dL_r'/demb_r) demb_r/dtheta, L_1 = ... = L_W = L  (1.18)

    Args:
        image_emb, text_emb: this process's pairs; unit vectors.
        log_scale: log of the inverse temperature, the same everywhere.
        key: what each pair shows. Pairs of one key are right answers to each other, wherever they are; by default each
            pair is alone.

    Raises:
        ValueError: the two sides, or the keys, differ in number; or as `clip_loss`.
    """
    rows = {len(image_emb), len(text_emb)} | (set() if key is None else {len(key)})
    if len(rows) != 1:
        fix = "Row i of all of them must be one pair."
        refuse("clip_loss_of_all", "as many pictures, texts and keys", f"{sorted(rows)} rows", fix)
    key = None if key is None else gather(key)
    same = None if key is None else key[:, None] == key
    return clip_loss(gather(image_emb), gather(text_emb), log_scale, same)


def gather(x: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; gradients find their way back to where each row is from.

    >>> gather(torch.arange(3))  # no other process: nothing to gather
    tensor([0, 1, 2])
    """
    return _Gather.apply(x) if is_distributed() else x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        count = torch.tensor([len(x)], device=x.device)
        counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, count)
        ctx.counts = [n.item() for n in counts]
        longest = max(ctx.counts)
        padded = F.pad(x, (0, 0) * (x.ndim - 1) + (0, longest - len(x))).contiguous()  # equal sizes travel together
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)  # every process has a gradient for every row
        return total.split(ctx.counts)[dist.get_rank()]
