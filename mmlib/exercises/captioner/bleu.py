"""Exercise 4 of notebook 4, the second half: BLEU of a set of captions, with the brevity penalty."""

import functools
import math
from collections.abc import Callable, Sequence

from mmlib.exercises.captioner.matches import Number, Words, check_matches, matches_of, number
from mmlib.exercises.captioner.parts import call_number
from mmlib.exercises.core import Finding, check_value, exercise, name_of
from mmlib.exercises.core import OldMistake as Mistake


def _all_ngrams(caption: Words, references: Sequence[Words], n: int) -> int:
    return max(len(caption) - n + 1, 0)


def _share_of_all(matches: Sequence[int], totals: Sequence[int]) -> float:
    return sum(matches) / max(sum(totals), 1)


def _geometric(precisions: Sequence[float]) -> float:
    return math.prod(precisions) ** (1 / len(precisions))


def _nearest(length: int, lengths: Sequence[int]) -> int:
    return min(lengths, key=lambda other: (abs(other - length), other))


def _brevity(length: int, reference: float | int) -> float:
    return math.exp(min(0.0, 1 - reference / max(length, 1)))


def _score(
    captions: Sequence[Words],
    references: Sequence[Sequence[Words]],
    most: int,
    *,
    orders: Callable = lambda most: range(1, most + 1),
    all_of: Callable = _all_ngrams,
    divide: Callable = _share_of_all,
    mean: Callable = _geometric,
    pick: Callable = _nearest,
    penalty: Callable = _brevity,
) -> float:
    pairs = list(zip(captions, references, strict=True))
    precisions = []
    for n in orders(most):
        matches = [int(matches_of(*pair, n)) for pair in pairs]
        precisions.append(divide(matches, [all_of(*pair, n) for pair in pairs]))
    reference = sum(pick(len(caption), [len(text) for text in texts]) for caption, texts in pairs)
    return mean(precisions) * penalty(sum(map(len, captions)), reference)


def bleu_of(
    captions: Sequence[Words],
    references: Sequence[Sequence[Words]],
    most: int,
    *,
    over: Callable = lambda score, captions, references: score(captions, references),
    **knobs: Callable,
) -> Number:
    """Divide the matches of each order by all n-grams, take the mean, pick reference lengths, punish brevity.

    Equation: BLEU = BP exp(1/n sum_k log p_k)  (4.16), BP = min(1, exp(1 - r/c))  (4.15)
    """
    return number(over(functools.partial(_score, most=most, **knobs), captions, references))


def _one_by_one(score: Callable, captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    scores = [score([caption], [texts]) for caption, texts in zip(captions, references, strict=True)]
    return sum(scores) / len(scores)


BLEU_MISTAKES = [
    Mistake(
        "you averaged the scores of single captions. Add up matches and n-grams over the set, and divide once.",
        {"over": _one_by_one},
    ),
    Mistake(
        "you averaged the precisions of single captions. Add up matches and n-grams over the set, and divide once.",
        {
            "divide": lambda matches, totals: (
                sum(m / max(t, 1) for m, t in zip(matches, totals, strict=True)) / len(matches)
            )
        },
    ),
    Mistake(
        "only n-grams of the largest n count. Take each n from 1 to `most`.",
        {"orders": lambda most: range(most, most + 1)},
    ),
    Mistake("the largest n is missing: range(1, most) ends before `most`.", {"orders": lambda most: range(1, most)}),
    Mistake(
        "you divided by the number of words. A text has len - n + 1 runs of n words.",
        {"all_of": lambda caption, references, n: len(caption)},
    ),
    Mistake(
        "you divided by the n-grams of the references. That is recall; precision divides by those of the captions.",
        {"all_of": lambda caption, references, n: sum(max(len(r) - n + 1, 0) for r in references)},
    ),
    Mistake(
        "you added 1 to numerator and denominator. Here nothing is smoothed.",
        {"divide": lambda matches, totals: (sum(matches) + 1) / (sum(totals) + 1)},
    ),
    Mistake(
        "you took the ordinary mean of the precisions. The geometric one: the exponential of the mean of their logs.",
        {"mean": lambda precisions: sum(precisions) / len(precisions)},
    ),
    Mistake(
        "you multiplied the precisions and took no root. Geometric mean: divide the sum of the logs by `most`.",
        {"mean": math.prod},
    ),
    Mistake("the brevity penalty is missing.", {"penalty": lambda length, reference: 1.0}),
    Mistake(
        "long captions earn a bonus. The penalty is never above 1.",
        {"penalty": lambda length, reference: math.exp(1 - reference / length)},
    ),
    Mistake(
        "your fraction is upside down: exp(1 - reference length / caption length).",
        {"penalty": lambda length, reference: 1.0 if length >= reference else math.exp(1 - length / reference)},
    ),
    Mistake(
        "your penalty is the bare ratio of the lengths. It is exp(1 - reference length / caption length).",
        {"penalty": lambda length, reference: min(1.0, length / reference)},
    ),
    Mistake(
        "you took the longest reference for its length. Take the one nearest to the caption's length.",
        {"pick": lambda length, lengths: max(lengths)},
    ),
    Mistake(
        "you took the shortest reference for its length. Take the one nearest to the caption's length.",
        {"pick": lambda length, lengths: min(lengths)},
    ),
    Mistake(
        "you took the first reference for its length. Take the one nearest to the caption's length.",
        {"pick": lambda length, lengths: lengths[0]},
    ),
    Mistake(
        "you took the mean length of the references. Take the one nearest to the caption's length.",
        {"pick": lambda length, lengths: sum(lengths) / len(lengths)},
    ),
    Mistake(
        "of two references that are as near, you took the longer. Take the shorter.",
        {"pick": lambda length, lengths: min(lengths, key=lambda other: (abs(other - length), -other))},
    ),
]


def _case(most: int, **sets: list[str]) -> tuple[list[Words], list[list[Words]], int]:
    captions = [caption.replace("_", " ").split() for caption in sets]
    return captions, [[text.split() for text in some] for some in sets.values()], most


BLEU_CASES = [
    _case(2, a_red_house_near_the_blue_night=["the red house in the long and blue night"]),
    _case(
        2,
        a_red_flag_by_the_door=[
            "there is one red flag near the open door",
            "the red flag",
            "a red flag by a door of red",
        ],
        door=["red door flag pole"],
        red_pole_red=["pole red", "a pole in red"],
    ),
    _case(
        4,
        a_red_square_above_a_blue_circle=["a red square is above a blue circle", "a red square above a blue circle"],
        a_green_triangle=["a small green triangle", "a green triangle in the corner"],
        a_blue_circle_left_of_a_red_square=[
            "a red square right of a blue circle",
            "a blue circle to the left of a red square",
        ],
    ),
    _case(2, a_red_flag_on_a_pole=["red flag"]),
    _case(3, red_door_red=["red red door"], cat=["cat"]),
]


@exercise
def check_bleu(clipped_matches: Callable, bleu: Callable) -> str:
    """Check `clipped_matches(caption, references, n) -> number` and `bleu(captions, references, most) -> number`."""
    check_matches(clipped_matches)
    try:
        _check_score(bleu)
    except Finding as finding:
        raise Finding(f"{finding} ({name_of(clipped_matches)} is right already.)") from None
    return "matches clipped, brevity punished. The same number as sacrebleu without smoothing, divided by 100."


def _check_score(bleu: Callable) -> None:
    for i, case in enumerate(BLEU_CASES):
        captions, references, most = case
        label = f"{len(captions)} captions such as “{' '.join(captions[0])}”, most = {most}"
        check_value(name_of(bleu), call_number(bleu, *case), bleu_of, BLEU_CASES[: i + 1], BLEU_MISTAKES, label)
