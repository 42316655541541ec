"""The demos of notebook 3: what they say against numbers worked out apart, and what they survive."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import normalize

from mmlib.data.features import matched_grams
from mmlib.widgets import NamesExplorer, NegativesExplorer, RetrievalExplorer
from mmlib.widgets.table import table_of

NAMES = {
    "en": (("cat",), ("dog",), ("red flag", "banner"), ("cat face",), ("moon",), ("sun",)),
    "es": (("gato",), ("perro",), ("bandera",), ("cara de gato",), ("luna",), ("sol",)),
    "zh": (("猫",), ("狗",), ("旗",), ("猫脸",), ("月亮",), ("太阳",)),
    "xx": (("qq",), ("qq",), ("ww",), ("ee",), ("rr",), ("tt",)),
}
DRAW = torch.Generator().manual_seed(0)
PICTURES = torch.randint(0, 256, (6, 3, 48, 48), generator=DRAW, dtype=torch.uint8)
IMAGE_EMB = normalize(torch.eye(6) + 0.3 * torch.rand(6, 6, generator=DRAW), dim=-1)
FAR = normalize(torch.arange(6.0, 0.0, -1.0), dim=0)  # where unknown texts go: the lower the number, the nearer


def encode(texts):
    """The texts that are names lie on the pictures that they name."""
    named = {name: n for own in NAMES.values() for n, each in enumerate(own) for name in each}
    return torch.stack([IMAGE_EMB[named[text]] if text in named else FAR for text in texts])


def search(**other):
    return RetrievalExplorer(encode, IMAGE_EMB, PICTURES, NAMES, matched_grams, **other)


def by_name():
    return NamesExplorer(encode, IMAGE_EMB, PICTURES, NAMES)


def size(png):
    return Image.open(io.BytesIO(png)).size


# ---------------------------------------------------------------- search in several languages


@pytest.mark.parametrize(
    ("query", "picture"), [("dog", 1), ("perro", 1), ("月亮", 4), ("banner", 2), ("cara de gato", 3)]
)
def test_one_box_answers_in_every_language(query, picture):
    demo = search()
    demo.query.value = query
    state = demo.state()
    sims = [sum(a * b for a, b in zip(image.tolist(), IMAGE_EMB[picture].tolist(), strict=True)) for image in IMAGE_EMB]
    assert state["nearest"] == sorted(range(6), key=lambda n: -sims[n])[:5]
    assert state["similarity"] == pytest.approx([sims[n] for n in state["nearest"]], abs=1e-6)
    assert state["nearest"][0] == picture
    assert (state["right"], state["rank"]) == ([picture], 1)
    assert f"Nearest: {NAMES['en'][picture][0]} (1.00)." in demo.live.words.value
    assert "One picture has exactly this name; it comes at place 1 of 6" in demo.live.words.value


def test_the_name_that_shares_most_with_the_query_is_told_with_its_language():
    demo = search()
    demo.query.value = "un gato"
    told = {n: demo.state()["matched"][place] for place, n in enumerate(demo.state()["nearest"])}
    assert told[0][:2] == ("es", "gato") and "<gato>" in told[0][2]
    assert told[3][:2] == ("es", "cara de gato") and "<gato>" in told[3][2]
    assert "cat (Spanish: gato)" in demo.table.value
    demo.query.value = "猫"
    assert demo.state()["matched"][0][:2] == ("zh", "猫") and "cat (Chinese: 猫)" in demo.table.value


def test_a_typo_still_shares_pieces_and_no_exact_name():
    demo = search()
    demo.query.value, demo.k.value = "perrp", 6
    assert demo.state()["rank"] is None and "No picture has exactly this name" in demo.live.words.value
    told = dict(zip(demo.state()["nearest"], demo.state()["matched"], strict=True))
    assert told[1] == ("es", "perro", matched_grams("perrp", "perro")) and told[1][2]
    assert [pieces for _, _, pieces in told.values()].count([]) == 3 and "nothing" in demo.table.value


def test_several_pictures_of_one_name_are_all_outlined():
    demo = search()
    demo.query.value = " QQ "
    state = demo.state()
    assert state["right"] == [0, 1] and state["rank"] == 1
    assert "2 pictures have exactly this name; one comes at place 1 of 6" in demo.live.words.value
    outlined = [n for n, outline in zip(state["nearest"], demo.answers.outlines, strict=False) if outline.get_visible()]
    assert sorted(outlined) == [0, 1]


def test_the_place_of_the_right_picture_counts_all_pictures_not_those_shown():
    demo = RetrievalExplorer(lambda texts: FAR.expand(len(texts), -1), IMAGE_EMB, PICTURES, NAMES, matched_grams)
    demo.k.value, demo.query.value = 2, "sol"
    assert demo.state()["nearest"] == [0, 1]
    assert demo.state()["rank"] == 6 and "it comes at place 6 of 6" in demo.live.words.value
    assert not any(outline.get_visible() for outline in demo.answers.outlines)


def test_k_shows_so_many_pictures():
    demo = search()
    demo.query.value = "dog"
    for k in (1, 4, 6):
        demo.k.value = k
        assert len(demo.state()["nearest"]) == k == sum(image.get_visible() for image in demo.answers.shown)
        assert demo.table.value.count("<tr>") == k + 1
    demo.k.value = 99
    assert demo.k.value == 6 == demo.k.max


def test_it_draws_the_pictures_that_it_names():
    demo = search()
    demo.query.value = "luna"
    for place, image in zip(demo.state()["nearest"], demo.answers.shown, strict=False):
        assert np.array_equal(image.get_array(), PICTURES[place].permute(1, 2, 0).numpy())
    assert demo.answers.captions[0].get_text() == "1:  1.00"


def test_each_change_gives_another_picture_of_the_same_size():
    demo = search()
    seen = [demo.live.image.value]
    for query in ("dog", "luna", "", "旗"):
        demo.query.value = query
        seen.append(demo.live.image.value)
    demo.k.value = 2
    seen.append(demo.live.image.value)
    assert seen[3] == seen[0] and len(set(seen)) == 5 and len({size(png) for png in seen}) == 1
    assert demo.query.continuous_update


def test_examples_are_names_of_the_language():
    demo = search()
    spanish = {name for own in NAMES["es"] for name in own}
    demo.language.value = "es"
    typed = {demo.query.value}
    for _ in range(20):
        demo.example.click()
        typed.add(demo.query.value)
    assert typed <= spanish and len(typed) > 3 and demo.state()["rank"] == 1


@pytest.mark.parametrize(
    "query", ["", "   ", "a" * 10_000, "gato " * 2_500, "😀🦊", "日本語", "شمس", '<b>cat</b> & "dog"', "$x_$", "\n"]
)
def test_search_survives(query):
    demo = search()
    demo.query.value = "dog"
    demo.query.value = query
    assert "Error" not in demo.live.words.value
    assert "<b>" not in demo.live.words.value + demo.table.value
    assert len(demo.live.words.value) + len(demo.table.value) < 6000
    assert len(demo.state()["nearest"]) == (5 if query.strip() else 0)


def test_of_a_pasted_page_only_the_beginning_is_looked_up():
    asked = []

    def matched(query, name):
        asked.append(query)
        return matched_grams(query, name)

    demo = RetrievalExplorer(encode, IMAGE_EMB, PICTURES, NAMES, matched)
    demo.query.value = "gato " * 2_500
    assert max(map(len, asked)) == 200 and demo.state()["query"] == ("gato " * 2_500).strip()


def test_a_query_without_a_letter_is_said_to_say_nothing():
    demo = search()
    demo.query.value = "😀"
    assert "no letter that the features can read" in demo.live.words.value
    demo.query.value = "gat"
    assert "no letter" not in demo.live.words.value


@pytest.mark.parametrize("explorer", [RetrievalExplorer, NamesExplorer])
@pytest.mark.parametrize(
    ("image_emb", "pictures", "names"),
    [
        (IMAGE_EMB[:5], PICTURES, NAMES),
        (IMAGE_EMB, PICTURES[:5], NAMES),
        (IMAGE_EMB, PICTURES, NAMES | {"es": NAMES["es"][:5]}),
        (IMAGE_EMB, PICTURES, {}),
        (IMAGE_EMB[:0], PICTURES[:0], {"en": ()}),
    ],
)
def test_numbers_that_differ_are_refused(explorer, image_emb, pictures, names):
    more = [matched_grams] if explorer is RetrievalExplorer else []
    with pytest.raises(
        ValueError, match=f"{explorer.__name__}: expected pictures, each with its embedding and its nam"
    ):
        explorer(encode, image_emb, pictures, names, *more)


@pytest.mark.parametrize("explorer", [RetrievalExplorer, NamesExplorer])
@pytest.mark.parametrize(("language", "picture"), [("es", 0), ("en", 4)])
def test_a_language_without_names_is_refused(explorer, language, picture):
    names = NAMES | {language: [() if n in (picture, 5) else own for n, own in enumerate(NAMES[language])]}
    more = [matched_grams] if explorer is RetrievalExplorer else []
    said = f"{explorer.__name__}: expected a name of each picture in '{language}', got none of picture {picture}"
    with pytest.raises(ValueError, match=said):
        explorer(encode, IMAGE_EMB, PICTURES, names, *more)


def test_tables_show_markup_as_text_and_numbers_as_bars():
    table = table_of(["a<b"], [["<i>x</i>"], [0.5], [-0.25], [7.0]])
    assert "a&lt;b" in table and "&lt;i&gt;x" in table and "<i>" not in table
    assert "width:45px" in table and ">0.50<" in table.replace("</span>", ">")
    assert "width:0px" in table and "-0.25" in table and "width:90px" in table


# ---------------------------------------------------------------- picture to names


@pytest.mark.parametrize("language", list(NAMES))
@pytest.mark.parametrize("picture", [0, 2, 5])
def test_the_own_name_is_found_in_every_language(language, picture):
    demo = by_name()
    demo.language.value, demo.picture.value = language, picture
    state = demo.state()
    candidates = sorted({name for own in NAMES[language] for name in own})
    sims = {name: float(IMAGE_EMB[picture] @ encode([name])[0]) for name in candidates}
    assert state["similarity"] == pytest.approx(sorted(sims.values(), reverse=True)[:8], abs=1e-6)
    assert all(sims[name] == pytest.approx(sim) for name, sim in zip(state["names"], state["similarity"], strict=True))
    assert state["right"] == [name in NAMES[language][picture] for name in state["names"]]
    assert (language == "xx") or (state["right"][0] and state["rank"] == 1)
    assert demo.table.value.count("◄ right") == len(NAMES[language][picture])


def test_the_place_of_the_own_name_counts_all_names():
    demo = NamesExplorer(lambda texts: FAR.expand(len(texts), -1), IMAGE_EMB, PICTURES, NAMES)
    demo.language.value, demo.picture.value = "es", 3
    assert demo.state()["rank"] == 3.5  # six names, all alike: the middle of the tie
    assert "comes at place 3.5 of 6" in demo.live.words.value


def test_names_are_shown_beside_their_picture():
    demo = by_name()
    seen = [demo.live.image.value]
    demo.picture.value, demo.language.value = 2, "zh"
    seen.append(demo.live.image.value)
    assert np.array_equal(demo.shown.get_array(), PICTURES[2].permute(1, 2, 0).numpy())
    assert demo.caption.get_text() == "red flag" and "name in Chinese" in demo.table.value and "旗" in demo.table.value
    assert "“red flag” in Chinese: nearest is “旗” (1.00)" in demo.live.words.value
    assert seen[0] != seen[1] and size(seen[0]) == size(seen[1])


@pytest.mark.parametrize(("asked", "given"), [(-4, 0), (6, 5), (10**6, 5)])
def test_pictures_stay_in_their_range(asked, given):
    demo = by_name()
    demo.picture.value = asked
    assert demo.state()["picture"] == given and "Error" not in demo.live.words.value


# ---------------------------------------------------------------- margin and negatives


class Turned(nn.Module):
    """A model that leaves features as they are, on the sphere, but for a turn of the texts."""

    def __init__(self, angle):
        super().__init__()
        angle = torch.tensor(angle)
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()])
        self.turn = nn.Parameter(turn.reshape(2, 2))

    def encode_image(self, features):
        return normalize(features, dim=-1)

    def encode_text(self, features):
        return normalize(features @ self.turn, dim=-1)


ANGLES = torch.linspace(0, 5, 12)
PAIRS = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
TEXTS = PAIRS + 0.4 * torch.rand(12, 2, generator=DRAW)  # so that the two directions differ
SAME = torch.eye(12, dtype=torch.bool) | (torch.arange(12)[:, None] // 2 == torch.arange(12) // 2)
MARGINS = [0.1, 0.2, 0.5]


def make(negatives, margin, on_step):
    for step in (1, 2, 3):
        on_step(dict(step=step, steps=3, loss=margin, lr=1e-3, grad_norm=1.0, seconds=0.1 * step, metrics={}))
    return Turned(margin)


def negatives(models=None, make=make, **other):
    arguments = dict(image_features=PAIRS, text_features=TEXTS, same=SAME, margins=MARGINS) | other
    models = {("hardest", 0.2): Turned(0.3)} if models is None else models
    return NegativesExplorer(Turned(2.0), models, make, **arguments)


def test_histograms_medians_and_shares_are_those_of_a_loop():
    demo = negatives()
    state = demo.state()
    assert (state["negatives"], state["margin"]) == ("hardest", 0.2)
    for key, angle in (("before", 2.0), ("after", 0.3)):
        texts = Turned(angle).encode_text(TEXTS).detach()
        sims = [[float(image @ text) for text in texts] for image in PAIRS]
        right = [sims[i][j] for i in range(12) for j in range(12) if SAME[i, j]]
        wrong = [sims[i][j] for i in range(12) for j in range(12) if not SAME[i, j]]
        assert state[key]["right"] == pytest.approx(np.histogram(right, 60, (-1, 1))[0] / len(right), abs=0.05)
        assert sum(state[key]["wrong"]) == pytest.approx(1, abs=1e-5)
        assert state[key]["middle_wrong"] == pytest.approx(np.sort(wrong)[(len(wrong) - 1) // 2], abs=1e-5)
        costs = [sims[i][i] - sims[i][j] < 0.2 for i in range(12) for j in range(12) if not SAME[i, j]]
        costs += [sims[i][i] - sims[j][i] < 0.2 for i in range(12) for j in range(12) if not SAME[i, j]]
        assert state[key]["active"] == pytest.approx(sum(costs) / len(costs))
        hits = [SAME[int(np.argmax([sims[i][j] for i in range(12)])), j] for j in range(12)]
        assert state[key]["recall"] == pytest.approx(sum(hits) / 12)
    assert f"Recall at 1 is {state['after']['recall']:.2f}" in demo.live.words.value


def test_the_margin_changes_what_counts_as_active():
    demo = negatives({("hardest", margin): Turned(0.3) for margin in MARGINS})
    shares = []
    for margin in MARGINS:
        demo.margin.value = margin
        shares.append(demo.state()["after"]["active"])
    assert shares == sorted(shares) and shares[0] < shares[-1]


def test_a_model_that_is_missing_is_made_on_demand_and_kept():
    models, asked = {("hardest", 0.2): Turned(0.3)}, []

    def count(*key_and_on_step):
        asked.append(key_and_on_step[:2])
        return make(*key_and_on_step)

    demo = negatives(models, count)
    assert demo.train.disabled
    blank = demo.live.image.value
    demo.negatives.value = "random"
    assert demo.state()["after"] is None and not demo.train.disabled and "train this one" in demo.live.words.value
    assert demo.state()["before"] is not None and demo.live.image.value != blank
    parts = demo.drawing.parts
    assert parts["after"]["none"].get_visible() and not parts["after"]["right"].get_visible()
    assert parts["before"]["right"].get_visible() and not parts["before"]["none"].get_visible()
    said = []
    demo.live.words.observe(lambda change: said.append(change["new"]), "value")
    demo.train.click()
    assert any("Training with random negatives and margin 0.2: step 1 of 3" in words for words in said)
    assert demo.progress.value == demo.progress.max == 3
    assert asked == [("random", 0.2)] and ("random", 0.2) in models and demo.state()["after"]["recall"] >= 0
    assert parts["after"]["right"].get_visible() and not parts["after"]["none"].get_visible()
    assert demo.train.disabled and not demo.negatives.disabled and not demo.margin.disabled
    demo.train.click()
    assert len(asked) == 1


def test_controls_rest_while_a_model_is_made():
    resting = []

    def watch(*key_and_on_step):
        resting.extend([demo.negatives.disabled, demo.margin.disabled, demo.train.disabled])
        return make(*key_and_on_step)

    demo = negatives({}, watch)
    demo.train.click()
    assert resting == [True, True, True] and not demo.margin.disabled


def test_a_training_that_fails_is_told_and_can_be_tried_again():
    def diverge(negatives, margin, on_step):
        raise ValueError("train: expected a finite loss")

    demo = negatives({}, diverge)
    demo.train.click()
    assert "ValueError: train: expected a finite loss" in demo.live.words.value
    assert not demo.train.disabled and not demo.margin.disabled and demo.state()["after"] is None
    demo.make = make
    demo.train.click()
    assert demo.state()["after"] is not None and 'role="status"' in demo.live.words.value


def test_a_model_put_in_place_of_another_is_the_one_shown():
    models = {("hardest", 0.2): Turned(0.3)}
    demo = negatives(models)
    first = demo.state()["after"]["middle_right"]
    models["hardest", 0.2] = Turned(1.0)
    assert demo.state()["after"]["middle_right"] < first


def test_a_collapsed_model_is_shown():
    class Collapsed(Turned):
        def encode_text(self, features):
            return self.encode_image(features)

        def encode_image(self, features):
            return torch.tensor([1.0, 0.0]).expand(len(features), 2)

    demo = negatives({("hardest", 0.2): Collapsed(0.0)})
    after = demo.state()["after"]
    assert (
        after["active"] == 1
        and after["recall"] == pytest.approx(1 / 6)
        and after["right"][-1] == after["wrong"][-1] == 1
    )
    assert "Error" not in demo.live.words.value


def test_negatives_draw_what_they_say():
    demo = negatives({("hardest", margin): Turned(0.1 + margin) for margin in MARGINS})
    demo.margin.value = 0.5
    part, state = demo.drawing.parts["after"], demo.state()["after"]
    heights = torch.tensor(state["right"])
    assert np.allclose(part["right"].get_data().values, heights / heights.max(), atol=1e-6)
    assert part["span"].get_xdata()[1] - part["span"].get_xdata()[0] == pytest.approx(0.5)
    assert [bar.get_width() for bar in part["shares"].bars] == pytest.approx([state["active"], state["recall"]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_features": PAIRS[:5]}, r"features of n pairs, and same \(n, n\), got \(12, 5, 12, 12\)"),
        ({"same": SAME[:, :7]}, r"got \(12, 12, 12, 7\)"),
        (
            {"image_features": PAIRS[:1], "text_features": TEXTS[:1], "same": SAME[:1, :1]},
            "some are wrong, got no wrong one",
        ),
        ({"same": torch.ones(12, 12, dtype=torch.bool)}, "some are wrong, got no wrong one. Take two pairs or more"),
        ({"same": torch.zeros(12, 12, dtype=torch.bool)}, "some are wrong, got a text without a right picture"),
        ({"margins": []}, "a margin or more to choose from"),
        ({"margins": [0.1]}, r"models for margins \[0.1\], got \('hardest', 0.2\)"),
        (
            {"models": {("nearest", 0.2): Turned(0.0)}},
            r"got \('nearest', 0.2\). Negatives are random, semi-hard, hardest",
        ),
    ],
)
def test_negatives_refuse(change, said):
    with pytest.raises(ValueError, match=f"NegativesExplorer: expected .*{said}"):
        negatives(**change)
