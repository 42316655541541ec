"""Exercise 2 of notebook 5: late fusion, a mixture of two opinions."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of


def _mixture(alpha: Tensor, p_v: Tensor, p_a: Tensor) -> Tensor:
    return alpha * p_v + (1 - alpha) * p_a


def _over_classes(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def _as_it_is(p: Tensor) -> Tensor:
    return p


def late(
    image_logits: Float[Tensor, "b classes"],
    sound_logits: Float[Tensor, "b classes"],
    log_odds: Float[Tensor, ""],
    *,
    gate: Callable = torch.sigmoid,
    read: Callable = _over_classes,
    mix: Callable = _mixture,
    finish: Callable = _as_it_is,
) -> Float[Tensor, "b classes"]:
    """Make alpha of its log odds, read each sense's logits as probabilities, and mix them.

    Equation: p = alpha softmax(l_v) + (1 - alpha) softmax(l_a), alpha = sigmoid(a)  (5.4)
    """
    return finish(mix(gate(log_odds), read(image_logits), read(sound_logits)))


LATE_MISTAKES = [
    Mistake(
        "you mixed the logits, and took the softmax of that. It is a product of opinions; a mixture mixes "
        "probabilities: softmax first, then mix.",
        {"read": lambda logits: logits, "finish": lambda mixed: mixed.softmax(dim=1)},
    ),
    Mistake(
        "you mixed the logits. Make each sense's logits probabilities first: softmax over the classes.",
        {"read": lambda logits: logits},
    ),
    Mistake(
        "softmax once more at the end. What you have mixed are probabilities already, and their rows sum to 1.",
        {"read": _over_classes, "finish": lambda p: p.softmax(dim=1)},
    ),
    Mistake("softmax over the samples. Each row chooses among classes: dim=1.", {"read": lambda x: x.softmax(dim=0)}),
    Mistake(
        "a sigmoid on each logit gives no distribution. Classes exclude each other: softmax over them.",
        {"read": torch.sigmoid},
    ),
    Mistake("log_softmax gives logarithms. Mix the probabilities.", {"read": lambda x: x.log_softmax(dim=1)}),
    Mistake(
        "log_odds is used as alpha itself. A weight lies between 0 and 1: alpha = sigmoid(log_odds).",
        {"gate": lambda log_odds: log_odds},
    ),
    Mistake(
        "alpha is exp(log_odds), which may be above 1. Take the sigmoid.",
        {"gate": torch.exp},
    ),
    Mistake("log_odds has no effect: both senses count one half.", {"gate": lambda log_odds: torch.full((), 0.5)}),
    Mistake(
        "alpha and 1 - alpha are swapped. alpha is the weight of the picture.",
        {"mix": lambda alpha, p_v, p_a: _mixture(1 - alpha, p_v, p_a)},
    ),
    Mistake(
        "both senses have the weight alpha, so rows do not sum to 1. The sound gets 1 - alpha.",
        {"mix": lambda alpha, p_v, p_a: alpha * (p_v + p_a)},
    ),
    Mistake(
        "the sound counts in full. It gets 1 - alpha.",
        {"mix": lambda alpha, p_v, p_a: alpha * p_v + p_a},
    ),
    Mistake(
        "the picture counts in full. It gets alpha.",
        {"mix": lambda alpha, p_v, p_a: p_v + (1 - alpha) * p_a},
    ),
    Mistake("the two are added with no weights.", {"mix": lambda alpha, p_v, p_a: p_v + p_a}),
    Mistake("the sound is not used.", {"mix": lambda alpha, p_v, p_a: alpha * p_v}),
    Mistake("the picture is not used.", {"mix": lambda alpha, p_v, p_a: (1 - alpha) * p_a}),
    Mistake(
        "you multiplied the two opinions. A mixture adds them.",
        {"mix": lambda alpha, p_v, p_a: p_v**alpha * p_a ** (1 - alpha), "finish": _as_it_is},
    ),
    Mistake("you returned the logarithm. Return the probabilities.", {"finish": torch.log}),
]


def _case(b: int, classes: int, log_odds: float) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(10 * b + classes)
    image_logits, sound_logits = 2 * torch.randn(2, b, classes, generator=generator)
    return image_logits, sound_logits, torch.tensor(log_odds)


LATE_CASES = [_case(3, 4, 0.8), _case(2, 10, -1.5), _case(1, 2, 0.0), _case(4, 3, 6.0)]


@exercise
def check_late(late_fusion: Callable) -> str:
    """Check `late_fusion(image_logits (b classes), sound_logits (b classes), log_odds) -> (b classes)`."""
    name = name_of(late_fusion)
    for i, case in enumerate(LATE_CASES):
        b, classes = case[0].shape
        hints = {
            (2 * b, classes): "Those are two opinions one under the other. Mix them into one.",
            (b, 2 * classes): "Those are two opinions side by side: early fusion. Mix them into one.",
            (2, b, classes): "Those are two opinions. Mix them into one.",
            (b,): "One number a sample: return a probability for every class.",
            (b, 1): "One number a sample: return a probability for every class.",
        }
        got = call(late_fusion, *case)
        check_shape(name, got, (b, classes), hints, "One row of probabilities for each sample.")
        label = f"{b} samples, {classes} classes, log_odds {case[2].item():.1f}"
        check_value(name, got, late, LATE_CASES[: i + 1], LATE_MISTAKES, label)
    check_gradient(late_fusion, late, LATE_CASES[0])
    return "two opinions, one weight. The mixture is never surer than the surer of the two."
