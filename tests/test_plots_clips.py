"""Figures of clips: strips that stay inside the page, patterns, animations with a text, and what they refuse."""

import base64
import re

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from mmlib import plots
from mmlib.data.motion import to_gif

LONG = "turn counterclockwise, called orbit counterclockwise, and so on without any end in sight, again and again"


def clips(n, t):
    return torch.randint(0, 256, (n, t, 3, 32, 32), dtype=torch.uint8)


def texts_outside(figure):
    """Texts of a figure that leave its page."""
    figure.canvas.draw()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text()}
    return [text for text, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1]


@pytest.mark.parametrize("frames", [1, 8, 16, 32])
def test_strips_show_every_frame_and_stay_on_the_page(frames):
    figure = plots.plot_strips(clips(3, frames), ["left", "right", LONG])
    figure.canvas.draw()
    assert len(figure.axes) == 3 * frames
    assert all(figure.bbox.contains(*axes.bbox.p0) and figure.bbox.contains(*axes.bbox.p1) for axes in figure.axes)
    assert not texts_outside(figure)
    assert [axes.get_title("center") for axes in figure.axes[:frames]] == [str(i + 1) for i in range(frames)]


def test_strips_show_the_frames_in_their_order():
    video = clips(2, 3)
    figure = plots.plot_strips(video, ["a", "b"])
    for axes, frame in zip(figure.axes, video.flatten(0, 1), strict=True):
        assert np.array_equal(axes.images[0].get_array(), frame.permute(1, 2, 0))


def test_strips_fade_what_is_not_attended_to():
    weights = torch.full((1, 2, 4, 4), 0.01)
    weights[0, 1, 2, 3] = 0.85
    figure = plots.plot_strips(clips(1, 2), ["right"], weights)
    even, sharp = (axes.images[1].get_array()[..., 3] for axes in figure.axes)
    assert even.max() == 0 and sharp[2, 3] == 0 and sharp[0, 0] > 0.8


def test_strips_want_a_caption_and_weights_for_each_clip():
    with pytest.raises(ValueError, match=r"plot_strips: expected 2 captions, got 1"):
        plots.plot_strips(clips(2, 4), ["left"])
    with pytest.raises(ValueError, match=r"plot_strips: expected 2 weights, got 1"):
        plots.plot_strips(clips(2, 4), ["left", "right"], torch.ones(1, 4, 4, 4))


def test_patterns_are_dark_where_a_row_looks():
    figure = plots.plot_patterns({"one": torch.eye(3).bool(), "two": torch.ones(3, 3).bool()}, "asked", "asks")
    one, two = (axes.images[0].get_array() for axes in figure.axes)
    assert np.array_equal(one, np.eye(3)) and np.array_equal(two, np.ones((3, 3)))
    assert not texts_outside(figure)


def test_an_animation_carries_its_text_and_its_bytes(monkeypatch):
    shown = []
    monkeypatch.setattr("mmlib.plots.clips.display", lambda data, raw: shown.append(data))
    gif = to_gif(clips(2, 3))
    plots.show_gif(gif, 'a "star" & a <dot>, moving')
    page = shown[0]["text/html"]
    assert 'alt="a &quot;star&quot; &amp; a &lt;dot&gt;, moving"' in page
    assert base64.b64decode(re.search(r"base64,([^\"]+)", page)[1]) == gif


@pytest.mark.parametrize(
    "gif, alt, message",
    [(b"GIF89a", " ", "expected an alt text"), (b"\x89PNG", "a star", "expected the bytes of a GIF")],
)
def test_what_an_animation_refuses(gif, alt, message):
    with pytest.raises(ValueError, match=message):
        plots.show_gif(gif, alt)
