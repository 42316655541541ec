"""Losses: tensors in, a scalar in nats out. No model, no data."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.check import refuse


def clip_loss(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    log_scale: Float[Tensor, ""],
    same: Bool[Tensor, "b b"] | None = None,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE: each picture must find its text in the batch, and each text its picture.

    Equation: L = (L_image + L_text) / 2,
    L_image = -1/b sum_i sum_j y_ij log softmax_j(s <image_i, text_j>)  (1.6; Radford et al. 2021, fig. 3),
    y_ij = same_ij / sum_k same_ik  (1.9)

    Args:
        image_emb, text_emb: unit vectors; row i of both is a pair.
        log_scale: log of the inverse temperature, s = exp(log_scale).
        same: True where text j is a right answer to picture i. The target is shared between the right answers of a
            row. Without it only the pair itself is right.

    Returns:
        The loss in nats: log b when the embeddings say nothing.

    Raises:
        ValueError: the two sides have different shapes, there is one pair only (the loss would be 0 and teach
            nothing), `same` leaves out a pair, or `log_scale` is not a number.

    >>> alike = torch.ones(4, 1)  # embeddings that say nothing: the loss is log 4
    >>> clip_loss(alike, alike, torch.tensor(0.0)).exp().round()
    tensor(4.)
    """
    _check_pairs("clip_loss", image_emb, text_emb, log_scale)
    logits = log_scale.exp() * image_emb @ text_emb.T
    if same is None:
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    if not same.diagonal().all():
        fix = "A pair is its own answer."
        refuse("clip_loss", "same[i, i] True for every pair", "False on the diagonal", fix)
    shared = same.to(logits.dtype)
    to_text = F.cross_entropy(logits, shared / shared.sum(dim=1, keepdim=True))
    to_image = F.cross_entropy(logits.T, shared.T / shared.T.sum(dim=1, keepdim=True))
    return (to_text + to_image) / 2


def siglip_loss(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    log_scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    same: Bool[Tensor, "b b"] | None = None,
) -> Float[Tensor, ""]:
    """Sigmoid loss: every picture and text of the batch is asked by itself, "do you belong together?".

    Equation: L = -1/b sum_ij log sigmoid(z_ij (s <image_i, text_j> + bias)), z = +1 or -1
    (1.16; Zhai et al. 2023, alg. 1)

    Args:
        image_emb, text_emb: unit vectors; row i of both is a pair.
        log_scale: log of the scale s; the paper starts at log 10.
        bias: starts at -10, so that the many wrong pairs cost little at first.
        same: True where text j is a right answer to picture i; the diagonal by default.

    Returns:
        The loss in nats per picture: b log 2 when scale and bias are 0.

    Raises:
        ValueError: as `clip_loss`.
    """
    _check_pairs("siglip_loss", image_emb, text_emb, log_scale)
    logits = log_scale.exp() * image_emb @ text_emb.T + bias
    right = torch.eye(len(logits), dtype=torch.bool, device=logits.device) if same is None else same
    sign = 2 * right.to(logits.dtype) - 1
    return -F.logsigmoid(sign * logits).sum() / len(logits)


def _check_pairs(where: str, image_emb: Tensor, text_emb: Tensor, log_scale: Tensor) -> None:
    if image_emb.shape != text_emb.shape:
        got = f"{tuple(image_emb.shape)} and {tuple(text_emb.shape)}"
        refuse(where, "image_emb and text_emb of one shape (b, e)", got, "Row i of both must be a pair.")
    if len(image_emb) < 2:
        fix = "With one pair there is nothing to tell apart: the loss is 0 and teaches nothing."
        refuse(where, "a batch of 2 pairs or more", str(len(image_emb)), fix)
    if not torch.isfinite(log_scale):
        fix = "The temperature must be above 0: log_scale = -log(temperature)."
        refuse(where, "a finite log_scale", f"{log_scale.item()}", fix)
