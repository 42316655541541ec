"""How good captions are: BLEU and CIDEr, from word counts alone. Texts are words with a space between them."""

import math
from collections import Counter
from collections.abc import Sequence

from mmlib.check import check_sizes, refuse, typechecked


@typechecked
def ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n words occurs in a text.

    Raises:
        ValueError: n below 1.

    >>> ngrams("a cat and a dog", 1)[("a",)]
    2
    """
    check_sizes("ngrams", n=n)
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


@typechecked
def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """BLEU-n of a whole set of captions, in [0, 1], with no smoothing: 0 when no n-gram fits anywhere.

    Equation: BLEU = BP exp(1/n sum_k log p_k)  (4.16; Papineni et al. 2002, section 2.3),
    p_k = clipped matches of k-grams / k-grams said (4.14),
    BP = min(1, exp(1 - r / c)) (4.15)

    Args:
        candidates: one caption a picture.
        references: the right captions of each picture, one or more. A k-gram counts at most as often as in the one
            reference that has it most often; of the reference lengths the nearest counts, of two the shorter.
        n: longest run of words that is compared.

    Raises:
        ValueError: no captions, numbers that differ, a picture without references, n below 1.

    >>> round(bleu(["the the the the the the the"], [["the cat is on the mat"]], n=1), 4)  # clipped to 2 / 7
    0.2857
    """
    _check_pairs("bleu", candidates, references, n)
    matched, said = [0] * n, [0] * n
    candidate_length = reference_length = 0
    for text, right in zip(candidates, references, strict=True):
        length = len(text.split())
        candidate_length += length
        reference_length += min((len(r.split()) for r in right), key=lambda r, c=length: (abs(r - c), r))
        for k in range(n):
            counts, most = ngrams(text, k + 1), Counter()
            for reference in right:
                most |= ngrams(reference, k + 1)
            matched[k] += (counts & most).total()
            said[k] += counts.total()
    if 0 in matched:
        return 0.0
    brevity = min(1.0, math.exp(1 - reference_length / candidate_length))
    return brevity * math.exp(sum(math.log(m / s) for m, s in zip(matched, said, strict=True)) / n)


@typechecked
def cider(candidates: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """CIDEr-D of a whole set of captions: how alike the rare words of a caption and of its references are, 0 to 10.

    Equation: CIDEr = 10/n sum_k mean_r <min(g_k(c), g_k(r)), g_k(r)> / (|g_k(c)| |g_k(r)|) exp(-(c - r)^2 / (2 6^2)),
    g_k = counts x log(pictures / pictures whose references have the k-gram)
    (4.17; Vedantam et al. 2015, eq. 2 to 4 and section 7)

    A k-gram that every picture has weighs nothing. With one picture all do.

    Args:
        candidates, references, n: as `bleu`.

    Raises:
        ValueError: as `bleu`.
    """
    _check_pairs("cider", candidates, references, n)
    total = 0.0
    for k in range(1, n + 1):
        right = [[ngrams(reference, k) for reference in texts] for texts in references]
        pictures = Counter(gram for counts in right for gram in set().union(*counts))
        rarity = {gram: math.log(len(right) / count) for gram, count in pictures.items()}
        unheard = math.log(len(right))  # a k-gram that no reference has counts as if one had it
        for text, counts, texts in zip(candidates, right, references, strict=True):
            said = _weigh(ngrams(text, k), rarity, unheard)
            for reference, reference_text in zip(counts, texts, strict=True):
                apart = len(text.split()) - len(reference_text.split())
                alike = _clipped_cosine(said, _weigh(reference, rarity, unheard))
                total += alike * math.exp(-(apart**2) / (2 * 6**2)) / len(texts)
    return 10 * total / n / len(candidates)


@typechecked
def exact_match(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Share of the captions that are one of their references, word for word.

    Raises:
        ValueError: as `bleu`.

    >>> exact_match(["a cat", "a dog"], [["cat", "a cat"], ["a cow"]])
    0.5
    """
    _check_pairs("exact_match", candidates, references, 1)
    pairs = zip(candidates, references, strict=True)
    return sum(text.split() in [r.split() for r in right] for text, right in pairs) / len(candidates)


def _weigh(counts: Counter, rarity: dict, unheard: float) -> dict[tuple[str, ...], float]:
    return {gram: count * rarity.get(gram, unheard) for gram, count in counts.items()}


def _clipped_cosine(said: dict, right: dict) -> float:
    common = sum(min(weight, right[gram]) * right[gram] for gram, weight in said.items() if gram in right)
    lengths = math.hypot(*said.values()) * math.hypot(*right.values())
    return common / lengths if lengths else 0.0


def _check_pairs(where: str, candidates: Sequence[str], references: Sequence[Sequence[str]], n: int) -> None:
    check_sizes(where, n=n)
    if len(candidates) != len(references) or not candidates:
        got = f"{len(candidates)} and {len(references)}"
        refuse(where, "as many captions as pictures, one or more", got, "Take them from the same split.")
    for row, texts in enumerate(references):
        if not texts or not all(text.split() for text in texts):
            refuse(where, "a reference or more for each picture, none of them empty", f"{list(texts)} in row {row}")
