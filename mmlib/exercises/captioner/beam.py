"""Exercise 3 of notebook 4: one step of beam search, in which the beams compete and the ended ones wait."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.exercises.captioner.parts import call_for
from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import check_shape, check_value, exercise, name_of, not_yet

PARTS = ("score", "parent", "word")


def _log_softmax(logits: Float[Tensor, "w v"]) -> Float[Tensor, "w v"]:
    return logits.log_softmax(dim=1)


def _wait(log_probs: Float[Tensor, "w v"], ended: Bool[Tensor, " w"], pad_id: int) -> Float[Tensor, "w v"]:
    return _ended_rows(log_probs, ended, _only(pad_id, log_probs))


def _only(word: int, like: Float[Tensor, "w v"]) -> Float[Tensor, "w v"]:
    row = torch.full_like(like, -torch.inf)
    row[:, word] = 0
    return row


def _ended_rows(table: Float[Tensor, "w v"], ended: Bool[Tensor, " w"], rows: Tensor) -> Float[Tensor, "w v"]:
    return torch.where(ended[:, None], rows, table)


def _best(total: Float[Tensor, "w v"], width: int) -> Int[Tensor, " width"]:
    return total.flatten().topk(width).indices


def _row_and_column(place: Int[Tensor, " width"], w: int, v: int) -> tuple[Tensor, Tensor]:
    return place // v, place % v


def beam_step(
    score: Float[Tensor, " w"],
    logits: Float[Tensor, "w v"],
    ended: Bool[Tensor, " w"],
    pad_id: int,
    width: int,
    *,
    read: Callable = _log_softmax,
    wait: Callable = _wait,
    add: Callable = lambda score, log_probs: score[:, None] + log_probs,
    choose: Callable = _best,
    locate: Callable = _row_and_column,
) -> Float[Tensor, "3 width"]:
    """Read log-probabilities, let ended beams wait, add the scores, choose the best, locate them in the table."""
    total = add(score, wait(read(logits), ended, pad_id))
    place = choose(total, width)
    parent, word = locate(place, *total.shape)
    return torch.stack([total.flatten()[place], parent.to(total.dtype), word.to(total.dtype)])


def _best_of_each_beam(total: Float[Tensor, "w v"], width: int) -> Int[Tensor, " width"]:
    """Places of the best words of each beam, as many for each, the best beams first."""
    w, v = total.shape
    each = total.topk(-(-width // w), dim=1)
    places = (torch.arange(w)[:, None] * v + each.indices).flatten()
    return places[each.values.flatten().argsort(descending=True, stable=True)][:width]


def _best_of_the_first(total: Float[Tensor, "w v"], width: int) -> Int[Tensor, " width"]:
    return total[total.amax(dim=1).argmax()].topk(width).indices + total.amax(dim=1).argmax() * total.shape[1]


BEAM_MISTAKES = [
    Mistake(
        "you added logits. Beams can be compared only in log-probabilities: log_softmax first.",
        {"read": lambda logits: logits},
    ),
    Mistake(
        "you added probabilities to a score of logs. Take log_softmax.", {"read": lambda logits: logits.softmax(dim=1)}
    ),
    Mistake(
        "your softmax runs over the beams. Each beam chooses among the words: dim=1.",
        {"read": lambda logits: logits.log_softmax(dim=0)},
    ),
    Mistake(
        "your softmax runs over the whole table. Each beam has one of its own: dim=1.",
        {"read": lambda logits: logits.flatten().log_softmax(dim=0).view_as(logits)},
    ),
    Mistake(
        "the old scores have no effect. A caption is judged by all its words: add score.",
        {"add": lambda score, log_probs: log_probs},
    ),
    Mistake(
        "you multiplied by the old score. Probabilities are multiplied, and their logs are added.",
        {"add": lambda score, log_probs: score[:, None] * log_probs.clamp(min=-1e9)},
    ),
    Mistake(
        "an ended beam goes on growing behind its end. Its only next word is pad_id, at no cost.",
        {"wait": lambda log_probs, ended, pad_id: log_probs},
    ),
    Mistake(
        "the ended beams are gone. They stay candidates with the score they have: 0 at pad_id, -inf elsewhere.",
        {"wait": lambda log_probs, ended, pad_id: _ended_rows(log_probs, ended, torch.tensor(-torch.inf))},
    ),
    Mistake(
        "an ended beam pays for its padding. To wait costs nothing: 0 at pad_id.",
        {"wait": lambda log_probs, ended, pad_id: _ended_rows(log_probs, ended, log_probs + _only(pad_id, log_probs))},
    ),
    Mistake(
        "an ended beam is free to take every word, and fills the places with copies of itself. Only pad_id costs 0.",
        {"wait": lambda log_probs, ended, pad_id: _ended_rows(log_probs, ended, torch.tensor(0.0))},
    ),
    Mistake(
        "an ended beam may still take every other word: the rest of its row must be -inf.",
        {
            "wait": lambda log_probs, ended, pad_id: _ended_rows(
                log_probs, ended, log_probs.index_fill(1, torch.tensor(pad_id), 0.0)
            )
        },
    ),
    Mistake(
        "an ended beam waits with the id 0. Padding may be any id: pad_id.",
        {"wait": lambda log_probs, ended, pad_id: _ended_rows(log_probs, ended, _only(0, log_probs))},
    ),
    Mistake(
        "your mask is upside down: the beams that have ended grow, the others wait.",
        {"wait": lambda log_probs, ended, pad_id: _wait(log_probs, ~ended, pad_id)},
    ),
    Mistake(
        "every beam keeps as many children. Let them compete: one topk over the whole table, flattened.",
        {"choose": _best_of_each_beam},
    ),
    Mistake(
        "only the best beam has children. Let all compete: one topk over the whole table, flattened.",
        {"choose": _best_of_the_first},
    ),
    Mistake(
        "you kept the worst. topk gives the largest by default, and the largest is the best.",
        {"choose": lambda total, width: total.flatten().topk(width, largest=False).indices},
    ),
    Mistake(
        "the best beams are there, but not the best one first.",
        {"choose": lambda total, width: _best(total, width).flip(0)},
    ),
    Mistake(
        "parent and word are swapped. Of place p, the row is p // v and the column p % v: return score, parent, word.",
        {"locate": lambda place, w, v: (place % v, place // v)},
    ),
    Mistake(
        "you divided by the number of beams. A row of the table has v places, one for each word.",
        {"locate": lambda place, w, v: (place // w, place % w)},
    ),
    Mistake(
        "your words are places in the flat table. Of place p, the word is p % v.",
        {"locate": lambda place, w, v: (place // v, place)},
    ),
]


def _case(w: int, v: int, width: int, ended: list[int], pad_id: int) -> tuple:
    generator = torch.Generator().manual_seed(10 * w + width)
    score, logits = -2 * torch.rand(w, generator=generator) - 0.5, 1.5 * torch.randn(w, v, generator=generator)
    logits[ended, pad_id] += 4  # so that a beam that pays for its padding is kept all the same
    return score, logits, torch.isin(torch.arange(w), torch.tensor(ended)), pad_id, width


BEAM_CASES = [
    _case(2, 5, 2, [], pad_id=3),
    _case(1, 6, 3, [], pad_id=3),  # the first step: one beam
    _case(3, 6, 4, [1], pad_id=3),
    _case(3, 5, 3, [0, 2], pad_id=4),
]


@exercise
def check_beam_step(beam_step_of: Callable) -> str:
    """Check `beam_step(score (w), logits (w v), ended (w), pad_id, width) -> score, parent, word`."""
    name = name_of(beam_step_of)
    for i, case in enumerate(BEAM_CASES):
        (w, v), width, parts = case[1].shape, case[4], call_for(PARTS, beam_step_of, *case)
        hints = {
            (w, v): "That is the whole table. Flatten it, and keep the best: topk(width).",
            (w * v,): "That is the whole table. Keep the best: topk(width).",
            (w, width): "Each beam keeps its own best. Let them compete: flatten the table before topk.",
            (w,): "One for each old beam. Flatten the table before topk: `width` of all.",
            (width, 1): "One axis too many: flatten the table, no keepdim.",
        }
        for part, got in zip(PARTS, parts, strict=True):
            check_shape(f"{part} of {name}", got, (width,), hints, "One for each beam that is kept.")
            if part != "score" and got.is_floating_point():
                not_yet(f"{part} is of floats. Places are whole numbers: //, not /; % for the word.")
        got = torch.stack([part.to(case[0].dtype) for part in parts])
        label = f"{w} beams, {int(case[2].sum())} of them ended, {v} words, width {width}; rows score, parent, word"
        check_value(name, got, beam_step, BEAM_CASES[: i + 1], BEAM_MISTAKES, label)
    return "all children compete, the ended wait their turn. Width 1 is greedy decoding."
