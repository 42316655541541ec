"""Metrics: numbers in, a float or a tensor out. `q` queries, `g` gallery; a larger `sim` is closer."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_numbers, check_positive, check_range, check_unit_range, refuse, typechecked


@typechecked
def rank_of_best(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"]) -> Float[Tensor, " q"]:
    """Rank of each query's best right answer, from 1.

    Equals share their places as if drawn in a random order: a tie of one right answer with m wrong ones costs m / 2
    places, a tie of r with m costs m / (r + 1). So a model that gives all the same similarity scores as chance does.

    Args:
        sim: similarity of each query to each item of the gallery.
        right: True where the item answers the query; at least one in each row.

    Raises:
        ValueError: shapes differ, there is no query, a query has no right answer, or `sim` holds NaN.

    >>> rank_of_best(torch.tensor([[0.1, 0.9, 0.5]]), torch.tensor([[False, False, True]]))
    tensor([2.])
    """
    better, tied, equal = _around_best("rank_of_best", sim, right)
    return 1 + better + tied / (1 + equal)


def _around_best(where: str, sim: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each query: the wrong answers above its best right one, the wrong ones as good, the right ones as good."""
    _check_answers(where, sim, right)
    best = sim.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    as_good = sim == best
    return ((sim > best) & ~right).sum(dim=1), (as_good & ~right).sum(dim=1), (as_good & right).sum(dim=1)


@typechecked
def recall_at_k(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"], k: int) -> float:
    """Share of the queries with a right answer among the k nearest; chance is k / g for one right answer each.

    Equation: R@k = 1/q sum_i [rank_i <= k]  (1.12)

    Where the k-th place is tied, a query counts by the chance that a random order of the equals gives it a hit: a
    model that gives all the same similarity has k / g.

    Raises:
        ValueError: k below 1 or above the gallery; see `rank_of_best` for the rest.

    >>> recall_at_k(torch.eye(3), torch.eye(3).bool(), k=1)
    1.0
    """
    if not 1 <= k <= sim.shape[1]:
        refuse("recall_at_k", f"k from 1 to {sim.shape[1]}", str(k), "The gallery is no larger.")
    return _recall("recall_at_k", sim, right, k)


def _recall(where: str, sim: Tensor, right: Tensor, k: int) -> float:
    better, tied, equal = (count.cpu().double() for count in _around_best(where, sim, right))
    drawn = (k - better).clamp(min=0).minimum(tied + equal)  # of the equals, how many come among the first k
    log_miss = _log_ways(tied, drawn) - _log_ways(tied + equal, drawn)
    return (1 - log_miss.exp()).mean().item()


def _log_ways(n: Float[Tensor, " q"], k: Float[Tensor, " q"]) -> Float[Tensor, " q"]:
    """Log of n! / (n - k)!, the ways to draw k of n in turn; -inf where k > n."""
    return torch.lgamma(n + 1) - torch.lgamma(n - k + 1)


@typechecked
def median_rank(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"]) -> float:
    """Median over the queries of the best right answer's rank; 1 is perfect.

    >>> median_rank(torch.eye(3), torch.eye(3).bool())
    1.0
    """
    return rank_of_best(sim, right).quantile(0.5).item()


@typechecked
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


@typechecked
def reciprocal_rank_fusion(*sims: Float[Tensor, "q g"], k: int = 60) -> Float[Tensor, "q g"]:
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
    if not sims:
        refuse("reciprocal_rank_fusion", "one matrix (q, g) a search", "none", "Give the similarities of each search.")
    check_positive("reciprocal_rank_fusion", "k", float(k), "Cormack et al. take 60.")
    for sim in sims:
        check_numbers("reciprocal_rank_fusion", sim, "similarities")
    return torch.stack([1 / (k + _ranks(-sim)) for sim in sims]).sum(dim=0)


def _ranks(values: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
    """Rank of each value in its row, the smallest 1; equals share the mean of their ranks."""
    from scipy.stats import rankdata  # here, since the import takes a second

    return torch.from_numpy(rankdata(values.detach().cpu().double(), axis=-1)).to(values.device, torch.float32)


@typechecked
def accuracy(logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"]) -> float:
    """Share of rows whose largest logit is the target's; n equal largest ones count 1 / n.

    Raises:
        ValueError: as `top_k_accuracy`.

    >>> accuracy(torch.tensor([[0.2, 0.8], [0.9, 0.1]]), torch.tensor([1, 1]))
    0.5
    """
    return _top_k("accuracy", logits, target, 1)


@typechecked
def top_k_accuracy(logits: Float[Tensor, "b classes"], target: Int[Tensor, " b"], k: int) -> float:
    """Share of rows where the target's logit is among the k largest; chance is k / classes.

    Equation: top-k = 1/b sum_i [y_i is among the k largest of logits_i]  (2.11)

    Ties are shared out as in `recall_at_k`, so that a model that scores all classes alike knows nothing.

    Raises:
        ValueError: k below 1 or above the number of classes, a target that is no class, NaN.

    >>> top_k_accuracy(torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), torch.tensor([1, 2]), k=2)
    0.5
    """
    if not 1 <= k <= logits.shape[1]:
        refuse("top_k_accuracy", f"k from 1 to {logits.shape[1]}", str(k), "There are no more classes.")
    return _top_k("top_k_accuracy", logits, target, k)


def _top_k(where: str, logits: Tensor, target: Tensor, k: int) -> float:
    return _recall(where, logits, _one_hot(where, target, logits.shape[1]).bool(), k)


def _one_hot(where: str, target: Int[Tensor, " b"], classes: int) -> Int[Tensor, "b classes"]:
    check_range(where, "targets", target, classes)
    return F.one_hot(target.long(), classes)


@typechecked
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
    from sklearn import metrics  # here, since the import takes a second

    for classes_said in (predicted, target):
        check_range("confusion_matrix", "classes", classes_said, classes)
    shares = metrics.confusion_matrix(target.cpu(), predicted.cpu(), labels=range(classes), normalize="true")
    return torch.from_numpy(shares).to(target.device, torch.float32)


@typechecked
def entropy(probs: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Entropy in nats of each row of probabilities: 0 when sure, log n when lost. exp(H) counts the candidates left.

    Equation: H(p) = -sum_j p_j log p_j  (1.13; Shannon 1948)

    Raises:
        ValueError: a probability outside [0, 1], or NaN.

    >>> round(entropy(torch.full((4,), 0.25)).exp().item(), 3)
    4.0
    """
    check_unit_range("entropy", probs, "probs")
    return torch.special.entr(probs.clamp(min=0)).sum(dim=-1)


@typechecked
def squared_error(probs: Float[Tensor, "b classes"], target: Int[Tensor, " b"]) -> float:
    """Mean squared distance from the probabilities to the right answer, a row of zeros with a 1 at the target.

    Equation: var = 1/b sum_i |p_i - y_i|^2  (5.14; Brier 1950)

    0 when right and sure, 1 - 1/classes when it says that all classes are alike, 2 when wrong and sure.

    Raises:
        ValueError: a probability outside [0, 1], NaN, or a target that is no class.

    >>> round(squared_error(torch.full((3, 10), 0.1), torch.tensor([0, 5, 9])), 3)
    0.9
    """
    check_unit_range("squared_error", probs, "probs")
    return (probs - _one_hot("squared_error", target, probs.shape[1])).square().sum(dim=1).mean().item()


@typechecked
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
    smallest = variances.amin(dim=-1, keepdim=True)
    if smallest.isinf().any():
        refuse("inverse_variance_weights", "a finite variance in each row", "a row that is all infinite")
    precision = smallest / variances  # in units of the largest precision, which alone might overflow
    return precision / precision.sum(dim=-1, keepdim=True)


@typechecked
def rank_correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """How far two lists agree about what is larger: 1 in the same order, -1 in opposite orders, near 0 at random.

    Equation: rho = correlation of the ranks of x and y; equal values share the mean of their ranks
    (5.15; Spearman 1904)

    Raises:
        ValueError: NaN, fewer than two values, or values that are all equal and so have no order.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.4, 0.5]))
    1.0
    """
    for name, values in (("x", x), ("y", y)):
        check_numbers("rank_correlation", values, name)
        if len(values) < 2 or (values == values[0]).all():
            refuse("rank_correlation", f"{name} with values that differ", str(values.tolist()[:4]), "No order to rank.")
    from scipy.stats import spearmanr  # here, since the import takes a second

    return round(float(spearmanr(*(values.detach().cpu().double() for values in (x, y))).statistic), 12)


def _check_answers(where: str, sim: Tensor, right: Tensor) -> None:
    if not right.any(dim=1).all():
        row = (~right.any(dim=1)).nonzero()[0].item()
        refuse(where, "a right answer for each query", f"none for query {row}")
    check_numbers(where, sim, "similarities")
