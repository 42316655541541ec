"""Demos of captions: what they show against numbers worked out apart, the ends of their ranges, errors, and threads."""

import html
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from page import check_texts
from torch import Tensor, nn

from mmlib import train
from mmlib.caption_metrics import bleu
from mmlib.data.text import Tokenizer
from mmlib.decode import beam_search, greedy
from mmlib.models.captioner import Captioner, CaptionerConfig
from mmlib.widgets import DecodeExplorer, TreeExplorer
from mmlib.widgets.captions import END, borders, follow, place_in_words

WORDS = ["a", "cat", "dog", "red", "sleeping", "the"]
TOKENIZER = Tokenizer(WORDS, positions=7)
PAD, START, STOP = Tokenizer.pad_id, Tokenizer.start_id, Tokenizer.end_id
# A greedy reader takes “a”, and then everything is unsure; “the cat” is likelier as a whole.
NEXT = {
    "<start>": {"a": 0.6, "the": 0.4},
    "a": {"cat": 0.3, "dog": 0.26, "red": 0.24, "sleeping": 0.2},
    "the": {"cat": 0.9, "dog": 0.1},
    "red": {"cat": 0.7, "dog": 0.3},
    "sleeping": {"dog": 0.8, "cat": 0.2},
    "cat": {"<end>": 0.95, "sleeping": 0.05},
    "dog": {"<end>": 0.9, "red": 0.1},
}
REFERENCES = [["the cat", "a cat"], ["the dog", "a sleeping dog"], ["a red cat"]]


class Rows(NamedTuple):
    """Regions or a state that are one tensor."""

    rows: Tensor


class Chain(nn.Module):
    """A captioner by a table: the next word hangs on the last one, on a bright picture also on the picture.

    It looks at region w of sixteen for the word that follows word w, and a little at all others.
    """

    def __init__(self, looks=True):
        super().__init__()
        table = torch.full((len(TOKENIZER), len(TOKENIZER)), 1e-9)
        for word, following in NEXT.items():
            for other, probability in following.items():
                table[TOKENIZER.id_of[word], TOKENIZER.id_of[other]] = probability
        self.table, self.looks, self.asked = nn.Parameter(table.log()), looks, []

    def encode_image(self, image):
        assert image.is_floating_point() and not self.training and torch.is_inference_mode_enabled()
        assert 0 <= image.min() and image.max() <= 1
        self.asked.append(image)
        return Rows(image.mean(dim=(1, 2, 3))[:, None])

    def start(self, regions):
        return Rows(torch.zeros(len(regions.rows), 1))

    def step(self, state, word_ids, regions):
        bright = regions.rows.repeat_interleave(len(word_ids) // len(regions.rows), dim=0)
        logits = self.table[word_ids].clone()
        logits[:, TOKENIZER.id_of["dog"]] += 6 * bright[:, 0]
        look = torch.full((len(word_ids), 16), 0.02)
        look[torch.arange(len(word_ids)), word_ids % 16] = 0.7
        return Rows(state.rows + 1), logits, look if self.looks else None


def pictures():
    """One dark, one bright, one dark but for a bright corner."""
    made = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    made[1], made[2, :, :2, :2] = 255, 200
    return made


def decode(model=None, **other):
    arguments = {"tokenizer": TOKENIZER, "pictures": pictures(), "references": REFERENCES}
    return DecodeExplorer(model or Chain().train(), **(arguments | other))


def tree(model=None, **other):
    arguments = {"tokenizer": TOKENIZER, "pictures": pictures(), "references": REFERENCES}
    return TreeExplorer(model or Chain().train(), **(arguments | other))


def shown(bars):
    rows = zip(bars.labels, bars.bars, bars.values, strict=True)
    return [
        (label.get_text(), round(bar.get_width(), 4), value.get_text())
        for label, bar, value in rows
        if label.get_text()
    ]


# ---------------------------------------------------------------- decode


def test_a_wider_beam_finds_the_likelier_caption():
    demo = decode()
    demo.width.value, demo.alpha.value = 1, 0.0
    state = demo.state()
    assert (state["text"], state["words"]) == ("a cat", ["a", "cat", END])
    assert state["probabilities"] == pytest.approx([0.6, 0.3, 0.95], abs=1e-5)
    assert state["score"] == pytest.approx(math.log(0.6 * 0.3 * 0.95), abs=1e-5)
    assert shown(demo.said) == [("a", 0.6, "0.60"), ("cat", 0.3, "0.30"), (END, 0.95, "0.95")]
    demo.width.value = 2
    state = demo.state()
    assert (state["text"], state["words"]) == ("the cat", ["the", "cat", END])
    assert state["probabilities"] == pytest.approx([0.4, 0.9, 0.95], abs=1e-5)
    assert "With 2 beams and length penalty 0.0 the model says “the cat”, which is right" in demo.live.words.value


def test_the_length_penalty_changes_the_score_and_then_the_caption():
    demo, scores = decode(), []
    for alpha in (0.0, 1.0, 2.0):
        demo.alpha.value = alpha
        state = demo.state()
        log_prob = sum(map(math.log, state["probabilities"]))
        assert state["score"] == pytest.approx(log_prob / ((5 + len(state["words"])) / 6) ** alpha, abs=1e-4)
        scores.append(state["score"])
    assert scores == sorted(scores)


@pytest.mark.parametrize("picture", [0, 1, 2])
def test_the_model_sees_the_picture_that_is_shown(picture):
    model = Chain()
    demo = decode(model)
    demo.picture.value = picture
    assert all(torch.equal(image[0], pictures()[picture] / 255) for image in model.asked[-2:])
    drawn = pictures()[picture].permute(1, 2, 0).numpy()
    assert np.array_equal(demo.plain.picture.get_array(), drawn)
    assert np.array_equal(demo.look.picture.get_array(), drawn)
    assert demo.state()["references"] == REFERENCES[picture]
    assert all(f"“{name}”" in demo.judged.get_text() for name in REFERENCES[picture])


def test_bleu_and_exact_are_those_of_the_package():
    demo = decode()
    for picture in range(3):
        demo.picture.value = picture
        state = demo.state()
        assert state["bleu"] == [bleu([state["text"]], [REFERENCES[picture]], n) for n in (1, 2, 3, 4)]
        assert state["exact"] == (state["text"] in REFERENCES[picture])
        assert "   ".join(f"{score:.2f}" for score in state["bleu"]) in demo.judged.get_text()
    demo.picture.value, demo.width.value = 0, 1
    assert demo.state()["text"] == REFERENCES[0][1] and demo.state()["exact"]
    demo.width.value = 5
    demo.picture.value = 2  # “the cat” against “a red cat”: one word of two, and the brevity penalty
    assert demo.state()["bleu"][0] == pytest.approx(0.5 * math.exp(-1 / 2))
    assert "where “a red cat” would be right" in demo.live.words.value


def test_choosing_a_word_shows_its_alternatives_and_where_the_model_looked():
    demo = decode()
    demo.width.value = 1
    for place, (before, word) in enumerate([("<start>", "a"), ("a", "cat"), ("cat", END)]):
        demo.word.value = place
        state = demo.state()
        assert (state["word"], state["words"][place]) == (place, word)
        following = sorted(NEXT[before].items(), key=lambda pair: -pair[1])
        seen = [(END if label == "<end>" else label, p) for label, p in following]
        for (label, p), (expected, probability) in zip(
            [(label, p) for label, p, _ in state["alternatives"]], seen, strict=False
        ):
            assert (label, p) == (expected, pytest.approx(probability, abs=1e-5))
        look = [0.7 if region == TOKENIZER.id_of[before] else 0.02 for region in range(16)]
        assert state["attn"] == pytest.approx(look)
        assert demo.looked.get_text() == f"looked for “{word}”"
        veil = demo.look.veil.get_array()[..., 3].ravel()
        assert veil.tolist() == pytest.approx([0.85 * (1 - weight / 0.7) for weight in look], abs=1e-5)
        row, column = divmod(TOKENIZER.id_of[before], 4)
        corners = {tuple(point) for line in demo.look.outline.get_segments() for point in line.tolist()}
        assert corners == {(x / 4, y / 4) for x in (column, column + 1) for y in (row, row + 1)}
        assert [label.get_weight() == "bold" for label in demo.said.labels][:3] == [n == place for n in range(3)]
        assert [bar.get_hatch() for bar in demo.said.bars][:3] == ["//" if n == place else "" for n in range(3)]
        assert f"Word {place + 1}, “{word}”, has {state['probabilities'][place]:.0%}" in demo.live.words.value
        assert "1 of 16 regions have half of the weight" in demo.live.words.value
    assert "; others: “sleeping” 5%" in demo.live.words.value


def test_the_chosen_word_is_among_the_alternatives_however_unlikely():
    model = Chain()
    with torch.no_grad():
        model.table[START] = 0.0  # eight words as likely as each other, one less likely, and padding never
        model.table[START, TOKENIZER.id_of["the"]], model.table[START, PAD] = -0.5, -1e4
    demo = decode(model)
    demo.way.value, demo.top_p.value = "sampling", 1.0
    next(draw for draw in range(1, 200) if text_of(demo, draw).startswith("the"))
    labels = [label for label, _, _ in demo.state()["alternatives"]]
    assert labels[-1] == "the" and len(labels) == len(set(labels)) == 8


def test_the_buttons_are_the_words_of_the_caption_and_the_place_is_kept():
    demo = decode()
    demo.width.value = 1
    assert demo.word.options == (("a", 0), ("cat", 1), (END, 2)) and demo.word.value == 0
    demo.word.value = 1
    demo.width.value = 3
    assert demo.word.options == (("the", 0), ("cat", 1), (END, 2)) and demo.word.value == 1
    demo.word.value = 2
    demo.picture.value = 1
    assert demo.word.value == demo.state()["word"] == 2


def test_a_shorter_caption_moves_the_choice_to_its_last_word():
    model = Chain()
    demo = decode(model)
    demo.word.value = 2
    with torch.no_grad():
        model.table[START] = torch.eye(len(TOKENIZER))[STOP].log().clamp(min=-30)  # nothing but the end
    demo.picture.value = 2
    state = demo.state()
    assert (state["text"], state["words"], state["word"]) == ("", [END], 0)
    assert demo.word.options == ((END, 0),) and demo.word.value == 0
    assert state["bleu"] == [0, 0, 0, 0] and "Error" not in demo.live.words.value


def test_a_caption_that_never_ends_stops_at_the_limit():
    model = Chain()
    with torch.no_grad():
        model.table[:, STOP] = -1e4
    state = decode(model).state()
    assert len(state["words"]) == TOKENIZER.positions - 1 and END not in state["words"]


def test_padding_that_is_said_is_a_word():
    """By a model that has not learned better; what fills a caption up behind its end is none."""
    model = Chain()
    with torch.no_grad():
        model.table[START] = model.table[PAD] = -1e4
        model.table[START, PAD] = model.table[PAD, TOKENIZER.id_of["cat"]] = 0.0
    demo, search = decode(model), tree(model)
    for way in ("beam search", "sampling"):
        demo.way.value = way
        state = demo.state()
        assert "Error" not in demo.live.words.value and state["words"][:2] == ["<pad>", "cat"]
        assert state["probabilities"][0] == pytest.approx(1) and state["text"].startswith("cat")
        assert "Word 1, “<pad>”" in html.unescape(demo.live.words.value)
    beams = search.state()["nodes"]
    assert beams[0][0]["word"] == "<pad>" and beams[1][0]["word"] == "cat" and beams[1][0]["fate"] == "best"
    assert "Error" not in search.live.words.value


# ---- sampling


def test_a_draw_can_be_repeated_and_others_differ():
    demo, texts = decode(), []
    demo.way.value, demo.top_p.value = "sampling", 1.0
    for draw in [*range(1, 9), 1]:
        demo.number.value = draw
        texts.append(demo.state()["text"])
    assert texts[0] == texts[-1] and len(set(texts)) > 2


def test_cold_or_narrow_samples_are_greedy():
    demo = decode()
    demo.way.value = "sampling"
    for temperature, top_p in ((0.1, 0.3), (2.0, 0.05)):
        demo.temperature.value, demo.top_p.value = temperature, top_p
        for draw in (1, 2):
            demo.number.value = draw
            assert demo.state()["text"] == "a cat"


def test_temperature_and_top_p_change_the_chances_and_not_the_probabilities():
    demo = decode()
    demo.way.value, demo.temperature.value, demo.top_p.value = "sampling", 1.0, 0.7
    demo.number.value = next(draw for draw in range(1, 99) if text_of(demo, draw).startswith("a "))
    demo.word.value = 1
    rows = demo.state()["alternatives"]
    assert [(label, round(p, 3)) for label, p, _ in rows][:4] == [
        ("cat", 0.3),
        ("dog", 0.26),
        ("red", 0.24),
        ("sleeping", 0.2),
    ]
    assert [chance for _, _, chance in rows][:4] == pytest.approx([0.3 / 0.8, 0.26 / 0.8, 0.24 / 0.8, 0.0], abs=1e-5)
    assert shown(demo.others)[2] == ("red", 0.24, "0.24 → 0.30")
    demo.top_p.value, demo.temperature.value = 1.0, 0.5
    squares = [p * p for _, p, _ in demo.state()["alternatives"]][:4]
    chances = [chance for _, _, chance in demo.state()["alternatives"]][:4]
    assert chances == pytest.approx([square / sum(squares) for square in squares], abs=1e-4)
    demo.way.value = "beam search"
    assert shown(demo.others)[0][2] == f"{demo.state()['alternatives'][0][1]:.2f}"


def test_the_words_say_how_the_words_were_chosen():
    demo = decode()
    assert "With 5 beams and length penalty 1.0 the model says" in demo.live.words.value
    demo.width.value = 1
    assert "With 1 beam and length penalty 1.0 the model says" in demo.live.words.value
    demo.way.value, demo.number.value = "sampling", 4
    assert "In draw 4, at temperature 1.0 and top-p 0.90, the model says" in demo.live.words.value


def text_of(demo, draw):
    demo.number.value = draw
    return demo.state()["text"]


def test_draws_take_no_random_number_from_others():
    demo = decode()
    demo.way.value = "sampling"
    before = torch.get_rng_state()
    demo.number.value = 7
    assert torch.equal(before, torch.get_rng_state())


def test_controls_without_effect_are_disabled():
    demo = decode()
    beams, draws = [demo.width, demo.alpha], [demo.temperature, demo.top_p, demo.number]
    assert not any(control.disabled for control in beams) and all(control.disabled for control in draws)
    demo.way.value = "sampling"
    assert all(control.disabled for control in beams) and not any(control.disabled for control in draws)


# ---- models


def test_a_model_that_does_not_look_again_says_so():
    demo = decode(Chain(looks=False))
    assert demo.state()["attn"] is None and demo.looked.get_text() == "it looks once, at the start"
    assert np.all(demo.look.veil.get_array()[..., 3] == 0) and len(demo.look.outline.get_segments()) == 0
    assert "looked towards" not in demo.live.words.value and "Error" not in demo.live.words.value


@pytest.mark.parametrize("design", ["attend", "tell"])
def test_the_captioner_of_the_course_in_both_designs(design):
    sizes = dict(channels=(4, 4, 4, 8), word_width=8, state_width=8, attention_width=4, positions=7)
    model = Captioner(CaptionerConfig(vocabulary=len(TOKENIZER), design=design, image_size=16, **sizes))
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    demo, search = decode(model, pictures=images), tree(model, pictures=images)
    for picture in range(3):
        demo.picture.value = search.picture.value = picture
        demo.word.value = len(demo.word.options) - 1
        with train.held(model, training=False), torch.inference_mode():
            found = beam_search(model, images[picture : picture + 1] / 255, TOKENIZER, alpha=1.0).captions
            said = greedy(model, images[picture : picture + 1] / 255, TOKENIZER)
        state, last = demo.state(), len(demo.word.options) - 1
        assert state["text"] == search.state()["caption"] == found.texts[0]
        assert search.state()["greedy"] == said.texts[0]
        assert torch.tensor(state["probabilities"]).log().tolist() == pytest.approx(
            found.log_probs[0, : last + 1].tolist(), abs=1e-4
        )
        if design == "attend":
            assert state["attn"] == pytest.approx(found.attn[0, last].tolist(), abs=1e-5)
    assert "Error" not in demo.live.words.value + search.live.words.value


def test_following_a_caption_hears_start_and_every_word_but_the_last():
    model = Chain().eval()
    text_ids = torch.tensor([TOKENIZER.id_of[word] for word in ("the", "cat", "<end>")])
    with torch.inference_mode():
        log_probs, looks = follow(model, pictures()[:1] / 255, text_ids, START)
    assert log_probs.shape == (3, len(TOKENIZER)) and looks.argmax(dim=1).tolist() == [START, *text_ids[:2].tolist()]
    assert log_probs.exp().sum(dim=1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_borders_go_around_each_part():
    assert len(borders(np.array([[True]]))) == 4
    assert len(borders(np.array([[True, True]]))) == 6
    assert len(borders(np.array([[True, False], [False, True]]))) == 8
    assert borders(np.zeros((2, 2), dtype=bool)) == []


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([(0, 0)], "upper left"),
        ([(3, 3)], "lower right"),
        ([(0, 1), (0, 2)], "upper"),
        ([(1, 0), (2, 0)], "left"),
        ([(0, 0), (3, 3)], "centre"),
    ],
)
def test_places_in_words(cells, words):
    grid = np.zeros((4, 4), np.float32)
    for cell in cells:
        grid[cell] = 1
    assert place_in_words(grid) == words


# ---------------------------------------------------------------- tree


def paths(state):
    """Every beam of the last step, followed back by hand."""
    found = []
    for n in range(len(state["nodes"][-1])):
        words = []
        for nodes in reversed(state["nodes"]):
            words.insert(0, nodes[n]["word"])
            n = nodes[n]["parent"]
        found.append(words)
    return found


def test_the_tree_after_one_word_and_at_the_end():
    demo = tree()
    demo.width.value, demo.alpha.value, demo.step.value = 2, 0.0, 1
    state = demo.state()
    assert [(node["word"], node["parent"], node["fate"]) for node in state["nodes"][0]] == [
        ("a", 0, "best"),
        ("the", 0, "alive"),
    ]
    assert [score for _, score in state["beams"]] == pytest.approx([math.log(0.6), math.log(0.4)], abs=1e-5)
    assert "After 1 word the best of 2 beams is “a”, score -0.51. With length penalty 0.0 the" in demo.live.words.value
    demo.step.value = 2
    state = demo.state()
    assert state["beams"] == [
        ("the cat", pytest.approx(math.log(0.36), abs=1e-5)),
        ("a cat", pytest.approx(math.log(0.18), abs=1e-5)),
    ]
    assert [node["fate"] for node in state["nodes"][0]] == ["alive", "best"]  # the beam that was behind is in front
    demo.step.value = 3
    state = demo.state()
    assert state["steps"] == 3 and paths(state)[0] == ["the", "cat", END]
    assert "ends after 3 words with “the cat”, right. Greedy decoding, which is beam width 1, says “a cat”." in (
        demo.live.words.value
    )


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("picture", [0, 1])
def test_fates_are_told_by_who_has_descendants(width, picture):
    demo = tree()
    demo.picture.value, demo.width.value = picture, width
    for step in range(1, demo.step.max + 1):
        demo.step.value = step
        state = demo.state()
        assert len(state["nodes"]) == state["step"] == min(step, state["steps"])
        ancestors = set()
        for n in range(len(state["nodes"][-1])):
            for depth in reversed(range(len(state["nodes"]))):
                ancestors.add((depth, n))
                n = state["nodes"][depth][n]["parent"]
        for depth, nodes in enumerate(state["nodes"]):
            for n, node in enumerate(nodes):
                assert (node["fate"] != "dead") == ((depth, n) in ancestors)
        best = [[node["word"] for node in nodes if node["fate"] == "best"] for nodes in state["nodes"]]
        assert best == [[word] for word in paths(state)[0]]
        dead = sum(node["fate"] == "dead" for nodes in state["nodes"] for node in nodes)
        assert step == 1 or f", {dead} died out." in demo.live.words.value


def test_the_tree_is_drawn_as_it_is():
    demo = tree()
    demo.width.value, demo.alpha.value, demo.step.value = 3, 0.0, 2
    nodes = demo.state()["nodes"]
    drawn = [[text for text in column if text.get_visible()] for column in demo.boxes]
    assert [[text.get_text() for text in column] for column in drawn if column] == [
        [f"{node['word']}\n{node['score']:.2f}" for node in step] for step in nodes
    ]
    fates = [node["fate"] for step in nodes for node in step]
    counts = {fate: len(lines.get_segments()) for fate, lines in demo.lines.items()}
    assert counts == {fate: fates.count(fate) for fate in ("dead", "alive", "best")}
    edge = drawn[0][nodes[1][0]["parent"]].get_position()
    assert tuple(demo.lines["best"].get_segments()[1][0]) == edge


def test_long_captions_show_their_last_words():
    model = Chain()
    with torch.no_grad():
        model.table[:, STOP] = -1e4
        model.table[TOKENIZER.id_of["cat"], TOKENIZER.id_of["cat"]] = 5
    tokenizer = Tokenizer(WORDS, positions=12)
    demo = tree(model, tokenizer=tokenizer)
    assert demo.step.value == demo.state()["steps"] == 11
    assert demo.title.get_text() == "5 beams after 11 words, from word 7 on"
    assert all(text.get_visible() for column in demo.boxes for text in column[:5])
    demo.step.value = 5
    assert demo.title.get_text() == "5 beams after 5 words"


def test_the_slider_ends_where_the_search_ends():
    demo = tree()
    demo.width.value = 1
    assert (demo.step.min, demo.step.max, demo.step.value) == (1, 3, 3)
    assert demo.children[0].children == (demo.picture, demo.step)
    for asked, given in ((0, 1), (-4, 1), (99, 3)):
        demo.step.value = asked
        assert demo.step.value == demo.state()["step"] == given and "Error" not in demo.live.words.value


def test_a_search_that_ends_elsewhere_brings_another_slider():
    """A slider in a browser keeps its first end for its End key, so the end of a slider never moves."""
    model = Chain()
    demo = tree(model)
    first = demo.step
    demo.step.value = 2
    with torch.no_grad():
        model.table[:, STOP] = -1e4
    demo.picture.value = 1
    last = TOKENIZER.positions - 1
    assert demo.step is not first and (demo.step.max, demo.step.value, demo.state()["steps"]) == (last, 2, last)
    assert first.max != last and first.comm is None and demo.step.layout is first.layout  # nothing is left behind
    assert demo.children[0].children == (demo.picture, demo.step)
    before = demo.live.image.value
    demo.step.value = last
    assert demo.live.image.value != before and f"After {last} words" in demo.live.words.value


# ---------------------------------------------------------------- both


BOTH = [decode, tree]


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"references": REFERENCES[:2]}, "pictures, each with a list of right captions, got 3 and 2"),
        (
            {"references": ["the cat", "the dog", "a red cat"]},
            r"a list of right captions for .*Use \[text\]",
        ),
        ({"references": [[], ["a"], ["a"]]}, "a list of right captions for each picture"),
        ({"pictures": pictures()[:0], "references": []}, "got 0 and 0"),
    ],
)
def test_pictures_and_references_must_fit(make, change, said):
    where = "DecodeExplorer" if make is decode else "TreeExplorer"
    with pytest.raises(ValueError, match=f"{where}: expected .*{said}"):
        make(**change)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-3, 1), (9, 8), (10**9, 8)])
def test_beam_widths_stay_in_their_range(make, asked, given):
    demo = make()
    demo.width.value = asked
    assert demo.width.value == given and "Error" not in demo.live.words.value


def test_temperature_and_top_p_never_reach_zero():
    demo = decode()
    demo.way.value = "sampling"
    demo.temperature.value = demo.top_p.value = -1.0
    assert demo.temperature.value > 0 and demo.top_p.value > 0 and "Error" not in demo.live.words.value
    demo.temperature.value = demo.top_p.value = 50.0
    assert (demo.temperature.value, demo.top_p.value) == (2.0, 1.0) and "Error" not in demo.live.words.value


class Talker(Chain):
    """Says long words, and never stops."""

    def __init__(self):
        super().__init__()
        self.table.data = torch.randn(24, 24, generator=torch.manual_seed(0))
        self.table.data[:, :4] = -1e4


LONG = Tokenizer([f"extraordinarily-long-word-{n}" for n in range(20)], positions=14)


@pytest.mark.parametrize("make", BOTH)
def test_no_text_leaves_the_page_or_runs_into_another(make):
    names = [["an " + "extraordinarily long name " * 5, "another " * 20, "a third"]] * 3
    demo = make(Talker(), tokenizer=LONG, references=names)
    demo.width.value = 8
    if make is decode:
        demo.way.value = "sampling"
        demo.word.value = 12
    assert check_texts(demo.live.figure) > 20
