"""The exercises of notebook 3: the triplet loss, semi-hard negatives, recall with ties, two searches made one."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.core import Exercise, as_tensor, name_of, not_yet, run

__all__ = ["check_recall", "check_reciprocal_rank_fusion", "check_semi_hard", "check_triplet_loss"]

# ---- Exercise 1: the triplet loss with the hardest negative of the batch


def without_right(table: Float[Tensor, "b b"]) -> Float[Tensor, "b wrong"]:
    """A table with the right answer taken out of each row."""
    right = torch.eye(len(table), dtype=torch.bool)
    return rearrange(table[~right], "(b wrong) -> b wrong", b=len(table))


def hardest_loss(image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"], margin: float) -> Float[Tensor, ""]:
    """What each wrong text costs a picture, and each wrong picture a text; the dearest of them; the mean of the sums.

    Equation: [m - s_ii + max_j s_ij]_+ + [m - s_ii + max_k s_ki]_+, mean over i  (3.5, 3.8; Faghri et al. 2018, eq. 6)
    """
    sim = image_emb @ text_emb.T
    right = sim.diagonal()
    leads = [right[:, None] - sim, (right - sim).T]
    costs = [(margin - without_right(lead)).clamp(min=0) for lead in leads]
    to_text, to_image = [cost.amax(dim=1) for cost in costs]
    return (to_text + to_image).mean()


def near_pairs(b: int, e: int, seed: int, noise: float) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]:
    """Random unit vectors, and the same with some noise: pairs, most of them nearer than chance."""
    text_emb, bent = torch.randn(2, b, e, generator=torch.Generator().manual_seed(seed))
    return F.normalize(text_emb + noise * bent, dim=-1), F.normalize(text_emb, dim=-1)


class _OfDirections(Exercise):
    """Directions alone count: whoever writes the loss with distances has another gradient along the radius."""

    def ask(self, answer: Callable, *case: Any) -> Tensor:
        return super().ask(answer, *(F.normalize(emb, dim=-1) for emb in case[:2]), case[2])

    def value(self, function: Callable, *case: Any) -> Tensor:
        return super().value(function, *(F.normalize(emb, dim=-1) for emb in case[:2]), case[2])


def _is_a_number(got: Tensor) -> None:
    if got.isnan():
        not_yet(
            "the loss is nan: 0 times infinity is no number. To leave entries out, fill them: sim.masked_fill(...)."
        )


check_triplet_loss = _OfDirections(
    reference=hardest_loss,
    cases=[
        (*near_pairs(9, 3, seed=0, noise=0.9), 1.8),  # so wide a margin that most wrong answers cost something
        (*near_pairs(8, 4, seed=1, noise=0.6), 0.2),
        (torch.ones(5, 1), torch.ones(5, 1), 0.3),
    ],
    mistakes={
        "the right answer is among your negatives. It costs the whole margin, whatever the model does: leave out the "
        "diagonal before the maximum.": {"without_right(lead)": "lead"},
        "your right and wrong similarities have swapped signs, so the loss pulls the wrong ones nearer. "
        "margin - right + wrong.": {"margin - ": "margin + "},
        "the margin is missing, or has the wrong sign. It is the lead that the right one must have: "
        "margin - right + wrong.": [{"margin - ": "-"}, {"margin - ": "-margin - "}],
        "a wrong answer that is far enough away must cost 0. With you it earns a reward that pays for mistakes. Cut "
        "each pair and each direction at 0, before the mean: clamp(min=0).": [
            {".clamp(min=0)": ""},
            {".clamp(min=0)": "", ".mean()": ".mean().clamp(min=0)"},
        ],
        "softplus never reaches 0. The hinge does: clamp(min=0).": {
            "(margin - without_right(lead)).clamp(min=0)": "F.softplus(margin - without_right(lead))"
        },
        "you squared the hinge. This loss takes it as it is.": {".clamp(min=0)": ".clamp(min=0) ** 2"},
        "in the direction from picture to text each row must be compared with its own right answer, and you compare "
        "with those of the columns: sim.diagonal()[:, None].": {"right[:, None] - sim": "right - sim"},
        "in the direction from text to picture each column must be compared with its own right answer, and you "
        "compare with those of the rows: sim.diagonal() with no new axis.": {"(right - sim)": "(right[:, None] - sim)"},
        "you summed over all the wrong answers. That loss exists too, but here the hardest alone counts: amax.": {
            "amax(dim=1)": "sum(dim=1)"
        },
        "you took the mean over all the wrong answers. Most are easy and hide the hard one. Take the maximum: amax.": {
            "amax(dim=1)": "mean(dim=1)"
        },
        "you took the easiest wrong answer, the least similar. Take the most similar one: amax.": {
            "amax(dim=1)": "amin(dim=1)"
        },
        "your negative is the neighbour in the batch. Take the most similar of all the wrong ones: amax.": [
            {"cost.amax(dim=1)": "cost.gather(1, (torch.arange(len(cost)) % cost.shape[1])[:, None]).squeeze(1)"},
            {"cost.amax(dim=1)": "cost.gather(1, ((torch.arange(len(cost)) - 1) % cost.shape[1])[:, None]).squeeze(1)"},
        ],
        "one maximum for the whole table. Each picture has a hardest text of its own: amax(dim=1), and amax(dim=0).": {
            "cost.amax(dim=1)": "cost.amax().expand(len(cost))"
        },
        "the direction from text to picture is missing: only pictures have negatives.": {
            "(to_text + to_image)": "to_text"
        },
        "the direction from picture to text is missing: only texts have negatives.": {
            "(to_text + to_image)": "to_image"
        },
        "you took half of the two directions. Here they are added.": {"+ to_image)": "+ to_image).div(2)"},
        "you summed over the batch. Take the mean, so that the loss does not grow with it.": {".mean()": ".sum()"},
        "the loss has the wrong sign: it would drive right pairs apart.": {"return ": "return -"},
        "you compared distances. Here nearness is the inner product of unit vectors, image_emb @ text_emb.T.": [
            {"image_emb @ text_emb.T": "-torch.cdist(image_emb, text_emb)"},
            {"image_emb @ text_emb.T": "-torch.cdist(image_emb, text_emb).square()"},
        ],
    },
    shape="The loss is one number.",
    hints=lambda b: {
        (b,): "One loss for each pair: take their mean.",
        (b, b): "That is the whole table: the hardest of each row and of each column, then the mean.",
        (2 * b,): "One loss for each direction of each pair: add the two, then the mean over the pairs.",
        (1,): "A loss has no axes: no brackets around the number, no keepdim.",
    },
    also=_is_a_number,
    label=lambda b, margin: f"{b} pairs, margin {margin}",
    praise="right values, right gradients. Pairs that all look alike cost twice the margin: "
    "that is what collapse costs.",
)

# ---- Exercise 2: which wrong texts are semi-hard negatives of which picture


def semi_hard_mask(sim: Float[Tensor, "b b"], same: Bool[Tensor, "b b"], margin: float) -> Bool[Tensor, "b b"]:
    """Wrong texts, less similar than the picture's own, but by less than the margin.

    Equation: not same_ij and s_ii - m < s_ij < s_ii  (3.7; Schroff et al. 2015, sec. 3.2)
    """
    right = sim.diagonal()[:, None]
    mask = (sim < right) & (sim > right - margin) & ~same
    return mask


def _random_table(b: int, seed: int) -> tuple[Float[Tensor, "b b"], Bool[Tensor, "b b"], float]:
    sim, chance = torch.rand(2, b, b, generator=torch.Generator().manual_seed(seed))
    return sim, (chance < 0.3) | torch.eye(b, dtype=torch.bool), 0.35


def _is_a_mask(answer: Callable, got: Tensor) -> None:
    if got.dtype != torch.bool:
        not_yet(f"{name_of(answer)} returned numbers, {got.dtype}. Return the comparisons themselves, True and False.")


ZONE = "(sim < right) & (sim > right - margin)"
# The wrong text of picture 0 is exactly as similar as the right one.
TIE = (torch.tensor([[0.5, 0.5], [0.25, 0.5]]), torch.eye(2, dtype=torch.bool), 0.4)

check_semi_hard = Exercise(
    reference=semi_hard_mask,
    cases=[_random_table(12, seed=0), TIE],
    mistakes={
        "`same` has no effect: the picture's other names are among your negatives, and would be pushed away.": {
            " & ~same": ""
        },
        "you kept the right answers and left out the wrong ones. Negatives are wrong: ~same.": {"~same": "same"},
        "the hard ones are in too. A semi-hard text is less similar than the right one: sim < right.": {
            "(sim < right) & ": ""
        },
        "you took the distance from the right one on both sides, so hard ones are in too. Semi-hard is one side: less "
        "similar than the right one.": {ZONE: "((sim - right).abs() < margin)"},
        "you kept the hard ones, more similar than the right one. Semi-hard are those just below: sim < right.": {
            ZONE: "(sim > right)"
        },
        "a text exactly as similar as the right one is in. It costs the whole margin, so it is hard: < in place of "
        "<=.": {"sim < right": "sim <= right"},
        "the easy ones are in too. They cost nothing and teach nothing: sim > right - margin.": {
            "(sim > right - margin) & ": ""
        },
        "you kept the easy ones, which cost nothing. Turn the second comparison round: sim > right - margin.": {
            ZONE: "(sim < right - margin)"
        },
        "nothing can be both below right and above right + margin. The margin reaches down: sim > right - margin.": {
            "right - margin": "right + margin"
        },
        "you compare with the margin alone. What counts is the lead of the right one: sim > right - margin.": {
            "right - margin": "margin"
        },
        "both conditions, not one of them: & in place of |.": {ZONE: "((sim < right) | (sim > right - margin))"},
        "each row must be compared with its own right answer, and you compare with those of the columns: "
        "sim.diagonal()[:, None].": {"[:, None]": ""},
        "you compare with the nearest of the right answers. The right one here is the pair itself: the diagonal.": {
            "sim.diagonal()[:, None]": "sim.masked_fill(~same, -torch.inf).amax(dim=1, keepdim=True)"
        },
        "that is transposed: a row is a picture, a column is a text.": {"return mask": "return mask.T"},
    },
    shape="True or False for each picture, a row, and each text, a column.",
    hints=lambda b, expected: {
        (b,): "One truth for each picture and each text: keep the table.",
        (int(expected.sum()),): "Those are the similarities of the chosen ones. Return the table of True and False.",
        (int(expected.sum()), 2): "Those are their places. Return the table of True and False: no nonzero.",
    },
    also=_is_a_mask,
    label=lambda b, margin: f"{b} pairs, margin {margin}",
    praise="wrong, near, but not nearer than the right one: they teach, and they do not lead into collapse.",
)

# ---- Exercise 3: recall at k when queries have several right answers, and similarities tie


def recall_with_ties(sim: Float[Tensor, "q g"], right: Bool[Tensor, "q g"], k: int) -> Float[Tensor, ""]:
    """Share of the queries with a right answer among the first k: rank each item of the gallery, a tie in its middle.

    Equation: R@k = 1/q sum_i [rank_i <= k]  (1.12)
    """
    rival, item = sim[:, :, None], sim[:, None]
    rivals = ~right[:, :, None]
    better = ((rival > item) & rivals).sum(dim=1)
    equal = ((rival == item) & rivals).sum(dim=1)
    rank = 1 + better + equal / 2
    found = rank <= k
    hits = (found & right).any(dim=1)
    return hits.float().mean()


class _EachQuery(Exercise):
    """Each query by itself, and all of them at once: many values, where the recall of a table is one."""

    def ask(self, answer: Callable, *case: Any) -> Float[Tensor, " values"]:
        sim, right, k = case
        tables = [*zip(sim.split(1), right.split(1), strict=True), (sim, right)]
        got = [as_tensor(answer, run(answer, *table, k)) for table in tables]
        for value in got:
            self.check_shape(name_of(answer), value, case, torch.zeros(()))
        if not got[0].is_floating_point():
            kind = got[0].dtype
            not_yet(f"{name_of(answer)} returned {kind}, and a share lies between 0 and 1. Take the mean of .float().")
        return torch.stack(got)

    def value(self, function: Callable, *case: Any) -> Float[Tensor, " values"]:
        sim, right, k = case
        each = torch.vmap(function, in_dims=(0, 0, None))(sim[:, None], right[:, None], k)
        return torch.cat([each, function(sim, right, k)[None]])


def _worst(sim: Tensor, right: Tensor, k: int, got: Tensor, expected: Tensor) -> str:
    worst = int((got - expected).abs().argmax())
    if worst == len(sim):
        return f"{len(sim)} queries, {sim.shape[1]} items, k = {k}"
    shown, places = sim[worst].tolist(), right[worst].nonzero().flatten().tolist()
    return f"one query, similarities {shown}, right answers at {places}, k = {k}"


def _table(q: int, g: int, levels: int, seed: int) -> tuple[Float[Tensor, "q g"], Bool[Tensor, "q g"]]:
    """Similarities on a few levels, so that many tie, and one right answer or more in each row."""
    generator = torch.Generator().manual_seed(seed)
    sim = torch.randint(levels, (q, g), generator=generator) / levels
    right = torch.rand(q, g, generator=generator) < 0.25
    right[torch.arange(q), torch.randint(g, (q,), generator=generator)] = True
    return sim, right


RANK = "1 + better + equal / 2"
HITS = "(found & right).any(dim=1)"
check_recall = _EachQuery(
    reference=recall_with_ties,
    cases=[
        (*_table(120, 8, levels=4, seed=1), 3),
        (*_table(30, 9, levels=5, seed=1), 2),
        (torch.ones(4, 4), torch.eye(4, dtype=torch.bool), 2),
    ],
    mistakes={
        "among equals you let the order of the table decide, as topk and argsort do. So a model that finds all alike "
        "looks good whenever the right answers stand first. Count: 1 + the wrong ones more similar + half of those as "
        "similar.": [
            {RANK: "torch.full_like(sim, torch.inf).scatter(1, sim.topk(k, dim=1).indices, 1.0)"},
            {RANK: "1 + sim.argsort(dim=1, descending=True, stable=True).argsort(dim=1)"},
        ],
        "in a tie you give the right answer the best place. A model that finds all alike would score 1. Half of the "
        "wrong ones that tie stand in front.": {" + equal / 2": ""},
        "in a tie you give the right answer the worst place. That is too strict: half of the wrong ones that tie "
        "stand in front.": {"equal / 2": "equal"},
        "in a tie, right answers cost the best one places, perhaps even the best one itself. They are no rivals: count "
        "the wrong ones only, & ~right.": [
            {"~right[:, :, None]": "~torch.eye(sim.shape[1], dtype=torch.bool)"},
            {"~right[:, :, None]": "torch.ones_like(right[:, :, None])"},
        ],
        "you ask for all the right answers. One of them among the first k is enough: take the most similar one.": {
            HITS: "(found | ~right).all(dim=1)"
        },
        "you count the share of the right answers that were found. One is enough: a query scores 1 or 0.": {
            HITS: "((found & right).sum(dim=1) / right.sum(dim=1))"
        },
        "you divide by k: that is precision. A query scores 1 when one right answer is among the first k, else 0.": {
            HITS: "((found & right).sum(dim=1) / k)"
        },
        "only the first right answer of the row counts. Any of them will do: take the most similar one.": {
            HITS: "found.gather(1, right.int().argmax(dim=1, keepdim=True)).squeeze(1)"
        },
        "only the diagonal counts as right. Read `right`.": {HITS: "found.diagonal()"},
        "you are off by one: a rank of exactly k is still among the first k.": {"rank <= k": "rank < k"},
        "you are off by one: ranks begin at 1, yours at 0.": {"rank <= k": "rank <= k + 1"},
        "k has no effect: only the first place counts.": {"rank <= k": "rank <= 1"},
        "you rank the least similar first. Larger is closer.": {
            "sim[:, :, None], sim[:, None]": "-sim[:, :, None], -sim[:, None]"
        },
        "that is the share of failures. Turn it round.": {"hits.float()": "(1 - hits.float())"},
        "that is the number of queries. Take the mean.": {".mean()": ".sum()"},
        "one best answer for the whole table. Each query has its own: amax(dim=1, keepdim=True).": {
            "sim[:, :, None], sim[:, None]": "sim[:, :, None], sim.masked_fill(~right, -torch.inf).amax()"
        },
    },
    shape="The recall is one number.",
    hints=lambda g, k: {
        (1,): "Is that each query by itself? Take the mean over the queries.",
        (g,): "You counted down the columns. A row is a query.",
        (1, k): "Those are the first k. Is one of them right?",
    },
    label=_worst,
    praise="one right answer is enough, and a model that finds all alike earns nothing at k = 1.",
)

# ---- Exercise 4: two searches made one, by the ranks that they give


def fuse(sim_a: Float[Tensor, "q g"], sim_b: Float[Tensor, "q g"], k: int) -> Float[Tensor, "q g"]:
    """Each search gives an item 1 / (k + its rank), 1 for the most similar; an item's score is the sum.

    Equation: RRF(q, i) = sum over the searches of 1 / (k + rank(q, i))  (3.15; Cormack et al. 2009)
    """
    ranks = [1 + sim.argsort(dim=1, descending=True).argsort(dim=1) for sim in (sim_a, sim_b)]
    a, b = [1 / (k + rank) for rank in ranks]
    return a + b


def _two_searches(q: int, g: int, k: int) -> tuple[Float[Tensor, "q g"], Float[Tensor, "q g"], int]:
    """Similarities of two searches, with no ties, and the second on another scale."""
    orders = torch.rand(2, q, g, generator=torch.Generator().manual_seed(g)).argsort(dim=2)
    return orders[0] / g, orders[1] / 2 - 1, k


SHARE = "[1 / (k + rank)"
check_reciprocal_rank_fusion = Exercise(
    reference=fuse,
    cases=[_two_searches(3, 6, 7), _two_searches(2, 5, 60), _two_searches(1, 1, 1)],
    mistakes={
        "argsort gives the order, which item comes first, not the rank of each item. Sort the order once more: "
        "argsort().argsort().": {"True).argsort(dim=1)": "True)"},
        "rank 1 goes to the least similar item. Larger is closer: descending=True.": {", descending=True)": ")"},
        "rank 1 goes to the least similar item, and argsort gives the order, not the rank: descending=True, then "
        "argsort once more.": {", descending=True).argsort(dim=1)": ")"},
        "your ranks begin at 0. The first place is 1.": {"[1 + sim": "[sim"},
        "you ranked the queries for each item. A row is a query: rank along it, dim=1.": {
            "sim.argsort(dim=1, descending=True).argsort(dim=1)": "sim.argsort(dim=0, descending=True).argsort(dim=0)"
        },
        "you put the similarities themselves in place of the ranks. Those of two searches do not compare, ranks do.": {
            "1 + sim.argsort(dim=1, descending=True).argsort(dim=1)": "sim"
        },
        "k has no effect: 1 / (k + rank).": {SHARE: "[1 / rank"},
        "you multiplied the rank by k. Add: 1 / (k + rank).": {SHARE: "[1 / (k * rank)"},
        "the rank must stand under the 1, or the worst place scores most: 1 / (k + rank), with the brackets.": [
            {SHARE: "[1 / k + rank"},
            {SHARE: "[k + 1.0 * rank"},
        ],
        "you wrote the number 60. Use k.": {SHARE: "[1 / (60 + rank)"},
        "you added the ranks before the 1 over. Each search gives its own 1 / (k + rank).": {
            SHARE: "[k + rank",
            "return a + b": "return 1 / (a + b)",
        },
        "you added the ranks before the 1 over, and k once. Each search gives its own 1 / (k + rank).": {
            SHARE: "[k / 2 + rank",
            "return a + b": "return 1 / (a + b)",
        },
        "you took half of the sum. The order stays, but the formula is the sum.": {
            "return a + b": "return (a + b) / 2"
        },
        "you multiplied the two. Add them.": {"return a + b": "return a * b"},
        "you kept the better of the two. Add them, so that two good places beat one.": {
            "return a + b": "return torch.maximum(a, b)"
        },
        "the second search has no effect.": {"return a + b": "return a"},
        "the first search has no effect.": {"return a + b": "return b"},
        "you took one search minus the other. Add them.": {"return a + b": "return a - b"},
    },
    shape="A score for each query, a row, and each item, a column.",
    hints=lambda q, g: {
        (q, 2 * g): "You put the two searches side by side. Add them: one score for each item.",
        (2, q, g): "Both searches are still apart: sum over the first axis.",
        (q,): "One number a query. Each item needs its score.",
        (g,): "One number an item. Each query ranks for itself.",
    },
    label=lambda q, g, k: f"{q} queries, {g} items, k = {k}",
    praise="places compare where similarities do not: one search may count in metres and the other in dollars.",
)
