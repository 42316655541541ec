"""Exercise 3 of notebook 5: attention over the senses, with one of them missing now and then."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.core import (
    OldMistake as Mistake,
)
from mmlib.exercises.core import (
    call,
    check_gradient,
    check_shape,
    check_value,
    exercise,
    name_of,
    not_yet,
)


def _over_the_senses(scores: Tensor, present: Tensor) -> Tensor:
    return scores.masked_fill(~present, -torch.inf).softmax(dim=1)


def _dot(emb: Tensor, scorer: Tensor) -> Tensor:
    return emb @ scorer


def _weighted_sum(weights: Tensor, emb: Tensor) -> Tensor:
    return (weights[..., None] * emb).sum(dim=1)


def attend(
    emb: Float[Tensor, "b m d"],
    scorer: Float[Tensor, " d"],
    present: Bool[Tensor, "b m"],
    *,
    score: Callable = _dot,
    weigh: Callable = _over_the_senses,
    mix: Callable = _weighted_sum,
) -> Float[Tensor, "b d"]:
    """Score each sense, turn the scores of those present into weights, and add the senses up.

    Equation: alpha_m = exp(s_m) / sum_k exp(s_k),  h = sum_m alpha_m h_m  (5.5)
    """
    return mix(weigh(score(emb, scorer), present), emb)


def _zero_afterwards(scores: Tensor, present: Tensor) -> Tensor:
    return scores.softmax(dim=1) * present


def _zero_scores(scores: Tensor, present: Tensor) -> Tensor:
    return (scores * present).softmax(dim=1)


def _over_samples(scores: Tensor, present: Tensor) -> Tensor:
    return scores.masked_fill(~present, -1e9).softmax(dim=0)


def _one_for_all(scores: Tensor, present: Tensor) -> Tensor:
    return scores.mean(dim=0, keepdim=True).expand_as(scores).masked_fill(~present, -torch.inf).softmax(dim=1)


def _winner_takes_all(scores: Tensor, present: Tensor) -> Tensor:
    best = scores.masked_fill(~present, -torch.inf).argmax(dim=1, keepdim=True)
    return torch.zeros_like(scores).scatter(1, best, 1.0)


ATTENTION_MISTAKES = [
    Mistake(
        "softmax over an axis of length 1, so each weight is 1 and the senses are just added up. The senses compete: "
        "softmax over axis 1 of scores (b m).",
        {"weigh": lambda scores, present: present.to(scores.dtype)},
    ),
    Mistake(
        "softmax over the samples: a sample takes weight from another one. The senses of one sample compete: dim=1.",
        {"weigh": _over_samples},
    ),
    Mistake(
        "a missing sense still gets weight. Set its score to -inf before the softmax.",
        {"weigh": lambda scores, present: scores.softmax(dim=1)},
    ),
    Mistake(
        "you set the weight of a missing sense to 0 after the softmax, so the others do not sum to 1. Set its score to "
        "-inf before it.",
        {"weigh": _zero_afterwards},
    ),
    Mistake(
        "you set the score of a missing sense to 0, and exp(0) = 1 still counts. Set it to -inf.",
        {"weigh": _zero_scores},
    ),
    Mistake(
        "a sigmoid weighs each sense by itself, and the weights do not sum to 1. Softmax over the senses.",
        {"weigh": lambda scores, present: scores.sigmoid() * present},
    ),
    Mistake(
        "the scores are used as weights. Take their softmax over the senses.",
        {"weigh": lambda scores, present: scores * present},
    ),
    Mistake("the best sense takes all. Use softmax, not argmax: argmax has no gradient.", {"weigh": _winner_takes_all}),
    Mistake(
        "all samples have the same weights. That is late fusion's way; here each sample has its own.",
        {"weigh": _one_for_all},
    ),
    Mistake(
        "the scores have the wrong sign: the sense with the lower score wins.",
        {"score": lambda emb, scorer: -_dot(emb, scorer)},
    ),
    Mistake(
        "you divided the scores by the root of d. That belongs to (1.10); here a score is just the product.",
        {"score": lambda emb, scorer: _dot(emb, scorer) / emb.shape[-1] ** 0.5},
    ),
    Mistake(
        "the scorer is not used: the sum of the features is no score.", {"score": lambda emb, scorer: emb.sum(dim=-1)}
    ),
    Mistake("the length of a sense is no score: use scorer.", {"score": lambda emb, scorer: emb.norm(dim=-1)}),
    Mistake(
        "you took the mean over the senses at the end. The weights sum to 1 already: take the sum.",
        {"mix": lambda weights, emb: (weights[..., None] * emb).mean(dim=1)},
    ),
    Mistake(
        "the weights belong to the senses in the other order.",
        {"mix": lambda weights, emb: _weighted_sum(weights.flip(1), emb)},
    ),
    Mistake(
        "the maximum over the weighted senses is no mixture: take the sum.",
        {"mix": lambda weights, emb: (weights[..., None] * emb).amax(dim=1)},
    ),
]


def _case(present: list[list[int]], d: int) -> tuple[Tensor, ...]:
    there = torch.tensor(present).bool()
    generator = torch.Generator().manual_seed(d)
    return torch.randn(*there.shape, d, generator=generator), torch.randn(d, generator=generator), there


ATTENTION_CASES = [
    _case([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]], 5),  # three senses: a swap of two is not a turned sign
    _case([[1, 1], [1, 0], [0, 1], [1, 1]], 3),
    _case([[1, 1, 1], [0, 1, 1], [0, 1, 0]], 4),
    _case([[0, 1]], 2),
]


@exercise
def check_attention(attention_fusion: Callable) -> str:
    """Check `attention_fusion(emb (b m d), scorer (d), present (b m)) -> (b d)`."""
    name = name_of(attention_fusion)
    for i, case in enumerate(ATTENTION_CASES):
        b, m, d = case[0].shape
        hints = {
            (b, m): "Those are the weights. Multiply each sense by its weight and add up: (b d).",
            (b, m, d): "The senses are weighted, but still apart: sum over axis 1.",
            (b, 1, d): "One axis too many: no keepdim.",
            (m, d): "You added up the samples. Add up the senses: dim=1.",
            (b,): "You added up the features too. Keep them: (b d).",
            (d,): "You added up the samples too. Keep them: (b d).",
        }
        got = call(attention_fusion, *case)
        check_shape(name, got, (b, d), hints, "One vector a sample.")
        if got.isnan().any():
            not_yet(
                "the result is nan. A softmax over -inf alone is nan: fill where a sense is NOT present. And 0 times "
                "-inf is nan too: fill the scores, not the vectors."
            )
        missing = int((~case[2]).sum())
        label = f"{b} samples of {m} senses, {missing} missing"
        check_value(name, got, attend, ATTENTION_CASES[: i + 1], ATTENTION_MISTAKES, label)
    check_gradient(attention_fusion, attend, ATTENTION_CASES[0])
    return "each sample weighs its own senses, and one that is missing weighs nothing."
