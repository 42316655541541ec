"""The canvas of the demos: its words look, measure and stand as matplotlib's own do, and are set only once."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from mmlib import plots
from mmlib.widgets import lettering

LINES = ["0.53, says 7", "picture 0.50", "“Ąqpj” ◄ right", "two  spaces ", " ", "Åy (blur, 0.5)", "/|\\"]


def page(canvas=None, **style):
    """A figure with lines at all kinds of places, as pixels."""
    figure = plots.blank(40 * len(LINES))
    if canvas:
        canvas(figure)
    for n, line in enumerate(LINES):
        for left, ha, va, weight in ((0.01, "left", "center", "normal"), (0.99, "right", "top", "bold")):
            place = (left, (n + 0.52) / len(LINES))
            figure.text(*place, line, ha=ha, va=va, **plots.type_style(weight=weight) | style)
    figure.text(0.5, 0.5, "two\nlines, qÅ\nor three", ha="center", **plots.type_style() | style)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).astype(int)


def ink_of(pixels):
    """Darkness, and its centre of gravity."""
    dark = 255 - pixels[..., :3].mean(axis=2)
    rows, columns = np.indices(dark.shape)
    return dark.sum(), (dark * rows).sum() / dark.sum(), (dark * columns).sum() / dark.sum()


@pytest.mark.parametrize("colour", ["black", plots.PALETTE["vermillion"]])
def test_words_look_as_matplotlib_draws_them(colour):
    kept, plain = page(lettering.Canvas, color=colour), page(color=colour)
    assert kept.shape == plain.shape
    dark, row, column = ink_of(plain)
    assert ink_of(kept) == (pytest.approx(dark, rel=0.01), pytest.approx(row, abs=0.5), pytest.approx(column, abs=0.5))
    # Whole pixels in place of parts of one: edges differ, and nothing else.
    near = [np.roll(kept, shift, axis=axis) for axis in (0, 1) for shift in (-1, 0, 1)]
    darkest, lightest = np.min(near, axis=0), np.max(near, axis=0)
    apart = (np.maximum(darkest - plain, plain - lightest).max(axis=2) > 100).sum()
    assert apart < 0.01 * (plain.min(axis=2) < 128).sum()


@pytest.mark.parametrize("style", [{"alpha": 0.4}, {"color": (0, 0, 0, 0.4)}, {"rotation": 20}, {"parse_math": True}])
def test_text_of_any_other_kind_is_left_to_matplotlib(style):
    if "parse_math" in style:
        style = {**style, "family": "DejaVu Sans", "fontsize": 12}
        figures = plots.blank(80), plots.blank(80)
        lettering.Canvas(figures[0])
        for figure in figures:
            figure.text(0.5, 0.5, "$x^2$", **style)
            figure.canvas.draw()
        assert np.array_equal(*(np.asarray(figure.canvas.buffer_rgba()) for figure in figures))
    else:
        assert np.array_equal(page(lettering.Canvas, **style), page(**style))


@pytest.mark.parametrize("line", [*LINES, "", "a", "a b"])
@pytest.mark.parametrize("size", [8, 11])
def test_lines_measure_as_matplotlib_measures_them(line, size):
    style = FontProperties(family="DejaVu Sans", size=size)
    kept, plain = (kind(300, 100, 100).get_text_width_height_descent(line, style, False) for kind in KINDS)
    assert np.abs(np.subtract(kept, plain)).max() <= 1


KINDS = lettering.Lettering, RendererAgg


def test_a_word_is_set_once_in_each_style():
    lettering._measure.cache_clear()
    lettering._pixels.cache_clear()
    page(lettering.Canvas)
    set_first = lettering._pixels.cache_info().misses
    page(lettering.Canvas)
    assert lettering._pixels.cache_info().misses == set_first > len(LINES)
    page(lettering.Canvas, color="red")
    assert lettering._pixels.cache_info().misses == 2 * set_first


def test_a_style_that_is_altered_later_is_another_style():
    figure = plots.blank(60)
    lettering.Canvas(figure)
    text = figure.text(0.1, 0.5, "word", **plots.type_style())
    drawn = []
    for weight in ("normal", "bold", "normal"):
        text.set_weight(weight)
        figure.canvas.draw()
        drawn.append(np.asarray(figure.canvas.buffer_rgba()).copy())
    assert np.array_equal(drawn[0], drawn[2]) and not np.array_equal(drawn[0], drawn[1])


def test_a_figure_of_another_size_gets_another_page():
    figure = plots.blank(60)
    lettering.Canvas(figure)
    first = figure.canvas.get_renderer()
    assert figure.canvas.get_renderer() is first
    figure.set_size_inches(2, 1)
    figure.canvas.draw()
    assert np.asarray(figure.canvas.buffer_rgba()).shape == (100, 200, 4)
