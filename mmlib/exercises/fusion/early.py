"""Exercise 1 of notebook 5: early fusion, one linear map over both senses."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of


def _each_row(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _side_by_side(image_emb: Tensor, sound_emb: Tensor) -> Tensor:
    return torch.cat([image_emb, sound_emb], dim=1)


def early(
    image_emb: Float[Tensor, "b d"],
    sound_emb: Float[Tensor, "b e"],
    weight: Float[Tensor, "classes d_and_e"],
    bias: Float[Tensor, " classes"],
    *,
    norm: Callable = _each_row,
    join: Callable = _side_by_side,
    joint_norm: Callable = lambda both: both,
    add: Callable = torch.add,
    finish: Callable = lambda logits: logits,
) -> Float[Tensor, "b classes"]:
    """Normalise each sense by itself, put the two side by side, and map them to logits.

    Equation: logits = W [h_v ; h_a] + b  (5.3)
    """
    both = joint_norm(join(norm(image_emb), norm(sound_emb)))
    return finish(add(both @ weight.T, bias))


def _by_sample_std(x: Tensor) -> Tensor:
    return (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True)


def _only(side: int) -> Callable:
    def join(image_emb: Tensor, sound_emb: Tensor) -> Tensor:
        sides = [torch.zeros_like(image_emb), torch.zeros_like(sound_emb)]
        sides[side] = (image_emb, sound_emb)[side]
        return torch.cat(sides, dim=1)

    return join


EARLY_MISTAKES = [
    Mistake(
        "nothing is normalised, so the sense with the larger numbers drowns the other. Normalise each one first.",
        {"norm": lambda x: x},
    ),
    Mistake(
        "you normalised after joining, both senses as one row: the larger one still drowns the other. First each by "
        "itself, then join.",
        {"norm": lambda x: x, "joint_norm": _each_row},
    ),
    Mistake(
        "you normalised down the columns, over the samples. Each sample by itself, over its features.",
        {"norm": lambda x: F.layer_norm(x.T, x.T.shape[-1:]).T},
    ),
    Mistake(
        "you made each row of length 1, and its mean is still there. Take the mean away, then divide by the standard "
        "deviation: F.layer_norm.",
        {"norm": lambda x: F.normalize(x, dim=-1)},
    ),
    Mistake(
        "you took the mean away, but did not divide by the standard deviation.", {"norm": lambda x: x - x.mean(1, True)}
    ),
    Mistake(
        "you divided by the standard deviation, but did not take the mean away first.",
        {"norm": lambda x: x / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()},
    ),
    Mistake(
        "your standard deviation divides by d - 1. Here it divides by d, as in F.layer_norm: std(unbiased=False).",
        {"norm": _by_sample_std},
    ),
    Mistake(
        "the sound stands before the picture. The first columns of weight belong to the picture.",
        {"join": lambda image_emb, sound_emb: _side_by_side(sound_emb, image_emb)},
    ),
    Mistake("the sound is not used: zeros stand in its place.", {"join": _only(0)}),
    Mistake("the picture is not used: zeros stand in its place.", {"join": _only(1)}),
    Mistake("the bias is missing. Add it to each row.", {"add": lambda logits, bias: logits}),
    Mistake("you took the bias away. Add it.", {"add": torch.sub}),
    Mistake(
        "those are probabilities. Return the logits, with no softmax.", {"finish": lambda logits: logits.softmax(dim=1)}
    ),
]


def _case(b: int, d: int, e: int, classes: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(10 * b + d)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    image_emb, sound_emb = 1 + draw(b, d), 5 + 20 * draw(b, e)  # the sound in larger numbers, as branches may be
    return image_emb, sound_emb, draw(classes, d + e), draw(classes)


EARLY_CASES = [_case(4, 5, 5, 3), _case(3, 4, 6, 2), _case(1, 6, 3, 10)]


@exercise
def check_early(early_fusion: Callable) -> str:
    """Check `early_fusion(image_emb (b d), sound_emb (b e), weight (classes d+e), bias (classes)) -> (b classes)`."""
    name = name_of(early_fusion)
    for i, case in enumerate(EARLY_CASES):
        (b, d), e, classes = case[0].shape, case[1].shape[1], len(case[3])
        hints = {
            (classes, b): "That is transposed: one row a sample.",
            (2 * b, classes): "You joined along the batch. Join the features of a sample: dim=1.",
            (b, d + e): "Those are both senses side by side. Map them to logits: @ weight.T.",
            (b, 2, classes): "Each sense has logits of its own. Join the features first: torch.cat, not torch.stack.",
            (classes,): "You averaged over the samples. One row of logits for each.",
        }
        got = call(early_fusion, *case)
        check_shape(name, got, (b, classes), hints, "One row of logits for each sample.")
        label = f"{b} samples, {d} and {e} features, {classes} classes"
        check_value(name, got, early, EARLY_CASES[: i + 1], EARLY_MISTAKES, label)
    check_gradient(early_fusion, early, EARLY_CASES[0])
    return "every logit may weigh what is seen against what is heard, and neither drowns the other."
