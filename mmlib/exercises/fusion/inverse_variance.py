"""Exercise 5 of notebook 5: the best mixture of noisy estimates weighs each by the inverse of its variance."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import (
    OldMistake as Mistake,
)
from mmlib.exercises.core import (
    call,
    check_gradient,
    check_shape,
    check_value,
    close,
    exercise,
    name_of,
    not_yet,
)


def _share(precision: Tensor) -> Tensor:
    return precision / precision.sum(dim=1, keepdim=True)


def best_mixture(
    estimates: Float[Tensor, "b m"],
    variances: Float[Tensor, "b m"],
    *,
    trust: Callable = lambda variances: 1 / variances,
    share: Callable = _share,
    mix: Callable = lambda weights, estimates: (weights * estimates).sum(dim=1),
) -> Float[Tensor, " b"]:
    """Trust each estimate as its variance deserves, share the trust out, and mix.

    Equation: w_m = (1 / var_m) / sum_k (1 / var_k)  (5.9)
    """
    return mix(share(trust(variances)), estimates)


def _surest(variances: Tensor) -> Tensor:
    return (variances == variances.amin(dim=1, keepdim=True)).to(variances.dtype)


BEST_MISTAKES = [
    Mistake(
        "the noisier estimate gets the larger weight: you weighed by the variance. Weigh by its inverse.",
        {"trust": lambda variances: variances},
    ),
    Mistake(
        "you weighed by the inverse of the standard deviation. The variance itself: no root.",
        {"trust": lambda variances: variances**-0.5},
    ),
    Mistake(
        "you squared the variances. They are squares already.",
        {"trust": lambda variances: variances**-2},
    ),
    Mistake("all estimates count alike. The sure ones should count more.", {"trust": torch.ones_like}),
    Mistake(
        "a softmax of minus the variance is not it. The score is minus the logarithm of the variance, or plainly 1 / "
        "variance, shared out.",
        {"trust": lambda variances: (-variances).exp()},
    ),
    Mistake(
        "the surest estimate takes all. The others know something too.",
        {"trust": _surest},
    ),
    Mistake(
        "the weights do not sum to 1: divide them by their sum.",
        {"share": lambda precision: precision},
    ),
    Mistake(
        "you divided by the sum over the samples. Each sample shares out its own: dim=1.",
        {"share": lambda precision: precision / precision.sum(dim=0, keepdim=True)},
    ),
    Mistake(
        "you divided by the sum over the whole table. Each sample shares out its own: dim=1.",
        {"share": lambda precision: precision / precision.sum()},
    ),
    Mistake(
        "a softmax of 1 / variance goes too far. Divide 1 / variance by its sum.",
        {"share": lambda precision: precision.softmax(dim=1)},
    ),
    Mistake(
        "you took the mean of the weighted estimates. The weights sum to 1 already: take the sum.",
        {"mix": lambda weights, estimates: (weights * estimates).mean(dim=1)},
    ),
    Mistake(
        "the weights belong to the estimates in the other order.",
        {"mix": lambda weights, estimates: (weights.flip(1) * estimates).sum(dim=1)},
    ),
]


def _case(b: int, m: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10 * b + m)
    estimates = 5 + torch.randn(b, m, generator=generator)
    return estimates, 0.2 + 3 * torch.rand(b, m, generator=generator)


MISSING = (torch.tensor([[2.0, 9.0], [3.0, 4.0]]), torch.tensor([[0.5, torch.inf], [1.0, 3.0]]))
BEST_CASES = [_case(4, 3), _case(3, 2), _case(1, 2), MISSING]  # with two, the other order is the other weight


@exercise
def check_inverse_variance(combine: Callable) -> str:
    """Check `combine(estimates (b m), variances (b m)) -> (b)`."""
    name = name_of(combine)
    for i, case in enumerate(BEST_CASES):
        b, m = case[0].shape
        hints = {
            (b, m): "The estimates are still apart: take their weighted sum.",
            (m,): "You added up the samples. Add up the estimates of a sample: dim=1.",
            (b, 1): "One axis too many: no keepdim in the last sum.",
            (): "You added up everything. One number a sample: dim=1.",
        }
        got = call(combine, *case)
        check_shape(name, got, (b,), hints, "One number a sample.")
        if case is MISSING and got.isnan().any():
            not_yet(
                "with a variance of infinity the result is nan: infinity divided by infinity. That is how a missing "
                "sense is written. 1 / infinity is 0: take 1 / variance first, then share out."
            )
        if case is BEST_CASES[0] and close(got, _two_at_most(*case)):
            not_yet("you swap the variances of two estimates, and here are three. 1 / variance works for any number.")
        label = f"{b} samples of {m} estimates"
        check_value(name, got, best_mixture, BEST_CASES[: i + 1], BEST_MISTAKES, label)
    check_gradient(combine, best_mixture, BEST_CASES[0])
    return "no other weights have a smaller error, and an estimate of infinite variance weighs nothing."


def _two_at_most(estimates: Tensor, variances: Tensor) -> Tensor:
    """The formula for two, w_1 = var_2 / (var_1 + var_2), by flipping the axis of any number."""
    return (estimates * variances.flip(1) / variances.sum(dim=1, keepdim=True)).sum(dim=1)
