"""Find pictures by words: the text encoder turns the words into a point, and the nearest pictures are the answer."""

from collections.abc import Callable, Sequence

import torch
from ipywidgets import Layout, Text, VBox
from jaxtyping import Float, UInt8
from matplotlib.patches import Rectangle
from torch import Tensor

from mmlib import plots
from mmlib.check import refuse
from mmlib.train import lock
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run, first_names, list_words

NEAREST = 5


class SearchExplorer(VBox):
    """Type words and see the nearest pictures, with their similarities.

    Args:
        encode_text: texts to unit embeddings (b e).
        tokenizer: has `unknown(text)`, the words that the model never learned.
        image_emb: of the pictures to be searched, unit length.
        pictures: values from 0 to 255.
        names: one for each picture, or several of which the first is shown.

    Raises:
        ValueError: the numbers of embeddings, pictures and names differ.
    """

    def __init__(
        self,
        encode_text: Callable[[list[str]], Tensor],
        tokenizer,
        image_emb: Float[Tensor, "n e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Sequence[str] | Sequence[Sequence[str]],
    ):
        counts = [len(image_emb), len(pictures), len(names)]
        if len(set(counts)) != 1 or counts[0] == 0:
            refuse("SearchExplorer", "pictures, each with its name and embedding", str(counts))
        self.encode_text, self.tokenizer = encode_text, tokenizer
        self.image_emb, self.pictures, self.names = image_emb.detach().cpu(), pictures.cpu(), first_names(names)
        self.query = Text(
            description="search",
            placeholder="words, such as: woman dark skin tone",
            style=LABEL,
            layout=Layout(width="560px"),
        )
        self._draw_empty(min(NEAREST, len(names)))
        answer_while_cells_run(self.query)
        self.query.observe(lambda change: self.live.refresh(self._update), "value")
        super().__init__([self.query, self.live.image, self.live.words])
        self.add_class("search-explorer")
        self.live.refresh(self._update)

    def state(self) -> dict:
        """The numbers shown: query, nearest (places of the pictures), names, similarity, unknown (words)."""
        query = self.query.value
        if not query.strip():
            return {"query": query, "nearest": [], "names": [], "similarity": [], "unknown": []}
        with lock, torch.inference_mode():
            text_emb = self.encode_text([query])[0].float().cpu()
        best = (self.image_emb @ text_emb).topk(len(self.shown))
        return {
            "query": query,
            "nearest": best.indices.tolist(),
            "names": [self.names[n] for n in best.indices.tolist()],
            "similarity": best.values.tolist(),
            "unknown": self.tokenizer.unknown(query),
        }

    def _draw_empty(self, count: int) -> None:
        """Draw places for the answers, all of them still blank."""
        cell, side = plots.WIDTH // NEAREST, 132
        figure = plots.blank(side + 92)
        self.shown, self.captions = [], []
        for n in range(count):
            axes = plots.place(figure, cell * n + (cell - side) // 2, 4, side, side)
            self.shown.append(plots.picture_in(axes, self.pictures[0]))
            axes.add_patch(
                Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=plots.FAINT, clip_on=False)
            )
            middle = {"transform": axes.transAxes, "ha": "center", "va": "top", "linespacing": 1.15}
            self.captions.append(axes.text(0.5, -0.04, "", **middle, **plots.type_style()))
        self.room = cell - 12
        self.live = Live(figure, [*self.shown, *self.captions])

    def _update(self) -> str:
        try:
            state = self.state()
        except Exception:
            self._fill([], [])  # no picture of an older answer beside the words of an error
            self.live.draw()
            raise
        self._fill(state["nearest"], state["similarity"])
        if not state["nearest"]:
            return f"Type words to search {len(self.names)} pictures that the model has never seen."
        found = ", ".join(f"{name} ({sim:.2f})" for name, sim in zip(state["names"], state["similarity"], strict=True))
        unknown = list_words(state["unknown"])
        return f"Nearest: {found}." + (
            f" Words the model never learned, and reads as one and the same: {unknown}." if unknown else ""
        )

    def _fill(self, nearest: list[int], similarity: list[float]) -> None:
        for artist in (*self.shown, *self.captions):
            artist.set_visible(False)
        for place, sim, image, caption in zip(nearest, similarity, self.shown, self.captions, strict=False):
            image.set(data=self.pictures[place].permute(1, 2, 0).numpy(), visible=True)
            caption.set(text=f"similarity {sim:.2f}\n{plots.fit(self.names[place], self.room, lines=3)}", visible=True)
