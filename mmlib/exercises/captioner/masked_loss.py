"""Exercise 2 of notebook 4: the loss of teacher forcing, over the words and not over the padding."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import call, check_gradient, check_shape, check_value, exercise, name_of, not_yet


def _next_words(text_ids: Int[Tensor, "b s"]) -> Int[Tensor, "b s-1"]:
    return text_ids[:, 1:]


def _is_target_real(text_ids: Int[Tensor, "b s"], pad_id: int) -> Bool[Tensor, "b s-1"]:
    return text_ids[:, 1:] != pad_id


def _log_softmax(logits: Float[Tensor, "b s v"]) -> Float[Tensor, "b s v"]:
    return logits.log_softmax(dim=-1)


def _mean_of_words(own: Float[Tensor, "b s"], real: Bool[Tensor, "b s"]) -> Float[Tensor, ""]:
    return own[real].mean()


def masked_loss(
    logits: Float[Tensor, "b s v"],
    text_ids: Int[Tensor, "b s+1"],
    pad_id: int,
    *,
    aim: Callable = _next_words,
    read: Callable = _log_softmax,
    real: Callable = _is_target_real,
    mean: Callable = _mean_of_words,
    finish: Callable = torch.neg,
) -> Float[Tensor, ""]:
    """Read log-probabilities, pick those of the targets, average over what is real, finish.

    Equation: L = -1/N sum over words that are no padding of log p(right word)  (4.2)
    """
    own = read(logits).gather(2, aim(text_ids)[:, :, None])[:, :, 0]
    return finish(mean(own, real(text_ids, pad_id)))


def _mean_in_each_caption(own: Float[Tensor, "b s"], real: Bool[Tensor, "b s"]) -> Float[Tensor, ""]:
    return ((own * real).sum(dim=1) / real.sum(dim=1)).mean()


def _every_word(text_ids: Int[Tensor, "b s"], pad_id: int) -> Bool[Tensor, "b s-1"]:
    return torch.ones_like(text_ids[:, 1:], dtype=torch.bool)


MASKED_MISTAKES = [
    Mistake(
        "the padding counts as words. A model lowers this loss by writing nothing: leave out targets that are pad_id.",
        {"real": _every_word},
    ),
    Mistake(
        "padding costs nothing, but you still divide by its places. Divide by the number of real words.",
        {"mean": lambda own, real: (own * real).mean()},
    ),
    Mistake(
        "you averaged inside each caption first, so a word of a short caption counts more. One mean over all words.",
        {"mean": _mean_in_each_caption},
    ),
    Mistake(
        "you summed inside each caption and averaged over captions. Divide by the number of real words.",
        {"mean": lambda own, real: (own * real).sum() / len(own)},
    ),
    Mistake("you took the sum. Take the mean over the real words.", {"mean": lambda own, real: (own * real).sum()}),
    Mistake(
        "your mask is upside down: you average over the padding. Keep the targets that are NOT pad_id.",
        {"real": lambda text_ids, pad_id: text_ids[:, 1:] == pad_id},
    ),
    Mistake(
        "your mask looks at the word that goes in, so the first pad counts. Look at the word that should come out.",
        {"real": lambda text_ids, pad_id: text_ids[:, :-1] != pad_id},
    ),
    Mistake(
        "your padding is the id 0. Here it may be any id: compare with pad_id.",
        {"real": lambda text_ids, pad_id: text_ids[:, 1:] != 0},
    ),
    Mistake(
        "your mask also leaves out the real words with an id under pad_id. Compare with !=.",
        {"real": lambda text_ids, pad_id: text_ids[:, 1:] > pad_id},
    ),
    Mistake(
        "your targets are the words that go in, and a model would learn to repeat them. The target is the next word: "
        "text_ids[:, 1:].",
        {"aim": lambda text_ids: text_ids[:, :-1]},
    ),
    Mistake(
        "your log-softmax runs along the caption. Each place chooses among the words of the vocabulary: dim=-1.",
        {"read": lambda logits: logits.log_softmax(dim=1)},
    ),
    Mistake(
        "you left out the softmax: a logit is no log-probability yet. Use log_softmax.", {"read": lambda logits: logits}
    ),
    Mistake(
        "you left out the logarithm. The loss is minus the log of the probability.",
        {"read": lambda logits: logits.softmax(dim=-1)},
    ),
    Mistake(
        "softmax twice: cross_entropy takes the logits and does its own softmax. Give it the logits.",
        {"read": lambda logits: _log_softmax(logits.softmax(dim=-1))},
    ),
    Mistake(
        "your logarithm has base 2, so the loss is in bits. This course counts in nats: torch.log.",
        {"read": lambda logits: _log_softmax(logits) / torch.tensor(2.0).log()},
    ),
    Mistake(
        "the loss has the wrong sign. A log-probability is negative: put a minus in front.", {"finish": lambda own: own}
    ),
]
OVERFLOW = (
    "the loss is right until a model is very sure: there it is {got}. exp(200) overflows, and a tiny probability "
    "becomes 0 with log -inf. Use cross_entropy, log_softmax or logsumexp."
)


def _case(text_ids: list[list[int]], pad_id: int, size: float) -> tuple[Float[Tensor, "b s v"], Tensor, int]:
    ids = torch.tensor(text_ids)
    generator = torch.Generator().manual_seed(ids.shape[1])
    return size * torch.randn(len(ids), ids.shape[1] - 1, 8, generator=generator), ids, pad_id


MASKED_CASES = [
    _case([[2, 5, 3, 0, 0], [2, 6, 4, 7, 3], [2, 3, 0, 0, 0]], pad_id=0, size=1.0),
    _case([[1, 7, 3, 0, 2, 5], [1, 0, 2, 5, 5, 5]], pad_id=5, size=1.0),  # 0 is a word here
    _case([[2, 5, 6, 3], [2, 4, 3, 0]], pad_id=0, size=200.0),
]


@exercise
def check_masked_loss(masked_loss_of: Callable) -> str:
    """Check `masked_loss(logits (b s-1 v), text_ids (b s), pad_id) -> loss`."""
    name = name_of(masked_loss_of)
    for i, case in enumerate(MASKED_CASES):
        b, places, v = case[0].shape
        hints = {
            (b, places): "One loss for each place. Keep the real words, then take their mean.",
            (b,): "One loss for each caption. One mean over all words of the batch.",
            (b, places, v): "That is the whole table. Pick the word that came, then take the mean.",
            (1,): "A loss has no axes: no brackets around the number, no keepdim.",
        }
        got = call(masked_loss_of, *case)
        check_shape(name, got, (), hints, "The loss is one number.")
        if i == len(MASKED_CASES) - 1 and not torch.isfinite(got):
            not_yet(OVERFLOW.format(got=got.item()))
        check_value(name, got, masked_loss, MASKED_CASES[: i + 1], MASKED_MISTAKES, f"{b} captions, pad_id {case[2]}")
    check_gradient(masked_loss_of, masked_loss, MASKED_CASES[0])
    return "every word counts once, and padding costs and earns nothing: other pads, longer padding, the same loss."
