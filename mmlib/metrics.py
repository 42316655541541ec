"""Metrics: numbers in, a float or a tensor out. `q` queries, `g` gallery; a larger `sim` is closer."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_positive, refuse


def rank_of_best(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"]) -> Float[Tensor, " q"]:
    """Rank of each query's best right answer, from 1.

    Among equals the right answer comes last but one half: a tie with m wrong answers costs m / 2 places, so that a
    model that gives all the same similarity scores as chance does, not as perfect.

    Args:
        sim: similarity of each query to each item of the gallery.
        right: True where the item answers the query; at least one in each row.

    Raises:
        ValueError: shapes differ, a query has no right answer, or `sim` holds NaN.

    >>> rank_of_best(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[False, False, True]]))
    tensor([2.])
    """
    _check_answers("rank_of_best", sim, right)
    best = sim.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    better = ((sim > best) & ~right).sum(dim=1)
    tied = ((sim == best) & ~right).sum(dim=1)
    return 1 + better + tied / 2


def recall_at_k(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"], k: int) -> float:
    """Share of the queries with a right answer among the k nearest; chance is k / g for one right answer each.

    Equation: R@k = 1/q sum_i [rank_i <= k]  (1.12)

    Raises:
        ValueError: k below 1 or above the gallery; see `rank_of_best` for the rest.

    >>> recall_at_k(torch.eye(3), torch.eye(3).bool(), k=1)
    1.0
    """
    if not 1 <= k <= sim.shape[1]:
        refuse("recall_at_k", f"k from 1 to {sim.shape[1]}", str(k), "The gallery is no larger.")
    return (rank_of_best(sim, right) <= k).float().mean().item()


def median_rank(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"]) -> float:
    """Median over the queries of the best right answer's rank; 1 is perfect.

    >>> median_rank(torch.eye(3), torch.eye(3).bool())
    1.0
    """
    return rank_of_best(sim, right).quantile(0.5).item()


def mean_average_precision(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"]) -> float:
    """Mean over the queries of the average precision: all right answers count, and early ones count most.

    Equation: AP_i = 1/|R_i| sum_(r in R_i) (right answers among the first rank_r) / rank_r  (3.13)

    With one right answer it is 1 / rank. Ties are broken against the model: wrong answers come before right ones that
    are as similar.

    Raises:
        ValueError: as `rank_of_best`.

    >>> right = torch.tensor([[True, False, True]])  # found at ranks 1 and 3: (1/1 + 2/3) / 2
    >>> round(mean_average_precision(torch.tensor([[0.9, 0.5, 0.1]]), right), 4)
    0.8333
    """
    _check_answers("mean_average_precision", sim, right)
    wrong_first = right.int().argsort(dim=1, stable=True)
    order = wrong_first.gather(1, sim.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True))
    found = right.gather(1, order)
    precision = found.cumsum(dim=1) / torch.arange(1, sim.shape[1] + 1, device=sim.device)
    return ((precision * found).sum(dim=1) / found.sum(dim=1)).mean().item()


def reciprocal_rank_fusion(*sims: Float[Tensor, "_q _g"], k: int = 60) -> Float[Tensor, "q g"]:
    """Join the rankings of several searches over one gallery, whatever the scales of their similarities.

    Equation: RRF_qi = sum over the searches of 1 / (k + rank_qi)  (3.15; Cormack et al. 2009)

    Args:
        sims: one matrix a search; a larger value is closer. Equals share the mean of their ranks.
        k: how little the first places stand out; above 0.

    Returns:
        Scores to sort by: at most 1 / (k + 1) a search.

    Raises:
        ValueError: no search, shapes that differ, k below 1, or NaN.

    >>> reciprocal_rank_fusion(torch.tensor([[0.9, 0.1]]), torch.tensor([[30.0, 20.0]]), k=1)
    tensor([[1.0000, 0.6667]])
    """
    shapes = [tuple(sim.shape) for sim in sims]
    if len(set(shapes)) != 1:
        fix = "All searches rank one gallery for the same queries."
        refuse("reciprocal_rank_fusion", "one matrix (q, g) a search", str(shapes), fix)
    check_positive("reciprocal_rank_fusion", "k", float(k), "Cormack et al. take 60.")
    return torch.stack([1 / (k + _ranks(sim)) for sim in sims]).sum(dim=0)


def _ranks(sim: Float[Tensor, "q g"]) -> Float[Tensor, "q g"]:
    """Rank of every item, from 1; equals share the mean of their ranks."""
    if sim.isnan().any():
        refuse("reciprocal_rank_fusion", "similarities", "NaN", "Did the training diverge?")
    ascending = sim.sort(dim=1).values
    below = torch.searchsorted(ascending, sim.contiguous())
    up_to = torch.searchsorted(ascending, sim.contiguous(), right=True)
    return sim.shape[1] - (below + up_to - 1) / 2


def accuracy(logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"]) -> float:
    """Share of rows whose largest logit is the target's.

    >>> accuracy(torch.tensor([[0.2, 0.8], [0.9, 0.1]]), torch.tensor([1, 1]))
    0.5
    """
    return (logits.argmax(dim=1) == target).float().mean().item()


def top_k_accuracy(logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], k: int) -> float:
    """Share of rows where the target's logit is among the k largest; chance is k / classes.

    Equation: top-k = 1/b sum_i [y_i is among the k largest of logits_i]  (2.11)

    Ties are shared out as in `rank_of_best`, so that a model that scores all classes alike knows nothing.

    Raises:
        ValueError: k below 1 or above the number of classes.

    >>> top_k_accuracy(torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), torch.tensor([1, 2]), k=2)
    0.5
    """
    if not 1 <= k <= logits.shape[1]:
        refuse("top_k_accuracy", f"k from 1 to {logits.shape[1]}", str(k), "There are no more classes.")
    return recall_at_k(logits, F.one_hot(target, logits.shape[1]).bool(), k)


def confusion_matrix(predicted: Int[Tensor, " b"], target: Int[Tensor, " b"], classes: int) -> Float[Tensor, "c c"]:
    """Row i, column j: the share of the examples of class i that were called j. Rows sum to 1.

    Equation: C_ij = share of the clips of motion i that are called j  (2.12)

    A class with no example has a row of zeros; its share is unknown.

    Raises:
        ValueError: a class outside 0 to `classes` - 1.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), classes=2)
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    low, high = min(predicted.min(), target.min()).item(), max(predicted.max(), target.max()).item()
    if low < 0 or high >= classes:
        refuse("confusion_matrix", f"classes from 0 to {classes - 1}", f"classes from {low} to {high}")
    counts = torch.bincount(target * classes + predicted, minlength=classes**2).float()
    counts = rearrange(counts, "(i j) -> i j", i=classes)
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


def entropy(probs: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Entropy in nats of each row of probabilities: 0 when sure, log n when lost. exp(H) counts the candidates left.

    Equation: H(p) = -sum_j p_j log p_j  (1.13; Shannon 1948)

    >>> round(entropy(torch.full((4,), 0.25)).exp().item(), 3)
    4.0
    """
    return torch.special.entr(probs).sum(dim=-1)


def squared_error(probs: Float[Tensor, "b classes"], target: Int[Tensor, " b"]) -> float:
    """Mean squared distance from the probabilities to the right answer, a row of zeros with a 1 at the target.

    Equation: var = 1/b sum_i |p_i - y_i|^2  (5.14; Brier 1950)

    0 when right and sure, 1 - 1/classes when it says that all classes are alike, 2 when wrong and sure.

    >>> round(squared_error(torch.full((3, 10), 0.1), torch.tensor([0, 5, 9])), 3)
    0.9
    """
    right = F.one_hot(target, probs.shape[1]).to(probs.dtype)
    return (probs - right).square().sum(dim=1).mean().item()


def inverse_variance_weights(variances: Float[Tensor, "*rows m"]) -> Float[Tensor, "*rows m"]:
    """The weights of the best mixture of estimates that err independently; rows sum to 1.

    Equation: w_m = (1 / var_m) / sum_k (1 / var_k)  (5.9)

    Args:
        variances: above 0; infinity for an estimate that is missing, which then weighs nothing.

    Raises:
        ValueError: a variance that is not positive, or a row that is all missing.

    >>> inverse_variance_weights(torch.tensor([1.0, 4.0]))
    tensor([0.8000, 0.2000])
    """
    if not (variances > 0).all():
        refuse("inverse_variance_weights", "variances above 0", f"{variances.min().item():.4g}", "Squares, not logs?")
    precision = 1 / variances
    if (precision.sum(dim=-1) == 0).any():
        refuse("inverse_variance_weights", "a finite variance in each row", "a row that is all infinite")
    return precision / precision.sum(dim=-1, keepdim=True)


def rank_correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """How far two lists agree about what is larger: 1 in the same order, -1 in opposite orders, near 0 at random.

    Equation: rho = correlation of the ranks of x and y; equal values share the mean of their ranks
    (5.15; Spearman 1904)

    Raises:
        ValueError: fewer than two values, or values that are all equal and so have no order.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.4, 0.5]))
    1.0
    """
    for name, values in (("x", x), ("y", y)):
        if len(values) < 2 or (values == values[0]).all():
            refuse("rank_correlation", f"{name} with values that differ", str(values.tolist()[:4]), "No order to rank.")
    ranks = torch.stack([_mean_ranks(x), _mean_ranks(y)])
    return round(torch.corrcoef(ranks)[0, 1].item(), 12)


def _mean_ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    below = (values < values[:, None]).sum(dim=1)
    equal = (values == values[:, None]).sum(dim=1)
    return (below + (equal - 1) / 2).double()


def _check_answers(where: str, sim: Tensor, right: Tensor) -> None:
    if sim.shape != right.shape:
        refuse(where, f"right {tuple(sim.shape)}", str(tuple(right.shape)), "One row a query in both.")
    if not right.any(dim=1).all():
        row = (~right.any(dim=1)).nonzero()[0].item()
        refuse(where, "a right answer for each query", f"none for query {row}")
    if sim.isnan().any():
        refuse(where, "similarities", "NaN", "Did the training diverge?")
