"""How words are chosen: one model, one picture, beams or draws, and what stood to choose at each word."""

import math
from collections.abc import Sequence

import torch
from ipywidgets import BoundedIntText, Dropdown, FloatSlider, ToggleButtons, Widget
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from mmlib import plots
from mmlib.caption_metrics import bleu
from mmlib.decode import Captions, beam_search, chances, sample
from mmlib.train import held
from mmlib.widgets.captions import CaptionDemo, Look, follow, place_in_words
from mmlib.widgets.parts import LABEL, Bar, Bars, bar_axes, control, counted

BEAMS, DRAWS = "beam search", "sampling"
ROWS, OTHERS, STEP = 13, 8, 26  # words of a caption and alternatives that are shown; pixels from one bar to the next


class DecodeExplorer(CaptionDemo):
    """Let a model caption a picture in one way or another, then choose a word: its alternatives, where it looked.

    Args and errors: see `CaptionDemo`.
    """

    css_class = "decode-explorer"

    def build(self) -> tuple[Figure, list[Artist], list[list[Widget]]]:
        """Make the other controls and the figure."""
        self.way = control(Dropdown, "words by", 220, options=[BEAMS, DRAWS])
        self.temperature = control(FloatSlider, "temperature", 270, value=1.0, min=0.1, max=2.0, step=0.1)
        self.top_p = control(FloatSlider, "top-p", 270, value=0.9, min=0.05, max=1.0, step=0.05)
        self.number = control(BoundedIntText, "draw", 120, value=1, min=1, max=999)
        self.word = ToggleButtons(options=[("", 0)], description="word", style=LABEL | {"button_width": "auto"})
        draws = [self.temperature, self.top_p, self.number]
        return *self._figure(), [[self.picture, self.way], [self.width, self.alpha], draws, [self.word]]

    def state(self) -> dict:
        """The numbers shown: picture, way, text, text_ids, words, probabilities, score, word (place of the chosen one),
        alternatives (word, probability, chance to be drawn), attn (of regions, or None), references, bleu (1 to 4) and
        exact.
        """
        drawn = self.way.value == DRAWS
        with held(self.model, training=False), torch.inference_mode():
            found = self._decode()
            text_ids = self.spoken(found.text_ids[0])
            log_probs, looks = follow(self.model, self.image, text_ids, self.tokenizer.start_id)
        word = min(self.word.index or 0, len(text_ids) - 1)
        heat = (self.temperature.value, self.top_p.value) if drawn else (1.0, 1.0)
        chance = chances(log_probs[word][None], *heat)[0]
        likely = log_probs[word].topk(min(OTHERS, log_probs.shape[1])).indices.tolist()
        if int(text_ids[word]) not in likely:
            likely[-1] = int(text_ids[word])
        return {
            "picture": self.picture.value,
            "way": self.way.value,
            "text": found.texts[0],
            "text_ids": text_ids.tolist(),
            "words": [self.label(token) for token in text_ids.tolist()],
            "probabilities": log_probs.gather(1, text_ids.cpu()[:, None])[:, 0].exp().tolist(),
            "score": found.scores[0].item(),
            "word": word,
            "alternatives": [(self.label(n), log_probs[word, n].exp().item(), chance[n].item()) for n in likely],
            "attn": None if looks is None else looks[word].tolist(),
            "references": self.right,
            "bleu": [bleu(found.texts, [self.right], n) for n in (1, 2, 3, 4)],
            "exact": found.texts[0] in self.right,
        }

    def _decode(self) -> Captions:
        asked = self.model, self.image, self.tokenizer
        if self.way.value == BEAMS:
            return beam_search(*asked, width=self.width.value, alpha=self.alpha.value).captions
        with torch.random.fork_rng():  # a draw of the demo takes none from a model in training
            torch.manual_seed(self.number.value)
            return sample(*asked, temperature=self.temperature.value, top_p=self.top_p.value)

    def _figure(self) -> tuple[Figure, list[Artist]]:
        side, top = 190, 34
        figure = plots.blank(2 * (side + top) + 10)
        self.plain, self.look = Look(figure, 8, top, side), Look(figure, 8, side + 2 * top, side)
        plots.title_at(figure, 8, 8, "the picture")
        self.looked = plots.title_at(figure, 8, side + top + 10)
        plots.title_at(figure, 222, 8, "the caption, word by word")
        self.said = WordBars(figure, 222, top, 130, 150, ROWS)
        self.instead = plots.title_at(figure, 560, 8)
        self.others = WordBars(figure, 560, top, 112, 80, OTHERS)
        self.judged = plots.text_at(figure, 560, top + OTHERS * STEP + 20, linespacing=1.3)
        titles = [self.looked, self.instead, self.judged]
        parts = self.plain, self.look, self.said, self.others
        return figure, [*(artist for part in parts for artist in part.moving), *titles]

    def draw(self, state: dict) -> None:
        """Show the caption, the alternatives of the chosen word, and where the model looked for it."""
        drawn = state["way"] == DRAWS
        self.width.disabled = self.alpha.disabled = drawn
        self.temperature.disabled = self.top_p.disabled = self.number.disabled = not drawn
        self._fill_buttons(state)
        chosen, picture = state["words"][state["word"]], self.pictures[state["picture"]]
        self.plain.show(picture, None)
        self.look.show(picture, _grid(state["attn"]))
        self.looked.set_text(
            plots.fit(f"looked for “{chosen}”" if state["attn"] else "it looks once, at the start", 200)
        )
        said = zip(state["words"], state["probabilities"], strict=True)
        self.said.choose([(word, p, f"{p:.2f}") for word, p in said], state["word"])
        title = f"at “{chosen}” → when drawn" if drawn else f"what could stand at “{chosen}”"
        self.instead.set_text(plots.fit(title, 260))
        others = [(word, p, f"{p:.2f} → {c:.2f}" if drawn else f"{p:.2f}") for word, p, c in state["alternatives"]]
        self.others.choose(others, [word for word, _, _ in others].index(chosen))
        self.judged.set_text(self._judgement(state))

    def _fill_buttons(self, state: dict) -> None:
        options = [(word, place) for place, word in enumerate(state["words"])]
        if list(self.word.options) != options:
            self.word.options, self.word.index = options, state["word"]

    def _judgement(self, state: dict) -> str:
        names = "\n".join(plots.fit(f"“{name}”", 286, lines=2) for name in state["references"][:2])
        more = "\nand others" if len(state["references"]) > 2 else ""
        scores = "   ".join(f"{score:.2f}" for score in state["bleu"])
        return f"right captions:\n{names}{more}\n\nBLEU-1 to BLEU-4:\n{scores}"

    def words(self, state: dict) -> str:
        """What the picture shows."""
        word, probability = state["word"], state["probabilities"][state["word"]]
        chosen, right = state["words"][word], " or ".join(f"“{name}”" for name in state["references"][:3])
        verdict = "which is right" if state["exact"] else f"where {right} would be right"
        others = [f"“{label}” {p:.0%}" for label, p, _ in state["alternatives"] if label != chosen][:3]
        said = (
            f"{self._how()} the model says “{state['text']}”, {verdict}; BLEU-1 {state['bleu'][0]:.2f}, "
            f"BLEU-4 {state['bleu'][3]:.2f}. Word {word + 1}, “{chosen}”, has {probability:.0%}; "
            f"others: {', '.join(others)}."
        )
        if state["attn"] is None:
            return said
        grid = _grid(state["attn"])
        count = int(plots.half_of_weight(grid).sum())
        return (
            f"{said} For it, the model looked towards the {place_in_words(grid)}: "
            f"{count} of {grid.size} regions have half of the weight."
        )

    def _how(self) -> str:
        if self.way.value == DRAWS:
            heat = f"temperature {self.temperature.value:.1f} and top-p {self.top_p.value:.2f}"
            return f"In draw {self.number.value}, at {heat},"
        return f"With {counted(self.width.value, 'beam')} and length penalty {self.alpha.value:.1f}"


class WordBars(Bars):
    """Words one under the other, each with a bar; the chosen one has a hatching and bold type.

    Args:
        figure: to draw into.
        left, top: pixels from the upper left corner of the figure.
        room, length: pixels for the words, and for a bar of probability 1.
        rows: most words that are shown.
    """

    def __init__(self, figure: Figure, left: int, top: int, room: int, length: int, rows: int):
        axes = bar_axes(figure, left + room, top, length, STEP * rows)
        axes.spines["left"].set_visible(False)
        super().__init__(axes, rows, gap=8 / length, behind=0.04)
        self.room = room - 10

    def choose(self, rows: Sequence[tuple[str, float, str]], chosen: int) -> None:
        """Draw rows of a word, its probability, and what to write behind the bar; a long caption scrolls."""
        first = max(0, chosen - len(self.labels) + 1)  # so that the chosen word is in sight
        marks = [n == chosen for n in range(len(rows))]
        bars = [
            Bar(p, note, plots.fit(word, self.room), "//" if mark else "", mark)
            for (word, p, note), mark in zip(rows, marks, strict=True)
        ]
        self.show(bars[first : first + len(self.labels)])


def _grid(attn: list[float] | None):
    """The weights of regions, as the square that they lie in."""
    return None if attn is None else torch.tensor(attn).unflatten(0, (math.isqrt(len(attn)), -1)).numpy()
