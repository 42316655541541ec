"""Figures: their size, type that never overlaps, colours that a colour-blind reader tells apart, alt texts."""

import io
from functools import lru_cache
from itertools import combinations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from mmlib import plots

LONG = "woman firefighter: medium-dark skin tone with a very long name that never ends and goes on"
# How linear RGB looks to readers without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
CONES = {
    "all": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("reader", CONES)
def test_no_two_colours_look_alike(reader):
    seen = {name: lab(np.array(CONES[reader]) @ linear(colour)) for name, colour in plots.PALETTE.items()}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)


@pytest.mark.parametrize("colour", plots.PALETTE)
def test_colours_can_be_read_on_white(colour):
    assert 1.05 / (0.05 + (TO_XYZ @ linear(plots.PALETTE[colour]))[1]) >= 4.5


def test_shades_run_from_light_to_dark():
    light = [lab(linear(plots.style.SHADES(x)))[0] for x in np.linspace(0, 1, 20)]
    assert np.all(np.diff(light) < 0)


NAMES = ["pictures", "matrix", "small matrix", "bars", "lines", "attention"]


def pictures(n):
    return torch.randint(0, 256, (n, 3, 48, 48), dtype=torch.uint8)


@lru_cache
def figures():
    matrix = torch.rand(12, 12)
    names = [f"{LONG} {n}" for n in range(12)]
    temperatures = np.geomspace(0.005, 1, 20)
    curves = {name: (temperatures, np.full(20, 0.01 * n)) for n, name in enumerate([*names[:4], "W" * 80])}
    return {
        "pictures": plots.plot_pictures(pictures(8), [LONG, "W" * 80, "a", "", "$x_{$ and 日本", *["b"] * 3]),
        "matrix": plots.plot_matrix(matrix, names, names, "similarity", pictures=pictures(12)),
        "small matrix": plots.plot_matrix(matrix[:3, :3], names[:3], names[:3], "by hand", pictures=pictures(3)),
        "bars": plots.plot_bars({name: 0.9 for name in names}, "accuracy", {"chance": 0.05}, right=names[0]),
        "lines": plots.plot_lines(curves, "temperature", "weight", {"even": 0.2}, log_x=True),
        "attention": plots.plot_attention(pictures(6), torch.rand(6, 6, 6), [LONG] * 6),
    }


def texts(figure, monkeypatch):
    """Every text that a drawing of the figure really writes, with its box in pixels."""
    written, draw = [], Text.draw

    def keep(self, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            written.append((self, self.get_window_extent()))
        return draw(self, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", keep)
    figure.canvas.draw()
    return written


@pytest.mark.parametrize("name", NAMES)
def test_text_is_large_inside_the_figure_and_never_overlaps(name, monkeypatch):
    figure = figures()[name]
    placed = texts(figure, monkeypatch)
    assert len(placed) >= 3
    for text, box in placed:
        assert text.get_fontsize() >= 11, text
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1, text
    level = [(text, box) for text, box in placed if text.get_rotation() == 0]  # boxes of slanted ones do overlap
    for (one, a), (other, b) in combinations(level, 2):
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 3 or b.y1 <= a.y0 + 3
        assert apart, (one, other)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_as_wide_as_the_others(name):
    assert figures()[name].bbox.width == plots.WIDTH


def test_lines_differ_in_dash_as_well_as_in_colour():
    axes = plots.plot_lines({str(n): ([0, 1], [n, n]) for n in range(5)}, "x", "y").axes[0]
    looks = {(line._dash_pattern[1] and tuple(line._dash_pattern[1]), line.get_color()) for line in axes.lines}
    assert len({dash for dash, _ in looks}) == len({colour for _, colour in looks}) == 5


def test_the_readers_own_style_changes_nothing():
    def drawn():
        figure = plots.plot_bars({"a": 0.5, "b": 0.2}, "title", {"chance": 0.1}, right="a")
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba()).copy()

    plain = drawn()
    with matplotlib.rc_context(
        {"text.color": "white", "axes.facecolor": "black", "font.size": 5, "axes.titlesize": 30}
    ):
        assert np.array_equal(drawn(), plain)


def test_matrix_writes_its_numbers_and_bars_mark_the_right_answer():
    matrix = plots.plot_matrix(torch.tensor([[0.25, 1.0], [0.5, 0.75]]), ["a", "b"], ["c", "d"])
    assert {"0.25", "1.00", "0.50", "0.75"} <= {text.get_text() for text in matrix.axes[0].texts}
    bars = plots.plot_bars({"cat": 0.7, "dog": 0.3}, right="dog").axes[0]
    assert [patch.get_hatch() for patch in bars.patches] == ["", "//"]
    assert [text.get_text() for text in bars.texts] == ["0.700", "0.300  ◄ right"]


def test_attention_outlines_the_fewest_patches_that_hold_half_of_the_weight():
    grid = np.array([[0.4, 0.3], [0.2, 0.1]])
    assert np.array_equal(plots.half_of_weight(grid), [[1, 1], [0, 0]])
    assert np.array_equal(plots.half_of_weight(np.array([[0.6, 0.2], [0.1, 0.1]])), [[1, 0], [0, 0]])


@pytest.mark.parametrize("lines, weight", [(1, "normal"), (1, "bold"), (2, "normal"), (3, "bold")])
@pytest.mark.parametrize("text", [LONG, "W" * 300, "a\n b\t c", "ab " * 4000, "日本語 café", ""])
def test_fit_keeps_lines_within_their_width(text, lines, weight):
    fitted = plots.fit(text, 120, lines, weight)
    assert fitted.count("\n") < lines
    assert all(plots.style._width(line, weight) <= 120 for line in fitted.split("\n"))
    if len(text) < 12 and "\n" not in text:
        assert fitted == text.replace("日本語", "□□□")
    elif len(text) > 100:
        assert fitted.endswith("…")


def test_bold_letters_need_more_room():
    assert plots.style._width(LONG, "bold") > 1.05 * plots.style._width(LONG, "normal")


def test_show_gives_a_png_with_its_alt_text(monkeypatch):
    published = []
    monkeypatch.setattr(plots.style, "display", lambda data, raw, metadata: published.append((data, metadata)))
    plots.show(plots.plot_bars({"a": 0.5}), "one bar")
    data, metadata = published[0]
    assert metadata == {"image/png": {"alt": "one bar"}}
    assert Image.open(io.BytesIO(data["image/png"])).size == (plots.WIDTH, 64 + 34 + 30)


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_an_empty_alt_text(alt):
    with pytest.raises(ValueError, match="plots.show: expected an alt text, got an empty one"):
        plots.show(plots.plot_bars({"a": 0.5}), alt)


def test_no_pictures_are_refused():
    with pytest.raises(ValueError, match="plots.plot_pictures: expected one picture or more, got none"):
        plots.plot_pictures(pictures(3)[:0], [])


@pytest.mark.parametrize(
    "call",
    [
        lambda: plots.plot_pictures(pictures(3), ["a", "b"]),
        lambda: plots.plot_matrix(torch.rand(2, 3), ["a", "b"], ["c"]),
        lambda: plots.plot_matrix(torch.rand(2, 3), ["a"], ["c", "d", "e"]),
        lambda: plots.plot_attention(pictures(2), torch.rand(2, 4, 4), ["a", "b", "c"]),
    ],
)
def test_a_missing_label_is_refused(call):
    with pytest.raises(ValueError, match=r"plots.plot_\w+: expected \d .*, got \d. Give one for each."):
        call()
