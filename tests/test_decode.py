"""Decoding against plain loops, exhaustive search and the teacher-forced model; what it must not depend on."""

import math
from collections import Counter
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mmlib.data.text import Tokenizer
from mmlib.decode import beam_search, chances, greedy, sample, words_said
from mmlib.models.captioner import Captioner, CaptionerConfig

DESIGNS = ("attend", "tell")


def tokenizer_of(words, positions=9):
    return Tokenizer([f"w{i}" for i in range(words)], positions)


def captioner(design="attend", words=8, positions=9):
    """A tiny model that was never trained, whose captions differ from picture to picture and end at several lengths."""
    sizes = dict(image_size=16, channels=(4, 4, 4, 8), word_width=8, state_width=8, attention_width=4)
    model = Captioner(CaptionerConfig(vocabulary=4 + words, design=design, positions=positions, **sizes)).eval()
    torch.manual_seed(43)
    for parameter in model.parameters():
        parameter.data.normal_()
    model.bias.data = torch.zeros_like(model.bias)
    model.bias.data[:3] = -1e4  # padding, unknown and start are never said
    return model


def pictures(b):
    """Pictures of four coloured squares."""
    colours = torch.rand(b, 3, 2, 2, generator=torch.manual_seed(0))
    return colours.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


class Rows(NamedTuple):
    """One tensor, as a state or as regions."""

    rows: Tensor


class TwoBack:
    """A toy: the next word depends on the picture's number and on the last two words, by a table."""

    def __init__(self, pictures, vocabulary):
        self.table = torch.randn(pictures, vocabulary, vocabulary, vocabulary, generator=torch.manual_seed(3)) * 2

    def encode_image(self, image):
        return Rows(image.flatten().long())

    def start(self, regions):
        return Rows(torch.zeros(len(regions.rows), 2, dtype=torch.int64))

    def step(self, state, word_ids, regions):
        picture = regions.rows.repeat_interleave(len(word_ids) // len(regions.rows))
        before = state.rows[:, 1]
        return Rows(torch.stack([before, word_ids], dim=1)), self.table[picture, before, word_ids], None

    def log_prob(self, picture, words, start_id):
        total, before, last = 0.0, 0, start_id
        for word in words:
            total += self.table[picture, before, last].log_softmax(dim=0)[word].item()
            before, last = last, word
        return total


def pixels(b):
    """Pictures of one pixel, whose value is their number."""
    return torch.arange(b, dtype=torch.float32).reshape(b, 1, 1, 1)


class Chain:
    """A toy: the next word depends on the last alone, by probabilities written down; anything else ends the text."""

    def __init__(self, probs, vocabulary):
        self.table = torch.full((vocabulary, vocabulary), 1e-9)
        self.table[:, 3] = 1
        for last, nexts in probs.items():
            self.table[last] = 1e-9
            for word, p in nexts.items():
                self.table[last, word] = p
        self.table = self.table.log()

    def encode_image(self, image):
        return Rows(image)

    def start(self, regions):
        return Rows(torch.zeros(len(regions.rows), 1))

    def step(self, state, word_ids, regions):
        return state, self.table[word_ids], None


def teacher_forced(model, image, text_ids):
    """Log-probability of each given word, by the model's own forward pass over whole captions."""
    ids = torch.nn.functional.pad(text_ids, (1, 1))
    ids[:, 0] = 2
    ids[torch.arange(len(ids)), (ids != 0).sum(dim=1)] = (
        3  # the model asks for an end in each row, and reads no further
    )
    log_probs = model(image, ids).logits[:, :-1].log_softmax(dim=-1)
    return log_probs.gather(2, text_ids[..., None])[..., 0].masked_fill(behind_the_end(text_ids), 0).detach()


def behind_the_end(text_ids):
    ends = (text_ids == 3).int()
    return ends.cumsum(dim=1) - ends > 0


# Greedy, and what all three share


@pytest.mark.parametrize("design", DESIGNS)
def test_greedy_equals_a_plain_loop(design):
    model, tokenizer, image = captioner(design), tokenizer_of(8), pictures(12)
    captions = greedy(model, image, tokenizer)
    lengths = set()
    for row, picture in enumerate(image):
        regions = model.encode_image(picture[None])
        state, word, said = model.start(regions), 2, []
        while word != 3 and len(said) < 8:
            state, logits, _ = model.step(state, torch.tensor([word]), regions)
            word = logits.argmax().item()
            said.append(word)
        assert captions.text_ids[row, : len(said)].tolist() == said
        assert captions.text_ids[row, len(said) :].tolist() == [0] * (captions.text_ids.shape[1] - len(said))
        lengths.add(len(said))
    assert len(lengths) > 1  # else the test would not have seen a caption end before another


def decoders():
    return {
        "greedy": greedy,
        "beam": lambda *args, **kw: beam_search(*args, width=3, alpha=0.0, **kw).captions,
        "sample": lambda *args, **kw: sample(*args, temperature=1.3, top_p=0.9, **kw),
    }


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("decode", decoders().values(), ids=decoders())
def test_log_probabilities_add_up_to_the_teacher_forced_ones(decode, design):
    # In float64: processors add up float32 in orders of their own, and an LSTM carries the difference on.
    model, image = captioner(design).double(), pictures(20).double()
    captions = decode(model, image, tokenizer_of(8, positions=8))
    rows = torch.tensor([bool(text) for text in captions.texts])  # the model refuses to learn from empty captions
    by_teacher = teacher_forced(model, image[rows], captions.text_ids[rows])
    torch.testing.assert_close(captions.log_probs[rows], by_teacher)
    torch.testing.assert_close(captions.scores, captions.log_probs.sum(dim=1))


def patient(*args):
    """Beam search that keeps finished captions waiting for longer ones."""
    return beam_search(*args, width=3, alpha=3.0).captions


@pytest.mark.parametrize("decode", [*decoders().values(), patient], ids=[*decoders(), "patient beam"])
def test_behind_the_end_there_is_nothing(decode):
    captions = decode(captioner(), pictures(40), tokenizer_of(8))
    behind = behind_the_end(captions.text_ids)
    assert behind.any() and not behind.all(dim=1).any()
    assert not captions.text_ids[behind].any() and not captions.log_probs[behind].any()
    assert not captions.attn[behind].any()
    said = ~behind & (captions.text_ids != 0)
    torch.testing.assert_close(captions.attn.sum(dim=-1)[said], torch.ones(int(said.sum())))


def test_attention_is_that_of_the_step_that_said_the_word():
    model, tokenizer, image = captioner(), tokenizer_of(8), pictures(40)
    captions = beam_search(model, image, tokenizer, width=4).captions
    for row in range(40):
        regions = model.encode_image(image[row : row + 1])
        state, word = model.start(regions), torch.tensor([2])
        for place, said in enumerate(captions.text_ids[row].tolist()):
            if said == 0:
                break
            state, _, look = model.step(state, word, regions)
            torch.testing.assert_close(captions.attn[row, place], look[0].detach())
            word = torch.tensor([said])


@pytest.mark.parametrize("decode", [decoders()["greedy"], decoders()["beam"]], ids=["greedy", "beam"])
def test_a_batch_of_one_is_the_same_row_of_a_batch(decode):
    model, tokenizer, image = captioner(), tokenizer_of(8), pictures(12)
    together = decode(model, image, tokenizer)
    assert len({text.count(" ") for text in together.texts}) > 1
    for row in range(12):
        alone = decode(model, image[row : row + 1], tokenizer)
        s = alone.text_ids.shape[1]
        assert alone.texts == together.texts[row : row + 1]
        assert torch.equal(alone.text_ids[0], together.text_ids[row, :s]) and not together.text_ids[row, s:].any()
        torch.testing.assert_close(alone.log_probs[0], together.log_probs[row, :s])
        torch.testing.assert_close(alone.attn[0], together.attn[row, :s])
        torch.testing.assert_close(alone.scores[0], together.scores[row])


@pytest.mark.parametrize("decode", decoders().values(), ids=decoders())
@pytest.mark.parametrize("limit, longest", [(None, 8), (3, 3), (1, 1)])
def test_a_caption_that_never_ends_stops_at_the_limit(decode, limit, longest):
    model = captioner()
    model.bias.data[3] = -1e6
    model.bias.data[:3] = -1e6
    captions = decode(model, pictures(2), tokenizer_of(8), limit=limit)
    assert captions.text_ids.shape == (2, longest) and (captions.text_ids > 3).all()
    assert [len(text.split()) for text in captions.texts] == [longest] * 2
    assert captions.scores.isfinite().all()


def test_words_said_by_hand():
    assert words_said(torch.tensor([[4, 6, 3, 0], [3, 0, 0, 0], [5, 1, 5, 5]]), tokenizer_of(3)) == [
        "w0 w2",
        "",
        "w1 <unknown> w1 w1",
    ]
    assert words_said(torch.tensor([[4, 3, 5, 6], [2, 4, 0, 5]]), tokenizer_of(3)) == ["w0", "w0 w1"]
    with pytest.raises(ValueError, match="words_said: expected token ids from 0 to 6, got ids from 0 to 7"):
        words_said(torch.tensor([[7, 0]]), tokenizer_of(3))


# Beam search


@pytest.mark.parametrize("design", DESIGNS)
def test_a_beam_of_width_1_is_greedy(design):
    model, tokenizer, image = captioner(design), tokenizer_of(8), pictures(10)
    one, other = greedy(model, image, tokenizer), beam_search(model, image, tokenizer, width=1, alpha=0.0).captions
    assert one.texts == other.texts and torch.equal(one.text_ids, other.text_ids)
    torch.testing.assert_close(one.log_probs, other.log_probs)
    torch.testing.assert_close(one.scores, other.scores)
    torch.testing.assert_close(one.attn, other.attn)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 2.0])
def test_a_beam_as_wide_as_the_vocabulary_is_exhaustive_over_two_words(alpha):
    vocabulary, model, tokenizer = 7, TwoBack(30, 7), tokenizer_of(3)
    found = beam_search(model, pixels(30), tokenizer, width=vocabulary, alpha=alpha, limit=2).captions
    lengths = set()
    for picture in range(30):
        every = [(3,), *((a, b) for a, b in product(range(vocabulary), repeat=2) if a != 3)]
        score = {words: model.log_prob(picture, words, 2) / ((5 + len(words)) / 6) ** alpha for words in every}
        best = max(score, key=score.get)
        assert found.text_ids[picture].tolist()[: len(best)] == list(best)
        assert found.scores[picture].item() == pytest.approx(score[best], abs=1e-4)
        lengths.add(len(best))
    assert lengths == {1, 2}


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("width", [2, 3])
def test_beam_search_equals_a_slow_one(width, alpha):
    """One picture, lists of words, no early stop: until every beam has ended or the limit is reached."""
    model, tokenizer, limit = TwoBack(40, 7), tokenizer_of(3), 5
    found = beam_search(model, pixels(40), tokenizer, width, alpha, limit).captions
    for picture in range(40):
        beams = [()]
        for _ in range(limit):
            longer = [b if 3 in b else (*b, w) for b in beams for w in range(7)]
            score = {b: model.log_prob(picture, b, 2) / ((5 + len(b)) / 6) ** alpha for b in longer}
            beams = sorted(score, key=score.get, reverse=True)[:width]
        said = found.text_ids[picture].tolist()
        assert tuple(said[: len(beams[0])]) == beams[0] and not any(said[len(beams[0]) :])
        assert found.scores[picture].item() == pytest.approx(score[beams[0]], abs=1e-4)


def test_a_beam_finds_what_greedy_walks_past():
    # "w0" is likelier at first (0.6 against 0.4), but what follows it is not: 0.6 x 0.5 < 0.4 x 0.9.
    model = Chain({2: {4: 0.6, 5: 0.4}, 4: {6: 0.5, 3: 0.5}, 5: {7: 0.9, 3: 0.1}}, vocabulary=8)
    picture, tokenizer = pixels(1), tokenizer_of(4)
    assert greedy(model, picture, tokenizer).texts[0].startswith("w0")
    found = beam_search(model, picture, tokenizer, width=2, alpha=0.0).captions
    assert found.texts == ["w1 w3"]
    assert found.scores.exp().item() == pytest.approx(0.36)
    torch.testing.assert_close(found.log_probs.exp(), torch.tensor([[0.4, 0.9, 1.0]]), rtol=0, atol=1e-5)


def test_the_length_penalty_chooses_between_short_and_long():
    # One word with 0.5, or three with 0.5 x 0.95 x 0.95 = 0.45125.
    nexts = {2: {4: 0.5, 5: 0.5}, 4: {3: 1.0}, 5: {6: 0.95, 3: 0.05}, 6: {7: 0.95, 3: 0.05}}
    model = Chain(nexts, vocabulary=8)
    picture, tokenizer = pixels(1), tokenizer_of(4)
    texts = {a: beam_search(model, picture, tokenizer, 2, a).captions for a in (0.0, 1.0)}
    assert texts[0.0].texts == ["w0"] and texts[1.0].texts == ["w1 w2 w3"]
    assert texts[1.0].scores.item() == pytest.approx(math.log(0.45125) / (9 / 6), abs=1e-4)  # the end counts as a word


def test_the_tree_leads_to_the_caption():
    model, tokenizer, image = captioner(), tokenizer_of(8), pictures(12)
    captions, tree = beam_search(model, image, tokenizer, width=4)
    assert len(tree) == captions.text_ids.shape[1]
    for row in range(12):
        texts = [()]
        for beams in tree:
            assert (beams.score[row].diff() <= 0).all()
            steps = zip(beams.parent[row].tolist(), beams.word[row].tolist(), strict=True)
            texts = [(*texts[parent], word) for parent, word in steps]
            kept = {tuple(w for w in text if w != 0) for text in texts}
            assert len(kept) == 4  # no beam twice
        assert texts[0] == tuple(captions.text_ids[row].tolist())
        torch.testing.assert_close(tree[-1].score[row, 0], captions.scores[row])
        torch.testing.assert_close(tree[-1].log_prob[row, 0], captions.log_probs[row].sum())
    looked = [beams.attn for beams in tree]
    assert looked[0].shape == (12, 1, 4) and looked[1].shape == (12, 4, 4)


def test_the_regions_are_not_copied_for_each_beam():
    model, rows = captioner(), []
    hear = model.hear

    def listen(state, word, regions):
        rows.append((len(word), len(regions.values)))
        return hear(state, word, regions)

    model.hear = listen
    beam_search(model, pictures(3), tokenizer_of(8), width=5)
    assert rows[0] == (3, 3) and rows[1][0] == 5 * rows[1][1]


# Sampling


def drawn(model, tokenizer, **how):
    texts = sample(model, pixels(20_000), tokenizer, **how).texts
    return {text: count / len(texts) for text, count in Counter(texts).items()}


ONE_WORD = {2: {4: 0.5, 5: 0.3, 6: 0.15, 7: 0.05}}


def test_samples_follow_the_probabilities():
    share = drawn(Chain(ONE_WORD, 8), tokenizer_of(4))
    assert share == pytest.approx({"w0": 0.5, "w1": 0.3, "w2": 0.15, "w3": 0.05}, abs=0.015)


def test_temperature_sharpens_and_flattens():
    squares = {"w0": 0.25, "w1": 0.09, "w2": 0.0225, "w3": 0.0025}  # p^(1 / 0.5), not yet divided by their sum
    expected = {word: square / sum(squares.values()) for word, square in squares.items()}
    assert drawn(Chain(ONE_WORD, 8), tokenizer_of(4), temperature=0.5) == pytest.approx(expected, abs=0.015)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    chain, tokenizer = Chain(ONE_WORD, 8), tokenizer_of(4)
    assert drawn(chain, tokenizer, top_p=0.6) == pytest.approx({"w0": 0.5 / 0.8, "w1": 0.3 / 0.8}, abs=0.015)
    assert drawn(chain, tokenizer, top_p=0.45) == {"w0": 1.0}
    assert set(drawn(chain, tokenizer, top_p=0.9)) == {"w0", "w1", "w2"}


def test_chances_by_hand():
    log_probs = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    torch.testing.assert_close(chances(log_probs, 1.0, 0.6), torch.tensor([[0.0, 0.625, 0.0, 0.375]]))
    torch.testing.assert_close(chances(log_probs, 1.0, 1.0), log_probs.exp())


def test_cold_or_narrow_samples_are_greedy():
    model, tokenizer, image = captioner(), tokenizer_of(8), pictures(10)
    texts = greedy(model, image, tokenizer).texts
    assert sample(model, image, tokenizer, temperature=1e-3).texts == texts
    assert sample(model, image, tokenizer, top_p=1e-6).texts == texts


def test_log_probabilities_of_samples_are_the_models_own():
    captions = sample(Chain(ONE_WORD, 8), pixels(50), tokenizer_of(4), temperature=0.5, top_p=0.7)
    assert {round(p, 3) for p in captions.log_probs[:, 0].exp().tolist()} <= {0.5, 0.3}


# Refusals


@pytest.mark.parametrize(
    "decode, how, words",
    [
        (beam_search, {"width": 0}, "beam_search: expected width from 1 to 12, the size of the vocabulary, got 0"),
        (beam_search, {"width": 13}, "width from 1 to 12, the size of the vocabulary, got 13"),
        (beam_search, {"alpha": -0.1}, "alpha from 0 to 10, got -0.1"),
        (beam_search, {"alpha": math.nan}, "alpha from 0 to 10, got nan"),
        (
            sample,
            {"temperature": 0.0},
            "sample: expected temperature above 0, got 0. For the likeliest words use greedy",
        ),
        (sample, {"top_p": 0.0}, "top_p in (0, 1], got 0"),
        (sample, {"top_p": 1.01}, "top_p in (0, 1], got 1.01"),
        (greedy, {"limit": 0}, "a limit of 1 word or more, got 0"),
        (beam_search, {"limit": 0}, "a limit of 1 word or more, got 0"),
    ],
)
def test_bad_settings_are_refused(decode, how, words):
    with pytest.raises(ValueError) as error:
        decode(captioner(), pictures(1), tokenizer_of(8), **how)
    assert words in str(error.value)


@pytest.mark.parametrize("decode", decoders().values(), ids=decoders())
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_caption_is_made_from_scores_that_are_no_numbers(decode, value):
    model = captioner()
    model.bias.data[5] = value
    with pytest.raises(ValueError, match="expected scores of words of numbers, got NaN"):
        decode(model, pictures(2), tokenizer_of(8))
    with pytest.raises(ValueError, match="expected log-probabilities of numbers, got NaN"):
        chances(torch.tensor([[0.0, value]]), 1.0, 1.0)


@pytest.mark.parametrize("temperature, top_p", [(1e-300, 1.0), (1e300, 1.0), (1.0, 1e-300)])
def test_chances_of_extreme_settings_are_chances(temperature, top_p):
    likeliest = [[0.5, 0.5, 0.0]] if temperature > 1 else [[0.0, 1.0, 0.0]]
    assert chances(torch.tensor([[0.2, 0.8, 0.0]]).log(), temperature, top_p).tolist() == likeliest


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"Captioner.encode_image: expected image \(b, c=3, h=16, w=16\).*Resize"):
        greedy(captioner(), torch.rand(1, 3, 32, 32), tokenizer_of(8))
