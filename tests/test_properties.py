"""What holds for any input: a call gives the value of a slow reference, or refuses in the form of `refuse`.

The examples are few, for the fast tests; `pytest tests/test_properties.py --hypothesis-profile=long` takes minutes.
"""

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile
from torch import Tensor

from mmlib.caption_metrics import bleu, cider, exact_match, ngrams
from mmlib.data.files import files_in, read_captions, read_clip, read_picture
from mmlib.data.sound import read_wav
from mmlib.data.text import Tokenizer, words_of
from mmlib.decode import beam_search, chances, greedy, sample, words_said
from mmlib.layers import Attend, Attention
from mmlib.losses import active_triplets, caption_loss, clip_loss, siglip_loss, triplet_loss
from mmlib.metrics import (
    accuracy,
    confusion_matrix,
    entropy,
    inverse_variance_weights,
    mean_average_precision,
    median_rank,
    rank_correlation,
    rank_of_best,
    recall_at_k,
    reciprocal_rank_fusion,
    squared_error,
    top_k_accuracy,
)
from mmlib.models.retrieval import top_k

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64)
QUARTERS = [k / 4 for k in range(-4, 5)]  # with many ties, and products that every float type holds exactly
ODD = [math.nan, math.inf, -math.inf]
SMALL = st.integers(0, 4)
K = st.integers(-1, 6)


def outcome(function, *args, **kwargs):
    """What a call gives, or None where it refuses; any other error, or another wording, fails the test."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        assert re.match(r"[\w.]+: expected .+, got .+", str(error), flags=re.S), error
        return None


def agree(got, expected, tolerance=1e-6):
    """Both refuse (None), or both give the same numbers."""
    assert (got is None) == (expected is None), (got, expected)
    if expected is not None:
        got = torch.as_tensor(got, dtype=torch.float64).flatten().tolist()
        expected = torch.as_tensor(expected, dtype=torch.float64).flatten().tolist()
        assert got == pytest.approx(expected, rel=tolerance, abs=tolerance)


@st.composite
def floats(draw, *shape, values=QUARTERS, odd=ODD):
    """A tensor of any float type; one in three holds an odd value."""
    n = math.prod(shape)
    numbers = draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
    if n and odd and draw(st.integers(0, 2)) == 0:
        numbers[draw(st.integers(0, n - 1))] = draw(st.sampled_from(odd))
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape).to(draw(st.sampled_from(FLOATS)))


@st.composite
def whole(draw, *shape, low=-1, high=5):
    """A tensor of any whole type."""
    n = math.prod(shape)
    numbers = draw(st.lists(st.integers(low, high), min_size=n, max_size=n))
    return torch.tensor(numbers, dtype=torch.int64).reshape(shape).to(draw(st.sampled_from(WHOLE)))


@st.composite
def booleans(draw, *shape):
    """A mask, now and then without a True."""
    n = math.prod(shape)
    return torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=torch.bool).reshape(shape)


def eps(x):
    return torch.finfo(x.dtype).eps


# Losses


class Pairs(NamedTuple):
    image: Tensor
    text: Tensor
    same: Tensor | None


@st.composite
def pairs(draw):
    """Pairs of one float type, with right answers; some have no pair, one, another number, or lack a right answer."""
    b, e = draw(st.integers(0, 5)), draw(st.integers(1, 3))
    image = draw(floats(b, e))
    text = draw(floats(draw(st.sampled_from([b, b, b, b, 1])), e)).to(image.dtype)
    same = draw(st.none() | booleans(b, b) | booleans(b, b).map(lambda x: x | torch.eye(b).bool()) | booleans(1, b))
    return Pairs(image, text, same)


def table_of(image, text, same):
    """Similarities and right answers as lists, or None where a loss has to refuse."""
    b = len(image)
    same = torch.eye(b, dtype=torch.bool) if same is None else same
    if b < 2 or text.shape != image.shape or same.shape != (b, b) or not same.diagonal().all():
        return None
    if not image.isfinite().all() or not text.isfinite().all():
        return None
    return (image.double() @ text.double().T).tolist(), same.tolist()


def cross_entropy(scores, right):
    total = math.log(sum(math.exp(s) for s in scores))
    return sum(total - s for s, answer in zip(scores, right, strict=True) if answer) / sum(right)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


SCALES = st.sampled_from([-2.0, 0.0, 1.0, 3.0, 90.0, *ODD])


@given(pairs(), SCALES)
def test_clip_loss(pairs, scale):
    table, expected = table_of(*pairs), None
    if table and scale in (-2.0, 0.0, 1.0, 3.0):
        sims, same = table
        logits = [[torch.tensor(scale).exp().item() * s for s in row] for row in sims]
        rows = [*zip(logits, same, strict=True), *zip(columns(logits), columns(same), strict=True)]
        expected = sum(cross_entropy(*row) for row in rows) / len(rows)
    got = outcome(clip_loss, pairs.image, pairs.text, torch.tensor(scale), pairs.same)
    agree(got, expected, 200 * eps(pairs.image))


@given(pairs(), SCALES, st.sampled_from([-10.0, 0.0, 0.5, *ODD]))
def test_siglip_loss(pairs, scale, bias):
    table, expected = table_of(*pairs), None
    if table and scale in (-2.0, 0.0, 1.0, 3.0) and math.isfinite(bias):
        sims, same = table
        cells = [(s, y) for row, answers in zip(sims, same, strict=True) for s, y in zip(row, answers, strict=True)]
        scores = [(1 if y else -1) * (torch.tensor(scale).exp().item() * s + bias) for s, y in cells]
        expected = sum(math.log1p(math.exp(-abs(z))) + max(-z, 0) for z in scores) / len(sims)
    got = outcome(siglip_loss, pairs.image, pairs.text, torch.tensor(scale), torch.tensor(bias), pairs.same)
    agree(got, expected, 400 * eps(pairs.image))


MARGINS = st.sampled_from([0.25, 0.5, 2.0, 0.0, 2.5, math.nan])


@given(pairs(), MARGINS, st.sampled_from(["hardest", "semi-hard", "easy"]))
def test_triplet_loss(pairs, margin, negatives):
    table, expected = table_of(*pairs), None
    if table and 0 < margin <= 2 and negatives != "easy":
        total, (sims, same) = 0.0, table
        for rows, answers in ((sims, same), (columns(sims), columns(same))):
            for i, scores in enumerate(rows):
                wrong = [s for s, answer in zip(scores, answers[i], strict=True) if not answer]
                if negatives == "semi-hard":
                    wrong = [s for s in wrong if scores[i] - margin < s < scores[i]]
                total += max([0.0, *(margin - scores[i] + s for s in wrong)])
        expected = total / len(sims)
    agree(outcome(triplet_loss, pairs.image, pairs.text, margin, negatives, pairs.same), expected, eps(pairs.image))


@given(pairs(), MARGINS)
def test_active_triplets(pairs, margin):
    table, expected = table_of(*pairs), None
    if table and 0 < margin <= 2:
        costs, (sims, same) = [], table
        for rows, answers in ((sims, same), (columns(sims), columns(same))):
            for i, scores in enumerate(rows):
                costs += [margin - scores[i] + s > 0 for s, y in zip(scores, answers[i], strict=True) if not y]
        expected = sum(costs) / len(costs) if costs else None
    agree(outcome(active_triplets, pairs.image, pairs.text, margin, pairs.same), expected)


@given(st.data(), SMALL, SMALL, SMALL, st.sampled_from([0.0, 0.1, 1.0, math.nan]))
def test_caption_loss(data, b, s, v, smoothing):
    logits, target = data.draw(floats(b, s, v)), data.draw(whole(b, s, low=0, high=3))
    attn = data.draw(st.none() | floats(b, s, 2, values=[0.0, 0.5, 1.0]))
    expected = None
    words = [(row, place) for row in range(b) for place in range(s) if target[row, place] != 0]
    if words and v and 0 <= smoothing < 1 and all(target[place] < v for place in words):
        total = 0.0
        for place in words:
            scores = logits[place].double().log_softmax(dim=0).tolist()
            shares = [smoothing / v + (1 - smoothing) * (w == target[place]) for w in range(v)]
            total -= sum(share * score for share, score in zip(shares, scores, strict=True) if share)
        expected = total / len(words)
        if attn is not None:
            looked = (attn.double() * (target != 0)[..., None]).sum(dim=1)
            expected += (looked - looked.mean(dim=1, keepdim=True)).square().sum().item() / b
        expected = expected if math.isfinite(expected) else None
    got = outcome(caption_loss, logits, target, smoothing=smoothing, attn=attn)
    agree(got, expected, max(1e-7, 20 * eps(logits), 20 * eps(logits if attn is None else attn)))


# Metrics


@st.composite
def rankings(draw):
    """Similarities of some queries to a gallery, and which are right; infinities have a rank, NaN has none."""
    q, g = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    return draw(floats(q, g)), draw(booleans(q, g))


def all_ranks(sim, right):
    """Of each query, the best right answer's rank in every order that ties allow; None where there is none."""
    if sim.numel() == 0 or sim.isnan().any() or not right.any(dim=1).all():
        return None
    found = []
    for row, answers in zip(sim.tolist(), right.tolist(), strict=True):
        orders = [sorted(order, key=lambda i, row=row: -row[i]) for order in permutations(range(len(row)))]
        found.append([1 + min(order.index(i) for i, y in enumerate(answers) if y) for order in orders])
    return found


@given(rankings(), K)
def test_ranks_and_recall(ranking, k):
    sim, right = ranking
    ranks = all_ranks(sim, right)
    means = ranks and [sum(row) / len(row) for row in ranks]
    agree(outcome(rank_of_best, sim, right), means)
    agree(outcome(median_rank, sim, right), ranks and torch.tensor(means).quantile(0.5))
    hits = ranks and [sum(rank <= k for rank in row) / len(row) for row in ranks]
    agree(outcome(recall_at_k, sim, right, k), sum(hits) / len(hits) if hits and 1 <= k <= sim.shape[1] else None)


@given(rankings())
def test_mean_average_precision(ranking):
    (sim, right), expected = ranking, None
    if all_ranks(sim, right):
        rows = []
        for row, answers in zip(sim.tolist(), right.tolist(), strict=True):
            order = sorted(zip(row, answers, strict=True), key=lambda pair: (-pair[0], pair[1]))
            places = [place for place, (_, answer) in enumerate(order, start=1) if answer]
            rows.append(sum(n / place for n, place in enumerate(places, start=1)) / len(places))
        expected = sum(rows) / len(rows)
    agree(outcome(mean_average_precision, sim, right), expected)


@given(st.data(), st.integers(0, 3), st.integers(0, 4), K)
def test_accuracies(data, b, classes, k):
    logits, target = data.draw(floats(b, classes)), data.draw(whole(b, high=4))
    fits = b and classes and ((target >= 0) & (target < classes)).all()
    ranks = all_ranks(logits, target[:, None] == torch.arange(classes)) if fits else None
    for metric, count in ((lambda x, y: top_k_accuracy(x, y, k), k), (accuracy, 1)):
        shares = ranks and [sum(rank <= count for rank in row) / len(row) for row in ranks]
        agree(outcome(metric, logits, target), sum(shares) / b if shares and 1 <= count <= classes else None)
    inside = fits and not logits.isnan().any() and ((logits >= -1e-3) & (logits <= 1 + 1e-3)).all()
    right = (target[:, None] == torch.arange(classes)).double()
    expected = (logits.double() - right).square().sum(dim=1).mean() if inside else None
    agree(outcome(squared_error, logits, target), expected, 8 * eps(logits))


@given(st.data(), st.integers(0, 4), st.integers(-1, 4))
def test_confusion_matrix(data, b, classes):
    predicted, target = data.draw(whole(b, high=4)), data.draw(whole(b, high=4))
    expected, seen = None, [*predicted.tolist(), *target.tolist()]
    if b and min(seen) >= 0 and max(seen) < classes:
        counts = Counter(zip(target.tolist(), predicted.tolist(), strict=True))
        rows = [[counts[i, j] for j in range(classes)] for i in range(classes)]
        expected = [[n / max(1, sum(row)) for n in row] for row in rows]
    agree(outcome(confusion_matrix, predicted, target, classes), expected)


@given(st.data(), SMALL, SMALL)
def test_entropy(data, rows, n):
    probs = data.draw(floats(rows, n, values=[0.0, 0.25, 0.5, 1.0], odd=[*ODD, -0.5, 1.5]))
    expected = None
    if probs.numel() and not probs.isnan().any() and (probs >= 0).all() and (probs <= 1).all():
        expected = [-sum(p * math.log(p) for p in row if p) for row in probs.tolist()]
    agree(outcome(entropy, probs), expected, 8 * eps(probs))


@given(st.data(), SMALL, SMALL)
def test_inverse_variance_weights(data, rows, m):
    values = [0.25, 1.0, 4.0, math.inf, 1e-300, 1e-45, 1e-7, 1e4, 1e30]
    variances, expected = data.draw(floats(rows, m, values=values, odd=[math.nan, 0.0, -1.0])), None
    if variances.numel() and (variances > 0).all() and not variances.isinf().all(dim=1).any():
        expected = []
        for row in variances.tolist():
            precisions = [0 if v == math.inf else 1 / Fraction(v) for v in row]
            expected += [float(p / sum(precisions)) for p in precisions]
    agree(outcome(inverse_variance_weights, variances), expected, 8 * eps(variances))


def mean_ranks(values):
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


@given(st.data(), st.integers(0, 5), st.integers(0, 5))
def test_rank_correlation(data, n, m):
    x, y = data.draw(floats(n)), data.draw(floats(data.draw(st.sampled_from([n, n, m]))))
    expected = None
    if (
        len(x) == len(y) >= 2
        and not (x.isnan().any() or y.isnan().any())
        and x.unique().numel() > 1 < y.unique().numel()
    ):
        first, second = (torch.tensor(mean_ranks(v.tolist())).double() for v in (x, y))
        first, second = first - first.mean(), second - second.mean()
        expected = (first @ second / (first.norm() * second.norm())).item()
    agree(outcome(rank_correlation, x, y), expected)


@given(st.data(), SMALL, SMALL, st.integers(0, 3), st.integers(-1, 60))
def test_reciprocal_rank_fusion(data, q, g, searches, k):
    sims = [data.draw(floats(q, data.draw(st.sampled_from([g, g, g, 1])))) for _ in range(searches)]
    expected = None
    if (
        sims
        and len({s.shape for s in sims}) == 1
        and k > 0
        and sims[0].numel()
        and not any(s.isnan().any() for s in sims)
    ):
        ranks = [[mean_ranks([-value for value in row]) for row in sim.tolist()] for sim in sims]
        expected = [[sum(1 / (k + rank[i][j]) for rank in ranks) for j in range(sims[0].shape[1])] for i in range(q)]
    agree(outcome(reciprocal_rank_fusion, *sims, k=k), expected)


@given(st.data(), SMALL, SMALL, K)
def test_top_k(data, q, g, k):
    query, gallery = data.draw(floats(q, 2)), data.draw(floats(g, 2))
    gallery, expected = gallery.to(query.dtype), None
    sim = query.double() @ gallery.double().T
    if sim.numel() and not sim.isnan().any() and 1 <= k <= g:
        expected = [sorted(row, reverse=True)[:k] for row in sim.tolist()]
    found = outcome(top_k, query, gallery, k)
    agree(None if found is None else found.scores, expected)


# Captions

WORDS = st.lists(
    st.sampled_from(["a", "b", "A", "é", "e\u0301", "猫", "🐈‍⬛", "\u202e", "\x00", "a-b", "%s", "{}"]), max_size=5
)
TEXTS = st.one_of(WORDS.map(" ".join), WORDS.map("\u2003\n".join), st.just("  "))


def slow_bleu(candidates, references, n):
    log, lengths = 0.0, [0, 0]
    for k in range(1, n + 1):
        matched = said = 0
        for text, right in zip(candidates, references, strict=True):
            runs = [tuple(text.split()[i : i + k]) for i in range(len(text.split()) - k + 1)]
            others = [[tuple(r.split()[i : i + k]) for i in range(len(r.split()) - k + 1)] for r in right]
            matched += sum(min(runs.count(run), max(other.count(run) for other in others)) for run in set(runs))
            said += len(runs)
        if matched == 0:
            return 0.0
        log += math.log(matched / said) / n
    for text, right in zip(candidates, references, strict=True):
        words = len(text.split())
        lengths[0] += words
        lengths[1] += min((abs(len(r.split()) - words), len(r.split())) for r in right)[1]
    return math.exp(log + min(0.0, 1 - lengths[1] / lengths[0]))


@given(st.lists(TEXTS, max_size=3), st.lists(st.lists(TEXTS, max_size=2), max_size=3), st.integers(-1, 4))
def test_caption_metrics(candidates, references, n):
    fits = len(candidates) == len(references) > 0 and all(r and all(t.split() for t in r) for r in references)
    agree(outcome(bleu, candidates, references, n), slow_bleu(candidates, references, n) if fits and n > 0 else None)
    pairs = zip(candidates, references, strict=False)
    matches = [any(text.split() == r.split() for r in right) for text, right in pairs]
    agree(outcome(exact_match, candidates, references), sum(matches) / len(matches) if fits else None)
    score = outcome(cider, candidates, references, n)
    assert (score is not None) == bool(fits and n > 0) and (score is None or 0 <= score <= 10 + 1e-9)
    if candidates:
        runs = outcome(ngrams, candidates[0], n)
        assert runs is None if n < 1 else runs.total() == max(0, len(candidates[0].split()) - n + 1)
        assert outcome(bleu, candidates[0], references, 1) is None  # one string is no list of captions


# Decoding


class Scores(NamedTuple):
    rows: Tensor


class Table:
    """A toy model: the next word depends on the last alone."""

    def __init__(self, logits):
        self.logits = logits

    def encode_image(self, image):
        return Scores(image)

    def start(self, regions):
        return Scores(torch.zeros(len(regions.rows), 1))

    def step(self, state, word_ids, regions):
        return state, self.logits[word_ids], None


TOKENIZER = Tokenizer(["w", "x"], positions=5)
V = len(TOKENIZER)


@given(floats(V, V), st.none() | st.integers(0, 4))
def test_greedy(logits, limit):
    limit_is, word, said, bad = 4 if limit is None else limit, 2, [], limit == 0
    while not bad and word != 3 and len(said) < limit_is:
        row = logits[word].log_softmax(dim=0)
        bad = bool(row.isnan().any())
        word = row.argmax().item()
        said.append(word)
    captions = outcome(greedy, Table(logits), torch.zeros(1, 3, 2, 2), TOKENIZER, limit)
    assert (captions is None) == bad
    if captions is not None:
        assert captions.text_ids.tolist() == [said]


@given(floats(V, V), st.integers(0, V + 1), st.sampled_from([0.0, 0.7, -1.0, math.nan, math.inf]))
def test_beam_search_finds_a_caption_or_refuses(logits, width, alpha):
    found = outcome(beam_search, Table(logits), torch.zeros(2, 3, 2, 2), TOKENIZER, width, alpha)
    if not (1 <= width <= V and 0 <= alpha <= 10):
        assert found is None
    if logits.isfinite().all() and 1 <= width <= V and 0 <= alpha <= 10:
        assert found is not None
    if found is not None:
        assert not found.captions.scores.isnan().any() and found.captions.text_ids.max() < V


@given(
    st.data(),
    SMALL,
    SMALL,
    st.sampled_from([1e-300, 0.5, 1.0, 1e300, 0.0, *ODD]),
    st.sampled_from([1e-300, 0.5, 1.0, 0.0, 2.0, math.nan]),
)
def test_chances(data, b, v, temperature, top_p):
    scores, expected = data.draw(floats(b, v)), None
    good = scores.numel() and not scores.isnan().any() and scores.amax(dim=1).isfinite().all()
    if good and 0 < temperature < math.inf and 0 < top_p <= 1:
        expected = []
        for row in scores.tolist():
            shares = [math.exp(max(-700.0, (s - max(row)) / temperature)) if s > -math.inf else 0.0 for s in row]
            order, kept, total = sorted(range(v), key=lambda i: -row[i]), [0.0] * v, 0.0
            for i in order:
                if total < top_p - 1e-6 or not any(kept):
                    kept[i] = shares[i] / sum(shares)
                    total += kept[i]
            expected.append([share / sum(kept) for share in kept])
        cut = [abs(sum(sorted(row)[-n:]) - top_p) < 1e-3 for row in expected for n in range(1, v)]
        assume(top_p == 1 or not any(cut))  # where the cut falls on a tie, either word may stay
    got = outcome(chances, scores, temperature, top_p)
    assert (got is None) == (expected is None)
    if got is not None:
        agree(got.sort(dim=1).values, [sorted(row) for row in expected], 1e-4)
        drawn = outcome(sample, Table(scores[:1].expand(V, v)), torch.zeros(1, 3, 2, 2), TOKENIZER, temperature, top_p)
        assert v != V or drawn.text_ids.max() < V


@given(whole(3, 4, low=-1, high=6))
def test_words_said(text_ids):
    names, expected = TOKENIZER.words, None
    if text_ids.min() >= 0 and text_ids.max() < V:
        rows = [row[: row.index(3)] if 3 in row else row for row in text_ids.tolist()]
        expected = [" ".join(names[i] for i in row if i not in (0, 2)) for row in rows]
    assert outcome(words_said, text_ids, TOKENIZER) == expected


# Layers, which are inside of models: their values are checked at the models' own doors


@given(
    st.data(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.sampled_from([torch.float32, torch.float64])
)
def test_attend(data, b, i, j, dtype):
    q, k, v = (data.draw(floats(b, 1, n, 2, odd=())).to(dtype) for n in (i, j, j))
    mask = data.draw(st.none() | booleans(b, i, j) | booleans(i, j))
    allowed = torch.ones(b, i, j, dtype=torch.bool) if mask is None else mask.expand(b, i, j)
    expected = torch.zeros(b, i, 2, dtype=torch.float64)  # a query that attends to nothing gets nothing
    for row in range(b):
        for query in range(i):
            seen = [key for key in range(j) if allowed[row, query, key]]
            exps = [math.exp(float(q[row, 0, query] @ k[row, 0, key]) / math.sqrt(2)) for key in seen]
            for share, key in zip(exps, seen, strict=True):
                expected[row, query] += share / sum(exps) * v[row, 0, key].double()
    agree(Attend()(q, k, v, mask=mask[:, None] if mask is not None and mask.ndim == 3 else mask), expected, 1e-5)


@given(st.data(), SMALL, SMALL, SMALL)
def test_attention_answers_or_refuses(data, b, i, j):
    tokens, context = data.draw(floats(b, i, 4, odd=())), data.draw(st.none() | floats(b, j, 4, odd=()))
    mask = data.draw(st.none() | booleans(b, 1, i, j) | floats(b, 1, i, i))
    others = tokens if context is None else context
    good = tokens.numel() and others.numel() and tokens.dtype == others.dtype == torch.float32
    good = good and (mask is None or mask.dtype == torch.bool and mask.shape == (b, 1, i, others.shape[1]))
    answer = outcome(Attention(4, 2), tokens, context, mask)
    assert (answer is not None) == bool(good) and (answer is None or answer.isfinite().all())


# Texts


@given(st.lists(st.one_of(TEXTS, st.text(max_size=12)), max_size=4), st.integers(3, 8), st.text(max_size=12))
def test_tokenizer(texts, positions, other):
    tokenizer = Tokenizer.from_texts(texts, positions)
    ids = outcome(tokenizer.encode, [*texts, other])
    for text, row in zip([*texts, other], ids.tolist(), strict=True):
        words = words_of(text)[: positions - 2]
        known = [word if word not in tokenizer.unknown(text) else "<unknown>" for word in words]
        assert [tokenizer.words[i] for i in row if i] == ["<start>", *known, "<end>"] and len(row) <= positions
    assert not [word for text in texts for word in tokenizer.unknown(text)]
    assert outcome(tokenizer.encode, other) is None and outcome(Tokenizer.from_texts, other) is None


# What comes from files: read right, or refused with the file's name


def saved(kind):
    """The bytes of a small whole file."""
    out, colours = io.BytesIO(), [Image.new("RGB", (5, 4), colour) for colour in ("red", "lime", "blue")]
    if kind == "png":
        colours[0].save(out, "PNG")
    elif kind == "gif":
        colours[0].save(out, "GIF", save_all=True, append_images=colours[1:], duration=[50, 100, 150])
    elif kind == "wav":
        wavfile.write(out, 8000, np.linspace(-9000, 9000, 60).astype(np.int16))
    else:
        out.write(b'image,caption\na.png,a cat\nb.png,"a dog, asleep"\n')
    return out.getvalue()


@st.composite
def damaged(draw, kind):
    """A file with some bytes changed, put in or cut off, or other bytes altogether."""
    content = bytearray(saved(kind))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(SMALL)] = draw(st.binary(max_size=4))
    cut = draw(st.sampled_from([len(content), draw(st.integers(0, len(content)))]))
    return draw(st.sampled_from([bytes(content[:cut]), draw(st.binary(max_size=80))]))


def is_whole(kind, value):
    if kind == "wav":
        wave, rate = value
        return wave.ndim == 1 and len(wave) > 0 and bool(wave.isfinite().all()) and rate > 0
    if kind == "csv":
        return all(words_of(caption) for several in value.values() for caption in several)
    return all(picture.mode == "RGB" and min(picture.size) > 0 for picture in (value if kind == "gif" else [value]))


READERS = {"png": read_picture, "gif": lambda path: read_clip(path, 4), "wav": read_wav, "csv": read_captions}


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_by_name(kind, tmp_path):
    path = tmp_path / f"of my own.{kind}"
    path.write_bytes(saved(kind))
    assert is_whole(kind, READERS[kind](path))

    @given(damaged(kind))
    def hold(content):
        path.write_bytes(content)
        try:
            value = READERS[kind](path)
        except ValueError as error:
            assert re.match(r"[\w.]+: expected .+, got .+", str(error), flags=re.S) and path.name in str(error), error
        else:
            assert is_whole(kind, value)

    hold()


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=4))
def test_captions_come_back_as_they_were_written_or_are_refused_by_name(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "captions.csv"
    with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    try:
        got = read_captions(path)
    except ValueError as error:
        assert path.name in str(error), error
        odd = [cell for row in rows for cell in row if not cell.strip() or not cell.isprintable()]
        assert odd or not all(words_of(caption) for _, caption in rows), error
    else:
        expected = [(name.strip(), unicodedata.normalize("NFC", caption.strip())) for name, caption in rows]
        assert sorted(expected) == sorted((name, caption) for name, several in got.items() for caption in several)


@given(st.lists(st.integers(-32000, 32000), min_size=1, max_size=40), st.sampled_from([1, 2]), st.integers(4000, 96000))
def test_a_sound_comes_back_as_it_was_written(tmp_path_factory, samples, channels, rate):
    path = tmp_path_factory.getbasetemp() / "sound.wav"
    wavfile.write(path, rate, np.array([samples] * channels, dtype=np.int16).T)
    wave, got_rate = read_wav(path)
    assert got_rate == rate
    agree(wave.tolist(), [sample / 2**15 for sample in samples])


@given(st.lists(st.integers(0, 10**12), unique=True, max_size=8))
def test_files_come_in_the_order_of_their_numbers(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("frames")
    for number in numbers:
        (folder / f"frame_{number}.png").touch()
    assert [path.name for path in files_in(folder)] == [f"frame_{number}.png" for number in sorted(numbers)]
