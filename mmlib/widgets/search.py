"""Find pictures by words: the text encoder turns the words into a point, and the nearest pictures are the answer."""

from collections.abc import Callable, Sequence

import torch
from ipywidgets import Text
from jaxtyping import Float, UInt8
from torch import Tensor

from mmlib import plots
from mmlib.train import lock
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import PictureRow, check_counts, control, first_names, list_words

NEAREST = 5


class SearchExplorer(Demo):
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

    css_class = "search-explorer"

    def __init__(
        self,
        encode_text: Callable[[list[str]], Tensor],
        tokenizer,
        image_emb: Float[Tensor, "n e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Sequence[str] | Sequence[Sequence[str]],
    ):
        check_counts("SearchExplorer", image_emb, pictures, names)
        self.encode_text, self.tokenizer = encode_text, tokenizer
        self.image_emb, self.pictures, self.names = image_emb.detach().cpu(), pictures.cpu(), first_names(names)
        self.query = control(Text, "search", 560, placeholder="words, such as: woman dark skin tone")
        side, count = 132, min(NEAREST, len(names))
        figure = plots.blank(side + 92)
        self.answers = PictureRow(figure, self.pictures[0], 4, side, count, NEAREST, 0.04, linespacing=1.15)
        super().__init__(figure, self.answers.moving, [[self.query]])

    def state(self) -> dict:
        """The numbers shown: query, nearest (places of the pictures), names, similarity, unknown (words)."""
        query = self.query.value
        if not query.strip():
            return {"query": query, "nearest": [], "names": [], "similarity": [], "unknown": []}
        with lock, torch.inference_mode():
            text_emb = self.encode_text([query])[0].float().cpu()
        best = (self.image_emb @ text_emb).topk(min(NEAREST, len(self.pictures)))
        return {
            "query": query,
            "nearest": best.indices.tolist(),
            "names": [self.names[n] for n in best.indices.tolist()],
            "similarity": best.values.tolist(),
            "unknown": self.tokenizer.unknown(query),
        }

    def draw(self, state: dict) -> None:
        """Show the nearest pictures, each over its similarity and its name."""
        found = zip(state["nearest"], state["names"], state["similarity"], strict=True)
        room = self.answers.room
        self.answers.show(
            [
                (self.pictures[n], f"similarity {sim:.2f}\n{plots.fit(name, room, lines=3)}", False)
                for n, name, sim in found
            ]
        )

    def words(self, state: dict) -> str:
        """What the picture shows."""
        if not state["nearest"]:
            return f"Type words to search {len(self.names)} pictures that the model has never seen."
        found = ", ".join(f"{name} ({sim:.2f})" for name, sim in zip(state["names"], state["similarity"], strict=True))
        unknown = list_words(state["unknown"])
        return f"Nearest: {found}." + (
            f" Words the model never learned, and reads as one and the same: {unknown}." if unknown else ""
        )
