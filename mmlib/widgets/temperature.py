"""What temperature does to a softmax: the same similarities, from one winner who takes all to everybody alike."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from ipywidgets import Button, Dropdown, FloatLogSlider, Layout
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mmlib import plots
from mmlib.check import refuse
from mmlib.metrics import entropy
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import Bar, Bars, bar_axes, check_counts, control, first_names

COLDEST, HOTTEST = 0.005, 1.0
CELL = 28  # pixels


class TemperatureExplorer(Demo):
    """Move the temperature of a softmax over the similarities of held-out pairs.

    Shows softmax(sim / temperature) of each row, the probabilities of one picture, their entropy, the number of
    candidates exp(H) that it amounts to, and the share of the hardest negative in the push of all negatives on the
    picture, which is how the gradient is shared out.
    Equation: w_j = exp(s_j / t) / sum_{k != i} exp(s_k / t)  (1.8)

    Args:
        image_emb: of n pictures, 2 to 12.
        text_emb: of their n names, in the same order.
        pictures: values from 0 to 255.
        names: one for each picture, or several of which the first is shown.
        learned: the temperature that the model ended with; marked, with a button that goes there.

    Raises:
        ValueError: the numbers of embeddings, pictures and names differ, or `learned` is not from 0.005 to 1.
    """

    css_class = "temperature-explorer"

    def __init__(
        self,
        image_emb: Float[Tensor, "n e"],
        text_emb: Float[Tensor, "_ e"],
        pictures: UInt8[Tensor, "_ 3 h w"],
        names: Sequence[str] | Sequence[Sequence[str]],
        learned: float,
    ):
        check_counts("TemperatureExplorer", image_emb, text_emb, pictures, names, least=2, most=12)
        if not COLDEST <= learned <= HOTTEST:
            fix = "It is exp(-log_scale) of the model, 1 over its scale."
            refuse("TemperatureExplorer", f"learned from {COLDEST} to {HOTTEST:g}", f"{learned:g}", fix)
        self.sim = (image_emb.detach() @ text_emb.detach().T).double().cpu()
        self.names, self.learned = first_names(names), learned
        span = {"min": math.log10(COLDEST), "max": math.log10(HOTTEST), "step": _step_that_meets(learned)}
        self.temperature = control(FloatLogSlider, "temperature", 370, value=learned, readout_format=".3g", **span)
        self.picture = control(
            Dropdown, "picture", 340, options=[(f"{n + 1}  {name}", n) for n, name in enumerate(self.names)]
        )
        self.to_learned = Button(description=f"learned: {learned:.3f}", layout=Layout(width="130px"))
        self.to_learned.on_click(lambda button: setattr(self.temperature, "value", learned))
        self.drawing = Drawing(plots.blank(Drawing.height(len(names))), pictures, self.names, learned)
        rows = [[self.temperature, self.to_learned, self.picture]]
        super().__init__(self.drawing.figure, self.drawing.moving, rows)

    def state(self) -> dict:
        """The numbers shown: temperature, picture, probabilities, entropy, candidates, hardest, hardest_weight."""
        temperature, picture = self.temperature.value, self.picture.value
        logits = self.sim[picture] / temperature
        probabilities = logits.softmax(0)
        others = logits.clone()
        others[picture] = -np.inf
        hardest = int(others.argmax())
        spread = entropy(probabilities).item()
        return {
            "temperature": temperature,
            "picture": picture,
            "probabilities": probabilities.tolist(),
            "entropy": spread,
            "candidates": float(np.exp(spread)),
            "hardest": hardest,
            "hardest_weight": others.softmax(0)[hardest].item(),
        }

    def draw(self, state: dict) -> None:
        """Move every artist to where this temperature and this picture put it."""
        self.drawing.update(self.sim, state["temperature"], state["picture"])

    def words(self, state: dict) -> str:
        """What the picture shows."""
        name, hardest = (self.names[state[key]] for key in ("picture", "hardest"))
        return (
            f"Temperature {state['temperature']:#.3g}. “{name}” gets its own name with probability "
            f"{state['probabilities'][state['picture']]:.2f}. Entropy {state['entropy']:.2f} nats: as if "
            f"{state['candidates']:.1f} of {len(self.names)} names were left. The hardest wrong name, “{hardest}”, "
            f"takes {state['hardest_weight']:.0%} of the push on all wrong names."
        )


class Drawing:
    """The figure of the demo: heat map and bars side by side, and below them the curve that the slider walks along.

    Args:
        figure: an empty one, `Drawing.height(n)` pixels high.
        pictures, names, learned: as `TemperatureExplorer` gets them.
    """

    def __init__(self, figure: Figure, pictures: UInt8[Tensor, "n 3 h w"], names: Sequence[str], learned: float):
        count, self.figure = len(names), figure
        side, top = CELL * count, 54
        plots.thumbnails(plots.place(figure, 40, top, CELL, side), pictures)
        heat = plots.place(figure, 76, top, side, side)
        heat.set_title("softmax of each row", loc="left", pad=24, **plots.type_style(weight="bold"))
        self.heat = plots.matrix_in(heat, np.zeros((count, count)), (0, 1))
        numbers = [str(n + 1) for n in range(count)]
        heat.set_yticks(range(count), numbers, **plots.type_style())
        heat.set_xticks(range(count), numbers, **plots.type_style())
        heat.tick_params(axis="y", pad=CELL + 6)
        heat.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
        self.outline = heat.add_patch(Rectangle((-0.5, -0.5), count, 1, fill=False, linewidth=2.5, clip_on=False))
        self.outline.set_edgecolor(plots.PALETTE["vermillion"])

        axes = bar_axes(figure, 690, top, 112, side)
        axes.set_title("the outlined row", loc="left", pad=24, x=-2.3, **plots.type_style(weight="bold"))
        self.row = Bars(axes, [""] * count, height=0.62)
        labels = [plots.fit(f"{n + 1}  {name}", 256) for n, name in enumerate(names)]
        axes.set_yticks(range(count), labels, **plots.type_style())
        axes.tick_params(axis="y", length=0)

        curve = plots.place(figure, 76, top + side + 44, 724, 84)
        curve.set_title(
            "candidates left, exp(entropy), at each temperature", loc="left", pad=8, **plots.type_style(weight="bold")
        )
        curve.set_xscale("log")
        curve.set(xlim=(COLDEST, HOTTEST), ylim=(0, count + 1), yticks=[1, count])
        curve.set_xticks([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1])
        curve.xaxis.set_major_formatter("{x:g}")
        curve.minorticks_off()
        curve.axvline(learned, color=plots.PALETTE["ink"], linestyle=(0, (2, 2)), linewidth=1.2)
        on_left = learned < 0.07
        curve.annotate(
            "learned",
            (learned, count + 1),
            (4 if on_left else -4, -2),
            textcoords="offset points",
            va="top",
            ha="left" if on_left else "right",
            **plots.type_style(),
        )
        (self.curve,) = curve.plot([], [], color=plots.PALETTE["blue"], linewidth=2)
        (self.dot,) = curve.plot([], [], "o", color=plots.PALETTE["vermillion"], markersize=9, clip_on=False)
        self.moving = [self.heat, self.outline, *self.row.moving, self.curve, self.dot]

    @staticmethod
    def height(count: int) -> int:
        """Height in pixels of the figure for this many pairs."""
        return 54 + CELL * count + 44 + 84 + 30

    def update(self, sim: Float[Tensor, "n n"], temperature: float, picture: int) -> None:
        """Move every artist to where this temperature and this picture put it."""
        rows = (sim / temperature).softmax(dim=1)
        self.heat.set_data(rows.numpy())
        self.outline.set_y(picture - 0.5)
        shares = enumerate(rows[picture].tolist())
        self.row.show([Bar(share, f"{share:.2f}", hatch="//" if n == picture else "") for n, share in shares])
        temperatures = torch.tensor(np.geomspace(COLDEST, HOTTEST, 80))
        self.curve.set_data(
            temperatures.numpy(), entropy((sim[picture] / temperatures[:, None]).softmax(dim=1)).exp().numpy()
        )
        self.dot.set_data([temperature], [entropy(rows[picture]).exp().item()])


def _step_that_meets(learned: float) -> float:
    """About 60 steps over the slider, in powers of ten, one of which ends on the learned temperature.

    The slider shows the nearest step, and would otherwise show a number that is not quite the learned one.
    """
    whole = math.log10(HOTTEST / COLDEST)
    part = math.log10(learned / COLDEST)
    return part / round(part / whole * 60) if part > whole / 60 else whole / 60
