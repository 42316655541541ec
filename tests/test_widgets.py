"""Demos: what they say against numbers worked out apart, and what they survive."""

import io
import math
import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from mmlib import train
from mmlib.checkpoint import Checkpoint
from mmlib.widgets import SearchExplorer, TemperatureExplorer, TrainingPanel, ZeroShotExplorer
from mmlib.widgets.parts import list_words
from mmlib.widgets.png import encode_png

WORDS = ["cat", "dog", "flag", "red", "blue", "a", "of"]


class Words:
    """A tokenizer that knows seven words, and an encoder that adds their vectors."""

    vectors = torch.eye(8)

    def unknown(self, text):
        return [word for word in text.split() if word not in WORDS]

    def encode(self, texts):
        rows = [[WORDS.index(word) if word in WORDS else 7 for word in text.split()] for text in texts]
        return normalize(torch.stack([self.vectors[row].sum(0) + 1e-6 for row in rows]), dim=-1)


NAMES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("cat", "dog", "flag")]
PICTURES = torch.arange(6 * 3 * 48 * 48).reshape(6, 3, 48, 48).mul(7).to(torch.uint8)
IMAGE_EMB = Words().encode(NAMES)


def temperature(learned=0.07, n=6):
    torch.manual_seed(3)
    image_emb, text_emb = (normalize(torch.randn(n, 16), dim=-1) for _ in range(2))
    pictures = torch.randint(0, 256, (n, 3, 48, 48), dtype=torch.uint8)
    return (
        TemperatureExplorer(image_emb, text_emb, pictures, [f"name {i}" for i in range(n)], learned),
        image_emb,
        text_emb,
    )


def search():
    return SearchExplorer(Words().encode, Words(), IMAGE_EMB, PICTURES, NAMES)


def zero_shot(classes=("cat", "dog", "flag"), templates=("{}", "a {}", "red {}")):
    return ZeroShotExplorer(Words().encode, Words(), IMAGE_EMB, PICTURES, NAMES, templates, 5.0, classes)


def panel_with(steps, of=100, **other):
    panel = TrainingPanel(of, (math.log(8), "log b"))
    for step in steps:
        panel.on_step(record(step, of, **other))
    return panel


def record(step, steps=100, loss=2.0, metrics=None):
    return dict(step=step, steps=steps, loss=loss, lr=1e-3, grad_norm=1.0, seconds=0.5 * step, metrics=metrics or {})


def size(png):
    return Image.open(io.BytesIO(png)).size


# ---------------------------------------------------------------- temperature


@pytest.mark.parametrize("value", [0.005, 0.5, 1.0])
@pytest.mark.parametrize("picture", [0, 4])
def test_temperature_shows_what_a_loop_gives(value, picture):
    demo, image_emb, text_emb = temperature()
    demo.temperature.value, demo.picture.value = value, picture
    sims = [sum(a * b for a, b in zip(image_emb[picture].tolist(), text.tolist(), strict=True)) for text in text_emb]
    weights = [math.exp((sim - max(sims)) / value) for sim in sims]
    probabilities = [weight / sum(weights) for weight in weights]
    spread = -sum(p * math.log(p) for p in probabilities if p > 0)
    wrong = {j: sims[j] for j in range(6) if j != picture}
    hardest = max(wrong, key=wrong.get)
    share = 1 / sum(math.exp((sim - wrong[hardest]) / value) for sim in wrong.values())
    state = demo.state()
    assert state["temperature"] == pytest.approx(value)
    assert state["probabilities"] == pytest.approx(probabilities, abs=1e-5)
    assert state["entropy"] == pytest.approx(spread, abs=1e-4)
    assert state["candidates"] == pytest.approx(math.exp(spread), rel=1e-4)
    assert state["hardest"] == hardest
    assert state["hardest_weight"] == pytest.approx(share, abs=1e-4)
    assert f"{state['hardest_weight']:.0%}" in demo.live.words.value and f"name {hardest}" in demo.live.words.value


def test_hardest_weight_is_its_share_of_the_gradient():
    demo, image_emb, text_emb = temperature()
    demo.temperature.value = 0.2
    sim = (image_emb @ text_emb.T).requires_grad_()
    torch.nn.functional.cross_entropy(sim[:1] / 0.2, torch.tensor([0])).backward()
    push = sim.grad[0, 1:]
    assert demo.state()["hardest_weight"] == pytest.approx((push.max() / push.sum()).item(), rel=1e-4)


def test_temperature_moves_what_it_draws():
    demo, image_emb, text_emb = temperature()
    demo.temperature.value, demo.picture.value = 0.2, 4
    rows = [softmax([float(image @ text) / 0.2 for text in text_emb]) for image in image_emb]
    assert np.allclose(demo.drawing.heat.get_array(), rows, atol=1e-5)
    assert [bar.get_width() for bar in demo.drawing.row.bars] == pytest.approx(rows[4], abs=1e-5)
    assert [bar.get_hatch() for bar in demo.drawing.row.bars] == ["", "", "", "", "//", ""]
    assert [text.get_text() for text in demo.drawing.row.values] == [f"{p:.2f}" for p in rows[4]]
    assert demo.drawing.outline.get_y() == 3.5
    assert demo.drawing.dot.get_xydata()[0] == pytest.approx([0.2, demo.state()["candidates"]])


@pytest.mark.parametrize(("asked", "given"), [(0.0, 0.005), (-3.0, 0.005), (5.0, 1.0)])
def test_temperature_stays_in_its_range(asked, given):
    demo = temperature()[0]
    demo.temperature.value = asked
    assert demo.state()["temperature"] == pytest.approx(given)
    assert all(0 <= p <= 1 for p in demo.state()["probabilities"])
    assert "Error" not in demo.live.words.value


@pytest.mark.parametrize("learned", [0.01, 0.0433, 0.07, 0.999])
def test_the_slider_can_stop_at_the_learned_temperature(learned):
    demo = temperature(learned)[0]
    demo.temperature.value = 0.5
    demo.to_learned.click()
    assert demo.state()["temperature"] == pytest.approx(learned)
    steps = (math.log10(learned) - demo.temperature.min) / demo.temperature.step
    assert steps == pytest.approx(round(steps), abs=1e-6)


@pytest.mark.parametrize("n", [2, 12])
def test_temperature_takes_from_2_to_12_pairs(n):
    demo = temperature(n=n)[0]
    demo.picture.value = n - 1
    assert len(demo.state()["probabilities"]) == n and "Error" not in demo.live.words.value


@pytest.mark.parametrize("n", [1, 13])
def test_temperature_refuses_other_numbers_of_pairs(n):
    with pytest.raises(ValueError, match="TemperatureExplorer: expected 2 to 12 pictures"):
        temperature(n=n)


@pytest.mark.parametrize("learned", [0.0, -1.0, math.nan, 0.004, 1.01, 100.0])
def test_temperature_refuses_a_learned_temperature_that_its_slider_cannot_show(learned):
    """100 is what the model of CLIP multiplies by: the scale, 1 over the temperature."""
    with pytest.raises(
        ValueError, match="TemperatureExplorer: expected learned from 0.005 to 1, got .*1 over its scale"
    ):
        temperature(learned)


def test_the_words_tell_neighbouring_temperatures_apart():
    """Also where one candidate takes all, and nothing else moves."""
    demo = temperature()[0]
    coldest, step = demo.temperature.min, demo.temperature.step
    told = []
    for n in range(10):
        demo.temperature.value = 10 ** (coldest + n * step)
        told.append(re.search(r"Temperature (\S+)\. ", demo.live.words.value)[1])
    assert len(set(told)) == 10 and told[0] == "0.00500"


# ---------------------------------------------------------------- search


def test_search_finds_the_nearest_pictures():
    demo = search()
    demo.query.value = "blue dog"
    sims = [float(image @ Words().encode(["blue dog"])[0]) for image in IMAGE_EMB]
    best = sorted(range(6), key=lambda n: -sims[n])[:5]
    state = demo.state()
    assert state["nearest"][0] == best[0] == NAMES.index("blue dog")
    assert state["similarity"] == pytest.approx([sims[n] for n in best], abs=1e-6)
    assert state["names"] == [NAMES[n] for n in state["nearest"]]
    assert state["unknown"] == []
    assert "blue dog (1.00)" in demo.live.words.value


def test_search_answers_each_change_with_another_picture():
    demo = search()
    seen = [demo.live.image.value]
    for query in ("cat", "cat red", "", "dog"):
        demo.query.value = query
        seen.append(demo.live.image.value)
    assert seen[3] == seen[0] and len(set(seen)) == 4
    assert demo.query.continuous_update


def test_search_names_unknown_words():
    demo = search()
    demo.query.value = "red quokka"
    assert demo.state()["unknown"] == ["quokka"]
    assert "never learned" in demo.live.words.value and "“quokka”" in demo.live.words.value


@pytest.mark.parametrize(
    "query", ["", "   ", "a" * 10_000, "cat " * 2_500, "😀🦊", "日本語", '<b>cat</b> & "dog"', "$x_$", "\n"]
)
def test_search_survives(query):
    demo = search()
    demo.query.value = "cat"
    demo.query.value = query
    assert "Error" not in demo.live.words.value
    assert "<b>" not in demo.live.words.value
    assert len(demo.live.words.value) < 1000
    assert len(demo.state()["nearest"]) == (5 if query.strip() else 0)


def test_search_over_fewer_than_five_pictures():
    demo = SearchExplorer(Words().encode, Words(), IMAGE_EMB[:2], PICTURES[:2], [("red cat", "cat"), ("red dog",)])
    demo.query.value = "dog"
    assert demo.state()["names"] == ["red dog", "red cat"]


@pytest.mark.parametrize("counts", [(6, 6, 5), (6, 5, 6), (5, 6, 6), (0, 0, 0)])
def test_search_refuses_numbers_that_differ(counts):
    embeddings, pictures, names = counts
    with pytest.raises(ValueError, match="SearchExplorer: expected pictures, each with its name and embedding"):
        SearchExplorer(Words().encode, Words(), IMAGE_EMB[:embeddings], PICTURES[:pictures], NAMES[:names])


# ---------------------------------------------------------------- zero-shot


def softmax(scores):
    weights = [math.exp(score) for score in scores]
    return [weight / sum(weights) for weight in weights]


def test_zero_shot_gives_the_probabilities_of_one_template_and_of_the_mean():
    demo = zero_shot()
    demo.picture.value = 4
    image = IMAGE_EMB[4]
    one, ensemble = [], []
    for name in ("cat", "dog", "flag"):
        texts = Words().encode([template.replace("{}", name) for template in ("{}", "a {}", "red {}")])
        one.append(5 * float(texts[0] @ image))
        mean = sum(texts) / 3
        ensemble.append(5 * float(mean @ image) / float(mean.norm()))
    state = demo.state()
    assert state["classes"] == ["cat", "dog", "flag"]
    assert state["one_template"] == pytest.approx(softmax(one), abs=1e-5)
    assert state["ensemble"] == pytest.approx(softmax(ensemble), abs=1e-5)
    assert "taken for dog" in demo.live.words.value


@pytest.mark.parametrize(
    ("typed", "classes", "said"),
    [
        ("cat, dog, Cat , dog", ["cat", "dog"], "Counted once: “cat”, “dog”."),
        ("", [], "Type at least one class"),
        (" , ,, ", [], "Type at least one class"),
        ("cat", ["cat"], "Only one class"),
        ("cat, quokka", ["cat", "quokka"], "Words the model never learned: “quokka”."),
        ("cat，dog", ["cat", "dog"], "taken for"),
        ("cat, <i>dog</i>, $x_$, {}, 😀", ["cat", "<i>dog</i>", "$x_$", "{}", "😀"], "&lt;i&gt;"),
    ],
)
def test_zero_shot_tells_about_the_classes_typed(typed, classes, said):
    demo = zero_shot()
    demo.classes.value = typed
    assert demo.state()["classes"] == classes
    assert said in demo.live.words.value and "Error" not in demo.live.words.value
    assert sum(demo.state()["ensemble"]) == pytest.approx(1 if classes else 0)


def test_zero_shot_reads_no_more_than_fifty_classes():
    demo = zero_shot()
    demo.classes.value = ", ".join(f"cat {n}" for n in range(2_000))
    assert len(demo.state()["classes"]) == 50
    assert "1950 more classes were not read" in demo.live.words.value and len(demo.live.words.value) < 1000


def test_zero_shot_encodes_classes_once_while_the_picture_moves():
    demo, calls = zero_shot(), []
    demo.encode_text = lambda texts: calls.append(texts) or Words().encode(texts)
    for n in (1, 2, 3):
        demo.picture.value = n
    assert calls == []
    demo.classes.value = "dog"
    assert calls == [["dog", "a dog", "red dog"]]


@pytest.mark.parametrize(("asked", "given"), [(-1, 0), (6, 5), (10**6, 5)])
def test_zero_shot_picture_stays_in_its_range(asked, given):
    demo = zero_shot()
    demo.picture.value = asked
    assert demo.state()["picture"] == given and "Error" not in demo.live.words.value


@pytest.mark.parametrize("templates", [(), ("a picture",), ("{}", "a")])
def test_zero_shot_refuses_templates_without_a_place_for_the_class(templates):
    with pytest.raises(ValueError, match="ZeroShotExplorer: expected templates with {} in the place of the class"):
        zero_shot(templates=templates)


# ---------------------------------------------------------------- training


def test_panel_shows_the_numbers_of_the_records():
    panel = panel_with(range(1, 11), loss=1.5)
    panel.on_step(record(11, loss=1.25, metrics={"validation R@1": 0.5, "other": 3.0}))
    state = panel.state()
    assert (state["step"], state["steps"], state["loss"], state["metric"]) == (11, 100, 1.25, 0.5)
    assert state["steps_per_second"] == pytest.approx(2) and state["seconds_left"] == pytest.approx(44.5)
    assert state["status"] == "training"
    panel._show()
    assert "step 11 of 100, about 44 s left, 2.0 steps a second. Loss" in panel.live.words.value
    assert "Loss 1.25" in panel.live.words.value and "validation R@1 0.50" in panel.live.words.value


def test_panel_counts_the_pace_of_a_run_taken_up_again_from_where_it_was_taken_up():
    """Its first 500 steps took an hour, on another machine."""
    panel = TrainingPanel(1050, (2.0, "log b"))
    panel.on_step(record(501, 1050) | {"seconds": 3600.0})
    panel._show()
    assert panel.state()["seconds_left"] is None and "Training: step 501 of 1050. Loss" in panel.live.words.value
    panel.on_step(record(601, 1050) | {"seconds": 3625.0})
    panel._show()
    assert panel.state()["steps_per_second"] == pytest.approx(4) and panel.state()["seconds_left"] == pytest.approx(
        112.25
    )
    assert "step 601 of 1050, about 112 s left, 4.0 steps a second" in panel.live.words.value
    panel.on_step(record(1, 1050))  # a run from the start
    assert panel.state()["seconds_left"] == pytest.approx(0.5 * 1049)


def test_panel_tells_the_time_left_of_a_training_taken_up_from_its_checkpoint(tmp_path):
    def run(panel, steps):
        train.train(
            torch.nn.Linear(2, 1),
            lambda step: torch.randn(4, 2),
            lambda model, batch: model(batch).square().mean(),
            steps=8,
            lr=1e-3,
            device="cpu",
            on_step=lambda record: (panel.on_step(record), record["step"] == steps and panel.stop.set()),
            stop=panel.stop,
            checkpoint=Checkpoint(tmp_path / "run", every=1),
        )
        return panel

    first = run(TrainingPanel(8, (2.0, "log b")), 5)
    assert first.state()["step"] == 5
    again = run(TrainingPanel(8, (2.0, "log b")), 6)
    assert again.state()["step"] == 6 and again.state()["steps_per_second"] is None
    assert run(TrainingPanel(8, (2.0, "log b")), 8).state()["steps_per_second"] > 0


def test_panel_redraws_four_times_a_second(monkeypatch):
    now, pictures = [0.0], []
    monkeypatch.setattr("mmlib.widgets.training.time.perf_counter", lambda: now[0])
    panel = TrainingPanel(10_000, (2.0, "log b"))
    panel.live.image.observe(lambda change: pictures.append(change.new), "value")
    for step in range(1, 501):
        now[0] += 0.01
        panel.on_step(record(step, 10_000, loss=2 / step))
    assert 15 <= len(pictures) <= 20  # in five seconds


def test_panel_redraws_less_often_when_drawing_is_slow(monkeypatch):
    now, pictures = [0.0], []
    monkeypatch.setattr("mmlib.widgets.training.time.perf_counter", lambda: now[0])
    panel = TrainingPanel(10_000, (2.0, "log b"))
    draw = panel.live.draw

    def slow():
        now[0] += 0.1
        pictures.append(now[0])
        return draw()

    monkeypatch.setattr(panel.live, "draw", slow)
    for step in range(1, 5_001):
        now[0] += 0.01
        panel.on_step(record(step, 10_000))
    assert 1 <= len(pictures) and 0.1 * len(pictures) < 0.02 * now[0]


def test_panel_says_how_it_ended():
    assert "Waiting" in panel_with([]).live.words.value
    finished = panel_with(range(1, 101))
    assert "Finished in 50 s" in finished.live.words.value and finished.stop_button.disabled
    stopped = panel_with(range(1, 31))
    stopped.stop_button.click()
    assert stopped.stop.is_set() and stopped.state()["status"] == "stopped"
    assert "Stopped at step 30 of 100 after 15 s" in stopped.live.words.value and stopped.stop_button.disabled


def test_panel_starts_anew_when_the_steps_do():
    panel = panel_with(range(1, 101))
    panel.on_step(record(1, loss=9.0))
    assert panel.state()["step"] == 1 and panel.state()["status"] == "training" and not panel.stop_button.disabled
    assert panel.losses == [(1, 9.0)] and panel.metrics == []


def test_panel_around_the_training_reports_an_error_and_can_be_used_again():
    panel = TrainingPanel(10, (2.0, "log b"))
    with pytest.raises(ValueError, match="bad batch"), panel:
        panel.on_step(record(1, 10))
        raise ValueError("bad batch")
    assert "Failed at step 1 of 10. ValueError: bad batch" in panel.live.words.value
    panel.stop.set()
    with panel:
        assert not panel.stop.is_set()
        panel.on_step(record(1, 10))
    assert "Failed" not in panel.live.words.value


@pytest.mark.parametrize("loss", [1e6, 50.0, 0.0])
def test_panel_makes_room_for_every_loss(loss):
    panel = panel_with(range(1, 4), loss=loss)
    panel._show()
    assert panel.upper.get_ylim()[1] > loss
    assert size(panel.live.image.value) == (860, 388)


def test_panel_follows_the_steps_of_the_records():
    panel = panel_with([1], of=100)
    panel.on_step(record(2, 40))
    panel._show()
    assert panel.upper.get_xlim() == panel.lower.get_xlim() == (0, 40)


def test_panel_survives_a_loss_that_is_not_a_number():
    panel = panel_with([1, 2], loss=math.inf)
    panel.on_step(record(3, loss=math.nan))
    panel._show()
    assert "Error" not in panel.live.words.value


def test_stop_button_ends_a_real_training():
    panel = TrainingPanel(1000, (2.0, "log b"))
    model = torch.nn.Linear(2, 1)

    def on_step(step):
        panel.on_step(step)
        if step["step"] == 5:
            threading.Thread(target=panel.stop_button.click).start()
            panel.stop.wait(10)

    history = train.train(
        model,
        lambda step: torch.randn(4, 2),
        lambda model, batch: model(batch).square().mean(),
        steps=1000,
        lr=1e-3,
        device="cpu",
        on_step=on_step,
        stop=panel.stop,
    )
    assert history.stopped and len(history.losses) == 5
    assert panel.state()["status"] == "stopped"


@pytest.mark.parametrize(("steps", "landmark"), [(0, 2.0), (10, 0.0), (10, math.nan)])
def test_panel_refuses_what_it_cannot_draw(steps, landmark):
    with pytest.raises(ValueError, match="TrainingPanel: expected .* above 0"):
        TrainingPanel(steps, (landmark, "log b"))


def test_a_landmark_with_a_long_name_stays_in_the_panel():
    axes = TrainingPanel(10, (2.0, "W" * 80)).upper
    (name,) = [text for text in axes.texts if "W" in text.get_text()]
    assert name.get_window_extent().x1 <= axes.figure.bbox.width


# ---------------------------------------------------------------- what all demos share


def test_png_gives_the_pixels_back():
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 4), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_long_lists_of_words_are_cut():
    assert list_words(["a", "b", "a"]) == "“a”, “b”"
    assert list_words([str(n) for n in range(20)]).endswith("“7” and 12 more")
    assert list_words(["x" * 100]) == f"“{'x' * 30}…”"
