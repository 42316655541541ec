"""Find pictures by a name in any of several languages, and see which pieces of the name they share with it."""

import random
from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import HTML, Button, Dropdown, HBox, IntSlider, Layout, Text, VBox
from jaxtyping import Float, UInt8
from matplotlib.patches import Rectangle
from torch import Tensor

from mmlib import plots
from mmlib.check import refuse
from mmlib.metrics import rank_of_best
from mmlib.train import lock
from mmlib.widgets.clips import ROW_OF_CONTROLS
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run
from mmlib.widgets.table import LANGUAGES, table_of

MOST = 10  # pictures shown
PIECES = 6  # of a name that are told, the longest ones
READ = 200  # characters of a query whose pieces are looked up, so that a pasted page does not stop the notebook


class RetrievalExplorer(VBox):
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
        ValueError: no language, or the numbers of embeddings, pictures and names differ.
    """

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
        hint = "a name, in any of the languages"
        self.query = Text(description="search", placeholder=hint, style=LABEL, layout=Layout(width="280px"))
        most = min(MOST, len(pictures))
        wide = Layout(width="220px")
        self.k = IntSlider(min(5, most), min=1, max=most, description="pictures", style=LABEL, layout=wide)
        self.language = language_of(names, "examples in")
        self.example = Button(description="an example", tooltip="Type the name of one of the pictures for me")
        self.example.layout = Layout(width="110px")
        self.table = HTML(layout=Layout(max_width=f"{plots.WIDTH}px"))
        self._draw_empty(most)
        answer_while_cells_run(self.query, self.k, self.language, self.example)
        for control in (self.query, self.k):
            control.observe(lambda change: self.live.refresh(self._update), "value")
        self.language.observe(lambda change: self._give_example(), "value")
        self.example.on_click(lambda button: self._give_example())
        controls = HBox([self.query, self.k, self.language, self.example], layout=Layout(**ROW_OF_CONTROLS))
        super().__init__([controls, self.live.image, self.live.words, self.table])
        self.add_class("retrieval-explorer")
        self.live.refresh(self._update)

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

    def _draw_empty(self, count: int) -> None:
        """Draw places for the answers, all of them still blank."""
        cell, side = plots.WIDTH // MOST, 76
        figure = plots.blank(side + 34)
        self.shown, self.outlines, self.captions = [], [], []
        for n in range(count):
            axes = plots.place(figure, cell * n + (cell - side) // 2, 6, side, side)
            self.shown.append(plots.picture_in(axes, self.pictures[0]))
            box = {"transform": axes.transAxes, "fill": False, "clip_on": False}
            axes.add_patch(Rectangle((0, 0), 1, 1, edgecolor=plots.FAINT, **box))
            colour = plots.PALETTE["vermillion"]
            self.outlines.append(axes.add_patch(Rectangle((-0.02, -0.02), 1.04, 1.04, ec=colour, lw=3, **box)))
            middle = {"transform": axes.transAxes, "ha": "center", "va": "top"}
            self.captions.append(axes.text(0.5, -0.08, "", **middle, **plots.type_style()))
        self.live = Live(figure, [*self.shown, *self.outlines, *self.captions])

    def _update(self) -> str:
        try:
            state = self.state()
        except Exception:
            self._fill([], [], [])  # no picture of an older answer beside the words of an error
            self.table.value = ""
            self.live.draw()
            raise
        self._fill(state["nearest"], state["similarity"], state["right"])
        self.table.value = self._rows(state) if state["nearest"] else ""
        count = len(state["nearest"])
        told = {0: "", 1: " One picture is shown."}.get(count, f" {count} pictures are shown.")
        return self._words(state) + told

    def _fill(self, nearest: list[int], similarity: list[float], right: list[int]) -> None:
        for artist in self.live.moving:
            artist.set_visible(False)
        parts = zip(nearest, similarity, self.shown, self.outlines, self.captions, strict=False)
        for n, (place, sim, image, outline, caption) in enumerate(parts, start=1):
            image.set(data=self.pictures[place].permute(1, 2, 0).numpy(), visible=True)
            outline.set_visible(place in right)
            caption.set(text=f"{n}:  {sim:.2f}", visible=True)

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

    def _words(self, state: dict) -> str:
        if not state["nearest"]:
            languages = ", ".join(map(name_of, self.names))
            return f"Type a name, or press “an example”, to search {len(self.pictures)} pictures in {languages}."
        first = self.names[next(iter(self.names))][state["nearest"][0]][0]
        words = f"Nearest: {first} ({state['similarity'][0]:.2f}). "
        if not self.matched(state["query"][:READ], state["query"][:READ]):
            return words + "Your query has no letter that the features can read, so this order says nothing."
        if state["rank"] is None:
            return words + "No picture has exactly this name."
        count = len(state["right"])
        have = (
            "One picture has exactly this name; it" if count == 1 else f"{count} pictures have exactly this name; one"
        )
        return f"{words}{have} comes at place {state['rank']:g} of {len(self.pictures)}."


def check_names(where: str, image_emb: Tensor, pictures: Tensor, names: Mapping[str, Sequence]) -> None:
    """Refuse pictures that do not have an embedding, and names in each language.

    Raises:
        ValueError: no picture, no language, or numbers that differ.
    """
    counts = [len(image_emb), len(pictures), *map(len, names.values())]
    if len(set(counts)) != 1 or counts[0] == 0 or not names:
        fix = "names[language][i] are the names of picture i."
        refuse(where, "pictures, each with its embedding and its names in a language or more", str(counts), fix)


def language_of(names: Mapping[str, Sequence], label: str) -> Dropdown:
    """A control that chooses one of the languages."""
    options = [(name_of(language), language) for language in names]
    return Dropdown(options=options, description=label, style=LABEL, layout=Layout(width="190px"))


def name_of(language: str) -> str:
    """The language in English, or its code."""
    return LANGUAGES.get(language, language)


def _says_something(piece: str) -> bool:
    """A single Latin letter is in nearly every name; a single Chinese character may be a word."""
    return len(piece) > 1 or not piece.isascii()


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
