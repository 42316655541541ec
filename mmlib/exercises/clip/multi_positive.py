"""Exercise 5 of notebook 1: the symmetric loss when a picture has several names."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmlib.exercises.clip.infonce import (
    FINISH_MISTAKES,
    SCALE_MISTAKES,
    SHARP,
    SYMMETRIC_MISTAKES,
    check_loss,
    divide,
    unit_pairs,
)
from mmlib.exercises.core import Mistake, exercise


def _shared(same: Float[Tensor, "b b"], dim: int) -> Float[Tensor, "b b"]:
    return same / same.sum(dim=dim, keepdim=True)


def _each_right_answer(logits: Tensor, target: Tensor, dim: int) -> Tensor:
    return (target * logits.log_softmax(dim=dim)).sum(dim=dim)


def _any_right_answer(logits: Tensor, target: Tensor, dim: int) -> Tensor:
    return (logits.log_softmax(dim=dim) + (target > 0).float().log()).logsumexp(dim=dim)


def _without_the_others(logits: Tensor, target: Tensor, dim: int) -> Tensor:
    others = (target > 0) & ~torch.eye(len(logits), dtype=torch.bool)
    return logits.masked_fill(others, -torch.inf).log_softmax(dim=dim).diagonal()


def multi_positive(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    temperature: float,
    same: Bool[Tensor, "b b"],
    *,
    scale: Callable = divide,
    targets: Callable = lambda same: (_shared(same, 1), _shared(same, 0)),
    read: Callable = _each_right_answer,
    combine: Callable = lambda to_text, to_image: (to_text + to_image) / 2,
    finish: Callable = lambda own: -own.mean(),
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE with the target shared between all right answers of a row, and of a column."""
    logits = scale(image_emb @ text_emb.T, temperature)
    row_target, column_target = targets(same.to(logits.dtype))
    return finish(combine(read(logits, row_target, 1), read(logits, column_target, 0)))


MULTI_POSITIVE_MISTAKES = [
    Mistake(
        "`same` has no effect: only the diagonal counts, and the other names of a picture are punished as wrong.",
        {"targets": lambda same: (torch.eye(len(same)),) * 2},
    ),
    Mistake(
        "the targets of a row do not sum to 1, so a picture with many names counts more. Divide by their number.",
        {"targets": lambda same: (same, same)},
    ),
    Mistake(
        "the texts use the targets of the pictures, not transposed. Text j is right for every i with same[i, j].",
        {"targets": lambda same: (_shared(same, 1), _shared(same, 1).T)},
    ),
    Mistake(
        "both directions divide by the number of names in a row. For the texts divide by the number in a column.",
        {"targets": lambda same: (_shared(same, 1), _shared(same, 1))},
    ),
    Mistake(
        "you averaged over all right pairs at once, so many names count more. Average in each row first.",
        {"targets": lambda same: (same * len(same) / same.sum(),) * 2},
    ),
    Mistake(
        "your log stands outside the sum: one right answer is enough. That loss exists too, but here every right "
        "answer must get its share: log first, then the mean over them.",
        {"read": _any_right_answer},
    ),
    Mistake(
        "you took the other right answers out of the denominator. Then they are never wrong, but never right "
        "either. Keep them, and share the target.",
        {"read": _without_the_others},
    ),
    *SYMMETRIC_MISTAKES[:3],
    *FINISH_MISTAKES,
    *SCALE_MISTAKES,
]
# Not symmetric: text 1 also names picture 0, yet text 0 does not name picture 1.
SAME = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
MULTI_POSITIVE_CASES = [
    (*unit_pairs(4, 3, seed=4), 0.5, SAME),
    (*unit_pairs(5, 2, seed=3), 0.07, torch.eye(5, dtype=torch.bool)),
    (torch.ones(3, 1), torch.ones(3, 1), 0.5, torch.ones(3, 3, dtype=torch.bool)),
    (*SHARP, torch.tensor([[True, True], [False, True]])),
]


@exercise
def check_multi_positive(multi_positive_loss: Callable) -> str:
    """Check `multi_positive_loss(image_emb (b e), text_emb (b e), temperature, same (b b)) -> loss`."""
    check_loss(multi_positive_loss, multi_positive, MULTI_POSITIVE_CASES, MULTI_POSITIVE_MISTAKES)
    return "every name of a picture is a right answer, and with one name each this is the symmetric loss."
