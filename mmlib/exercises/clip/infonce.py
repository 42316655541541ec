"""Exercises 1 and 2 of notebook 1: InfoNCE in one direction and in both, and the steps that check any loss.

Each has a reference whose keyword arguments are knobs, a list of mistakes that turn them, and a checker.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import Mistake, call, check_gradient, check_shape, check_value, exercise, name_of, not_yet


def unit_pairs(b: int, e: int, seed: int) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]:
    """Random unit vectors, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    image_emb, text_emb = F.normalize(torch.randn(2, b, e, generator=generator), dim=-1)
    return image_emb, text_emb


# The last picture prefers another text, and at temperature 0.01 the right one has a probability too small for a float.
SHARP = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.28, 0.96], [0.8, -0.6]]), 0.01)
OVERFLOW = (
    "the loss is right until the temperature is 0.01, which CLIP allows: there it is {got}. exp(100) overflows, and "
    "a tiny probability becomes 0 with log -inf. Use cross_entropy, log_softmax or logsumexp."
)


def check_loss(answer: Callable, reference: Callable, cases: Sequence[tuple], mistakes: Sequence[Mistake]) -> None:
    """The steps that the three losses share: shape, value, no overflow, gradient."""
    name = name_of(answer)
    for i, case in enumerate(cases):
        b, temperature = len(case[0]), case[2]
        hints = {
            (b,): "One loss for each item: take their mean.",
            (b, b): "That is the whole table. Pick the right answers, then take the mean.",
            (1,): "A loss has no axes: no brackets around the number, no keepdim.",
        }
        got = call(answer, *case)
        check_shape(name, got, (), hints, "The loss is one number.")
        if temperature == SHARP[2] and not torch.isfinite(got):
            not_yet(OVERFLOW.format(got=got.item()))
        check_value(name, got, reference, cases[: i + 1], mistakes, f"{b} pairs, temperature {temperature}")
    check_gradient(answer, reference, cases[0])


def divide(similarity: Float[Tensor, "b b"], temperature: float) -> Float[Tensor, "b b"]:
    """Similarities to logits."""
    return similarity / temperature


def _over_the_table(logits: Float[Tensor, "b b"]) -> Float[Tensor, "b b"]:
    return logits.flatten().log_softmax(dim=0).view_as(logits)


SCALE_MISTAKES = [
    Mistake("you multiplied by the temperature. Divide the similarities by it.", {"scale": torch.mul}),
    Mistake("the temperature has no effect. Divide the similarities by it.", {"scale": lambda x, t: x}),
    Mistake("you divided by the temperature twice. Once is enough.", {"scale": lambda x, t: x / t**2}),
]
FINISH_MISTAKES = [
    Mistake(
        "the loss has the wrong sign. A log-probability is negative: put a minus in front.", {"finish": torch.mean}
    ),
    Mistake(
        "you summed over the batch. Take the mean, so that the loss does not grow with the batch.",
        {"finish": lambda own: -own.sum()},
    ),
]
NO_LOG = "you left out the logarithm. The loss is minus the log of the right answer's probability."
TABLE = "softmax over the whole table. Each item asks its own question: one softmax a row, or a column."

# ---- Exercise 1: each picture chooses its text


def one_way(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    temperature: float,
    *,
    scale: Callable = divide,
    read: Callable = lambda logits: logits.log_softmax(dim=1),
    pick: Callable = torch.diagonal,
    finish: Callable = lambda own: -own.mean(),
) -> Float[Tensor, ""]:
    """InfoNCE from picture to text: scale the similarities, read log-probabilities, pick the right ones, finish."""
    return finish(pick(read(scale(image_emb @ text_emb.T, temperature))))


def _against_wrong_ones(logits: Float[Tensor, "b b"]) -> Float[Tensor, "b b"]:
    right = torch.eye(len(logits), dtype=torch.bool)
    return logits - logits.masked_fill(right, -torch.inf).logsumexp(dim=1, keepdim=True)


INFO_NCE_MISTAKES = [
    *FINISH_MISTAKES,
    Mistake(
        "softmax over the wrong axis: your texts choose among pictures. Here each picture chooses its text, so each "
        "row sums to 1: dim=1.",
        {"read": lambda logits: logits.log_softmax(dim=0)},
    ),
    Mistake(
        "this is the mean of both directions already. That is the next exercise; here only pictures choose.",
        {"read": lambda logits: (logits.log_softmax(dim=0) + logits.log_softmax(dim=1)) / 2},
    ),
    Mistake(TABLE, {"read": _over_the_table}),
    Mistake(NO_LOG, {"read": lambda logits: logits.softmax(dim=1)}),
    Mistake(
        "softmax twice: cross_entropy takes the logits and does its own softmax. Give it the logits.",
        {"read": lambda logits: logits.softmax(dim=1).log_softmax(dim=1)},
    ),
    Mistake(
        "your logarithm has base 2, so the loss is in bits. This course counts in nats: torch.log.",
        {"read": lambda logits: logits.log_softmax(dim=1) / torch.tensor(2.0).log()},
    ),
    Mistake(
        "the right text is missing from your denominator. It is one of the candidates: sum over all columns.",
        {"read": _against_wrong_ones},
    ),
    Mistake(
        "your target is class 0 in every row. The right text of row i stands in column i: targets torch.arange(b).",
        {"pick": lambda table: table[:, 0]},
    ),
    Mistake(
        "you averaged over all texts, right and wrong. Keep the diagonal, then average.",
        {"pick": lambda table: table},
    ),
    *SCALE_MISTAKES,
]
PAIRS = [
    (*unit_pairs(4, 3, seed=0), 0.5),
    (*unit_pairs(6, 2, seed=1), 0.07),
    (torch.ones(5, 1), torch.ones(5, 1), 0.5),
    SHARP,
]
ONE_PAIR = (torch.ones(1, 1), torch.ones(1, 1), 0.5)


@exercise
def check_info_nce(info_nce: Callable) -> str:
    """Check `info_nce(image_emb (b e), text_emb (b e), temperature) -> loss`."""
    check_loss(info_nce, one_way, [*PAIRS, ONE_PAIR], INFO_NCE_MISTAKES)
    return (
        "right values, right gradients, no overflow. Five pairs that all look alike cost log 5 = 1.6094; "
        "a batch of one costs 0 and teaches nothing."
    )


# ---- Exercise 2: texts choose too


def both_ways(
    image_emb: Float[Tensor, "b e"],
    text_emb: Float[Tensor, "b e"],
    temperature: float,
    *,
    scale: Callable = divide,
    read: Callable = lambda logits: (logits.log_softmax(dim=1).diagonal(), logits.log_softmax(dim=0).diagonal()),
    combine: Callable = lambda to_text, to_image: (to_text + to_image) / 2,
    finish: Callable = lambda own: -own.mean(),
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE: `read` gives the log-probabilities of the right text and of the right picture."""
    return finish(combine(*read(scale(image_emb @ text_emb.T, temperature))))


SYMMETRIC_MISTAKES = [
    Mistake(
        "the direction from text to picture is missing: only pictures choose. Transposed twice, perhaps?",
        {"combine": lambda to_text, to_image: to_text},
    ),
    Mistake(
        "the direction from picture to text is missing: only texts choose. Transposed both, perhaps?",
        {"combine": lambda to_text, to_image: to_image},
    ),
    Mistake("you added the two directions. Take half of the sum.", {"combine": torch.add}),
    Mistake(
        "you took one direction minus the other. Take the mean of the two.",
        {"combine": lambda to_text, to_image: (to_text - to_image) / 2},
    ),
    Mistake(
        "you averaged the probabilities of the two directions before the log. Average the two losses.",
        {"combine": lambda to_text, to_image: ((to_text.exp() + to_image.exp()) / 2).log()},
    ),
    *FINISH_MISTAKES,
    Mistake(TABLE, {"read": lambda logits: (_over_the_table(logits).diagonal(),) * 2}),
    Mistake(NO_LOG, {"read": lambda x: (x.softmax(dim=1).diagonal(), x.softmax(dim=0).diagonal())}),
    *SCALE_MISTAKES,
]


@exercise
def check_symmetric(symmetric_loss: Callable) -> str:
    """Check `symmetric_loss(image_emb (b e), text_emb (b e), temperature) -> loss`."""
    check_loss(symmetric_loss, both_ways, PAIRS, SYMMETRIC_MISTAKES)
    return "pictures choose texts and texts choose pictures. Swap the two sides, and the loss stays as it is."
