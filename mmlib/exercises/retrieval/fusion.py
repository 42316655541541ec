"""Exercise 4 of notebook 3: two searches made one, by the ranks that they give."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_shape, check_value, exercise, name_of


def _ranks(sim: Float[Tensor, "q g"], dim: int = 1) -> Int[Tensor, "q g"]:
    """Rank of each item, 1 for the most similar: the order of the order."""
    return 1 + sim.argsort(dim=dim, descending=True).argsort(dim=dim)


def fused(
    sim_a: Float[Tensor, "q g"],
    sim_b: Float[Tensor, "q g"],
    k: int,
    *,
    rank: Callable = _ranks,
    share: Callable = lambda rank, k: 1 / (k + rank),
    combine: Callable = torch.add,
) -> Float[Tensor, "q g"]:
    """Each search gives an item 1 / (k + its rank); an item's score is the sum.

    Equation: RRF(q, i) = sum over the searches of 1 / (k + rank(q, i))  (3.15; Cormack et al. 2009)
    """
    return combine(share(rank(sim_a), k), share(rank(sim_b), k))


NOT_OVER = "the rank must stand under the 1, or the worst place scores most: 1 / (k + rank), with the brackets."
FUSION_MISTAKES = [
    Mistake(
        "argsort gives the order, which item comes first, not the rank of each item. Sort the order once more: "
        "argsort().argsort().",
        {"rank": lambda sim: 1 + sim.argsort(dim=1, descending=True)},
    ),
    Mistake(
        "rank 1 goes to the least similar item. Larger is closer: descending=True.", {"rank": lambda sim: _ranks(-sim)}
    ),
    Mistake(
        "rank 1 goes to the least similar item, and argsort gives the order, not the rank: descending=True, then "
        "argsort once more.",
        {"rank": lambda sim: 1 + sim.argsort(dim=1)},
    ),
    Mistake("your ranks begin at 0. The first place is 1.", {"rank": lambda sim: _ranks(sim) - 1}),
    Mistake(
        "you ranked the queries for each item. A row is a query: rank along it, dim=1.",
        {"rank": lambda sim: _ranks(sim, 0)},
    ),
    Mistake(
        "you put the similarities themselves in place of the ranks. Those of two searches do not compare, ranks do.",
        {"rank": lambda sim: sim},
    ),
    Mistake("k has no effect: 1 / (k + rank).", {"share": lambda rank, k: 1 / rank}),
    Mistake("you multiplied the rank by k. Add: 1 / (k + rank).", {"share": lambda rank, k: 1 / (k * rank)}),
    Mistake(NOT_OVER, {"share": lambda rank, k: 1 / k + rank}),
    Mistake(NOT_OVER, {"share": lambda rank, k: k + 1.0 * rank}),
    Mistake("you wrote the number 60. Use k.", {"share": lambda rank, k: 1 / (60 + rank)}),
    Mistake(
        "you added the ranks before the 1 over. Each search gives its own 1 / (k + rank).",
        {"share": lambda rank, k: k + rank, "combine": lambda a, b: 1 / (a + b)},
    ),
    Mistake(
        "you added the ranks before the 1 over, and k once. Each search gives its own 1 / (k + rank).",
        {"share": lambda rank, k: k / 2 + rank, "combine": lambda a, b: 1 / (a + b)},
    ),
    Mistake(
        "you took half of the sum. The order stays, but the formula is the sum.", {"combine": lambda a, b: (a + b) / 2}
    ),
    Mistake("you multiplied the two. Add them.", {"combine": torch.mul}),
    Mistake("you kept the better of the two. Add them, so that two good places beat one.", {"combine": torch.maximum}),
    Mistake("the second search has no effect.", {"combine": lambda a, b: a}),
    Mistake("the first search has no effect.", {"combine": lambda a, b: b}),
    Mistake("you took one search minus the other. Add them.", {"combine": torch.sub}),
]


def _case(q: int, g: int, k: int) -> tuple[Float[Tensor, "q g"], Float[Tensor, "q g"], int]:
    """Similarities of two searches, with no ties, and the second on another scale."""
    generator = torch.Generator().manual_seed(g)
    orders = torch.rand(2, q, g, generator=generator).argsort(dim=2)
    return orders[0] / g, orders[1] / 2 - 1, k


FUSION_CASES = [_case(3, 6, 7), _case(2, 5, 60), _case(1, 1, 1)]


@exercise
def check_reciprocal_rank_fusion(fuse: Callable) -> str:
    """Check `fuse(sim_a (q g), sim_b (q g), k) -> (q g)`."""
    name = name_of(fuse)
    for i, case in enumerate(FUSION_CASES):
        (q, g), k = case[0].shape, case[2]
        hints = {
            (q, 2 * g): "You put the two searches side by side. Add them: one score for each item.",
            (2, q, g): "Both searches are still apart: sum over the first axis.",
            (q,): "One number a query. Each item needs its score.",
            (g,): "One number an item. Each query ranks for itself.",
        }
        got = call(fuse, *case)
        check_shape(name, got, (q, g), hints, "A score for each query, a row, and each item, a column.")
        check_value(name, got, fused, FUSION_CASES[: i + 1], FUSION_MISTAKES, f"{q} queries, {g} items, k = {k}")
    return "places compare where similarities do not: one search may count in metres and the other in dollars."
