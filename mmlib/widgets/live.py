"""What every demo is made of: one figure that is redrawn in place, the Image that shows it, and a line that says it.

`Live` is the figure and its line, `Demo` the box with controls around them. Callbacks run on another thread than the
cells, also while a cell runs, so all of this happens under a lock.
"""

import html
import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ipywidgets import HTML, Button, HBox, Image, IntProgress, Layout, VBox, Widget
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from mmlib.plots import PALETTE
from mmlib.widgets.lettering import Canvas
from mmlib.widgets.parts import ROW_OF_CONTROLS, show_all
from mmlib.widgets.png import encode_png

ROUTE = "_reply_subshell_for"  # of ipykernel's comms, private: by it the kernel overrules the front end


class Live:
    """A figure whose moving artists are drawn over a kept picture of all that stands still.

    Drawing a whole figure takes several times as long as the few artists that a control moves.

    Args:
        figure: drawn by `plots.blank`; keeps its size for life.
        moving: the artists that change, in the order in which they are drawn. The words say what they show:
            an Image widget has no alt text.
        resolution: pixels drawn for a pixel shown.
    """

    def __init__(self, figure: Figure, moving: Iterable[Artist], resolution: int = 1):
        width, height = (int(side) for side in figure.bbox.size)
        fixed = Layout(width=f"{width}px", max_width="100%", height="auto", margin="4px 0")
        self.figure, self.moving = figure, list(moving)
        figure.set_dpi(resolution * figure.dpi)
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
        show_all(self.moving, False)
        canvas.draw()
        for artist, visible in zip(self.moving, seen, strict=True):
            artist.set_visible(visible)
        return canvas.copy_from_bbox(self.figure.bbox)


class Demo(VBox):
    """Rows of controls, a picture that follows them, and a line of words that says what it shows.

    A subclass makes its controls and its figure, hands them over, and says three things: `state`, the numbers that
    the controls lead to; `draw`, which moves the artists; `words`. Each change of a control runs the three. Where one
    of them fails, the error stands in the line, and nothing of an older answer beside it.

    Args:
        figure, moving: as `Live` takes them.
        rows: of controls.
        beside: tables and players, which `draw` fills.
    """

    css_class = ""  # what a page finds the demo by
    resolution = 1  # pixels drawn for a pixel shown: a projector enlarges what it shows
    made_with: tuple[tuple, dict]  # what it was called with, so that it can be made again elsewhere

    def __new__(cls, *args, **kwargs):
        """Keep what the demo is made with."""
        demo = super().__new__(cls)
        demo.made_with = args, kwargs
        return demo

    def __init__(
        self,
        figure: Figure,
        moving: Iterable[Artist],
        rows: Sequence[Sequence[Widget]],
        beside: Sequence[Widget] = (),
    ):
        self.live, self.beside, self._drawing = Live(figure, moving, self.resolution), list(beside), False
        answer_while_cells_run(*beside)
        for row in rows:
            self.listen_to(*row)
        super().__init__([*(HBox(row, layout=ROW_OF_CONTROLS) for row in rows), *self.arrange()])
        self.add_class(self.css_class)
        self.refresh()
        self.on_made(self)

    def state(self) -> dict:
        """The numbers that the controls lead to."""
        return {}

    def draw(self, state: dict) -> None:
        """Move the artists, all of which are visible at first, and fill what stands beside them."""

    def words(self, state: dict) -> str:
        """What the picture shows."""
        return ""

    def arrange(self) -> list[Widget]:
        """What stands below the controls, from above to below."""
        return [self.live.image, *self.beside, self.live.words]

    def listen_to(self, *controls: Widget) -> None:
        """Follow these controls from now on, also while a cell runs."""
        answer_while_cells_run(*controls)
        for control in controls:
            if not isinstance(control, (Button, IntProgress)):  # which have nothing to be set
                control.observe(self.changed, "value")

    def changed(self, change: dict) -> None:
        """Answer a control, unless it is `draw` itself that sets it."""
        with self.live.lock:  # whoever draws on another thread has done with it
            if not self._drawing:
                self.refresh()

    def refresh(self) -> None:
        """Show what the controls ask for."""
        self.live.refresh(self._update)

    def close(self) -> None:
        """Close all that is inside too: the page forgets the demo, and memory the model."""
        for widget in _inside(self):
            widget.close()
        super().close()

    @staticmethod
    def on_made(demo: "Demo") -> None:
        """Called with every new demo; who collects demos puts another function here."""

    def _update(self) -> str:
        self._drawing = True
        try:
            state = self.state()
            self._show(True)
            self.draw(state)
            return self.words(state)
        except Exception:
            self._show(False)
            self.live.draw()
            raise
        finally:
            self._drawing = False

    def _show(self, visible: bool) -> None:
        show_all(self.live.moving, visible)
        for widget in self.beside:
            widget.layout.visibility = None if visible else "hidden"


def _inside(widget: Widget) -> list[Widget]:
    return [each for child in getattr(widget, "children", ()) for each in (*_inside(child), child)]


def answer_while_cells_run(*controls: Widget) -> None:
    """Let the callbacks of controls run on the thread that the front end asks for, which is free while a cell runs.

    ipykernel 7.4 hands the messages of a widget to the thread that last spoke to it. For one that was made in a cell
    this is the main thread: a Stop button would answer when there is nothing left to stop. Other releases do as the
    front end asks.
    """
    for control in controls:
        if hasattr(control.comm, ROUTE):
            setattr(control.comm, ROUTE, None)
