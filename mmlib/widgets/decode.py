"""How words are chosen: one model, one picture, beams or draws, and what stood to choose at each word."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from ipywidgets import BoundedIntText, Dropdown, FloatSlider, HBox, Layout, ToggleButtons, VBox
from jaxtyping import UInt8
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.caption_metrics import bleu
from mmlib.decode import Captions, beam_search, chances, sample
from mmlib.train import held
from mmlib.widgets.captions import CaptionPicker, Look, follow, place_in_words, width_slider
from mmlib.widgets.clips import ROW_OF_CONTROLS, show_all
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run

BEAMS, DRAWS = "beam search", "sampling"
ROWS, OTHERS, STEP = 13, 8, 26  # words of a caption and alternatives that are shown; pixels from one bar to the next


class DecodeExplorer(VBox):
    """Let a model caption a picture in one way or another, then choose a word: its alternatives, where it looked.

    Args:
        model, tokenizer, pictures, references: see `CaptionPicker`.

    Raises:
        ValueError: pictures without references, or the other way round.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        pictures: UInt8[Tensor, "n 3 h w"],
        references: Sequence[Sequence[str]],
    ):
        self.picker = CaptionPicker("DecodeExplorer", model, tokenizer, pictures, references)
        self.picture, self.width = self.picker.picture, width_slider()
        self.way = Dropdown(options=[BEAMS, DRAWS], description="words by", style=LABEL, layout=Layout(width="220px"))
        self.alpha = _slider(1.0, 0.0, 2.0, "length penalty")
        self.temperature = _slider(1.0, 0.1, 2.0, "temperature")
        self.top_p = _slider(0.9, 0.05, 1.0, "top-p", step=0.05)
        self.draw = BoundedIntText(1, min=1, max=999, description="draw", style=LABEL, layout=Layout(width="120px"))
        self.word = ToggleButtons(options=[("", 0)], description="word", style=LABEL | {"button_width": "auto"})
        self._filling = False  # while the buttons are given other words
        self._draw_empty()
        controls = self.picture, self.way, self.width, self.alpha, self.temperature, self.top_p, self.draw, self.word
        answer_while_cells_run(*controls)
        for control in controls:
            control.observe(self._changed, "value")
        rows = [HBox(some, layout=ROW_OF_CONTROLS) for some in (controls[:2], controls[2:4], controls[4:7])]
        super().__init__([*rows, self.word, self.live.image, self.live.words])
        self.add_class("decode-explorer")
        self.live.refresh(self._update)

    def state(self) -> dict:
        """The numbers shown: picture, way, text, text_ids, words, probabilities, score, word (place of the chosen one),
        alternatives (word, probability, chance to be drawn), attn (of regions, or None), references, bleu (1 to 4) and
        exact.
        """
        picker, drawn = self.picker, self.way.value == DRAWS
        with held(picker.model, training=False), torch.inference_mode():
            found = self._decode(picker.image)
            text_ids = found.text_ids[0][: int((found.text_ids[0] != picker.tokenizer.pad_id).sum())]
            log_probs, looks = follow(picker.model, picker.image, text_ids, picker.tokenizer.start_id)
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
            "words": [picker.label(token) for token in text_ids.tolist()],
            "probabilities": log_probs.gather(1, text_ids[:, None])[:, 0].exp().tolist(),
            "score": found.scores[0].item(),
            "word": word,
            "alternatives": [(picker.label(n), log_probs[word, n].exp().item(), chance[n].item()) for n in likely],
            "attn": None if looks is None else looks[word].tolist(),
            "references": picker.right,
            "bleu": [bleu(found.texts, [picker.right], n) for n in (1, 2, 3, 4)],
            "exact": found.texts[0] in picker.right,
        }

    def _decode(self, image: Tensor) -> Captions:
        model, tokenizer = self.picker.model, self.picker.tokenizer
        if self.way.value == BEAMS:
            return beam_search(model, image, tokenizer, width=self.width.value, alpha=self.alpha.value).captions
        with torch.random.fork_rng(devices=[]):  # a draw of the demo takes none from a model in training
            torch.default_generator.manual_seed(self.draw.value)
            return sample(model, image, tokenizer, temperature=self.temperature.value, top_p=self.top_p.value)

    def _changed(self, change: dict) -> None:
        with self.live.lock:  # so that whoever fills has done with it, unless it is this very thread
            if not self._filling:
                self.live.refresh(self._update)

    def _draw_empty(self) -> None:
        side, top = 190, 34
        figure = plots.blank(2 * (side + top) + 10)
        self.plain, self.look = Look(figure, 8, top, side), Look(figure, 8, side + 2 * top, side)
        _title(figure, 8, 8, "the picture")
        self.looked = _title(figure, 8, side + top + 10, "")
        _title(figure, 222, 8, "the caption, word by word")
        self.said = WordBars(figure, 222, top, 130, 150, ROWS)
        self.instead = _title(figure, 560, 8, "")
        self.others = WordBars(figure, 560, top, 112, 80, OTHERS)
        self.judged = figure.text(560 / plots.WIDTH, 0, "", va="top", linespacing=1.3, **plots.type_style())
        self.judged.set_y(1 - (top + OTHERS * STEP + 20) / figure.bbox.height)
        titles = [self.looked, self.instead, self.judged]
        self.live = Live(
            figure, [*self.plain.moving, *self.look.moving, *self.said.moving, *self.others.moving, *titles]
        )

    def _update(self) -> str:
        drawn = self.way.value == DRAWS
        for control in (self.width, self.alpha):
            control.disabled = drawn
        for control in (self.temperature, self.top_p, self.draw):
            control.disabled = not drawn
        try:
            state = self.state()
        except Exception:
            show_all(self.live.moving, False)  # no caption of an older answer beside the words of an error
            self.live.draw()
            raise
        show_all(self.live.moving, True)
        self._fill_buttons(state)
        chosen, picture = state["words"][state["word"]], self.picker.pictures[state["picture"]]
        self.plain.show(picture, None)
        self.look.show(picture, _grid(state["attn"]))
        self.looked.set_text(
            plots.fit(f"looked for “{chosen}”" if state["attn"] else "it looks once, at the start", 200)
        )
        self.said.show(list(zip(state["words"], state["probabilities"], strict=True)), state["word"])
        title = f"at “{chosen}” → when drawn" if drawn else f"what could stand at “{chosen}”"
        self.instead.set_text(plots.fit(title, 260))
        rows = [(word, p, f"{p:.2f} → {chance:.2f}" if drawn else "") for word, p, chance in state["alternatives"]]
        self.others.show(rows, [word for word, _, _ in rows].index(chosen))
        self.judged.set_text(self._judgement(state))
        return self._words(state)

    def _fill_buttons(self, state: dict) -> None:
        options = [(word, place) for place, word in enumerate(state["words"])]
        if list(self.word.options) != options:
            self._filling = True
            try:
                self.word.options, self.word.index = options, state["word"]
            finally:
                self._filling = False

    def _judgement(self, state: dict) -> str:
        names = "\n".join(plots.fit(f"“{name}”", 286, lines=2) for name in state["references"][:2])
        more = "\nand others" if len(state["references"]) > 2 else ""
        scores = "   ".join(f"{score:.2f}" for score in state["bleu"])
        return f"right captions:\n{names}{more}\n\nBLEU-1 to BLEU-4:\n{scores}"

    def _words(self, state: dict) -> str:
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
            return f"In draw {self.draw.value}, at {heat},"
        beams = "1 beam" if self.width.value == 1 else f"{self.width.value} beams"
        return f"With {beams} and length penalty {self.alpha.value:.1f}"


class WordBars:
    """Words one under the other, each with a bar; the chosen one has a hatching and bold type.

    Args:
        figure: to draw into.
        left, top: pixels from the upper left corner of the figure.
        room, length: pixels for the words, and for a bar of probability 1.
        rows: most words that are shown.
    """

    def __init__(self, figure: Figure, left: int, top: int, room: int, length: int, rows: int):
        axes = plots.place(figure, left + room, top, length, STEP * rows)
        axes.set(xlim=(0, 1), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
        axes.spines[["bottom", "left"]].set_visible(False)
        self.room, centre = room - 10, {"va": "center"} | plots.type_style()
        style = {"height": 0.66, "color": plots.PALETTE["blue"], "edgecolor": "white", "linewidth": 0}
        self.labels = [axes.text(-8 / length, n, "", ha="right", **centre) for n in range(rows)]
        self.bars = list(axes.barh(range(rows), [0] * rows, **style))
        self.values = [axes.text(0, n, "", **centre) for n in range(rows)]
        self.moving = [*self.labels, *self.bars, *self.values]

    def show(self, rows: Sequence[tuple], chosen: int) -> None:
        """Draw rows of a word, its probability, and what to write behind the bar in place of it."""
        first = max(0, chosen - len(self.bars) + 1)  # a long caption scrolls, so that the chosen word is in sight
        rows = rows[first : first + len(self.bars)]
        for n, (label, bar, value) in enumerate(zip(self.labels, self.bars, self.values, strict=True)):
            word, p, *note = rows[n] if n < len(rows) else ("", 0.0, " ")
            bold = {"weight": "bold" if first + n == chosen else "normal"}
            label.set(text=plots.fit(word, self.room), **bold)
            bar.set(width=p, hatch="//" if first + n == chosen else "")
            value.set(x=p + 0.04, text=note[0] if note and note[0] else f"{p:.2f}", **bold)


def _slider(value: float, least: float, most: float, label: str, step: float = 0.1) -> FloatSlider:
    layout = Layout(width="270px")
    return FloatSlider(value, min=least, max=most, step=step, description=label, style=LABEL, layout=layout)


def _title(figure: Figure, left: int, top: int, text: str):
    return figure.text(
        left / plots.WIDTH, 1 - top / figure.bbox.height, text, va="top", **plots.type_style(weight="bold")
    )


def _grid(attn: list[float] | None):
    """The weights of regions, as the square that they lie in."""
    return None if attn is None else torch.tensor(attn).unflatten(0, (math.isqrt(len(attn)), -1)).numpy()
