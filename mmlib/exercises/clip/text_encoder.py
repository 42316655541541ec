"""Exercise 4 of notebook 1: find the two bugs in a text encoder."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.exercises.core import Mistake, call, check_shape, check_value, close, exercise, name_of, not_started, not_yet


def _softmax_of_past(scores: Tensor, ends: Tensor) -> Tensor:
    return scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf).softmax(dim=-1)


def _softmax_of_future(scores: Tensor, ends: Tensor) -> Tensor:
    return scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).triu(), -torch.inf).softmax(dim=-1)


def _softmax_of_text(scores: Tensor, ends: Tensor) -> Tensor:
    in_text = torch.arange(scores.shape[-1]) <= ends[:, None]
    return scores.masked_fill(~in_text[:, None], -torch.inf).softmax(dim=-1)


def _at_end(x: Tensor, text_ids: Tensor, ends: Tensor) -> Tensor:
    return x[torch.arange(len(x)), ends]


def text_encoder(
    x: Float[Tensor, "b s d"],
    text_ids: Int[Tensor, "b s"],
    end_id: int,
    *,
    attend: Callable = _softmax_of_past,
    pool: Callable = _at_end,
    finish: Callable = lambda pooled: F.normalize(pooled, dim=-1),
) -> Float[Tensor, "b d"]:
    """Two layers of attention with no weights, each word reading the past only; the state at the first end token."""
    ends = (text_ids == end_id).int().argmax(dim=1)
    for _ in range(2):
        scores = x @ x.mT / x.shape[-1] ** 0.5
        x = x + attend(scores, ends) @ x
    return finish(pool(x, text_ids, ends))


def _last_end(x: Tensor, text_ids: Tensor, ends: Tensor) -> Tensor:
    end_id = text_ids[0, ends[0]]
    return _at_end(x, text_ids, text_ids.shape[1] - 1 - (text_ids == end_id).int().fliplr().argmax(dim=1))


def _mean_of_text(x: Tensor, text_ids: Tensor, ends: Tensor) -> Tensor:
    in_text = (torch.arange(x.shape[1]) <= ends[:, None]).float()
    return torch.einsum("bsd,bs->bd", x, in_text)  # a sum: the length is divided away at the end


GIVEN = {"attend": lambda scores, ends: scores.softmax(dim=-1), "pool": lambda x, ids, ends: x[:, -1]}
ENCODER_MISTAKES = [
    Mistake(
        "a word still reads the words after it, the padding too. Which scores must be -inf before the softmax?",
        {"attend": GIVEN["attend"]},
    ),
    Mistake(
        "the state still comes from the last position, and in a short text that is padding. Where does the text end?",
        {"pool": GIVEN["pool"]},
    ),
    Mistake(
        "you hid the padding, so padding does no harm, but CLIP hides more: a word reads itself and the words "
        "before it. One triangle (tril) serves all texts.",
        {"attend": _softmax_of_text},
    ),
    Mistake(
        "the triangle is upside down: a word reads itself and what comes after. Keep the lower one, tril.",
        {"attend": _softmax_of_future},
    ),
    Mistake(
        "you masked after the softmax, and the weights of a word no longer sum to 1. Mask the scores before it.",
        {"attend": lambda scores, ends: scores.softmax(dim=-1).tril()},
    ),
    Mistake(
        "you set the hidden scores to 0, and exp(0) = 1 still counts. Set them to -inf.",
        {"attend": lambda scores, ends: scores.tril().softmax(dim=-1)},
    ),
    Mistake("you took the start token. It has read nothing but itself.", {"pool": lambda x, ids, ends: x[:, 0]}),
    Mistake("you took the mean over all positions, padding included.", {"pool": lambda x, ids, ends: x.mean(dim=1)}),
    Mistake("you took the mean over the words. CLIP reads the state at the end token.", {"pool": _mean_of_text}),
    Mistake(
        "you took the largest id. In OpenAI's vocabulary that is the end token; here it is not.",
        {"pool": lambda x, ids, ends: _at_end(x, ids, ids.argmax(dim=1))},
    ),
    Mistake(
        "one position too early: you read the last word, not the end token behind it.",
        {"pool": lambda x, ids, ends: _at_end(x, ids, ends - 1)},
    ),
    Mistake(
        "you found the end by counting ids that are not 0, but padding may be any id. Compare with end_id.",
        {"pool": lambda x, ids, ends: _at_end(x, ids, (ids != 0).sum(dim=1) - 1)},
    ),
    Mistake(
        "you took the last end token. Some tokenizers pad with end tokens: take the first one.",
        {"pool": _last_end},
    ),
    Mistake(
        "you wrote the number 3. Use end_id.",
        {"pool": lambda x, ids, ends: _at_end(x, ids, (ids == 3).int().argmax(1))},
    ),
    Mistake("the result is not of unit length. Keep the last line.", {"finish": lambda pooled: pooled}),
]


def _embedded(text_ids: list[list[int]], end_id: int) -> tuple[Float[Tensor, "b s d"], Int[Tensor, "b s"], int]:
    generator = torch.Generator().manual_seed(0)
    words, places = torch.randn(12, 8, generator=generator), torch.randn(6, 8, generator=generator)
    ids = torch.tensor(text_ids)
    return 0.5 * (words[ids] + places[: ids.shape[1]]), ids, end_id


ENCODER_CASES = [
    _embedded([[2, 9, 3, 0, 0, 0], [2, 7, 8, 5, 3, 0], [2, 6, 4, 9, 8, 3]], end_id=3),
    _embedded([[2, 9, 3, 7, 5], [2, 7, 8, 4, 3]], end_id=3),  # padded with anything
    _embedded([[2, 9, 3, 3, 3], [2, 7, 8, 3, 3]], end_id=3),  # padded with end tokens
    _embedded([[2, 9, 11, 0], [2, 3, 7, 11]], end_id=11),
]


def cosine_over_padding() -> float:
    """Cosine between one text with no padding and with three pads, in the encoder as it is given."""
    x, text_ids, end_id = (a[:1] if isinstance(a, Tensor) else a for a in ENCODER_CASES[0])
    padded = text_encoder(x, text_ids, end_id, **GIVEN)
    return float(padded[0] @ text_encoder(x[:, :3], text_ids[:, :3], end_id, **GIVEN)[0])


@exercise
def check_text_encoder(encode_text: Callable) -> str:
    """Check `encode_text(x (b s d), text_ids (b s), end_id) -> (b d)`, in which the reader mends two bugs."""
    name = name_of(encode_text)
    for i, case in enumerate(ENCODER_CASES):
        got, (b, s, d) = call(encode_text, *case), case[0].shape
        hints = {
            (b, b, d): "x[:, end] takes every end from every text. Pair them: x[torch.arange(b), end].",
            (b, 1, d): "One axis too many: take the state itself, or squeeze it.",
            (b, s, d): "That is every position. Take one a text.",
        }
        check_shape(name, got, (b, d), hints, "One vector a text.")
        if i == 0 and close(got, text_encoder(*case, **GIVEN)):
            not_started(
                "this is the encoder as given. One text with no pads and with three pads behind it: the two embeddings "
                f"have cosine {cosine_over_padding():.2f}, and it should be 1. Find the two lines that let padding in."
            )
        if got.isnan().any():
            not_yet(
                "the result is nan: some word may read nothing, and a softmax over -inf alone is nan. A word reads "
                "at least itself: keep the diagonal, and fill where reading is NOT allowed."
            )
        label = f"{b} texts of {s} positions, end_id {case[2]}"
        check_value(name, got, text_encoder, ENCODER_CASES[: i + 1], ENCODER_MISTAKES, label)
    return "the same text gives the same embedding, whatever stands behind its end."
