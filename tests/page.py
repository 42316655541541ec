"""What tests of demos and figures look at: pixels, and texts on their page."""

import io
from itertools import combinations

import numpy as np
from matplotlib.text import Text
from PIL import Image


def pixels(demo):
    """What a demo shows."""
    return np.asarray(Image.open(io.BytesIO(demo.live.image.value)))


def check_texts(figure):
    """No text leaves the page or runs into another one; gives how many there are."""
    figure.canvas.draw()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    boxes = [(text, box) for text, box in boxes if box.width > 0]
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1, text
    for (one, box), (other, beside) in combinations(boxes, 2):
        assert not box.shrunk(0.9, 0.7).overlaps(beside.shrunk(0.9, 0.7)), (one, other)
    return len(boxes)
