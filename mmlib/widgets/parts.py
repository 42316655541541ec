"""What demos share: controls, sentences, and the parts of their drawings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from einops import rearrange
from ipywidgets import Dropdown, Layout, Widget
from jaxtyping import UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from mmlib import plots
from mmlib.check import refuse

ROW_OF_CONTROLS = {"align_items": "center", "grid_gap": "14px"}
LABEL = {"description_width": "initial"}  # a label is as wide as its words
STEP = 24  # pixels from one bar of `ClassBars` to the next
MOST = 16  # classes shown, the most probable ones
RIGHT = 566  # pixels from the left edge of a figure to its right part
DIGITS, LOG_MEL = 10, (-11.5, 6.0)  # classes of sounds; log-mel pictures from silence to loud noise
# Unicode's name of each language, in English; another one is shown by its code.
LANGUAGES = dict(
    pair.split("=")
    for pair in "ar=Arabic de=German en=English es=Spanish fa=Persian fr=French id=Indonesian it=Italian ja=Japanese "
    "ko=Korean pt=Portuguese ru=Russian tr=Turkish zh=Chinese".split()
)
Control = TypeVar("Control", bound=Widget)


# ---------------------------------------------------------------- controls


def control(kind: type[Control], label: str, width: int, **settings: Any) -> Control:
    """A control with a label that is shown whole, as wide as this in pixels."""
    return kind(description=label, style=LABEL, layout=Layout(width=f"{width}px"), **settings)


def language_of(names: Mapping[str, Sequence], label: str) -> Dropdown:
    """A control that chooses one of the languages."""
    return control(Dropdown, label, 190, options=[(name_of(language), language) for language in names])


# ---------------------------------------------------------------- sentences


def name_of(language: str) -> str:
    """The language in English, or its code."""
    return LANGUAGES.get(language, language)


def counted(n: int, what: str) -> str:
    """A number and a noun.

    >>> counted(1, "beam"), counted(2, "beam")
    ('1 beam', '2 beams')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def list_words(words: Sequence[str], most: int = 8) -> str:
    """Words for a sentence, each once and shortened; only the first few of a long list."""
    unique = [f"“{word[:30]}…”" if len(word) > 30 else f"“{word}”" for word in dict.fromkeys(words)]
    rest = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + rest


def first_names(names: Sequence[str] | Sequence[Sequence[str]]) -> list[str]:
    """The first name of each picture; a picture comes with one name or with several."""
    return [name if isinstance(name, str) else name[0] for name in names]


def check_counts(where: str, *values: Any, least: int = 1, most: int | None = None) -> None:
    """Refuse pictures that do not all have a name and an embedding.

    Raises:
        ValueError: numbers that differ, fewer than `least` or more than `most`.
    """
    counts = [len(each) for each in values]
    if len(set(counts)) != 1 or not least <= counts[0] <= (most or counts[0]):
        several = f"{least} to {most} pictures" if most else "pictures"
        refuse(where, f"{several}, each with its name and embedding", str(counts))


def check_names(where: str, image_emb: Tensor, pictures: Tensor, names: Mapping[str, Sequence]) -> None:
    """Refuse pictures that do not have an embedding, and a name in each language.

    Raises:
        ValueError: no picture, no language, numbers that differ, or a picture without a name in one of the languages.
    """
    counts = [len(image_emb), len(pictures), *map(len, names.values())]
    if len(set(counts)) != 1 or counts[0] == 0 or not names:
        fix = "names[language][i] are the names of picture i."
        refuse(where, "pictures, each with its embedding and its names in a language or more", str(counts), fix)
    for language, each in names.items():
        bare = [n for n, own in enumerate(each) if not own]
        if bare:
            fix = "Leave out the language, or its pictures without names."
            refuse(where, f"a name of each picture in {language!r}", f"none of picture {bare[0]}", fix)


# ---------------------------------------------------------------- drawings


def show_all(artists: Iterable[Artist], visible: bool) -> None:
    """Show artists, or hide them."""
    for artist in artists:
        artist.set_visible(visible)


def put(picture: UInt8[Tensor, "3 h w"], image: AxesImage) -> None:
    """Put another picture into one that was drawn."""
    image.set_data(rearrange(picture, "c h w -> h w c").numpy())


class Bar(NamedTuple):
    """What one row of `Bars` shows."""

    length: float  # from 0 to 1
    words: str  # behind the bar
    label: str = ""  # before it, unless the labels stand still
    hatch: str = ""
    bold: bool = False


class Bars:
    """Bars from 0 to 1, one under the other, a label before each and a few words behind it.

    Args:
        axes: from `bar_axes`, or other empty ones.
        labels: of the rows, if they never change; else how many rows there are.
        gap: between a label and its bar, as a share of the axes.
        behind: between a bar and its words, likewise.
        shift: of all bars downwards, in rows.
        style: of the bars.
    """

    def __init__(
        self,
        axes: Axes,
        labels: Sequence[str] | int,
        gap: float = 0.05,
        behind: float = 0.03,
        shift: float = 0.0,
        **style: Any,
    ):
        fixed = not isinstance(labels, int)
        texts = list(labels) if fixed else [""] * labels
        rows = [n + shift for n in range(len(texts))]
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        style = {"height": 0.66, "color": plots.PALETTE["blue"], "edgecolor": "white", "linewidth": 0} | style
        centre = {"va": "center"} | plots.type_style()
        self.axes, self.behind, self.fixed = axes, behind, fixed
        self.labels = [axes.text(-gap, n, text, ha="right", **centre) for n, text in enumerate(texts)]
        self.bars = axes.barh(rows, [0] * len(rows), **style)
        self.values = [axes.text(0, row, "", **centre) for row in rows]
        self.moving = [*([] if fixed else self.labels), *self.bars, *self.values]

    def show(self, rows: Sequence[Bar]) -> None:
        """Draw these rows; what is left below them stays empty."""
        for n, (label, bar, value) in enumerate(zip(self.labels, self.bars, self.values, strict=True)):
            row = rows[n] if n < len(rows) else Bar(0, "", hatch=bar.get_hatch() or "")
            if not self.fixed:
                label.set_text(row.label)
            bar.set_width(row.length)
            value.set_x(row.length + self.behind)
            value.set_text(row.words)
            if bar.get_hatch() != row.hatch:
                bar.set_hatch(row.hatch)
            weight = "bold" if row.bold else "normal"
            if value.get_weight() != weight:
                value.set_weight(weight)
                label.set_weight("normal" if self.fixed else weight)


def bar_axes(figure: Figure, left: int, top: int, length: int, height: int) -> Axes:
    """Axes for `Bars` without numbers; places in pixels from the upper left corner, `length` that of a bar of 1."""
    axes = plots.place(figure, left, top, length, height)
    axes.set(xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    return axes


class ClassBars(Bars):
    """The probability of each class under a title; some bars are marked, with a hatching and a word.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        names: of all classes; of more than 16, those are shown that are most probable.
    """

    def __init__(self, figure: Figure, top: int, names: Sequence[str]):
        self.names, rows = list(names), self.rows(names)
        title = "what the model says" if rows == len(names) else f"what the model says, the first {rows} motions"
        plots.title_at(figure, 8, top, title)
        labels = [plots.fit(name, 190) for name in names] if rows == len(names) else rows
        super().__init__(bar_axes(figure, 206, top + 28, 156, STEP * rows), labels)

    @staticmethod
    def rows(names: Sequence[str]) -> int:
        """How many classes are shown."""
        return min(len(names), MOST)

    @staticmethod
    def height(names: Sequence[str]) -> int:
        """Height in pixels, title included."""
        return 28 + STEP * ClassBars.rows(names)

    def mark(self, probabilities: Sequence[float], marks: Mapping[int, tuple[str, str]]) -> None:
        """Draw the probabilities; marks are class -> (hatching, word)."""
        likely = torch.tensor(probabilities).argsort(descending=True).tolist()
        first = sorted([*marks, *(n for n in likely if n not in marks)][: len(self.labels)])
        self.show([self._row(n, probabilities[n], *marks.get(n, ("", ""))) for n in first])

    def _row(self, n: int, probability: float, hatch: str, word: str) -> Bar:
        note = f"  ◄ {word}" if word else ""
        words = f"{probability:.2f}{note}" if word or probability >= 0.005 else ""  # a column of zeros tells nothing
        return Bar(probability, words, plots.fit(self.names[n], 190), hatch)


class AnswerBars(Bars):
    """Answers of several models, or to several questions, as bars of probability; one of them is pointed at.

    Args:
        figure: to draw into.
        top: pixels from the upper edge of the figure to the title.
        names: of the rows.
        title: above them.
    """

    def __init__(self, figure: Figure, top: int, names: Sequence[str], title: str):
        plots.title_at(figure, 440, top, title)
        left = RIGHT + 14  # names have room beside the longest words of `ClassBars`
        super().__init__(bar_axes(figure, left, top + 28, 130, STEP * len(names)), names)

    def point(self, rows: Sequence[tuple[float, str]], chosen: int) -> None:
        """Draw (probability, words) of each row; the words of the chosen one are in bold, behind an arrow."""
        self.show([Bar(p, "◄ " * (n == chosen) + words, bold=n == chosen) for n, (p, words) in enumerate(rows)])


class PictureRow:
    """Places in a row for the pictures of an answer, each framed, with a caption below; some can be outlined.

    Args:
        figure: to draw into.
        like: a picture of the size of all others.
        top, side: of a place, in pixels.
        count: of places.
        most: places that the page has room for.
        gap: between a place and its caption, as a share of its side.
        style: of the captions.
    """

    def __init__(
        self, figure: Figure, like: Tensor, top: int, side: int, count: int, most: int, gap: float, **style: Any
    ):
        cell = plots.WIDTH // most
        self.room = cell - 12  # pixels for a caption
        self.shown, self.outlines, self.captions = [], [], []
        for left in range((cell - side) // 2, (cell - side) // 2 + cell * count, cell):
            axes = plots.place(figure, left, top, side, side)
            self.shown.append(plots.picture_in(axes, like))
            box = {"transform": axes.transAxes, "fill": False, "clip_on": False}
            axes.add_patch(Rectangle((0, 0), 1, 1, edgecolor=plots.FAINT, **box))
            colour = plots.PALETTE["vermillion"]
            self.outlines.append(axes.add_patch(Rectangle((-0.02, -0.02), 1.04, 1.04, ec=colour, lw=3, **box)))
            self.captions.append(plots.caption_in(axes, gap, **style))
        self.moving = [*self.shown, *self.outlines, *self.captions]

    def show(self, answers: Sequence[tuple[UInt8[Tensor, "3 h w"], str, bool]]) -> None:
        """Draw (picture, caption, outlined or not) from the left; the other places stay empty."""
        show_all(self.moving, False)
        places = zip(answers, self.shown, self.outlines, self.captions, strict=False)
        for (picture, text, outlined), image, outline, caption in places:
            put(picture, image)
            show_all([image, caption], True)
            outline.set_visible(outlined)
            caption.set_text(text)
