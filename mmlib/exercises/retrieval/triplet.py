"""Exercise 1 of notebook 3: the triplet loss with the hardest negative of the batch."""

from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of, not_yet


def _without_right(costs: Float[Tensor, "b b"]) -> Float[Tensor, "b wrong"]:
    """The costs of a row with its right answer taken out."""
    right = torch.eye(len(costs), dtype=torch.bool)
    return rearrange(costs[~right], "(b wrong) -> b wrong", b=len(costs))


def triplet(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    margin: float,
    *,
    compare: Callable = lambda image_emb, text_emb: image_emb @ text_emb.T,
    of_image: Callable = lambda right: right[:, None],
    of_text: Callable = lambda right: right[None],
    gap: Callable = lambda right, wrong, margin: margin - right + wrong,
    hinge: Callable = lambda gaps: gaps.clamp(min=0),
    drop: Callable = _without_right,
    pick: Callable = lambda costs: costs.amax(dim=1),
    combine: Callable = torch.add,
    finish: Callable = torch.mean,
) -> Float[Tensor, ""]:
    """What each wrong text costs a picture, and each wrong picture a text; the dearest of them; the mean of the sums.

    Equation: [m - s_ii + max_j s_ij]_+ + [m - s_ii + max_k s_ki]_+, mean over i  (3.5, 3.8; Faghri et al. 2018, eq. 6)
    """
    sim = compare(image_emb, text_emb)
    right = sim.diagonal()
    to_text = hinge(gap(of_image(right), sim, margin))
    to_image = hinge(gap(of_text(right), sim, margin)).T
    return finish(combine(pick(drop(to_text)), pick(drop(to_image))))


def _of_neighbour(costs: Float[Tensor, "b wrong"], step: int) -> Float[Tensor, " b"]:
    b, wrong = costs.shape
    return costs.gather(1, ((torch.arange(b) + step) % wrong)[:, None]).squeeze(1)


MARGIN = (
    "the margin is missing, or has the wrong sign. It is the lead that the right one must have: margin - right + wrong."
)
CUT = (
    "a wrong answer that is far enough away must cost 0. With you it earns a reward that pays for mistakes. Cut "
    "each pair and each direction at 0, before the mean: clamp(min=0)."
)
NEIGHBOUR = "your negative is the neighbour in the batch. Take the most similar of all the wrong ones: amax."
DISTANCES = "you compared distances. Here nearness is the inner product of unit vectors, image_emb @ text_emb.T."
TRIPLET_MISTAKES = [
    Mistake(
        "the right answer is among your negatives. It costs the whole margin, whatever the model does: leave out the "
        "diagonal before the maximum.",
        {"drop": lambda costs: costs},
    ),
    Mistake(
        "your right and wrong similarities have swapped signs, so the loss pulls the wrong ones nearer. "
        "margin - right + wrong.",
        {"gap": lambda right, wrong, margin: margin + right - wrong},
    ),
    Mistake(MARGIN, {"gap": lambda right, wrong, margin: wrong - right}),
    Mistake(MARGIN, {"gap": lambda right, wrong, margin: wrong - right - margin}),
    Mistake(CUT, {"hinge": lambda gaps: gaps}),
    Mistake(CUT, {"hinge": lambda gaps: gaps, "finish": lambda costs: costs.mean().clamp(min=0)}),
    Mistake("softplus never reaches 0. The hinge does: clamp(min=0).", {"hinge": F.softplus}),
    Mistake("you squared the hinge. This loss takes it as it is.", {"hinge": lambda gaps: gaps.clamp(min=0) ** 2}),
    Mistake(
        "in the direction from picture to text each row must be compared with its own right answer, and you compare "
        "with those of the columns: sim.diagonal()[:, None].",
        {"of_image": lambda right: right[None]},
    ),
    Mistake(
        "in the direction from text to picture each column must be compared with its own right answer, and you "
        "compare with those of the rows: sim.diagonal() with no new axis.",
        {"of_text": lambda right: right[:, None]},
    ),
    Mistake(
        "you summed over all the wrong answers. That loss exists too, but here the hardest alone counts: amax.",
        {"pick": lambda costs: costs.sum(dim=1)},
    ),
    Mistake(
        "you took the mean over all the wrong answers. Most are easy and hide the hard one. Take the maximum: amax.",
        {"pick": lambda costs: costs.mean(dim=1)},
    ),
    Mistake(
        "you took the easiest wrong answer, the least similar. Take the most similar one: amax.",
        {"pick": lambda costs: costs.amin(dim=1)},
    ),
    Mistake(NEIGHBOUR, {"pick": lambda costs: _of_neighbour(costs, 0)}),
    Mistake(NEIGHBOUR, {"pick": lambda costs: _of_neighbour(costs, -1)}),
    Mistake(
        "one maximum for the whole table. Each picture has a hardest text of its own: amax(dim=1), and amax(dim=0).",
        {"pick": lambda costs: costs.amax().expand(len(costs))},
    ),
    Mistake(
        "the direction from text to picture is missing: only pictures have negatives.",
        {"combine": lambda to_text, to_image: to_text},
    ),
    Mistake(
        "the direction from picture to text is missing: only texts have negatives.",
        {"combine": lambda to_text, to_image: to_image},
    ),
    Mistake("you took half of the two directions. Here they are added.", {"combine": lambda x, y: (x + y) / 2}),
    Mistake("you summed over the batch. Take the mean, so that the loss does not grow with it.", {"finish": torch.sum}),
    Mistake("the loss has the wrong sign: it would drive right pairs apart.", {"finish": lambda costs: -costs.mean()}),
    Mistake(DISTANCES, {"compare": lambda image_emb, text_emb: -torch.cdist(image_emb, text_emb)}),
    Mistake(DISTANCES, {"compare": lambda image_emb, text_emb: -(torch.cdist(image_emb, text_emb) ** 2)}),
]


def near_pairs(b: int, e: int, seed: int, noise: float) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]:
    """Random unit vectors, and the same with some noise: pairs, most of them nearer than chance."""
    text_emb, bent = torch.randn(2, b, e, generator=torch.Generator().manual_seed(seed))
    return F.normalize(text_emb + noise * bent, dim=-1), F.normalize(text_emb, dim=-1)


TRIPLET_CASES = [
    (*near_pairs(9, 3, seed=0, noise=0.9), 1.8),  # so wide a margin that most wrong answers cost something
    (*near_pairs(8, 4, seed=1, noise=0.6), 0.2),
    (torch.ones(5, 1), torch.ones(5, 1), 0.3),
]
NOT_A_NUMBER = "the loss is nan: 0 times infinity is no number. To leave entries out, fill them: sim.masked_fill(...)."


def _of_any_length(loss: Callable) -> Callable:
    """The loss of the directions alone: whoever writes it with distances has another gradient along the radius."""

    @wraps(loss)
    def of_directions(image_emb: Tensor, text_emb: Tensor, margin: float) -> Tensor:
        return loss(F.normalize(image_emb, dim=-1), F.normalize(text_emb, dim=-1), margin)

    return of_directions


@exercise
def check_triplet_loss(triplet_loss: Callable) -> str:
    """Check `triplet_loss(image_emb (b e), text_emb (b e), margin) -> loss`."""
    name = name_of(triplet_loss)
    for i, case in enumerate(TRIPLET_CASES):
        b, margin = len(case[0]), case[2]
        hints = {
            (b,): "One loss for each pair: take their mean.",
            (b, b): "That is the whole table: the hardest of each row and of each column, then the mean.",
            (2 * b,): "One loss for each direction of each pair: add the two, then the mean over the pairs.",
            (1,): "A loss has no axes: no brackets around the number, no keepdim.",
        }
        got = call(triplet_loss, *case)
        check_shape(name, got, (), hints, "The loss is one number.")
        if got.isnan():
            not_yet(NOT_A_NUMBER)
        check_value(name, got, triplet, TRIPLET_CASES[: i + 1], TRIPLET_MISTAKES, f"{b} pairs, margin {margin}")
    check_gradient(_of_any_length(triplet_loss), _of_any_length(triplet), TRIPLET_CASES[1])
    return (
        "right values, right gradients. Pairs that all look alike cost twice the margin: that is what collapse costs."
    )
