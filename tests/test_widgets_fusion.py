"""Demos of what is seen and heard: numbers worked out apart, senses that are taken away, errors, threads, the page."""

import io
import math
import wave as wav
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from page import pixels
from torch import nn

from mmlib.widgets import FusionExplorer, SayItExplorer
from mmlib.widgets.fusion import Shares

LEVELS = {"fog": [0.1, 0.3, 0.8], "rain": [0.2, 0.2, 0.4]}
SOUND_LEVELS = {"hiss": [0.4, 0.6, 1.0]}
DIGITS = torch.arange(10).repeat(2)
PICTURES = (DIGITS / 10).view(20, 1, 1, 1).expand(20, 1, 4, 4).clone()
PICTURES[10:] += 0.02  # another hand
SPOKEN = torch.arange(10).repeat(2)
VOICES = ["Ada"] * 10 + ["Bo"] * 10
WAVES = 0.05 * (1 + SPOKEN[:, None]) * torch.sin(torch.arange(400) / 5)


class Ear(nn.Module):
    """Names the digit that a picture is as dark as, and the one that a sound is as loud as; the mean when both."""

    def __init__(self, weights=None, classes=10):
        super().__init__()
        self.steep, self.weights, self.classes, self.asked = nn.Parameter(torch.tensor(50.0)), weights, classes, []

    def forward(self, image=None, sound=None):
        assert not self.training and torch.is_inference_mode_enabled()
        assert image is not None or sound is not None
        self.asked.append((image, sound))
        steps = torch.arange(self.classes) / 10
        parts = [] if image is None else [-(image.mean(dim=(1, 2, 3))[:, None] - steps).abs()]
        parts += [] if sound is None else [-(sound.amax(dim=(1, 2))[:, None] / 0.5 - 0.1 - steps).abs()]
        logits = self.steep * sum(parts) / len(parts)
        given = torch.tensor([image is not None, sound is not None])
        weights = None
        if self.weights is not None:
            weights = torch.tensor([self.weights]) * given
            weights = (weights / weights.sum()).expand(len(logits), 2)
        return SimpleNamespace(logits=logits, weights=weights)


def listen(waves):
    return waves.abs().unflatten(1, (4, waves.shape[1] // 4))


def louder(batch, level, kind):
    return batch + level * torch.randn_like(batch) * {"fog": 0.1, "rain": 0.2, "hiss": 0.01}[kind]


def explore(model=None, **other):
    model = model or Ear((0.3, 0.7))
    arguments = {
        "models": {"early": Ear(), "attention": model.train()},
        "alone": (Ear(), Ear()),
        "pictures": PICTURES,
        "digits": DIGITS,
        "waves": WAVES,
        "spoken": SPOKEN,
        "voices": VOICES,
        "spoil_picture": louder,
        "spoil_sound": louder,
        "listen": listen,
        "picture_errors": LEVELS,
        "sound_errors": SOUND_LEVELS,
        "rate": 400,
    }
    demo = FusionExplorer(**(arguments | other))
    demo.fusion.value = "attention" if "models" not in other else next(iter(other["models"]))
    return demo


def say(texts, voice, rate, pitch):
    digits = torch.tensor([int(text) for text in texts])
    shift = 1 if voice.startswith("de") else 0  # in German all words sound like the next one
    return 0.05 * (1 + (digits + shift)[:, None] % 10) * torch.sin(torch.arange(400) / 5)


def say_it(model=None, **other):
    arguments = {"model": (model or Ear()).train(), "say": say, "listen": listen, "voices": ["Ada", "Bo"], "rate": 400}
    arguments |= {"heard": {"English (America)": "en-us"}, "unheard": {"German": "de", "Dutch": "nl"}}
    return SayItExplorer(**(arguments | other))


def samples(demo):
    with wav.open(io.BytesIO(bytes(demo.player.value))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (400, 1, 2)
        return torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16) / (2**15 - 1)


def probabilities_by_hand(*senses):
    logits = [-50 * sum(abs(sense - n / 10) for sense in senses) / len(senses) for n in range(10)]
    exps = [math.exp(logit - max(logits)) for logit in logits]
    return [e / sum(exps) for e in exps]


# ---------------------------------------------------------------- fusion


def test_fusion_shows_what_plain_numbers_give():
    demo = explore()
    demo.digit.value, demo.writing.value, demo.voice.value, demo.says.value = 3, 2, "Bo", 5
    state = demo.state()
    assert (state["picture"], state["clip"], state["digit"], state["heard"]) == (13, 15, 3, 5)
    loudest = float(WAVES[15].abs().max()) / 0.5 - 0.1
    assert state["probabilities"] == pytest.approx(probabilities_by_hand(0.32, loudest), abs=1e-5)
    assert state["predicted"] == int(np.argmax(state["probabilities"]))
    assert state["weights"] == pytest.approx([0.3, 0.7])
    assert state["answers"]["picture alone"][0] == 3 and state["answers"]["sound alone"][0] == 5
    assert state["answers"]["sound alone"][1] == pytest.approx(probabilities_by_hand(loudest)[3], abs=1e-5)
    assert state["answers"]["early"] == state["answers"]["attention"]


def test_each_model_gets_what_it_is_for():
    image_only, sound_only, early = Ear(), Ear(), Ear()
    explore(alone=(image_only, sound_only), models={"early": early})
    assert all(image is not None and sound is None for image, sound in image_only.asked)
    assert all(image is None and sound is not None for image, sound in sound_only.asked)
    assert all(image is not None and sound is not None for image, sound in early.asked)


def test_a_sense_that_is_taken_away_is_none_and_not_zeros():
    model, image_only = Ear((0.3, 0.7)), Ear()
    demo = explore(model, alone=(image_only, Ear()))
    demo.blindfold.value, before = True, len(image_only.asked)
    state = demo.state()
    assert model.asked[-1][0] is None and model.asked[-1][1] is not None
    assert len(image_only.asked) == before and state["answers"]["picture alone"] is None
    assert state["weights"] == pytest.approx([0, 1]) and state["inverse_variance"] == pytest.approx([0, 1])
    assert "sees nothing and hears “0”" in demo.live.words.value
    assert not demo.seen.get_visible() and demo.blanks[0].get_visible()
    demo.blindfold.value, demo.mute.value = False, True
    assert model.asked[-1][1] is None and demo.state()["inverse_variance"] == pytest.approx([1, 0])
    assert demo.player.layout.display == "none" and not demo.logmel.get_visible()
    demo.mute.value = False
    assert demo.player.layout.display == "" and demo.logmel.get_visible()


def test_with_both_senses_taken_away_no_model_is_asked():
    model = Ear((0.3, 0.7))
    demo = explore(model)
    demo.blindfold.value = True
    asked = len(model.asked)
    demo.mute.value = True
    assert len(model.asked) == asked
    state = demo.state()
    assert state["probabilities"] is None and state["weights"] is None and state["predicted"] is None
    assert set(state["answers"].values()) == {None}
    assert "Nothing is seen and nothing is heard." in demo.live.words.value
    assert not any(bar.get_visible() for bar in demo.bars.bars)
    demo.mute.value = False
    assert all(bar.get_visible() for bar in demo.bars.bars)


@pytest.mark.parametrize(
    ("picture", "kind", "sound", "variances"),
    [(0.0, "fog", 0.0, (0.1, 0.4)), (0.5, "fog", 1.0, (0.3, 1.0)), (0.25, "fog", 0.75, (0.2, 0.8)),
     (0.75, "rain", 0.5, (0.3, 0.6))],
)  # fmt: skip
def test_inverse_variance_is_interpolated_between_measured_levels(picture, kind, sound, variances):
    demo = explore()
    demo.picture_kind.value, demo.picture_noise.value, demo.sound_noise.value = kind, picture, sound
    trust = [1 / variance for variance in variances]
    assert demo.state()["inverse_variance"] == pytest.approx([t / sum(trust) for t in trust], abs=1e-6)


def test_noise_is_the_same_each_time_and_grows_with_its_slider():
    demo = explore()
    demo.digit.value = 4
    before = torch.get_rng_state()
    demo.picture_noise.value, demo.sound_noise.value = 0.5, 1.0
    seen, wave = demo._sensed()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)  # a training draws random numbers meanwhile
    again, same_wave = demo._sensed()
    assert torch.equal(seen, again) and torch.equal(wave, same_wave)
    demo.picture_noise.value = 1.0
    more, _ = demo._sensed()
    torch.testing.assert_close(more - PICTURES[4], 2 * (seen - PICTURES[4]))
    assert not torch.equal(wave[0], WAVES[4])
    torch.testing.assert_close(samples(demo), wave[0], atol=1e-4, rtol=0)  # the player plays what the model hears


def test_fusion_draws_what_it_says():
    demo = explore()
    demo.digit.value, demo.says.value = 3, 8
    state = demo.state()
    assert [bar.get_width() for bar in demo.bars.bars] == pytest.approx(state["probabilities"], abs=1e-6)
    marks = [text.get_text() for text in demo.bars.values]
    assert marks[3].endswith("◄ seen") and marks[8].endswith("◄ heard") and sum("◄" in mark for mark in marks) == 2
    assert [bar.get_width() for bar in demo.table.bars] == pytest.approx([a[1] for a in state["answers"].values()])
    words = [value.get_text() for value in demo.table.values if value.get_weight() == "bold"]
    says, probability = state["answers"]["attention"]
    row = list(state["answers"]).index("attention")
    assert words == [f"◄ {probability:.2f}, says {says}"] == [demo.table.values[row].get_text()]
    assert [part.get_width() for part in demo.learned.parts] == pytest.approx([0.3, 0.7])
    assert demo.learned.parts[1].get_x() == pytest.approx(0.3)
    assert [text.get_visible() for text in demo.learned.texts] == [False, True]  # 0.3 has no room for its name
    assert [part.get_width() for part in demo.best.parts] == pytest.approx(state["inverse_variance"])
    words = demo.live.words.value
    assert "sees a 3 (fog 0.00) and hears “8” (hiss 0.00)" in words and "Weight on the sound 0.70" in words
    demo.says.value = "the same digit"
    assert [text.get_text() for text in demo.bars.values][3].endswith("◄ right")


def test_a_sure_answer_does_not_run_into_the_names_beside_it():
    demo = explore()
    demo.bars.mark([1.0] + 9 * [0.0], {0: ("//", "right")})
    demo.table.point([(1.0, "1.00, says 0")] * 4, 0)
    words, name, said = (
        text.get_window_extent() for text in (demo.bars.values[0], demo.table.labels[0], demo.table.values[0])
    )
    assert words.x1 < name.x0 and said.x1 < demo.live.figure.bbox.width


def test_a_fusion_without_weights_says_so():
    demo = explore()
    demo.fusion.value = "early"
    assert "It has no weights to read" in demo.live.words.value
    assert not any(part.get_visible() for part in demo.learned.parts)
    assert demo.learned.line.get_text() == "early: no weights to read"
    assert all(part.get_visible() for part in demo.best.parts)


def test_another_voice_says_what_a_voice_never_says():
    demo = explore(voices=["Ada"] * 9 + ["Bo"] * 11)
    demo.voice.value = "Ada"
    for digit, voice in ((9, "voice Bo, since Ada never says 9."), (8, "voice Ada.")):
        demo.digit.value = digit
        assert demo.state()["clip"] == digit and demo.live.words.value.count(voice) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": {}}, "one fusion or more, got none"),
        ({"digits": DIGITS[:5]}, "a digit a picture.*got 5 digits for 20 pictures"),
        ({"voices": VOICES[:7]}, "7 voices for 20 clips"),
        ({"spoken": SPOKEN // 2}, "a clip of each digit that is written, got none of 5, 6, 7, 8, 9"),
        ({"picture_errors": {"fog": [0.1]}}, "two errors above 0 or more for 'fog'"),
        ({"sound_errors": {"hiss": [0.1, 0.0]}}, "two errors above 0 or more for 'hiss'"),
    ],
)
def test_fusion_refuses(change, said):
    with pytest.raises(ValueError, match=f"FusionExplorer: expected .*{said}"):
        explore(**change)


# ---------------------------------------------------------------- say it


def test_say_it_shows_what_plain_numbers_give():
    demo = say_it()
    demo.digit.value = "4"
    state = demo.state()
    assert (state["language"], state["never_heard"], state["digit"], state["predicted"]) == ("en-us", False, 4, 4)
    loudest = float(say(["4"], "en-us+Ada", 175, 50).abs().max()) / 0.5 - 0.1
    assert state["probabilities"] == pytest.approx(probabilities_by_hand(loudest), abs=1e-5)
    assert state["right"] == 10 and [called for called, _ in state["answers"]] == list(range(10))
    assert "4 in English (America), as in the training, voice Ada" in demo.live.words.value
    assert "Of the ten digits said so, 10 are heard right." in demo.live.words.value


def test_in_a_language_never_heard_the_words_are_other_words():
    demo = say_it()
    demo.language.value = "de"
    state = demo.state()
    assert state["never_heard"] and state["right"] == 0 and state["predicted"] == 8
    assert [called for called, _ in state["answers"]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert "7 in German, a language that the model never heard, voice Ada" in demo.live.words.value
    assert demo.language.label == "German (never heard)"


def test_say_it_asks_for_what_its_controls_say():
    asked = []

    def listening(texts, voice, rate, pitch):
        asked.append((tuple(texts), voice, rate, pitch))
        return say(texts, voice, rate, pitch)

    demo = say_it(say=listening)
    demo.voice.value, demo.language.value, demo.speed.value, demo.pitch.value = "Bo", "nl", 300, 5
    assert asked[-1] == (tuple("0123456789"), "nl+Bo", 300, 5)


def test_say_it_draws_and_plays_what_it_says():
    demo = say_it()
    demo.digit.value = "2"
    state, clip = demo.state(), say(["2"], "en-us", 175, 50)[0]
    assert [bar.get_width() for bar in demo.bars.bars] == pytest.approx(state["probabilities"], abs=1e-6)
    assert [bar.get_width() for bar in demo.table.bars] == pytest.approx([own for _, own in state["answers"]])
    assert demo.table.values[2].get_weight() == "bold" and demo.bars.values[2].get_text().endswith("◄ said")
    assert demo.wave.get_ydata() == pytest.approx((clip / clip.abs().max()).numpy())
    torch.testing.assert_close(samples(demo), clip, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unheard": {"US": "en-us"}}, "heard in training or not, got en-us in both"),
        ({"voices": []}, "3 languages, 0 voices"),
        ({"heard": {}, "unheard": {}}, "0 languages"),
    ],
)
def test_say_it_refuses(change, said):
    with pytest.raises(ValueError, match=f"SayItExplorer: expected .*{said}"):
        say_it(**change)


def test_a_word_that_cannot_be_said_is_an_error_that_is_shown():
    def stumbling(texts, voice, rate, pitch):
        if rate > 400:
            raise ValueError("speak: expected rate from 80 to 400")
        return say(texts, voice, rate, pitch)

    demo = say_it(say=stumbling)
    before = pixels(demo)
    demo.speed.value = 410
    assert 'role="alert"' in demo.live.words.value and "rate from 80 to 400" in demo.live.words.value
    assert not np.array_equal(pixels(demo), before)
    demo.speed.value = 175
    assert np.array_equal(pixels(demo), before)


# ---------------------------------------------------------------- both

BOTH = [explore, say_it]
each_demo = pytest.mark.parametrize("make", BOTH)


@each_demo
def test_a_model_of_other_classes_is_reported(make):
    assert "logits (b=1" in make(Ear((0.5, 0.5), classes=12)).live.words.value


def test_shares_fill_the_bar():
    from mmlib import plots

    shares = Shares(plots.blank(200), 10)
    shares.show([0.5, 0.5])
    assert shares.parts[0].get_x() == 0 and shares.parts[1].get_x() + shares.parts[1].get_width() == 1
    assert [text.get_text() for text in shares.texts] == ["picture 0.50", "sound 0.50"]
