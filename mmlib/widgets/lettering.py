"""A canvas that keeps the pixels of each word: to set the type anew takes many times as long as to copy them."""

from functools import lru_cache

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.font_manager import FontProperties

MARGIN = 2  # pixels around a word: its type may lean out of its box


class Canvas(FigureCanvasAgg):
    """What a figure is drawn on that is drawn often."""

    def get_renderer(self) -> "Lettering":
        """The renderer of this canvas; another one when the figure has another size."""
        size = (*self.figure.bbox.size, self.figure.dpi)
        if getattr(self, "_size", None) != size:
            self.renderer, self._size = Lettering(*size), size
        return self.renderer


class Lettering(RendererAgg):
    """Draws as Agg does, but words that are upright and opaque at whole pixels, and from those that are kept."""

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        """Draw one line of text; x and y are where it begins, from the upper left corner."""
        *colour, alpha = gc.get_rgb()
        if angle or ismath or alpha < 1:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        kept = prop.copy()
        for word in _words(s):
            width, _, descent = _measure(word, kept, self.dpi)
            pixels = _pixels(word, kept, tuple(colour), self.dpi)
            bottom = self.height - round(y) - int(descent) - MARGIN
            self.draw_image(gc, round(x) - MARGIN, bottom, pixels)
            x += width

    def get_text_width_height_descent(self, s, prop, ismath):
        """Size of one line of text in pixels."""
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        kept = prop.copy()
        widths, heights, descents = zip(*(_measure(word, kept, self.dpi) for word in _words(s)), strict=True)
        ascent = max(height - descent for height, descent in zip(heights, descents, strict=True))
        return sum(widths), ascent + max(descents), max(descents)


def _words(line: str) -> list[str]:
    """The words of a line, each but the last with the space behind it."""
    *words, last = line.split(" ")
    return [*(f"{word} " for word in words), last]


@lru_cache(maxsize=4096)
def _measure(word: str, prop: FontProperties, dpi: float | int) -> tuple[float, float, float]:
    return RendererAgg(1, 1, dpi).get_text_width_height_descent(word, prop, False)


@lru_cache(maxsize=4096)
def _pixels(word: str, prop: FontProperties, colour: tuple[float, ...], dpi: float | int) -> np.ndarray:
    """A word on nothing, from its lowest row up, as renderers take it."""
    width, height, descent = _measure(word, prop, dpi)
    below = int(descent) + MARGIN
    page = RendererAgg(int(width) + 2 * MARGIN, int(height - descent) + MARGIN + below, dpi)
    gc = page.new_gc()
    gc.set_foreground((*colour, 1.0), isRGBA=True)
    page.draw_text(gc, MARGIN, page.height - below, word, prop, 0)
    return np.asarray(page.buffer_rgba())[::-1].copy()
