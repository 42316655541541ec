"""From a picture to its names: all the names of one language, sorted by how near they are to the picture."""

from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import HTML, HBox, IntSlider, Layout, Widget
from jaxtyping import Float, UInt8
from torch import Tensor

from mmlib import plots
from mmlib.metrics import rank_of_best
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import check_names, control, language_of, name_of, put
from mmlib.widgets.table import table_of

NEAREST = 8
SIDE = 190  # pixels


class NamesExplorer(Demo):
    """Pick a picture and a language, and see the nearest of all names that the pictures have in it.

    Args:
        encode_text: texts to unit embeddings (b e); each name is embedded once, when the demo is made.
        image_emb: of the pictures, unit length.
        pictures: values from 0 to 255.
        names: language to the names of each picture.

    Raises:
        ValueError: no language, a picture without a name in one, or numbers of embeddings, pictures and names that
            differ.
    """

    css_class = "names-explorer"

    def __init__(
        self,
        encode_text: Callable[[list[str]], Tensor],
        image_emb: Float[Tensor, "n e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Mapping[str, Sequence[Sequence[str]]],
    ):
        check_names("NamesExplorer", image_emb, pictures, names)
        self.names, self.pictures = dict(names), pictures.cpu()
        self.candidates = {lang: sorted({name for each in own for name in each}) for lang, own in names.items()}
        image_emb = image_emb.detach().cpu()
        self.sim = {lang: image_emb @ encode_text(texts).float().cpu().T for lang, texts in self.candidates.items()}
        self.picture = control(IntSlider, "picture", 380, min=0, max=len(pictures) - 1)
        self.language = language_of(names, "names in")
        self.table = HTML(layout=Layout(margin="0 0 0 24px"))
        figure = plots.blank(SIDE + 60, width=SIDE + 12)
        axes = plots.place(figure, 6, 6, SIDE, SIDE)
        self.shown, self.caption = plots.picture_in(axes, self.pictures[0]), plots.caption_in(axes, 0.04)
        super().__init__(figure, [self.shown, self.caption], [[self.picture, self.language]], [self.table])

    def arrange(self) -> list[Widget]:
        """The table stands to the right of the picture, and the words have the width of both."""
        self.live.words.layout.max_width = f"{plots.WIDTH}px"
        both = HBox([self.live.image, self.table], layout=Layout(min_height="260px", align_items="flex-start"))
        return [both, self.live.words]

    def state(self) -> dict:
        """What is shown: picture, language, names (the nearest), similarity, right (of each), rank (of its best)."""
        picture, language = self.picture.value, self.language.value
        sim, candidates = self.sim[language][picture], self.candidates[language]
        own = set(self.names[language][picture])
        right = torch.tensor([name in own for name in candidates])
        best = sim.topk(min(NEAREST, len(candidates)))
        return {
            "picture": picture,
            "language": language,
            "names": [candidates[n] for n in best.indices.tolist()],
            "similarity": best.values.tolist(),
            "right": right[best.indices].tolist(),
            "rank": rank_of_best(sim[None], right[None]).item(),
        }

    def draw(self, state: dict) -> None:
        """Show the picture, and the nearest names in the table."""
        put(self.pictures[state["picture"]], self.shown)
        self.caption.set_text(plots.fit(self._caption(state), SIDE, lines=2))
        found = zip(state["names"], state["similarity"], state["right"], strict=True)
        rows = [[str(n), sim, name, "◄ right" if right else ""] for n, (name, sim, right) in enumerate(found, start=1)]
        self.table.value = table_of(["", "similarity", f"name in {name_of(state['language'])}", ""], rows)

    def words(self, state: dict) -> str:
        """What the picture shows."""
        language = state["language"]
        own = " or ".join(f"“{name}”" for name in self.names[language][state["picture"]])
        return (
            f"“{self._caption(state)}” in {name_of(language)}: nearest is “{state['names'][0]}” "
            f"({state['similarity'][0]:.2f}). Its own name, {own}, comes at place {state['rank']:g} of "
            f"{len(self.candidates[language])}."
        )

    def _caption(self, state: dict) -> str:
        return self.names[next(iter(self.names))][state["picture"]][0]
