"""Losses: tensors in, a scalar out. No model, no data."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_finite, check_range, refuse, typechecked

DIVERGED = "Did the training diverge? Try a third of the peak lr."


@typechecked
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
            nothing), `same` leaves out a pair, `log_scale` or the loss is not a finite number.

    >>> alike = torch.ones(4, 1)  # embeddings that say nothing: the loss is log 4
    >>> clip_loss(alike, alike, torch.tensor(0.0)).exp().round()
    tensor(4.)
    """
    _check_pairs("clip_loss", image_emb, text_emb, same)
    _check_scale("clip_loss", log_scale)
    logits = log_scale.exp() * image_emb @ text_emb.T
    if same is None:
        to_text = to_image = torch.arange(len(logits), device=logits.device)
    else:
        shared = same.to(logits.dtype)
        to_text, to_image = (x / x.sum(dim=1, keepdim=True) for x in (shared, shared.T))
    loss = (F.cross_entropy(logits, to_text) + F.cross_entropy(logits.T, to_image)) / 2
    return _finite("clip_loss", loss)


@typechecked
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
    same = _check_pairs("siglip_loss", image_emb, text_emb, same)
    _check_scale("siglip_loss", log_scale)
    logits = log_scale.exp() * image_emb @ text_emb.T + bias
    wide = torch.promote_types(logits.dtype, torch.float32)  # b^2 terms soon exceed the largest float16, 65,504
    sign = 2 * same.to(wide) - 1
    return _finite("siglip_loss", -F.logsigmoid(sign * logits).sum() / len(logits))


NEGATIVES = ("random", "semi-hard", "hardest")


@typechecked
def triplet_loss(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    margin: float,
    negatives: str = "hardest",
    same: Bool[Tensor, "b b"] | None = None,
) -> Float[Tensor, ""]:
    """Each picture must be nearer to its text than to a wrong one, by a margin, and each text to its picture.

    Equation: L = 1/b sum_i ([m - s_ii + s_i,j(i)]_+ + [m - s_ii + s_k(i),i]_+)
    (3.4; Schroff et al. 2015, eq. 3), (3.5; Faghri et al. 2018, eq. 6), where `negatives` chooses j(i) and k(i):
    "random" (3.6), "semi-hard" (3.7; Schroff et al. 2015, section 3.2), "hardest" (3.8; Faghri et al. 2018, eq. 6)

    Args:
        image_emb, text_emb: unit vectors; row i of both is a pair.
        margin: the lead that is asked for, as a difference of cosines; above 0, at most 2.
        negatives: the most similar wrong one ("hardest"), the most similar of those that are behind the right one by
            less than the margin ("semi-hard"; where there is none the term is 0), or any wrong one ("random").
        same: True where text j is a right answer to picture i, and so no negative; the diagonal by default.

    Returns:
        The missing lead of a pair, on average: 2 m when all embeddings are alike (but 0 with semi-hard negatives).

    Raises:
        ValueError: the two sides have different shapes, there is one pair only, the margin is not in (0, 2],
            `negatives` is none of the three, `same` leaves out a pair, or the loss is not a finite number.

    >>> alike = torch.ones(4, 1)  # a collapsed model: twice the margin
    >>> triplet_loss(alike, alike, margin=0.2)
    tensor(0.4000)
    """
    same = _check_pairs("triplet_loss", image_emb, text_emb, same)
    _check_margin("triplet_loss", margin)
    if negatives not in NEGATIVES:
        refuse("triplet_loss", f"negatives that are one of {', '.join(NEGATIVES)}", repr(negatives))
    with torch.no_grad():  # the choice of a negative has no gradient
        sim = image_emb @ text_emb.T
        text, has_text = _choose(sim, same, negatives)
        image, has_image = _choose(sim.T, same.T, negatives)
    right = (image_emb * text_emb).sum(dim=1)
    # Not text_emb[text]: several threads would sum its gradient in no fixed order, and no run would be like another.
    to_text = margin - right + (image_emb * text_emb.index_select(0, text)).sum(dim=1)
    to_image = margin - right + (image_emb.index_select(0, image) * text_emb).sum(dim=1)
    return _finite("triplet_loss", (to_text.relu() * has_text + to_image.relu() * has_image).mean())


def _choose(
    sim: Float[Tensor, "b b"], same: Bool[Tensor, "b b"], negatives: str
) -> tuple[Int[Tensor, " b"], Bool[Tensor, " b"]]:
    """A negative for each row, and whether there is one."""
    barred = same
    if negatives == "semi-hard":
        right = sim.diagonal()[:, None]
        barred = same | (sim >= right)  # one that is behind by more than the margin costs 0 anyway
    score = torch.rand_like(sim) if negatives == "random" else sim
    best = score.masked_fill(barred, -torch.inf).max(dim=1)
    return best.indices, best.values > -torch.inf


@typechecked
def active_triplets(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    margin: float,
    same: Bool[Tensor, "b b"] | None = None,
) -> float:
    """Share of all the triplets of a batch, in both directions, that cost something: the others teach nothing.

    Equation: A = share of the triplets (i, j), j not same as i, with m - s_ii + s_ij > 0  (3.9)

    Args:
        image_emb, text_emb, margin, same: as in `triplet_loss`.

    Raises:
        ValueError: as `triplet_loss`; every pair is a right answer, and there is no triplet; or a similarity is not
            a finite number.

    >>> active_triplets(torch.eye(3), torch.eye(3), margin=0.2)
    0.0
    """
    same = _check_pairs("active_triplets", image_emb, text_emb, same)
    _check_margin("active_triplets", margin)
    if same.all():
        refuse("active_triplets", "at least one wrong pair", "none", "Take pairs of several pictures.")
    sim = _finite("active_triplets", image_emb @ text_emb.T)
    lead = torch.stack([sim.diagonal()[:, None] - sim, sim.diagonal() - sim])  # over wrong texts, over wrong pictures
    return (lead < margin)[:, ~same].float().mean().item()


@typechecked
def caption_loss(
    logits: Float[Tensor, "b s v"],
    target_ids: Int[Tensor, "b s"],
    pad_id: int = 0,
    smoothing: float = 0.0,
    attn: Float[Tensor, "b s n"] | None = None,
    penalty: float = 1.0,
) -> Float[Tensor, ""]:
    """Surprise at each right next word, padding left out; with `attn`, also the regions that a caption looks past.

    Equation: L = -1/N sum over words of log p(right word)  (4.2; Vinyals et al. 2015, eq. 13),
    with smoothing of -sum_w ((1 - eps) [w is right] + eps / v) log p(w)  (4.3; Szegedy et al. 2016, section 7)

    Equation: penalty sum_i (tau - sum_t attn_ti)^2, tau = words / regions  (4.10; Xu et al. 2015, eq. 14)

    Args:
        logits: scores of the next word, behind each word.
        target_ids: the words that did follow, end of text included: `text_ids[:, 1:]`.
        pad_id: what stands behind the end of text, and is nothing to learn.
        smoothing: share of the target that goes to all words alike, in [0, 1).
        attn: where the model looked for each word; the penalty is a mean over captions.

    Returns:
        The loss in nats per word: log v when the logits say nothing.

    Raises:
        ValueError: shapes that do not belong together, nothing but padding, a word outside the vocabulary, smoothing
            outside [0, 1), a loss that is not a finite number.

    >>> caption_loss(torch.zeros(1, 2, 8), torch.tensor([[5, 0]])).exp().round()
    tensor(8.)
    """
    word = target_ids != pad_id
    if not word.any() or not 0 <= smoothing < 1:
        got = f"{word.sum()} words, smoothing {smoothing:g}"
        refuse("caption_loss", "target_ids with a word, smoothing in [0, 1)", got, "The targets are text_ids[:, 1:].")
    check_range("caption_loss", "target ids", target_ids[word], logits.shape[2])
    loss = F.cross_entropy(logits[word], target_ids[word].long(), label_smoothing=smoothing)
    if attn is not None:
        looked = (attn * word[..., None]).sum(dim=1)
        loss = loss + penalty * (looked - looked.mean(dim=1, keepdim=True)).square().sum(dim=1).mean()
    return _finite("caption_loss", loss)


def _check_pairs(where: str, image_emb: Tensor, text_emb: Tensor, same: Tensor | None) -> Bool[Tensor, "b b"]:
    """Refuse a batch that teaches nothing; give which texts are right answers, the diagonal by default."""
    if len(image_emb) < 2:
        fix = "With one pair there is nothing to tell apart: the loss is 0 and teaches nothing."
        refuse(where, "a batch of 2 pairs or more", str(len(image_emb)), fix)
    for emb in (image_emb, text_emb):  # a loss may be finite where they are not: sigmoid(inf) is 1
        check_finite(where, emb, "embeddings", DIVERGED)
    if same is None:
        return torch.eye(len(image_emb), dtype=torch.bool, device=image_emb.device)
    if not same.diagonal().all():
        refuse(where, "same[i, i] True for every pair", "False on the diagonal", "A pair is its own answer.")
    return same


def _check_scale(where: str, log_scale: Tensor) -> None:
    value = log_scale.detach()
    if not torch.isfinite(value + value.exp()):
        fix = "The temperature must be above 0: log_scale = -log(temperature)."
        refuse(where, "a finite log_scale", f"{log_scale.item()}", fix)


def _check_margin(where: str, margin: float) -> None:
    if not 0 < margin <= 2:
        refuse(where, "a margin above 0, at most 2", f"{margin:.4g}", "Cosines differ by 2 at most: try 0.2.")


def _finite(where: str, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The values, if they are finite; else what went in was not, or overflowed on the way."""
    if not values.isfinite().all():
        refuse(where, "finite logits, and a finite result", f"{values.sum().item()}", DIVERGED)
    return values
