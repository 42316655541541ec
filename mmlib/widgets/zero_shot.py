"""Classify pictures into classes that the reader makes up: a class is only a text, and a text is only a point."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ipywidgets import IntSlider, Text
from jaxtyping import Float, UInt8
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from mmlib import plots
from mmlib.check import check_positive, refuse
from mmlib.train import lock
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import Bar, Bars, check_counts, control, first_names, list_words, put

BARS = 8  # classes shown, the most probable ones
MOST = 50  # classes read, so that a text pasted by mistake does not stop the notebook


class ZeroShotExplorer(Demo):
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

    css_class = "zero-shot-explorer"

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
        check_counts("ZeroShotExplorer", image_emb, pictures, names)
        if not templates or not all("{}" in template for template in templates):
            refuse("ZeroShotExplorer", "templates with {} in the place of the class", str(list(templates)))
        check_positive("ZeroShotExplorer", "scale", scale, "It is exp(log_scale) of the model.")
        self.encode_text, self.tokenizer, self.templates, self.scale = encode_text, tokenizer, list(templates), scale
        self.image_emb, self.pictures, self.names = image_emb.detach().cpu(), pictures.cpu(), first_names(names)
        self._classifiers = {}
        self.picture = control(IntSlider, "picture", 340, min=0, max=len(names) - 1)
        self.classes = control(Text, "classes, with commas", 500, value=", ".join(class_names))
        super().__init__(*self._figure(), [[self.picture, self.classes]])

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

    def _figure(self) -> tuple[Figure, list[Artist]]:
        side, top, height = 190, 58, 40 * BARS
        figure = plots.blank(top + height + 34)
        axes = plots.place(figure, 20, top, side, side)
        self.shown, self.caption = plots.picture_in(axes, self.pictures[0]), plots.caption_in(axes, 0.04)
        axes, style = plots.place(figure, 400, top, 370, height), {"height": 0.4, "behind": 0.01}
        count = f"mean of {len(self.templates)} templates"
        red = {"color": plots.PALETTE["vermillion"], "hatch": "////", "label": "the first template alone"}
        self.bars = {
            "ensemble": Bars(axes, BARS, gap=0.02, shift=-0.22, label=plots.fit(count, 300), **style),
            "one_template": Bars(axes, [""] * BARS, shift=0.22, **red, **style),
        }
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.04, 1), frameon=False, labelspacing=0.2, prop={"size": plots.FONT}
        )
        return figure, [self.shown, self.caption, *(artist for bars in self.bars.values() for artist in bars.moving)]

    def draw(self, state: dict) -> None:
        """Show the picture, and the classes that are most probable."""
        put(self.pictures[state["picture"]], self.shown)
        self.caption.set_text(plots.fit(self.names[state["picture"]], 180, lines=4))
        order = np.argsort(state["ensemble"])[::-1][:BARS]
        for (kind, bars), hatch in zip(self.bars.items(), ("", "////"), strict=True):
            rows = [(state[kind][n], plots.fit(state["classes"][n], 190)) for n in order]
            bars.show([Bar(share, f"{share:.2f}", name, hatch) for share, name in rows])

    def words(self, state: dict) -> str:
        """What the picture shows, and what is to be said of the classes typed."""
        return " ".join([self._answer(state), *self._remarks(state)])

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
