"""BLEU and CIDEr against hand-worked numbers, sacrebleu and pycocoevalcap."""

import math
import random

import pytest
import sacrebleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from mmlib.caption_metrics import bleu, cider, exact_match, ngrams

CANDIDATES = ["a red square above a blue circle", "a green triangle", "a blue circle left of a red square"]
REFERENCES = [
    ["a red square is above a blue circle", "a red square above a blue circle"],
    ["a small green triangle", "a green triangle in the corner"],
    ["a red square right of a blue circle", "a blue circle to the left of a red square"],
]


def made_up(pictures, most_references, seed):
    """Captions of few words, so that runs of four are shared now and then; some are a reference itself."""
    chance = random.Random(seed)

    def text():
        return " ".join(chance.choices(["a", "red", "blue", "cat", "dog"], k=chance.randint(1, 9)))

    references = [[text() for _ in range(chance.randint(1, most_references))] for _ in range(pictures)]
    candidates = [chance.choice(right) if chance.random() < 0.3 else text() for right in references]
    return candidates, references


def peer(scorer, candidates, references):
    result = scorer.compute_score(dict(enumerate(references)), {i: [text] for i, text in enumerate(candidates)})
    return result[0]


# BLEU


def test_bleu_on_three_sentences():
    expected = [0.945959, 0.913884, 0.869943, 0.802719]
    assert [bleu(CANDIDATES, REFERENCES, n) for n in (1, 2, 3, 4)] == pytest.approx(expected, abs=1e-6)


def test_clipping_by_hand():
    assert bleu(["the the the the the the the"], [["the cat is on the mat"]], n=1) == pytest.approx(2 / 7)
    two = ["the cat is on the mat", "the the the cat"]  # a word counts as often as in the reference that has it most
    assert bleu(["the the the the the the the"], [two], n=1) == pytest.approx(3 / 7)


def test_brevity_by_hand():
    reference = " ".join(f"w{i}" for i in range(28))
    twelve = " ".join(f"w{i}" for i in range(12))
    assert bleu([twelve], [[reference]]) == pytest.approx(0.2636, abs=1e-4)
    assert bleu([reference], [[twelve]], n=1) == pytest.approx(12 / 28)  # too long costs precision, not brevity


def test_the_nearest_reference_sets_the_length_and_the_shorter_of_two():
    candidate, short, long = "a b c d", "a b c", "a b c d e"
    assert bleu([candidate], [[short, long]], n=1) == 1  # 3 and 5 are as near to 4: 3 counts, no penalty
    assert bleu([candidate], [[long]], n=1) == pytest.approx(math.exp(1 - 5 / 4))
    assert bleu([candidate], [[long, "a b c d e f"]], n=1) == pytest.approx(math.exp(1 - 5 / 4))


def test_bleu_of_a_whole_set_is_no_mean():
    # Matches and lengths are added up first: 4 of 4 and 0 of 1 words are 4 of 5, where the mean would be 1 of 2.
    assert bleu(["a b c d", "x"], [["a b c d"], ["y"]], n=1) == pytest.approx(4 / 5)
    assert bleu(["a b c d", "x"], [["a b c d"], ["y"]], n=4) == pytest.approx((4 / 5) ** 0.25)


def test_perfect_and_hopeless():
    assert bleu(CANDIDATES, [[text] for text in CANDIDATES]) == 1
    assert bleu(["a b c"], [["a b c"]]) == 0  # no run of four words anywhere, and no smoothing
    assert bleu(["", "x"], [["a"], ["b"]]) == 0


@pytest.mark.parametrize("seed", range(8))
def test_bleu_equals_sacrebleu(seed):
    candidates, references = made_up(30, 3, seed)
    columns = [[right[k] if k < len(right) else None for right in references] for k in range(3)]
    theirs = sacrebleu.corpus_bleu(candidates, columns, smooth_method="none", tokenize="none", force=True).score / 100
    assert bleu(candidates, references) == pytest.approx(theirs, abs=1e-9) and theirs > 0.05


@pytest.mark.parametrize("seed", range(4))
def test_bleu_equals_pycocoevalcap(seed):
    candidates, references = made_up(30, 3, seed)
    theirs = peer(Bleu(4), candidates, references)
    assert [bleu(candidates, references, n) for n in (1, 2, 3, 4)] == pytest.approx(theirs, abs=1e-6)


# CIDEr


def test_cider_on_three_sentences():
    assert cider(CANDIDATES, REFERENCES) == pytest.approx(4.926602, abs=1e-6)


def test_cider_by_hand():
    # Two pictures. "a" is in both and weighs nothing, "cat" and "dog" weigh log 2. One word each is left to compare.
    assert cider(["a cat", "a dog"], [["a cat"], ["a dog"]], n=1) == pytest.approx(10)
    assert cider(["a cat", "a cat"], [["a cat"], ["a dog"]], n=1) == pytest.approx(5)
    # Said twice it counts once, against a length of 2: 10 x 1 / 2, and exp(-1 / 72) for one word too many.
    said_twice = cider(["cat cat", "dog"], [["cat"], ["dog"]], n=1)
    assert said_twice == pytest.approx((10 * math.exp(-1 / 72) / 2 + 10) / 2)


@pytest.mark.parametrize("seed", range(8))
def test_cider_equals_pycocoevalcap(seed):
    candidates, references = made_up(30, 3, seed)
    theirs = peer(Cider(), candidates, references)
    assert cider(candidates, references) == pytest.approx(theirs, abs=1e-9) and theirs > 0.5


def test_what_every_picture_has_weighs_nothing():
    assert cider(["a cat"], [["a cat"]]) == 0
    assert cider(["a a a", "x"], [["a a a b"], ["a a a c"]], n=1) == 0


# Exact match, and runs of words


def test_exact_match_by_hand():
    assert exact_match(["a cat", "dog", " a  cow "], [["cat"], ["a dog", "dog"], ["a cow"]]) == pytest.approx(2 / 3)


def test_ngrams_by_hand():
    assert ngrams("a b a b", 2) == {("a", "b"): 2, ("b", "a"): 1}
    assert not ngrams("a b", 3)


@pytest.mark.parametrize("metric", [bleu, cider, exact_match])
@pytest.mark.parametrize(
    "candidates, references, words",
    [
        ([], [], "as many captions as pictures, one or more, got 0 and 0"),
        (["a"], [["a"], ["b"]], "got 1 and 2"),
        (["a", "b"], [["a"], []], "none of them empty, got [] in row 1"),
        (["a"], [["a", " "]], "none of them empty, got ['a', ' '] in row 0"),
    ],
)
def test_captions_that_cannot_be_scored_are_refused(metric, candidates, references, words):
    with pytest.raises(ValueError) as error:
        metric(candidates, references)
    assert words in str(error.value) and str(error.value).startswith(f"{metric.__name__}: expected")


def test_strings_in_place_of_lists_are_refused():
    with pytest.raises(
        ValueError, match=r"bleu: expected candidates: a list of texts, got str 'a cat'. Use \['a cat'\]"
    ):
        bleu("a cat", [["a cat"]])
    with pytest.raises(ValueError, match=r"Use \[text\]"):
        cider(["a cat"], ["a cat"])
    with pytest.raises(ValueError, match=r"exact_match: expected candidates: a list of texts, got list \['a', 3\]"):
        exact_match(["a", 3], [["a"], ["b"]])
    with pytest.raises(ValueError, match="n of 1 or more, got 0"):
        bleu(["a"], [["a"]], n=0)
