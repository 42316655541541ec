"""For everyone: what a screen reader, a keyboard and a reader without colour vision get from figures, demos, notebooks.

`test_notebooks.py` holds that pictures have alt texts at all, tables header cells, and headings their order."""

import re
from functools import lru_cache
from itertools import combinations

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text
from test_notebooks import SHORTEST_ALT, each_notebook, html, outputs, prose
from test_plots import figures, linear
from test_widgets import panel_with
from test_widgets_contract import DEMOS as EXPLORERS
from test_widgets_contract import controls_of

from mmlib import plots

READABLE = 4.5  # contrast of text and ground that WCAG 2 asks for
DEMOS = EXPLORERS | {"TrainingPanel": lambda: panel_with([1, 2])}
each_demo = pytest.mark.parametrize("name", DEMOS)


# ---------------------------------------------------------------- demos


def moves(control):
    """Values that a reader may give to a control, its own first."""
    if isinstance(control, ipywidgets.Text):
        return [control.value, "dog", "red cat"]
    if isinstance(control, ipywidgets.Checkbox):
        return [control.value, not control.value]
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        return [control.value, *values]
    return [control.value, control.min, control.max]


# What a reader has to do before a control has an effect: the place of another control, and its value.
BEFORE = {
    **{("DecodeExplorer", label): {"words by": "sampling"} for label in ("temperature", "top-p", "draw")},
    ("NegativesExplorer", "train this one"): {"negatives": "random"},
    ("OrderExplorer", "swap"): {"frames swapped": 4},
    ("RetrievalExplorer", "pictures"): {"search": "cat"},
    ("TemperatureExplorer", "learned: 0.070"): {"temperature": 0.5},
}


@each_demo
def test_the_words_follow_every_control(name):
    """A reader who hears only the words hears that something has changed."""
    for place, first in enumerate(controls_of(DEMOS[name]())):
        demo = DEMOS[name]()
        controls = {control.description: control for control in controls_of(demo)}
        for label, value in BEFORE.get((name, first.description), {}).items():
            controls[label].value = value
        control, heard = controls_of(demo)[place], {demo.live.words.value}
        if isinstance(control, ipywidgets.IntProgress):
            continue  # it only shows
        if isinstance(control, ipywidgets.Button):
            control.click()
            heard.add(demo.live.words.value)
        else:
            for value in moves(control):
                control.value = value
                heard.add(demo.live.words.value)
        assert len(heard) > 1, f"{name}, {control.description!r}: the words stay {heard}"


@lru_cache
def drawn():
    """Every kind of figure: those of the notebooks, and those of the demos after a move."""
    demos = {name: make() for name, make in DEMOS.items()}
    demos["RetrievalExplorer"].query.value = "cat"
    demos["SearchExplorer"].query.value = "cat"
    demos = {name: demo.live.figure for name, demo in demos.items()}
    shades = np.linspace(0, 1, 30)
    nodes = [[plots.Node("a\n0.6", 0), plots.Node("the\n0.4", 0, False)], [plots.Node("cat\n0.3", 0)]]
    picture = torch.rand(2, 3, 8, 8).mul(255).byte()
    static = {
        "shades": plots.plot_matrix(shades.reshape(6, 5), list("abcdef"), list("abcde")),
        "grids": plots.plot_grids({"one": shades.reshape(6, 5)}, list("abcdef"), list("abcde"), "y", "x"),
        "tree": plots.plot_tree(nodes),
        "looks": plots.plot_looks(picture, [["a"], ["b"]], [np.ones((1, 2, 2))] * 2),
        "five lines": plots.plot_lines({str(n): ([0, 1], [n, n + 1]) for n in range(5)}, "x", "y", {"mark": 2}),
        "strips": plots.plot_strips(picture[:, None].expand(2, 4, 3, 8, 8), ["one", "two"]),
    }
    return figures() | demos | static


FIGURES = ["pictures", "matrix", "small matrix", "bars", "lines", "attention", *DEMOS]
FIGURES += ["shades", "grids", "tree", "looks", "five lines", "strips"]
each_figure = pytest.mark.parametrize("name", FIGURES)


def contrast(one, other):
    """From 1, alike, to 21, black on white.

    Equation: (L1 + 0.05) / (L2 + 0.05), with L the luminances, the lighter one first (WCAG 2)
    """
    light, dark = sorted((linear(c) @ (0.2126, 0.7152, 0.0722) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("white", "black") == pytest.approx(21, abs=0.01)
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


def drawing_of(figure):
    """Its pixels without texts, and every text that a drawing of it writes inside, with its box."""
    written, draw = [], Text.draw

    def keep(self, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            written.append((self, self.get_window_extent()))

    try:
        Text.draw = keep
        figure.canvas.draw()
    finally:
        Text.draw = draw
    return np.asarray(figure.canvas.buffer_rgba()).copy(), written


def ground_of(text, box, pixels):
    """The colour under a text: of its own box, or else the one that most of its place has."""
    if text.get_bbox_patch() is not None:
        return to_rgb(text.get_bbox_patch().get_facecolor())
    rows = slice(max(0, round(pixels.shape[0] - box.y1)), max(0, round(pixels.shape[0] - box.y0)))
    place = pixels[rows, max(0, round(box.x0)) : max(0, round(box.x1)), :3].reshape(-1, 3)
    colours, counts = np.unique(place, axis=0, return_counts=True)
    return tuple(colours[counts.argmax()] / 255)


@each_figure
def test_every_text_can_be_read_on_its_ground(name):
    pixels, written = drawing_of(drawn()[name])
    assert written
    for text, box in written:
        ratio = contrast(text.get_color(), ground_of(text, box, pixels))
        assert ratio >= READABLE, f"{text.get_text()!r}: {ratio:.2f}"


def looks_of(axes):
    """What is drawn into axes as (colour, all else that tells it apart): lines, and the outlines of trees."""
    for line in axes.findobj(Line2D):
        if line in axes.lines and line.get_visible():
            shape = line.get_linestyle(), line._dash_pattern, line.get_linewidth()
            yield line.get_color(), (*map(str, shape), line.get_marker(), line.get_markersize())
    for lines in axes.findobj(LineCollection):
        for colour in lines.get_edgecolors():
            yield tuple(colour), (str(lines.get_linestyles()), lines.get_linewidths()[0])
    for patch in axes.patches:
        if patch.get_fill() and patch.get_visible():
            yield patch.get_facecolor(), ("patch", patch.get_hatch() or "")


@each_figure
def test_nothing_is_told_by_colour_alone(name):
    for axes in drawn()[name].axes:
        for (colour, look), (other_colour, other_look) in combinations(set(looks_of(axes)), 2):
            assert to_rgb(colour) == to_rgb(other_colour) or look != other_look, (colour, other_colour, look)


# ---------------------------------------------------------------- notebooks


def alts(path):
    """The texts of all pictures: of figures, and of pictures in HTML."""
    images = [o["metadata"]["image/png"]["alt"] for o in outputs(path) if "image/png" in o.get("data", {})]
    return images + [alt for text in html(path) for alt in re.findall(r'<img\b[^>]*\balt="([^"]*)"', text)]


def plain(text):
    return re.sub(r"[^\w ]", "", text).casefold().strip()


@each_notebook
def test_alt_texts_say_what_is_to_be_seen(path):
    headings = {plain(heading) for heading in re.findall(r"^#+ (.+)$", prose(path), flags=re.M)}
    texts = alts(path)
    assert texts and len(set(texts)) == len(texts), "two pictures of one text"
    for alt in texts:
        assert len(alt) >= SHORTEST_ALT and plain(alt) not in headings, alt
        assert not re.match(r"(a |the )?(figure|picture|image|plot|chart|graph)( of| showing|:)", alt, flags=re.I), alt
        assert len(alt) <= 800, f"{len(alt)} characters are no longer a text in place of a picture: {alt[:80]}"


@each_notebook
def test_players_have_names(path):
    players = [tag for text in html(path) for tag in re.findall(r"<audio\b[^>]*>", text)]
    assert all(re.search(r'aria-label="[^"]+"', tag) for tag in players)


def markdown_tables(path):
    made = ["".join(o["data"]["text/markdown"]) for o in outputs(path) if "text/markdown" in o.get("data", {})]
    for text in [prose(path), *made]:
        yield from re.findall(r"^(\|.*)\n\|[ :|-]+\|?$", text, flags=re.M)


@each_notebook
def test_columns_have_names(path):
    heads = [[cell.strip() for cell in head.strip("|").split("|")] for head in markdown_tables(path)]
    assert heads
    for head in heads:
        assert all(head[1:]) and (head[0] or len(head) > 1), head  # above the names of rows there may be nothing


@each_notebook
def test_links_say_where_they_lead(path):
    named = re.findall(r"\[([^\]]+)\]\(http", prose(path))
    assert not [text for text in named if plain(text) in {"here", "link", "this", "click here"}]
