"""Classify pictures into classes that the reader makes up: a class is only a text, and a text is only a point."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ipywidgets import HBox, IntSlider, Layout, Text, VBox
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from mmlib import plots
from mmlib.check import check_positive, refuse
from mmlib.train import lock
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run, first_names, list_words

BARS = 8  # classes shown, the most probable ones
MOST = 50  # classes read, so that a text pasted by mistake does not stop the notebook


class ZeroShotExplorer(VBox):
    """Pick a picture, type the names of classes, and see their probabilities with one template and with all of them.

    Args:
        encode_text: texts to unit embeddings (b e).
        tokenizer: has `unknown(text)`, the words that the model never learned.
        image_emb: of the pictures, unit length.
        pictures: values from 0 to 255.
        names: one for each picture, or several of which the first is shown.
        templates: texts with `{}` in the place of the class; the first is the one shown alone.
        scale: inverse temperature, exp(log_scale) of the model.
        class_names: the classes to begin with.

    Raises:
        ValueError: the numbers of embeddings, pictures and names differ; no template, or one without `{}`; `scale`
            not positive.
    """

    def __init__(
        self,
        encode_text: Callable[[list[str]], Tensor],
        tokenizer,
        image_emb: Float[Tensor, "n e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Sequence[str] | Sequence[Sequence[str]],
        templates: Sequence[str],
        scale: float,
        class_names: Sequence[str],
    ):
        counts = [len(image_emb), len(pictures), len(names)]
        if len(set(counts)) != 1 or counts[0] == 0:
            refuse("ZeroShotExplorer", "pictures, each with its name and embedding", str(counts))
        if not templates or not all("{}" in template for template in templates):
            refuse("ZeroShotExplorer", "templates with {} in the place of the class", str(list(templates)))
        check_positive("ZeroShotExplorer", "scale", scale, "It is exp(log_scale) of the model.")
        self.encode_text, self.tokenizer, self.templates, self.scale = encode_text, tokenizer, list(templates), scale
        self.image_emb, self.pictures, self.names = image_emb.detach().cpu(), pictures.cpu(), first_names(names)
        self._classifiers = {}
        self.picture = IntSlider(
            min=0, max=len(names) - 1, description="picture", style=LABEL, layout=Layout(width="340px")
        )
        self.classes = Text(
            value=", ".join(class_names),
            description="classes, with commas",
            style=LABEL,
            layout=Layout(width="500px"),
        )
        self._draw_empty()
        answer_while_cells_run(self.picture, self.classes)
        for control in (self.picture, self.classes):
            control.observe(lambda change: self.live.refresh(self._update), "value")
        super().__init__([HBox([self.picture, self.classes]), self.live.image, self.live.words])
        self.add_class("zero-shot-explorer")
        self.live.refresh(self._update)

    def state(self) -> dict:
        """The numbers shown: picture, classes, one_template, ensemble (probabilities), repeated, unknown, left_out."""
        typed = Counter(" ".join(name.lower().split()) for name in re.split(r"[,，、;]", self.classes.value))
        classes = [name for name in typed if name]
        kept, image_emb = classes[:MOST], self.image_emb[self.picture.value]
        one, ensemble = self._classifier(tuple(kept)) if kept else (torch.zeros(0, len(image_emb)),) * 2
        return {
            "picture": self.picture.value,
            "classes": kept,
            "one_template": (self.scale * one @ image_emb).softmax(0).tolist(),
            "ensemble": (self.scale * ensemble @ image_emb).softmax(0).tolist(),
            "repeated": [name for name in classes if typed[name] > 1],
            "unknown": [word for name in kept for word in self.tokenizer.unknown(name)],
            "left_out": len(classes) - len(kept),
        }

    def _classifier(self, classes: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Embeddings (classes e) of the first template, and of the mean of all; kept while only the picture moves."""
        if classes not in self._classifiers:
            texts = [template.replace("{}", name) for name in classes for template in self.templates]
            with lock, torch.inference_mode():
                text_emb = self.encode_text(texts).float().cpu().unflatten(0, (len(classes), len(self.templates)))
            self._classifiers = {classes: (text_emb[:, 0], normalize(text_emb.mean(dim=1), dim=-1))}
        return self._classifiers[classes]

    def _draw_empty(self) -> None:
        side, top, height = 190, 58, 40 * BARS
        figure = plots.blank(top + height + 34)
        axes = plots.place(figure, 20, top, side, side)
        self.shown = plots.picture_in(axes, self.pictures[0])
        self.caption = axes.text(0.5, -0.04, "", transform=axes.transAxes, ha="center", va="top", **plots.type_style())
        bars = plots.place(figure, 400, top, 370, height)
        bars.set(xlim=(0, 1), ylim=(BARS - 0.5, -0.5), yticks=[])
        looks = {
            "ensemble": (plots.PALETTE["blue"], "", -0.22, f"mean of {len(self.templates)} templates"),
            "one_template": (plots.PALETTE["vermillion"], "////", 0.22, "the first template alone"),
        }
        self.bars, self.values = {}, {}
        for kind, (colour, hatch, shift, label) in looks.items():
            style = {"height": 0.4, "color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            self.bars[kind] = bars.barh(np.arange(BARS) + shift, np.zeros(BARS), label=plots.fit(label, 300), **style)
            self.values[kind] = [bars.text(0, n + shift, "", va="center", **plots.type_style()) for n in range(BARS)]
        bars.legend(
            loc="lower left", bbox_to_anchor=(-0.04, 1), frameon=False, labelspacing=0.2, prop={"size": plots.FONT}
        )
        axis = bars.get_yaxis_transform()
        right = {"transform": axis, "ha": "right", "va": "center"}
        self.labels = [bars.text(-0.02, n, "", **right, **plots.type_style()) for n in range(BARS)]
        moving = [self.shown, self.caption, *self.labels]
        for kind in looks:
            moving += [*self.bars[kind], *self.values[kind]]
        self.live = Live(figure, moving)

    def _update(self) -> str:
        try:
            state = self.state()
        except Exception:
            self._fill([], {kind: [] for kind in self.bars})  # no bars of an older answer beside the words of an error
            self.live.draw()
            raise
        picture = state["picture"]
        self.shown.set_data(self.pictures[picture].permute(1, 2, 0).numpy())
        self.caption.set_text(plots.fit(self.names[picture], 180, lines=4))
        order = np.argsort(state["ensemble"])[::-1][:BARS]
        self._fill(
            [state["classes"][n] for n in order],
            {kind: [state[kind][n] for n in order] for kind in self.bars},
        )
        return " ".join([self._answer(state), *self._remarks(state)])

    def _fill(self, classes: list[str], probabilities: dict[str, list[float]]) -> None:
        blank = BARS - len(classes)
        for label, name in zip(self.labels, [*classes, *[""] * blank], strict=True):
            label.set_text(plots.fit(name, 190))
        for kind, bars in self.bars.items():
            for n, bar in enumerate(bars):
                probability = probabilities[kind][n] if n < len(classes) else 0
                bar.set_width(probability)
                self.values[kind][n].set(x=probability + 0.01, text=f"{probability:.2f}" if n < len(classes) else "")

    def _answer(self, state: dict) -> str:
        if not state["classes"]:
            return "Type at least one class, such as: cat, dog, flag."
        first = {kind: int(np.argmax(state[kind])) for kind in self.bars}
        return (
            f"“{self.names[state['picture']]}” is taken for {state['classes'][first['ensemble']]} "
            f"({state['ensemble'][first['ensemble']]:.0%}) with {len(self.templates)} templates, for "
            f"{state['classes'][first['one_template']]} ({state['one_template'][first['one_template']]:.0%}) with one."
        )

    def _remarks(self, state: dict) -> list[str]:
        remarks = {
            "Only one class: its probability is 1 whatever the picture shows.": len(state["classes"]) == 1,
            f"Counted once: {list_words(state['repeated'])}.": state["repeated"],
            f"Words the model never learned: {list_words(state['unknown'])}.": state["unknown"],
            f"{state['left_out']} more classes were not read.": state["left_out"],
        }
        return [remark for remark, applies in remarks.items() if applies]
