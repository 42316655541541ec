"""Words from a model, for a whole batch of pictures at once: greedy, beam search, sampling.

A model here is anything with `encode_image(image) -> regions`, `start(regions) -> state` and
`step(state, word_ids, regions) -> state, logits, attn`. Regions and state are named tuples of tensors. State, words,
logits and attn may have several rows a picture, those of one picture in a block. A tokenizer is anything with
`start_id`, `end_id`, `pad_id`, `positions` and `words`. Pictures are brought to the model's device, and what it said
to the CPU.
"""

from itertools import takewhile
from typing import Any, NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_numbers, check_positive, check_range, refuse, typechecked
from mmlib.device import CPU, device_of, to_device

ROWS = 256  # whose scores of all words stay in a processor's cache


class Captions(NamedTuple):
    """One caption a picture."""

    texts: list[str]  # words with a space between them
    text_ids: Int[Tensor, "b s"]  # the words, the end of text if it was reached, padding
    log_probs: Float[Tensor, "b s"]  # of each word, given those before; 0 on padding
    attn: Float[Tensor, "b s n"] | None  # where the model looked for each word; 0 on padding
    scores: Float[Tensor, " b"]  # what the search compared: log-probability of the whole, after the length penalty


class Beams(NamedTuple):
    """What beam search kept at one step, the best first; a finished beam is kept, and grows by padding."""

    word: Int[Tensor, "b width"]  # the word that was added
    parent: Int[Tensor, "b width"]  # which beam of the step before it was added to
    log_prob: Float[Tensor, "b width"]  # of all words so far
    score: Float[Tensor, "b width"]  # after the length penalty
    attn: Float[Tensor, "b before n"] | None  # where each beam of the step before looked


class Search(NamedTuple):
    """What beam search found, and how it came there."""

    captions: Captions
    tree: list[Beams]  # one entry a step


@typechecked
@torch.no_grad()
def greedy(model: Any, image: Float[Tensor, "b ..."], tokenizer: Any, limit: int | None = None) -> Captions:
    """Say the likeliest word, hear it, say the next, until the end of text.

    Args:
        model, tokenizer: see the top of this file.
        image: pictures as the model takes them.
        limit: most words of a caption; what the tokenizer's `positions` leave room for by default.

    Raises:
        ValueError: a limit below 1, or a model that says NaN.
    """
    return _say(model, image, tokenizer, limit, lambda log_probs: log_probs.argmax(dim=1))


@typechecked
@torch.no_grad()
def sample(
    model: Any,
    image: Float[Tensor, "b ..."],
    tokenizer: Any,
    temperature: float = 1.0,
    top_p: float = 1.0,
    limit: int | None = None,
) -> Captions:
    """Draw each word from what `chances` leaves. The log-probabilities are those before temperature and top-p.

    Args:
        model, image, tokenizer, limit: as `greedy`.
        temperature, top_p: as `chances`.

    Raises:
        ValueError: as `chances`; a limit below 1, or a model that says NaN.
    """

    def draw(log_probs: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
        drawn = torch.multinomial(chances(log_probs, temperature, top_p).cpu(), 1)  # the same draws on every device
        return drawn[:, 0].to(log_probs.device)

    return _say(model, image, tokenizer, limit, draw)


@typechecked
def chances(log_probs: Float[Tensor, "b v"], temperature: float, top_p: float) -> Float[Tensor, "b v"]:
    """The probabilities that `sample` draws from: of the likeliest words that together have `top_p`, of no others.

    Equation: p(w) ~ exp(logit_w / temperature), over the smallest set of words with sum p >= top_p
    (4.13; Holtzman et al. 2020, eq. 2 and 3)

    Args:
        temperature: below 1 the likely become likelier, above 1 all become more alike.
        top_p: in (0, 1]; 1 leaves every word a chance.

    Raises:
        ValueError: temperature 0 or below, top_p outside (0, 1], NaN.
    """
    check_positive("sample", "temperature", temperature, "For the likeliest words use greedy.")
    if not 0 < top_p <= 1:
        refuse("sample", "top_p in (0, 1]", f"{top_p:g}", "1 leaves every word a chance; greedy takes the likeliest.")
    wide = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    lead = wide - wide.amax(dim=1, keepdim=True)  # 0 for the likeliest, whatever it is divided by
    probs, word = (lead / min(max(temperature, 1e-30), 1e30)).softmax(dim=1).sort(dim=1, descending=True)
    check_numbers("sample", probs, "log-probabilities")
    dropped = probs.cumsum(dim=1) - probs >= top_p
    dropped[:, 0] = False  # even if top_p is too small for a float32
    kept = probs.masked_fill(dropped, 0)
    return torch.zeros_like(kept).scatter(1, word, kept / kept.sum(dim=1, keepdim=True))


def _say(model: Any, image: Tensor, tokenizer: Any, limit: int | None, choose: Any) -> Captions:
    image = image.to(device_of(model))
    regions = model.encode_image(image)
    state, ids, log_probs, attn = model.start(regions), [], [], []
    word = torch.full((len(image),), tokenizer.start_id, device=image.device)
    done = torch.zeros_like(word, dtype=torch.bool)
    for _ in range(_limit(tokenizer, limit)):
        state, logits, look = model.step(state, word, regions)
        row = logits.log_softmax(dim=1)
        check_numbers("decode", row[:, 0], "scores of words")  # one NaN makes its whole row NaN
        word = choose(row).masked_fill(done, tokenizer.pad_id)
        ids.append(word)
        log_probs.append(row.gather(1, word[:, None])[:, 0].masked_fill(done, 0))
        attn.append(look if look is None else look.masked_fill(done[:, None], 0))
        done = done | (word == tokenizer.end_id)
        if done.all():
            break
    return _captions(tokenizer, ids, log_probs, attn, torch.stack(log_probs).sum(dim=0))


def _limit(tokenizer: Any, limit: int | None) -> int:
    limit = tokenizer.positions - 1 if limit is None else limit
    if limit < 1:
        refuse("decode", "a limit of 1 word or more", str(limit), "Leave it out for the longest caption there is.")
    return limit


def _captions(tokenizer: Any, ids: list, log_probs: list, attn: list, scores: Tensor) -> Captions:
    text_ids = torch.stack(ids, dim=1)
    looked = None if attn[0] is None else torch.stack(attn, dim=1)
    said = Captions(words_said(text_ids, tokenizer), text_ids, torch.stack(log_probs, dim=1), looked, scores)
    return to_device(said, CPU)


@typechecked
def words_said(text_ids: Int[Tensor, "b s"], tokenizer: Any) -> list[str]:
    """The words of each row up to the end of text, with a space between them.

    Raises:
        ValueError: an id that the tokenizer does not have.
    """
    check_range("words_said", "token ids", text_ids, len(tokenizer.words), "Use the tokenizer of the model.")
    rows = (takewhile(lambda i: i != tokenizer.end_id, row) for row in text_ids.tolist())
    silent = {tokenizer.start_id, tokenizer.pad_id}
    return [" ".join(tokenizer.words[i] for i in row if i not in silent) for row in rows]


@typechecked
@torch.no_grad()
def beam_search(
    model: Any,
    image: Float[Tensor, "b ..."],
    tokenizer: Any,
    width: int = 5,
    alpha: float = 0.7,
    limit: int | None = None,
) -> Search:
    """Keep the `width` best beginnings of a caption, lengthen each by every word, keep the `width` best, and so on.

    Equation: score(y) = log p(y) / ((5 + |y|) / 6)^alpha  (4.12; Wu et al. 2016, eq. 14)

    A picture is done when its best finished caption beats whatever its other beams could still become.

    Args:
        model, image, tokenizer, limit: as `greedy`, which is the case of width 1.
        width: beams a picture.
        alpha: 0 compares log-probabilities, which favours short captions; 1 nearly compares means over words.

    Raises:
        ValueError: width below 1 or above the vocabulary, alpha outside [0, 10], a limit below 1, or a model that
            says NaN.
    """
    words = len(tokenizer.words)
    if not 1 <= width <= words:
        refuse("beam_search", f"width from 1 to {words}, the size of the vocabulary", str(width), "5 is a good start.")
    if not 0 <= alpha <= 10:  # far above that the penalty overflows
        refuse("beam_search", "alpha from 0 to 10", f"{alpha:g}", "0 leaves the length penalty out.")
    image, most = image.to(device_of(model)), _limit(tokenizer, limit)
    regions = model.encode_image(image)
    state, going = model.start(regions), torch.arange(len(image), device=image.device)  # pictures not yet done
    word = torch.full((len(image), 1), tokenizer.start_id, device=image.device)
    log_prob = torch.zeros(word.shape, device=image.device)
    done, length = torch.zeros_like(word, dtype=torch.bool), torch.zeros_like(word)
    tree: list[Beams] = []
    for _ in range(most):
        beams = word.shape[1]  # one at first, then `width`
        state, logits, look = model.step(state, rearrange(word, "b beams -> (b beams)"), regions)
        next_log_prob, choice = _continuations(logits, done, width, tokenizer.pad_id)

        longer = length + ~done
        total = log_prob[..., None] + next_log_prob
        score, place = rearrange(total / _length_penalty(longer, alpha)[..., None], "b k w -> b (k w)").topk(width)
        parent = place // width
        word, log_prob = (rearrange(x, "b k w -> b (k w)").gather(1, place) for x in (choice, total))
        length, done = longer.gather(1, parent), done.gather(1, parent) | (word == tokenizer.end_id)
        look = look if look is None else rearrange(look, "(b k) n -> b k n", k=beams)
        tree.append(_whole(Beams(word, parent, log_prob, score, look), going, len(image), tree, tokenizer.pad_id))

        hopes = (log_prob / _length_penalty(torch.tensor(most), alpha)).masked_fill(done, -torch.inf).amax(dim=1)
        still = score.masked_fill(~done, -torch.inf).amax(dim=1) < hopes
        if not still.any():
            break
        rows = rearrange(torch.arange(len(word), device=word.device) * beams, "b -> b 1") + parent
        state = type(state)(*(x[rearrange(rows[still], "b k -> (b k)")] for x in state))
        if not still.all():
            regions = type(regions)(*(x[still] for x in regions))
            going, word, done, length, log_prob = (x[still] for x in (going, word, done, length, log_prob))
    return Search(_best(tree, tokenizer), to_device(tree, CPU))


def _length_penalty(length: Int[Tensor, "*b"], alpha: float) -> Float[Tensor, "*b"]:
    return ((5 + length) / 6) ** alpha


def _continuations(
    logits: Float[Tensor, "rows v"], done: Bool[Tensor, "b k"], width: int, pad_id: int
) -> tuple[Float[Tensor, "b k w"], Int[Tensor, "b k w"]]:
    """The likeliest next words of each beam, as many as could be kept; a finished one only pads, for free."""
    parts = zip(*(part.log_softmax(dim=1).topk(width) for part in logits.split(ROWS)), strict=True)
    log_probs, choice = (rearrange(torch.cat(x), "(b k) w -> b k w", b=len(done)) for x in parts)
    check_numbers("beam_search", log_probs[~done], "scores of words")
    only = torch.full((width,), -torch.inf, device=logits.device)
    only[0] = 0
    return torch.where(done[..., None], only, log_probs), choice.masked_fill(done[..., None], pad_id)


def _whole(part: Beams, going: Int[Tensor, " p"], b: int, tree: list[Beams], pad_id: int) -> Beams:
    """The beams of all pictures, of which those that are done stay as they are."""
    if len(going) == b:
        return part
    last, width = tree[-1], part.word.shape[1]
    stay = Beams(
        torch.full_like(last.word, pad_id),
        repeat(torch.arange(width, device=going.device), "k -> b k", b=b),
        last.log_prob,
        last.score,
        None if part.attn is None else part.attn.new_zeros(b, *part.attn.shape[1:]),
    )
    return Beams(*(x if x is None else x.index_copy(0, going, y) for x, y in zip(stay, part, strict=True)))


def _best(tree: list[Beams], tokenizer: Any) -> Captions:
    """Follow the best beam of each picture from its end to its start."""
    beam = torch.zeros_like(tree[-1].word[:, :1])
    ids, log_probs, attn = [], [], []
    for step in reversed(range(len(tree))):
        beams, parent = tree[step], tree[step].parent.gather(1, beam)
        before = tree[step - 1].log_prob.gather(1, parent) if step else 0
        ids.append(beams.word.gather(1, beam)[:, 0])
        log_probs.append((beams.log_prob.gather(1, beam) - before)[:, 0])
        if beams.attn is not None:
            look = beams.attn[torch.arange(len(beam), device=beam.device), parent[:, 0]]
            look = look.masked_fill(ids[-1][:, None] == tokenizer.pad_id, 0)
        attn.append(None if beams.attn is None else look)
        beam = parent
    return _captions(tokenizer, ids[::-1], log_probs[::-1], attn[::-1], tree[-1].score[:, 0])
