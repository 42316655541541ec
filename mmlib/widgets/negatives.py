"""What the choice of negatives and the margin do: similarities of right and wrong pairs, before and after training."""

import time
from collections.abc import Callable, Sequence

import torch
from ipywidgets import Button, Dropdown, IntProgress, Layout, SelectionSlider
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.losses import NEGATIVES, active_triplets
from mmlib.metrics import recall_at_k
from mmlib.train import evaluate
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import Bar, Bars, bar_axes, control, show_all

BINS = 60  # of the similarities from -1 to 1
REDRAW_AFTER = 0.2  # seconds


class NegativesExplorer(Demo):
    """Choose the negatives and the margin of the triplet loss, and see what a model trained so makes of held-out pairs.

    Shows how similar right pairs are and how similar wrong ones, the share of all triplets that still cost something
    (3.9), and the recall at 1 from text to picture; above for the model before training, below for the one after it.

    Args:
        before: the model with which each training begins, or one like it.
        models: negatives and margin to a trained model; a model that is made on demand is put in here.
        make: trains a model with these negatives and this margin, in some seconds, and hands its third argument to
            `train` as `on_step`.
        image_features, text_features: of held-out pairs, as the models take them.
        same: True where text j is a right answer to picture i.
        margins: to choose from, in rising order.

    Raises:
        ValueError: numbers of features that differ, pairs that are all right or a text without a right picture, no
            margin, or a model in `models` for other negatives or margins.
    """

    css_class = "negatives-explorer"

    def __init__(
        self,
        before: nn.Module,
        models: dict[tuple[str, float], nn.Module],
        make: Callable[[str, float, Callable[[dict], None]], nn.Module],
        image_features: Float[Tensor, "n i"],
        text_features: Float[Tensor, "_ j"],
        same: Bool[Tensor, "_ _"],
        margins: Sequence[float],
    ):
        _check_pairs(len(image_features), len(text_features), same)
        _check_models(models, margins)
        self.models, self.make, self.same = models, make, same.cpu()
        self.features = image_features, text_features
        self.before, self._embedded = before, {}
        first = next(iter(models), (NEGATIVES[0], margins[0]))
        self.negatives = control(Dropdown, "negatives", 220, options=NEGATIVES, value=first[0])
        steps = [(f"{margin:g}", margin) for margin in margins]
        self.margin = control(SelectionSlider, "margin", 300, options=steps, value=first[1])
        self.train = Button(description="train this one", layout=Layout(width="130px"))
        self.train.on_click(lambda button: self._train())
        self.progress = control(IntProgress, "progress", 220)
        self.drawing = Drawing(plots.blank(Drawing.HEIGHT))
        rows = [[self.negatives, self.margin, self.train, self.progress]]
        super().__init__(self.drawing.figure, self.drawing.moving, rows)

    def state(self) -> dict:
        """What is shown: negatives, margin, before and after (None if there is no such model yet); each of the two with
        right and wrong (share of the pairs in each bin), middle_right and middle_wrong, active, recall."""
        negatives, margin = self.negatives.value, self.margin.value
        model = self.models.get((negatives, margin))
        after = None if model is None else self._numbers(model, margin)
        return {"negatives": negatives, "margin": margin, "before": self._numbers(self.before, margin), "after": after}

    def _embed(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Embeddings of both sides, kept for as long as the demo lives."""
        if model not in self._embedded:
            images, texts = self.features
            embedded = evaluate(model, model.encode_image, images), evaluate(model, model.encode_text, texts)
            self._embedded[model] = embedded
        return self._embedded[model]

    def _numbers(self, model: nn.Module, margin: float) -> dict:
        image_emb, text_emb = self._embed(model)
        sim = (image_emb @ text_emb.T).clamp(-1, 1)
        right, wrong = sim[self.same], sim[~self.same]
        return {
            "right": (right.histc(BINS, -1, 1) / len(right)).tolist(),
            "wrong": (wrong.histc(BINS, -1, 1) / len(wrong)).tolist(),
            "middle_right": right.median().item(),
            "middle_wrong": wrong.median().item(),
            "active": active_triplets(image_emb, text_emb, margin, self.same),
            "recall": recall_at_k(sim.T, self.same.T, 1),
        }

    def _train(self) -> None:
        """Make the model that is asked for, while the controls rest."""
        key = self.negatives.value, self.margin.value
        if key in self.models:
            return
        self.negatives.disabled = self.margin.disabled = self.train.disabled = True
        self._next = 0.0
        try:
            self.models[key] = self.make(*key, self._on_step)
        except Exception as error:  # from a callback it would only reach the server's log
            self.live.say(f"{type(error).__name__}: {error}", urgent=True)
            self.train.disabled = False
        else:
            self.refresh()
        finally:
            self.negatives.disabled = self.margin.disabled = False

    def _on_step(self, record: dict) -> None:
        if time.perf_counter() < self._next and record["step"] < record["steps"]:
            return
        self._next = time.perf_counter() + REDRAW_AFTER
        self.progress.max, self.progress.value = record["steps"], record["step"]
        left = record["seconds"] / record["step"] * (record["steps"] - record["step"])
        self.live.say(
            f"Training with {self.negatives.value} negatives and margin {self.margin.value:g}: step {record['step']} "
            f"of {record['steps']}, loss {record['loss']:.3f}, {left:.0f} s left."
        )

    def draw(self, state: dict) -> None:
        """Show both histograms, and whether there is something to train."""
        self.drawing.update(state)
        self.train.disabled = state["after"] is not None
        self.progress.value = self.progress.max if state["after"] else 0

    def words(self, state: dict) -> str:
        """What the picture shows."""
        before, after = state["before"], state["after"]
        chosen = f"{state['negatives'].capitalize()} negatives, margin {state['margin']:g}. "
        if after is None:
            return chosen + "No model has been trained so yet: press “train this one”, and wait some seconds."
        return (
            f"{chosen}A right pair is {after['middle_right']:.2f} similar and a wrong one {after['middle_wrong']:.2f}, "
            f"in the middle; before training {before['middle_right']:.2f} and {before['middle_wrong']:.2f}. Of all "
            f"triplets {_percent(after['active'])} still cost something, before it was {_percent(before['active'])}. "
            f"Recall at 1 is {after['recall']:.2f}, before it was {before['recall']:.2f}."
        )


class Drawing:
    """Two histograms one above the other, each with the two shares beside it.

    Args:
        figure: an empty one, `Drawing.HEIGHT` pixels high.
    """

    HEIGHT = 420

    def __init__(self, figure: Figure):
        self.figure, self.moving, self.parts = figure, [], {}
        for top, key, title in ((34, "before", "before training"), (232, "after", "after training")):
            self.parts[key] = self._draw_part(top, title)
        self.parts["after"]["axes"].set_xlabel("similarity of a pair", **plots.type_style())
        style = {"frameon": False, "prop": {"size": plots.FONT}, "ncols": 2, "loc": "lower right"}
        self.parts["before"]["axes"].legend(bbox_to_anchor=(1.02, 0.99), **style)

    def _draw_part(self, top: int, title: str) -> dict:
        axes = plots.place(self.figure, 30, top, 530, 130, title)
        axes.set(xlim=(-1, 1), ylim=(0, 1.22), xticks=[-1, -0.5, 0, 0.5, 1], yticks=[])
        axes.spines["left"].set_visible(False)
        edges, empty = torch.linspace(-1, 1, BINS + 1).numpy(), torch.zeros(BINS).numpy()
        blue, red = plots.PALETTE["blue"], plots.PALETTE["vermillion"]
        wrong = axes.stairs(empty, edges, fill=True, color=blue, alpha=0.75, label="wrong pairs")
        right = axes.stairs(empty, edges, edgecolor=red, linewidth=1.8, hatch="///", label="right pairs")
        (span,) = axes.plot([], [], "|-", color=plots.PALETTE["ink"], markersize=9, linewidth=1.5)
        label = axes.text(0, 1.13, "margin", ha="right", va="center", **plots.type_style())
        shares = bar_axes(self.figure, 700, top + 36, 90, 62)
        bars = Bars(shares, ["", ""], behind=0.05, height=0.6, color=plots.PALETTE["grey"])
        shares.set_yticks([0, 1], ["active triplets", "recall at 1"], **plots.type_style())
        shares.tick_params(axis="y", length=0)
        none = axes.text(0, 0.5, "not trained yet", ha="center", **plots.type_style())
        some = [wrong, right, span, label, *bars.moving]
        self.moving += [*some, none]
        part = {"axes": axes, "wrong": wrong, "right": right, "span": span, "label": label, "shares": bars}
        return part | {"some": some, "none": none}

    def update(self, state: dict) -> None:
        """Draw both histograms, each as high as its peak; the margin hangs from the middle of the right pairs."""
        for key, part in self.parts.items():
            numbers = state[key]
            show_all(part["some"], numbers is not None)
            part["none"].set_visible(numbers is None)
            if numbers is None:
                continue
            for kind in ("wrong", "right"):
                height = torch.tensor(numbers[kind])
                part[kind].set_data((height / height.max()).numpy())
            end, start = numbers["middle_right"], numbers["middle_right"] - state["margin"]
            part["span"].set_data([start, end], [1.13, 1.13])
            part["label"].set_x(start - 0.02)
            active, recall = numbers["active"], numbers["recall"]
            part["shares"].show([Bar(active, _percent(active)), Bar(recall, f"{recall:.2f}")])


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def _check_pairs(images: int, texts: int, same: Tensor) -> None:
    counts = images, texts, *same.shape
    if len(set(counts)) != 1:
        refuse("NegativesExplorer", "features of n pairs, and same (n, n)", str(counts), "Row i of both is a pair.")
    if same.all() or not same.any(dim=0).all():
        got = "no wrong one" if same.all() else "a text without a right picture"
        refuse("NegativesExplorer", "pairs of which some are right and some are wrong", got, "Take two pairs or more.")


def _check_models(models: dict, margins: Sequence[float]) -> None:
    if not margins:
        refuse("NegativesExplorer", "a margin or more to choose from", "none")
    strange = [key for key in models if key[0] not in NEGATIVES or key[1] not in margins]
    if strange:
        fix = f"Negatives are {', '.join(NEGATIVES)}, and each margin must be among those to choose from."
        refuse("NegativesExplorer", f"models for margins {list(margins)}", str(strange[0]), fix)
