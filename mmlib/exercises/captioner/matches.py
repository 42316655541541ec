"""Exercise 4 of notebook 4, the first half: matches of n-grams, clipped."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from mmlib.exercises.captioner.parts import call_number
from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import check_value, name_of

Words = list[str]
Number = Float64[Tensor, ""]


def number(value: float | int) -> Number:
    """A count or a score as a tensor, which is what the shared steps compare."""
    return torch.tensor(value, dtype=torch.float64)


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n words stands in a text."""
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _largest(counts: Sequence[Counter]) -> Counter:
    return Counter({gram: max(count[gram] for count in counts) for count in counts for gram in count})


def _sum(counts: Sequence[Counter]) -> Counter:
    return sum(counts, Counter())


def _clipped(own: Counter, most: Counter) -> int:
    return sum(min(count, most[gram]) for gram, count in own.items())


def matches_of(
    caption: Words,
    references: Sequence[Words],
    n: int,
    *,
    cut: Callable = ngrams,
    pool: Callable = _largest,
    count: Callable = _clipped,
) -> Number:
    """Cut into n-grams, pool the counts of the references, count the matches.

    Equation: sum over n-grams of min(count in the caption, largest count in a reference), the numerator of p_n  (4.14)
    """
    return number(count(cut(caption, n), pool([cut(reference, n) for reference in references])))


MATCHES_MISTAKES = [
    Mistake(
        "nothing is clipped: an n-gram counts as often as the caption repeats it. No more often than in a reference.",
        {"count": lambda own, most: sum(count for gram, count in own.items() if most[gram])},
    ),
    Mistake(
        "every n-gram counts once at most. It counts as often as the reference that has it most often.",
        {"count": lambda own, most: sum(1 for gram in own if most[gram])},
    ),
    Mistake(
        "you counted the n-grams of the references, not of the caption: take the smaller of the two counts.",
        {"count": lambda own, most: sum(most[gram] for gram in own)},
    ),
    Mistake(
        "you returned a share. The number of matches here; `bleu` divides, after it has added up over all captions.",
        {"count": lambda own, most: _clipped(own, most) / max(sum(own.values()), 1)},
    ),
    Mistake(
        "you added up the counts of the references. Take the largest: one “red” in each of two references allows one.",
        {"pool": _sum},
    ),
    Mistake("only the first reference counts. Any reference may supply a match.", {"pool": lambda counts: counts[0]}),
    Mistake("only the last reference counts. Does a loop overwrite the result?", {"pool": lambda counts: counts[-1]}),
    Mistake(
        "an n-gram counts only when all references have it. One is enough: the maximum of the counts.",
        {"pool": lambda counts: Counter({gram: min(count[gram] for count in counts) for gram in counts[0]})},
    ),
    Mistake("you always count single words. Count runs of n words.", {"cut": lambda words, n: ngrams(words, 1)}),
    Mistake("your runs have n + 1 words. words[i : i + n] are n.", {"cut": lambda words, n: ngrams(words, n + 1)}),
    Mistake(
        "the last n-gram is missing. There are len(words) - n + 1 of them.",
        {"cut": lambda words, n: ngrams(words[:-1], n)},
    ),
    Mistake(
        "your n-grams do not overlap. One starts at every word.",
        {"cut": lambda words, n: Counter(tuple(words[i : i + n]) for i in range(0, len(words) - n + 1, n))},
    ),
    Mistake(
        "the order of the words inside an n-gram is lost. Compare tuples, not sets and not sorted words.",
        {"cut": lambda words, n: Counter(tuple(sorted(words[i : i + n])) for i in range(len(words) - n + 1))},
    ),
]

MATCHES_CASES = [
    ("the the the the the the the".split(), ["the cat is on the mat".split()], 1),
    (
        "red flag by a red red door red".split(),
        ["by a red door a door".split(), "red and red".split(), "a flag flag".split()],
        1,
    ),
    (
        "a red door a red door by a red door a red door".split(),
        ["a red big red door".split(), "by a red door a red door".split()],
        2,
    ),
    ("door red a b".split(), ["a red door a b".split(), "red a b".split()], 2),
    ("cat".split(), ["a cat".split()], 2),
]


def check_matches(clipped_matches: Callable) -> None:
    """Refuse any other count than the clipped one."""
    name = name_of(clipped_matches)
    for i, case in enumerate(MATCHES_CASES):
        label = f"“{' '.join(case[0])}”, {len(case[1])} references, n = {case[2]}"
        got = call_number(clipped_matches, *case)
        check_value(name, got, matches_of, MATCHES_CASES[: i + 1], MATCHES_MISTAKES, label)
