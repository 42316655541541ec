"""Figures of sounds, players that can be played, heat maps on one scale, and what they refuse."""

import base64
import io
import re
import wave as wav

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from mmlib import plots

LONG = "“seven”, said by somebody whose name is longer than any line of this figure, and whose name goes on and on"


def sounds(n):
    return torch.rand(n, 1, 8, 8), torch.randn(n, 800), torch.randn(n, 40, 51)


def texts_outside(figure):
    """Texts of a figure that leave its page."""
    figure.canvas.draw()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text()}
    return [text for text, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1]


@pytest.mark.parametrize("n", [1, 4])
def test_sounds_stand_beside_what_was_seen(n):
    pictures, waves, logmels = sounds(n)
    figure = plots.plot_sounds(pictures, waves, logmels, [LONG] * n)
    assert len(figure.axes) == 3 * n and not texts_outside(figure)
    for row in range(n):
        ink, wave, mel = figure.axes[3 * row : 3 * row + 3]
        assert np.array_equal(ink.images[0].get_array(), pictures[row, 0]) and ink.images[0].get_clim() == (0, 1)
        assert np.array_equal(wave.lines[-1].get_ydata(), waves[row])
        assert np.array_equal(mel.images[0].get_array(), logmels[row]) and mel.images[0].origin == "lower"
    scales = {axes.images[0].get_clim() for axes in figure.axes[2::3]}
    assert len(scales) == 1 and len({axes.get_ylim() for axes in figure.axes[1::3]}) == 1


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_sounds_want_as_many_of_each(missing):
    parts = [*sounds(3), ["one", "two", "three"]]
    parts[missing] = parts[missing][:2]
    with pytest.raises(ValueError, match=r"plot_sounds: expected 3 (waves|log-mel pictures|captions), got 2"):
        plots.plot_sounds(*parts)


def test_grids_have_one_scale_and_their_numbers():
    values = {
        "early": torch.rand(5, 5),
        "late": torch.ones(5, 5),
        "attention": torch.zeros(5, 5),
        "cross": torch.rand(5, 5),
    }
    figure = plots.plot_grids(values, list("abcde"), list("01234"), "picture", "sound")
    *maps, scale = figure.axes
    assert len(maps) == 4 and not texts_outside(figure)
    assert {axes.images[0].get_clim() for axes in maps} == {(0, 1)}
    for axes, grid in zip(maps, values.values(), strict=True):
        assert np.array_equal(axes.images[0].get_array(), grid.double())
    assert {text.get_text() for text in maps[1].texts} == {"1.0"}
    assert {text.get_text() for text in maps[2].texts} == {".00"}
    first = float(values["early"][0, 0])
    assert maps[0].texts[0].get_text() == f"{first:.2f}".lstrip("0")
    assert maps[0].get_ylabel() == "picture" and maps[1].get_ylabel() == ""


def test_a_long_title_stays_over_its_own_grid():
    figure = plots.plot_grids({"W" * 80: torch.rand(2, 2), "late": torch.rand(2, 2)}, ["a", "b"], ["c", "d"])
    axes = figure.axes[0]
    title = next(text for text in axes.findobj(Text) if "W" in text.get_text())
    assert title.get_window_extent().x1 <= axes.get_window_extent().x1 + 1


def test_grids_want_a_label_for_each_row():
    with pytest.raises(ValueError, match="plot_grids: expected 2 row labels, got 3"):
        plots.plot_grids({"early": torch.rand(2, 2)}, ["a", "b", "c"], ["a", "b"])


def read(data):
    with wav.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return file.getframerate(), file.getnchannels(), samples


def test_a_wav_file_holds_the_samples():
    rate, channels, samples = read(plots.to_wav(torch.tensor([0.0, 0.5, -0.5]), 8000))
    assert (rate, channels, samples.tolist()) == (8000, 1, [0, 16383, -16383])


def test_what_is_too_loud_is_made_softer_as_a_whole():
    _, _, samples = read(plots.to_wav(torch.tensor([0.0, 3.0, -1.5]), 8000))
    assert samples[1] == pytest.approx(0.9 * 2**15, abs=2) and samples[2] == pytest.approx(-samples[1] / 2, abs=1)


@pytest.mark.parametrize("wave, rate, message", [
    ([0.0, 0.1], 0, "expected rate above 0"), ([0.0, float("nan")], 8000, "a sound of numbers, got NaN")])  # fmt: skip
def test_a_wav_file_refuses(wave, rate, message):
    with pytest.raises(ValueError, match=message):
        plots.to_wav(torch.tensor(wave), rate)


def test_players_carry_their_sounds_and_their_names(monkeypatch):
    shown = []
    monkeypatch.setattr("mmlib.plots.sounds.display", lambda data, raw: shown.append(data))
    waves = torch.rand(2, 100)
    plots.show_sounds(waves, 8000, ['a "seven" & <more>', "eight"])
    page = shown[0]["text/html"]
    assert 'aria-label="a &quot;seven&quot; &amp; &lt;more&gt;"' in page and "<more>" not in page
    sources = re.findall(r'src="data:audio/wav;base64,([^"]+)"', page)
    assert [base64.b64decode(source) for source in sources] == [plots.to_wav(wave, 8000) for wave in waves]
    assert "autoplay" not in page and shown[0]["text/plain"].endswith("eight.")


def test_players_want_a_caption_each():
    with pytest.raises(ValueError, match="show_sounds: expected 2 captions, got 1"):
        plots.show_sounds(torch.rand(2, 100), 8000, ["one"])
