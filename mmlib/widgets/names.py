"""From a picture to its names: all the names of one language, sorted by how near they are to the picture."""

from collections.abc import Callable, Mapping, Sequence

import torch
from ipywidgets import HTML, HBox, IntSlider, Layout, VBox
from jaxtyping import Float, UInt8
from torch import Tensor

from mmlib import plots
from mmlib.metrics import rank_of_best
from mmlib.widgets.clips import ROW_OF_CONTROLS
from mmlib.widgets.live import LABEL, Live, answer_while_cells_run
from mmlib.widgets.retrieval import check_names, language_of, name_of
from mmlib.widgets.table import table_of

NEAREST = 8
SIDE = 190  # pixels


class NamesExplorer(VBox):
    """Pick a picture and a language, and see the nearest of all names that the pictures have in it.

    Args:
        encode_text: texts to unit embeddings (b e); each name is embedded once, when the demo is made.
        image_emb: of the pictures, unit length.
        pictures: values from 0 to 255.
        names: language to the names of each picture.

    Raises:
        ValueError: no language, or the numbers of embeddings, pictures and names differ.
    """

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
        wide = Layout(width="380px")
        self.picture = IntSlider(min=0, max=len(pictures) - 1, description="picture", style=LABEL, layout=wide)
        self.language = language_of(names, "names in")
        self.table = HTML(layout=Layout(margin="0 0 0 24px"))
        self._draw_empty()
        answer_while_cells_run(self.picture, self.language)
        for control in (self.picture, self.language):
            control.observe(lambda change: self.live.refresh(self._update), "value")
        shown = HBox([self.live.image, self.table], layout=Layout(min_height="260px", align_items="flex-start"))
        controls = HBox([self.picture, self.language], layout=Layout(**ROW_OF_CONTROLS))
        super().__init__([controls, shown, self.live.words])
        self.add_class("names-explorer")
        self.live.refresh(self._update)

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

    def _draw_empty(self) -> None:
        figure = plots.blank(SIDE + 60, width=SIDE + 12)
        axes = plots.place(figure, 6, 6, SIDE, SIDE)
        self.shown = plots.picture_in(axes, self.pictures[0])
        middle = {"transform": axes.transAxes, "ha": "center", "va": "top"}
        self.caption = axes.text(0.5, -0.04, "", **middle, **plots.type_style())
        self.live = Live(figure, [self.shown, self.caption])
        self.live.words.layout.max_width = f"{plots.WIDTH}px"  # not as narrow as the picture

    def _update(self) -> str:
        state = self.state()
        picture, language = state["picture"], state["language"]
        caption = self.names[next(iter(self.names))][picture][0]
        self.shown.set_data(self.pictures[picture].permute(1, 2, 0).numpy())
        self.caption.set_text(plots.fit(caption, SIDE, lines=2))
        found = zip(state["names"], state["similarity"], state["right"], strict=True)
        rows = [[str(n), sim, name, "◄ right" if right else ""] for n, (name, sim, right) in enumerate(found, start=1)]
        self.table.value = table_of(["", "similarity", f"name in {name_of(language)}", ""], rows)
        own = " or ".join(f"“{name}”" for name in self.names[language][picture])
        return (
            f"“{caption}” in {name_of(language)}: nearest is “{state['names'][0]}” ({state['similarity'][0]:.2f}). Its "
            f"own name, {own}, comes at place {state['rank']:g} of {len(self.candidates[language])}."
        )
