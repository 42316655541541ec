"""Exercise 3 of notebook 3: recall at k when queries have several right answers, and similarities tie."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import as_tensor, check_shape, check_value, exercise, name_of, not_yet, run


def _wrong(right: Bool[Tensor, "q g"]) -> Bool[Tensor, "q g 1"]:
    return ~right[:, :, None]


def _rank(sim: Tensor, right: Tensor, k: int, half: float = 0.5, rivals: Callable = _wrong) -> Float[Tensor, "q g"]:
    """Rank of each item of the gallery: behind all rivals that are more similar, and in the middle of its tie."""
    rival, item = sim[:, :, None], sim[:, None]
    return 1 + ((rival > item) & rivals(right)).sum(dim=1) + half * ((rival == item) & rivals(right)).sum(dim=1)


def one_by_one(
    sim: Float[Tensor, "q g"],
    right: Bool[Tensor, "q g"],
    k: int,
    *,
    read: Callable = lambda sim: sim,
    rank: Callable = _rank,
    among: Callable = lambda rank, k: rank <= k,
    count: Callable = lambda found, right, k: (found & right).any(dim=1),
    turn: Callable = lambda hits: hits,
) -> Float[Tensor, " q"]:
    """Recall of each query by itself: rank the gallery, see which items are among the first k, ask for a right one."""
    found = among(rank(read(sim), right, k), k)
    return turn(count(found, right, k).float())


def recall(
    sim: Float[Tensor, "q g"],
    right: Bool[Tensor, "q g"],
    k: int,
    *,
    rank: Callable = _rank,
    finish: Callable = torch.mean,
) -> Float[Tensor, ""]:
    """Share of the queries with a right answer among the first k.

    Equation: R@k = 1/q sum_i [rank_i <= k]  (1.12)
    """
    return finish(one_by_one(sim, right, k, rank=rank))


def _others(right: Bool[Tensor, "q g"]) -> Bool[Tensor, "1 g g"]:
    return ~torch.eye(right.shape[1], dtype=torch.bool)[None]


def _all(right: Bool[Tensor, "q g"]) -> Bool[Tensor, "1 1 1"]:
    return torch.ones(1, 1, 1, dtype=torch.bool)


def _order_of_sort(sim: Tensor, right: Tensor, k: int) -> Float[Tensor, "q g"]:
    return 1.0 + sim.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def _order_of_topk(sim: Tensor, right: Tensor, k: int) -> Float[Tensor, "q g"]:
    return torch.full_like(sim, torch.inf).scatter(1, sim.topk(k, dim=1).indices, 1.0)


def _best_of_table(sim: Tensor, right: Tensor, k: int) -> Float[Tensor, "q g"]:
    best = sim[right].max()
    rank = 1 + ((sim > best) & ~right).sum(dim=1) + ((sim == best) & ~right).sum(dim=1) / 2
    return rank[:, None].expand_as(sim)


def _first(found: Bool[Tensor, "q g"], right: Bool[Tensor, "q g"], k: int) -> Bool[Tensor, " q"]:
    return found.gather(1, right.int().argmax(dim=1, keepdim=True)).squeeze(1)


BY_ORDER = (
    "among equals you let the order of the table decide, as topk and argsort do. So a model that finds all alike looks "
    "good whenever the right answers stand first. Count: 1 + the wrong ones more similar + half of those as similar."
)
NO_RIVALS = (
    "in a tie, right answers cost the best one places, perhaps even the best one itself. They are no rivals: count the "
    "wrong ones only, & ~right."
)
RECALL_MISTAKES = [
    Mistake(BY_ORDER, {"rank": _order_of_topk}),
    Mistake(BY_ORDER, {"rank": _order_of_sort}),
    Mistake(
        "in a tie you give the right answer the best place. A model that finds all alike would score 1. Half of the "
        "wrong ones that tie stand in front.",
        {"rank": partial(_rank, half=0.0)},
    ),
    Mistake(
        "in a tie you give the right answer the worst place. That is too strict: half of the wrong ones that tie "
        "stand in front.",
        {"rank": partial(_rank, half=1.0)},
    ),
    Mistake(NO_RIVALS, {"rank": partial(_rank, rivals=_others)}),
    Mistake(NO_RIVALS, {"rank": partial(_rank, rivals=_all)}),
    Mistake(
        "you ask for all the right answers. One of them among the first k is enough: take the most similar one.",
        {"count": lambda found, right, k: (found | ~right).all(dim=1)},
    ),
    Mistake(
        "you count the share of the right answers that were found. One is enough: a query scores 1 or 0.",
        {"count": lambda found, right, k: (found & right).sum(dim=1) / right.sum(dim=1)},
    ),
    Mistake(
        "you divide by k: that is precision. A query scores 1 when one right answer is among the first k, else 0.",
        {"count": lambda found, right, k: (found & right).sum(dim=1) / k},
    ),
    Mistake(
        "only the first right answer of the row counts. Any of them will do: take the most similar one.",
        {"count": _first},
    ),
    Mistake("only the diagonal counts as right. Read `right`.", {"count": lambda found, right, k: found[:, 0]}),
    Mistake("you are off by one: a rank of exactly k is still among the first k.", {"among": lambda rank, k: rank < k}),
    Mistake("you are off by one: ranks begin at 1, yours at 0.", {"among": lambda rank, k: rank <= k + 1}),
    Mistake("k has no effect: only the first place counts.", {"among": lambda rank, k: rank <= 1}),
    Mistake("you rank the least similar first. Larger is closer.", {"read": torch.neg}),
    Mistake("that is the share of failures. Turn it round.", {"turn": lambda hits: 1 - hits}),
]
TABLE_MISTAKES = [
    Mistake("that is the number of queries. Take the mean.", {"finish": torch.sum}),
    Mistake(
        "one best answer for the whole table. Each query has its own: amax(dim=1, keepdim=True).",
        {"rank": _best_of_table},
    ),
]


def _table(q: int, g: int, levels: int, seed: int) -> tuple[Float[Tensor, "q g"], Bool[Tensor, "q g"]]:
    """Similarities on a few levels, so that many tie, and one right answer or more in each row."""
    generator = torch.Generator().manual_seed(seed)
    sim = torch.randint(levels, (q, g), generator=generator) / levels
    right = torch.rand(q, g, generator=generator) < 0.25
    right[torch.arange(q), torch.randint(g, (q,), generator=generator)] = True
    return sim, right


QUERIES = (*_table(120, 8, levels=4, seed=1), 3)
TABLES = [(*_table(30, 9, levels=5, seed=1), 2), (torch.ones(4, 4), torch.eye(4, dtype=torch.bool), 2)]


def _check_one_by_one(recall_at_k: Callable) -> None:
    name, (sim, right, k) = name_of(recall_at_k), QUERIES
    queries = zip(sim.split(1), right.split(1), strict=True)
    got = [as_tensor(recall_at_k, run(recall_at_k, *query, k)) for query in queries]
    hints = {
        (1,): "Is that each query by itself? Take the mean over the queries.",
        (sim.shape[1],): "You counted down the columns. A row is a query.",
        (1, k): "Those are the first k. Is one of them right?",
    }
    check_shape(name, got[0], (), hints, "The recall is one number.")
    if not got[0].is_floating_point():
        not_yet(f"{name} returned {got[0].dtype}, and a share lies between 0 and 1. Take the mean of .float().")
    worst = int((torch.stack(got) - one_by_one(*QUERIES)).abs().argmax())
    shown, places = sim[worst].tolist(), right[worst].nonzero().flatten().tolist()
    label = f"one query, similarities {shown}, right answers at {places}, k = {k}"
    check_value(name, torch.stack(got), one_by_one, [QUERIES], RECALL_MISTAKES, label)


@exercise
def check_recall(recall_at_k: Callable) -> str:
    """Check `recall_at_k(sim (q g), right (q g), k) -> share`, a float or a tensor."""
    _check_one_by_one(recall_at_k)
    for case in TABLES:
        got = as_tensor(recall_at_k, run(recall_at_k, *case))
        label = f"{len(case[0])} queries, {case[0].shape[1]} items, k = {case[2]}"
        check_value(name_of(recall_at_k), got, recall, [case], TABLE_MISTAKES, label)
    return "one right answer is enough, and a model that finds all alike earns nothing at k = 1."
