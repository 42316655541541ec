"""Exercise 4 of notebook 5: from the weights of many samples, find the sense that a model has stopped listening to."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_shape, check_value, exercise, name_of, not_yet


def collapsed_senses(
    weights: Float[Tensor, "n m"],
    least: float,
    *,
    judge: Callable = lambda weights, least: weights.amax(dim=0) < least,
) -> Float[Tensor, " m"]:
    """1 for a sense whose weight is below `least` in every sample, even in the one that trusts it most; else 0."""
    return judge(weights, least).to(weights.dtype)


COLLAPSED_MISTAKES = [
    Mistake(
        "you judged by the mean weight. A sense that a few noisy samples rely on has a small mean, and is in use: "
        "look at the sample that trusts it most.",
        {"judge": lambda weights, least: weights.mean(dim=0) < least},
    ),
    Mistake(
        "you judged by the median weight. A sense that few samples rely on is in use: take the maximum.",
        {"judge": lambda weights, least: weights.median(dim=0).values < least},
    ),
    Mistake(
        "you judged by the smallest weight. Any sense is near 0 somewhere; collapsed means near 0 everywhere: take the "
        "maximum.",
        {"judge": lambda weights, least: weights.amin(dim=0) < least},
    ),
    Mistake("you looked at the first sample only.", {"judge": lambda weights, least: weights[0] < least}),
    Mistake("you looked at the last sample only.", {"judge": lambda weights, least: weights[-1] < least}),
    Mistake(
        "you judged by the sum over the samples, which grows with their number. Take the maximum.",
        {"judge": lambda weights, least: weights.sum(dim=0) < least},
    ),
    Mistake(
        "you judged by how much the weights vary. Weights that are 0.5 in all samples vary as little.",
        {"judge": lambda weights, least: weights.std(dim=0) < least},
    ),
    Mistake(
        "you marked the senses in use. Mark those that are not: their largest weight is below least.",
        {"judge": lambda weights, least: weights.amax(dim=0) > least},
    ),
    Mistake(
        "you marked the least used sense, whatever its weight. In a healthy model no sense has collapsed; in a sick "
        "one two may have.",
        {"judge": lambda weights, least: weights.amax(dim=0) == weights.amax(dim=0).min()},
    ),
    Mistake(
        "you marked the sense that has won. Mark those that lost: weights below least.",
        {"judge": lambda weights, least: weights.amax(dim=0) == weights.max()},
    ),
]

# Each row of a case is a sample, in hundredths; each column a sense. With eight of them no two mistakes give the same.
EIGHT = [
    [0, 1, 2, 60, 3, 25, 3, 6],
    [1, 7, 35, 2, 2, 7, 19, 27],
    [5, 0, 1, 18, 49, 5, 6, 16],
    [3, 1, 21, 47, 3, 2, 9, 14],
    [1, 3, 3, 48, 14, 3, 1, 27],
]
COLLAPSED_CASES = [
    (torch.tensor(rows) / 100, least)
    for rows, least in [
        (EIGHT, 0.1),
        ([[2, 96, 2], [1, 97, 2], [1, 98, 1], [2, 97, 1], [88, 11, 1], [1, 98, 1], [2, 96, 2]], 0.2),
        ([[50, 50], [50, 50], [51, 49], [49, 51]], 0.1),
        ([[3, 1, 94, 2], [2, 2, 95, 1], [4, 1, 93, 2]], 0.1),
        ([[2, 98], [60, 40], [99, 1]], 0.05),
    ]
]


@exercise
def check_collapsed(collapsed: Callable) -> str:
    """Check `collapsed(weights (n m), least) -> (m)`, True for a sense that is not in use."""
    name = name_of(collapsed)
    for i, case in enumerate(COLLAPSED_CASES):
        got, (n, m) = call(collapsed, *case), case[0].shape
        hints = {
            (n,): "You took the maximum over the senses. Go down the samples: dim=0, one answer a sense.",
            (n, m): "That judges each weight of each sample. One answer a sense: take the maximum over samples first.",
            (): "One answer for all. Each sense has its own: dim=0.",
            (1, m): "One axis too many: no keepdim.",
        }
        check_shape(name, got, (m,), hints, "True or False for each sense.")
        if got.is_floating_point():
            not_yet(f"{name} returned the weights themselves. Compare them with least: True where they are below.")
        label = f"{n} samples of {m} senses, least {case[1]}, 1 for a collapsed sense"
        check_value(name, got.float(), collapsed_senses, COLLAPSED_CASES[: i + 1], COLLAPSED_MISTAKES, label)
    return "a sense that no sample trusts is found, and one that few samples need is left in peace."
