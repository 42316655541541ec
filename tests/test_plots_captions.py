"""Figures of captions: a map for each word, trees whose lines end where they should, and what they refuse."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from mmlib import plots
from mmlib.plots import Node

WORDS = [["woman\n0.81", "firefighter\n0.97", "medium-dark\n0.40", "<end>\n0.99"], ["cat\n1.00", "<end>\n0.50"]]
TREE = [
    [Node("sad\n0.5", 0), Node("cat\n0.4", 0), Node("face\n0.1", 0, False)],
    [Node("face\n0.38", 1), Node("face\n0.2", 0), Node("cat\n0.175", 0, False)],
    [Node("<end>\n0.342", 0), Node("<end>\n0.18", 1)],
]


def pictures(n):
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)


def maps():
    return [torch.rand(len(words), 4, 4) for words in WORDS]


def texts_outside(figure):
    """Texts of a figure that leave its page."""
    figure.canvas.draw()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in figure.findobj(Text) if text.get_text()}
    return [text for text, box in boxes.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1]


def lines_of(figure):
    """The lines of a tree: (from, to) in steps and rows -> line."""
    return {tuple(map(tuple, line.get_xydata())): line for line in figure.axes[0].lines}


def colour_of(line):
    return matplotlib.colors.to_hex(line.get_color()).upper()


def test_each_picture_is_drawn_alone_and_under_each_word():
    images = pictures(2)
    figure = plots.plot_looks(images, WORDS, maps())
    assert len(figure.axes) == (1 + 4) + (1 + 2)
    for place, row in {0: 0, 1: 0, 4: 0, 5: 1, 7: 1}.items():
        assert np.array_equal(figure.axes[place].images[0].get_array(), images[row].permute(1, 2, 0))
    assert [axes.texts[0].get_text() for axes in figure.axes[1:5]] == WORDS[0]
    assert not texts_outside(figure) and figure.bbox.width == plots.WIDTH


def test_a_word_fades_what_was_not_looked_at():
    weights = maps()
    weights[0][1] = 0.01
    weights[0][1, 2, 3] = 0.85
    figure = plots.plot_looks(pictures(2), WORDS, weights)
    veil = figure.axes[2].images[1].get_array()[..., 3]
    assert veil[2, 3] == 0 and veil[0, 0] > 0.8


def test_words_too_wide_for_their_place_are_cut():
    words = [["internationalisation\n0.5"] * 13]
    figure = plots.plot_looks(pictures(1), words, [torch.rand(13, 4, 4)])
    assert all(axes.texts[0].get_text().splitlines()[0].endswith("…") for axes in figure.axes[1:])
    assert not texts_outside(figure)


@pytest.mark.parametrize("cut", ["pictures", "words", "maps", "one map"])
def test_looks_want_a_caption_for_each_picture_and_a_map_for_each_word(cut):
    images, words, weights = pictures(2), WORDS, maps()
    if cut == "pictures":
        images = images[:1]
    elif cut == "words":
        words = words[:1]
    elif cut == "maps":
        weights = weights[:1]
    else:
        weights[1] = weights[1][:1]
    with pytest.raises(ValueError, match="plot_looks: expected a caption for each picture, a map for each word"):
        plots.plot_looks(images, words, weights)


def test_a_tree_leads_every_node_to_its_parent_and_the_winner_is_in_colour():
    figure = plots.plot_tree(TREE)
    lines = lines_of(figure)
    assert len(lines) == sum(map(len, TREE))
    heights = [[text.get_position()[1] for text in figure.axes[0].texts[a:b]] for a, b in ((1, 4), (4, 7), (7, 9))]
    root = figure.axes[0].texts[0].get_position()[1]
    for step, nodes in enumerate(TREE):
        for n, node in enumerate(nodes):
            before = heights[step - 1][node.parent] if step else root
            assert ((step, before), (step + 1, heights[step][n])) in lines
    won = [((0, root), (1, heights[0][1])), ((1, heights[0][1]), (2, heights[1][0]))]
    won.append(((2, heights[1][0]), (3, heights[2][0])))
    coloured = [ends for ends, line in lines.items() if colour_of(line) == plots.PALETTE["vermillion"]]
    assert sorted(coloured) == sorted(won)


def test_a_dropped_beam_is_told_by_its_dash_too():
    lines = list(lines_of(plots.plot_tree(TREE)).values())
    dropped = [not node.kept for nodes in TREE for node in nodes]
    assert [line.get_linestyle() != "-" for line in lines] == dropped


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_trees_stay_on_the_page_and_their_boxes_do_not_touch(steps):
    nodes = [Node("medium-dark\n0.123", n) for n in range(4)]
    figure = plots.plot_tree([[node._replace(parent=0) for node in nodes], *[nodes] * (steps - 1)])
    assert not texts_outside(figure) and figure.bbox.width == plots.WIDTH
    boxes = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts]
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]


@pytest.mark.parametrize("steps", [[], [[Node("cat", 0)], []]])
def test_a_tree_wants_nodes(steps):
    with pytest.raises(ValueError, match="plot_tree: expected a node or more in each step"):
        plots.plot_tree(steps)


def test_pictures_have_as_many_lines_as_were_asked_for():
    long = ["said: man with white cane facing right medium-dark skin tone. right: woman with white cane"] * 4
    for lines in (3, 6):
        figure = plots.plot_pictures(pictures(4), long, columns=4, lines=lines)
        text = figure.axes[0].texts[0].get_text()
        assert text.count("\n") < lines and text.endswith("…") == (lines == 3)
        assert not texts_outside(figure)
