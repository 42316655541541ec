"""Exercise 2 of notebook 3: which wrong texts are semi-hard negatives of which picture."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_shape, check_value, exercise, name_of, not_yet


def semi_hard(
    sim: Float[Tensor, "b b"],
    same: Bool[Tensor, "b b"],
    margin: float,
    *,
    own: Callable = lambda sim, same: sim.diagonal()[:, None],
    zone: Callable = lambda sim, right, margin: (sim < right) & (sim > right - margin),
    wrong: Callable = lambda same: ~same,
    turn: Callable = lambda mask: mask,
) -> Bool[Tensor, "b b"]:
    """Wrong texts, less similar than the picture's own, but by less than the margin.

    Equation: not same_ij and s_ii - m < s_ij < s_ii  (3.7; Schroff et al. 2015, sec. 3.2)
    """
    return turn(zone(sim, own(sim, same), margin) & wrong(same))


SEMI_HARD_MISTAKES = [
    Mistake(
        "`same` has no effect: the picture's other names are among your negatives, and would be pushed away.",
        {"wrong": torch.ones_like},
    ),
    Mistake(
        "you kept the right answers and left out the wrong ones. Negatives are wrong: ~same.", {"wrong": torch.clone}
    ),
    Mistake(
        "the hard ones are in too. A semi-hard text is less similar than the right one: sim < right.",
        {"zone": lambda sim, right, margin: sim > right - margin},
    ),
    Mistake(
        "you took the distance from the right one on both sides, so hard ones are in too. Semi-hard is one side: less "
        "similar than the right one.",
        {"zone": lambda sim, right, margin: (sim - right).abs() < margin},
    ),
    Mistake(
        "you kept the hard ones, more similar than the right one. Semi-hard are those just below: sim < right.",
        {"zone": lambda sim, right, margin: sim > right},
    ),
    Mistake(
        "a text exactly as similar as the right one is in. It costs the whole margin, so it is hard: < in place of <=.",
        {"zone": lambda sim, right, margin: (sim <= right) & (sim > right - margin)},
    ),
    Mistake(
        "the easy ones are in too. They cost nothing and teach nothing: sim > right - margin.",
        {"zone": lambda sim, right, margin: sim < right},
    ),
    Mistake(
        "you kept the easy ones, which cost nothing. Turn the second comparison round: sim > right - margin.",
        {"zone": lambda sim, right, margin: sim < right - margin},
    ),
    Mistake(
        "nothing can be both below right and above right + margin. The margin reaches down: sim > right - margin.",
        {"zone": lambda sim, right, margin: (sim < right) & (sim > right + margin)},
    ),
    Mistake(
        "you compare with the margin alone. What counts is the lead of the right one: sim > right - margin.",
        {"zone": lambda sim, right, margin: (sim < right) & (sim > margin)},
    ),
    Mistake(
        "both conditions, not one of them: & in place of |.",
        {"zone": lambda sim, right, margin: torch.ones_like(sim, dtype=torch.bool)},
    ),
    Mistake(
        "each row must be compared with its own right answer, and you compare with those of the columns: "
        "sim.diagonal()[:, None].",
        {"own": lambda sim, same: sim.diagonal()[None]},
    ),
    Mistake(
        "you compare with the nearest of the right answers. The right one here is the pair itself: the diagonal.",
        {"own": lambda sim, same: sim.masked_fill(~same, -torch.inf).amax(dim=1, keepdim=True)},
    ),
    Mistake("that is transposed: a row is a picture, a column is a text.", {"turn": lambda mask: mask.T}),
]


def _random_table(b: int, seed: int) -> tuple[Float[Tensor, "b b"], Bool[Tensor, "b b"], float]:
    generator = torch.Generator().manual_seed(seed)
    sim, chance = torch.rand(2, b, b, generator=generator)
    return sim, (chance < 0.3) | torch.eye(b, dtype=torch.bool), 0.35


# The wrong text of picture 0 is exactly as similar as the right one.
TIE = (torch.tensor([[0.5, 0.5], [0.25, 0.5]]), torch.eye(2, dtype=torch.bool), 0.4)
SEMI_HARD_CASES = [_random_table(12, seed=0), TIE]


@exercise
def check_semi_hard(semi_hard_mask: Callable) -> str:
    """Check `semi_hard_mask(sim (b b), same (b b), margin) -> (b b)`, True and False."""
    name = name_of(semi_hard_mask)
    for i, case in enumerate(SEMI_HARD_CASES):
        b, margin = len(case[0]), case[2]
        got, right = call(semi_hard_mask, *case), semi_hard(*case)
        hints = {
            (b,): "One truth for each picture and each text: keep the table.",
            (int(right.sum()),): "Those are the similarities of the chosen ones. Return the table of True and False.",
            (int(right.sum()), 2): "Those are their places. Return the table of True and False: no nonzero.",
        }
        check_shape(name, got, (b, b), hints, "True or False for each picture, a row, and each text, a column.")
        if got.dtype != torch.bool:
            not_yet(f"{name} returned numbers, {got.dtype}. Return the comparisons themselves, True and False.")
        check_value(name, got, semi_hard, SEMI_HARD_CASES[: i + 1], SEMI_HARD_MISTAKES, f"{b} pairs, margin {margin}")
    return "wrong, near, but not nearer than the right one: they teach, and they do not lead into collapse."
