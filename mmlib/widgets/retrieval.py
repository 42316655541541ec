"""Find pictures by a name in any of several languages, and see which pieces of the name they share with it."""

import random
from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import HTML, Button, IntSlider, Layout, Text, Widget
from jaxtyping import Float, UInt8
from torch import Tensor

from mmlib import plots
from mmlib.metrics import rank_of_best
from mmlib.train import lock
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import PictureRow, check_names, control, language_of, name_of
from mmlib.widgets.table import table_of

MOST = 10  # pictures shown
PIECES = 6  # of a name that are told, the longest ones
READ = 200  # characters of a query whose pieces are looked up, so that a pasted page does not stop the notebook


class RetrievalExplorer(Demo):
    """Type a name in one of the languages, with a wrong letter if you like, and see the nearest pictures.

    A table names them, in the language of which they share most with the query. Where the query is a name of some
    pictures, these are outlined, and the words say at which place the first of them was found.

    Args:
        encode_text: texts to unit embeddings (b e).
        image_emb: of the pictures to be searched, unit length.
        pictures: values from 0 to 255.
        names: language to the names of each picture; captions are in the first language.
        matched: query and name to the pieces of text that both have.

    Raises:
        ValueError: no language, a picture without a name in one, or numbers of embeddings, pictures and names that
            differ.
    """

    css_class = "retrieval-explorer"

    def __init__(
        self,
        encode_text: Callable[[list[str]], Tensor],
        image_emb: Float[Tensor, "n e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Mapping[str, Sequence[Sequence[str]]],
        matched: Callable[[str, str], list[str]],
    ):
        check_names("RetrievalExplorer", image_emb, pictures, names)
        self.encode_text, self.matched, self.names = encode_text, matched, dict(names)
        self.image_emb, self.pictures = image_emb.detach().cpu(), pictures.cpu()
        self._named = [{_plain(name) for each in names.values() for name in each[n]} for n in range(len(pictures))]
        self._examples = random.Random(0)
        most = min(MOST, len(pictures))
        self.query = control(Text, "search", 280, placeholder="a name, in any of the languages")
        self.k = control(IntSlider, "pictures", 220, value=min(5, most), min=1, max=most)
        self.language = language_of(names, "examples in")
        self.example = Button(description="an example", tooltip="Type the name of one of the pictures for me")
        self.example.layout = Layout(width="110px")
        self.example.on_click(lambda button: self._give_example())
        self.table = HTML(layout=Layout(max_width=f"{plots.WIDTH}px"))
        figure = plots.blank(76 + 34)
        self.answers = PictureRow(figure, self.pictures[0], 6, 76, most, MOST, 0.08)
        rows = [[self.query, self.k, self.language, self.example]]
        super().__init__(figure, self.answers.moving, rows, [self.table])

    def arrange(self) -> list[Widget]:
        """The table, which is long, comes last."""
        return [self.live.image, self.live.words, self.table]

    def changed(self, change: dict) -> None:
        """Answer a control; another language is answered with an example in it."""
        if change["owner"] is self.language:
            self._give_example()
        else:
            super().changed(change)

    def state(self) -> dict:
        """What is shown: query, nearest (places of the pictures), similarity, matched (language, name and pieces of
        each), right (places of the pictures that have this name), rank (of the first of them)."""
        query = self.query.value.strip()
        if not query:
            return {"query": query, "nearest": [], "similarity": [], "matched": [], "right": [], "rank": None}
        with lock, torch.inference_mode():
            text_emb = self.encode_text([query])[0].float().cpu()
        sim = self.image_emb @ text_emb
        best = sim.topk(self.k.value)
        right = torch.tensor([_plain(query) in named for named in self._named])
        return {
            "query": query,
            "nearest": best.indices.tolist(),
            "similarity": best.values.tolist(),
            "matched": [self._match(query[:READ], n) for n in best.indices.tolist()],
            "right": right.nonzero().flatten().tolist(),
            "rank": rank_of_best(sim[None], right[None]).item() if right.any() else None,
        }

    def _match(self, query: str, picture: int) -> tuple[str, str, list[str]]:
        """The name of a picture that shares most with the query, its language, and the pieces that are shared."""
        every = [(language, name) for language, each in self.names.items() for name in each[picture]]
        pieces = [
            (language, name, list(filter(_says_something, self.matched(query, name)))) for language, name in every
        ]
        return max(pieces, key=lambda found: sum(map(len, found[2])))

    def _give_example(self) -> None:
        names = self.names[self.language.value]
        self.query.value = self._examples.choice(names[self._examples.randrange(len(names))])

    def draw(self, state: dict) -> None:
        """Show the nearest pictures, those outlined that have the name, and the table."""
        found = enumerate(zip(state["nearest"], state["similarity"], strict=True), start=1)
        self.answers.show([(self.pictures[at], f"{n}:  {sim:.2f}", at in state["right"]) for n, (at, sim) in found])
        self.table.value = self._rows(state) if state["nearest"] else ""

    def _rows(self, state: dict) -> str:
        first, rows = next(iter(self.names)), []
        found = zip(state["nearest"], state["similarity"], state["matched"], strict=True)
        for n, (place, sim, (language, name, pieces)) in enumerate(found, start=1):
            told = self.names[first][place][0]
            if name != told and pieces:
                told = f"{told} ({name_of(language)}: {name})"
            more = ["…"] if len(pieces) > PIECES else []
            rows.append([str(n), sim, told, " · ".join(pieces[:PIECES] + more) or "nothing"])
        return table_of(["", "similarity", "name of the picture", "what your query shares with its names"], rows)

    def words(self, state: dict) -> str:
        """What the picture shows."""
        count = len(state["nearest"])
        if not count:
            languages = ", ".join(map(name_of, self.names))
            return f"Type a name, or press “an example”, to search {len(self.pictures)} pictures in {languages}."
        first = self.names[next(iter(self.names))][state["nearest"][0]][0]
        told = "One picture is shown." if count == 1 else f"{count} pictures are shown."
        return f"Nearest: {first} ({state['similarity'][0]:.2f}). {self._place(state)} {told}"

    def _place(self, state: dict) -> str:
        if not self.matched(state["query"][:READ], state["query"][:READ]):
            return "Your query has no letter that the features can read, so this order says nothing."
        if state["rank"] is None:
            return "No picture has exactly this name."
        count = len(state["right"])
        have = "One picture has exactly this name; it"
        have = have if count == 1 else f"{count} pictures have exactly this name; one"
        return f"{have} comes at place {state['rank']:g} of {len(self.pictures)}."


def _says_something(piece: str) -> bool:
    """A single Latin letter is in nearly every name; a single Chinese character may be a word."""
    return len(piece) > 1 or not piece.isascii()


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
