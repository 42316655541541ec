"""What every demo is made of: one figure that is redrawn in place, the Image that shows it, and a line that says it.

A demo is a VBox with its controls as attributes and a `state()` of the numbers it shows. It owns a `Live`, and hands it
a function that moves the artists and gives the words. Callbacks run on another thread than the cells, also while a
cell runs, so all of this happens under a lock.
"""

import html
import threading
from collections.abc import Callable, Sequence

import numpy as np
from ipywidgets import HTML, Image, Layout, Widget
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from mmlib.plots import PALETTE
from mmlib.widgets.lettering import Canvas
from mmlib.widgets.png import encode_png

LABEL = {"description_width": "initial"}  # a label is as wide as its words


class Live:
    """A figure whose moving artists are drawn over a kept picture of all that stands still.

    Drawing a whole figure takes several times as long as the few artists that a control moves.

    Args:
        figure: drawn by `plots.blank`; keeps its size for life.
        moving: the artists that change, in the order in which they are drawn. The words say what they show:
            an Image widget has no alt text.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist]):
        width, height = (int(side) for side in figure.bbox.size)
        fixed = Layout(width=f"{width}px", max_width="100%", height="auto", margin="4px 0")
        self.figure, self.moving = figure, list(moving)
        Canvas(figure)
        self.image = Image(format="png", width=width, height=height, layout=fixed)
        self.words = HTML(layout=Layout(max_width=f"{width}px", min_height="44px"))
        self.lock = threading.RLock()
        self._ground = None

    def refresh(self, update: Callable[[], str]) -> None:
        """Run `update`, which moves the artists and returns the words, then show both. An error is shown, not lost."""
        with self.lock:
            try:
                words = update()
                self.draw()
            except Exception as error:  # from a callback it would only reach the server's log
                self.say(f"{type(error).__name__}: {error}", urgent=True)
            else:
                self.say(words)

    def say(self, words: str, urgent: bool = False) -> None:
        """Show words under the picture; screen readers speak them when they change."""
        mark = f"border-left:4px solid {PALETTE['vermillion']};padding-left:8px"
        role, style = ("alert", mark) if urgent else ("status", "")
        live = "assertive" if urgent else "polite"
        self.words.value = (
            f'<div role="{role}" aria-live="{live}" style="line-height:1.5;{style}">{html.escape(words)}</div>'
        )

    def ground_changed(self) -> None:
        """Forget the kept picture: something that stands still has been altered."""
        self._ground = None

    def draw(self) -> None:
        """Show the figure as its artists are now."""
        canvas = self.figure.canvas
        if self._ground is None:
            self._ground = self._draw_ground(canvas)
        canvas.restore_region(self._ground)
        for artist in self.moving:
            self.figure.draw_artist(artist)
        self.image.value = encode_png(np.asarray(canvas.buffer_rgba()))

    def _draw_ground(self, canvas):
        seen = [artist.get_visible() for artist in self.moving]
        for artist in self.moving:
            artist.set_visible(False)
        canvas.draw()
        for artist, visible in zip(self.moving, seen, strict=True):
            artist.set_visible(visible)
        return canvas.copy_from_bbox(self.figure.bbox)


def answer_while_cells_run(*controls: Widget) -> None:
    """Let the callbacks of controls run on the thread that the front end asks for, which is free while a cell runs.

    ipykernel 7.4 hands the messages of a widget to the thread that last spoke to it. For one that was made in a cell
    this is the main thread: a Stop button would answer when there is nothing left to stop.
    """
    for control in controls:
        control.comm._reply_subshell_for = None  # the hook of ipykernel that overrules the front end


def first_names(names: Sequence[str] | Sequence[Sequence[str]]) -> list[str]:
    """The first name of each picture; a picture comes with one name or with several."""
    return [name if isinstance(name, str) else name[0] for name in names]


def list_words(words: Sequence[str], most: int = 8) -> str:
    """Words for a sentence, each once and shortened; only the first few of a long list."""
    unique = [f"“{word[:30]}…”" if len(word) > 30 else f"“{word}”" for word in dict.fromkeys(words)]
    rest = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + rest
