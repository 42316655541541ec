"""What the demos of captions share: the choice of a picture, what a model says of it, and where it looked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from ipywidgets import FloatSlider, IntSlider, Widget
from jaxtyping import Float, Int, UInt8
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy import ndarray
from torch import Tensor, nn

from mmlib import plots
from mmlib.check import refuse
from mmlib.widgets.live import Demo
from mmlib.widgets.parts import control, put

WIDEST = 8  # most beams
END = "(end)"


class CaptionDemo(Demo):
    """A demo of what a model says of a picture; has the controls `picture`, `width` (beams) and `alpha`.

    Args:
        model: has `encode_image`, `start` and `step`, as `decode` asks for.
        tokenizer: its `words`, and the ids of start, end and padding.
        pictures: values from 0 to 255, of the size that the model takes; at least one.
        references: the right captions of each picture, words with a space between them.

    Raises:
        ValueError: pictures that are no bytes, or not one list of references for each.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        pictures: UInt8[Tensor, "n 3 h w"],
        references: Sequence[Sequence[str]],
    ):
        where = type(self).__name__
        if len(pictures) != len(references) or len(pictures) == 0:
            got = f"{len(pictures)} and {len(references)}"
            refuse(where, "pictures, each with a list of right captions", got, "Take them from the same split.")
        if any(isinstance(texts, str) or len(texts) == 0 for texts in references):
            refuse(where, "a list of right captions for each picture", "one string, or none", "Use [text].")
        self.model, self.tokenizer = model, tokenizer
        self.pictures, self.references = pictures.cpu(), [list(texts) for texts in references]
        self.picture = control(IntSlider, "picture", 340, min=0, max=len(pictures) - 1)
        self.width = control(IntSlider, "beam width", 270, value=5, min=1, max=WIDEST)
        self.alpha = control(FloatSlider, "length penalty", 270, value=1.0, min=0.0, max=2.0, step=0.1)
        super().__init__(*self.build())

    def build(self) -> tuple[Figure, list[Artist], list[list[Widget]]]:
        """Make the other controls and the figure: what `Demo` takes."""
        return plots.blank(100), [], [[self.picture, self.width, self.alpha]]

    @property
    def image(self) -> Float[Tensor, "1 3 h w"]:
        """The chosen picture with values in [0, 1], where the model is."""
        device = next(self.model.parameters()).device
        return self.pictures[self.picture.value][None].to(device) / 255

    @property
    def right(self) -> list[str]:
        """The right captions of the chosen picture."""
        return self.references[self.picture.value]

    def spoken(self, text_ids: Int[Tensor, " s"]) -> Int[Tensor, " _"]:
        """A caption without what fills it up behind the end of text; padding that the model says itself is a word."""
        ids = text_ids.tolist()
        return text_ids[: ids.index(self.tokenizer.end_id) + 1] if self.tokenizer.end_id in ids else text_ids

    def label(self, token: int) -> str:
        """A token as readers see it."""
        return END if token == self.tokenizer.end_id else self.tokenizer.words[token]


def follow(
    model: nn.Module, image: Float[Tensor, "1 3 h w"], text_ids: Int[Tensor, " s"], start_id: int
) -> tuple[Float[Tensor, "s v"], Float[Tensor, "s n"] | None]:
    """Let the model hear a caption: log-probabilities of all words at each place, and where it looked, if it looks."""
    regions = model.encode_image(image)
    state, log_probs, looks = model.start(regions), [], []
    heard = torch.cat([text_ids.new_tensor([start_id]), text_ids[:-1]])
    for word in rearrange(heard, "s -> s 1"):
        state, logits, attn = model.step(state, word, regions)
        log_probs.append(logits.log_softmax(dim=1))
        looks.append(attn)
    return torch.cat(log_probs).cpu(), None if looks[0] is None else torch.cat(looks).cpu()


class Look:
    """A picture under the weight of each region: what is not looked at fades, an outline holds half of the weight.

    Args:
        figure: to draw into.
        left, top: pixels from the upper left corner of the figure to that of the picture.
        side: of the picture, in pixels.
    """

    def __init__(self, figure: Figure, left: int, top: int, side: int):
        axes = plots.place(figure, left, top, side, side)
        self.picture = plots.picture_in(axes, np.zeros((3, 2, 2), np.uint8))
        whole = (0, 1, 1, 0)
        self.picture.set_extent(whole)
        self.veil = axes.imshow(np.zeros((1, 1, 4)), extent=whole, interpolation="nearest", aspect="auto")
        self.outline = LineCollection([], colors=plots.PALETTE["vermillion"], linewidths=2, capstyle="projecting")
        axes.add_collection(self.outline, autolim=False)
        axes.set(xlim=(0, 1), ylim=(1, 0))
        self.moving = [self.picture, self.veil, self.outline]

    def show(self, picture: UInt8[Tensor, "3 h w"], grid: Float[ndarray, "rows columns"] | None) -> None:
        """Draw the picture, under weights if there are any."""
        put(picture, self.picture)
        weights = np.ones((1, 1)) if grid is None else grid
        veil = np.ones((*weights.shape, 4))
        veil[..., 3] = 0.85 * (1 - weights / weights.max())
        self.veil.set_data(veil)
        self.outline.set_segments([] if grid is None else borders(plots.half_of_weight(grid) > 0))


def borders(inside: ndarray) -> list[list[tuple[float, float]]]:
    """Lines between the cells of a grid that are inside and those that are not, in a square of side 1.

    >>> borders(np.array([[True]]))[0]
    [(0.0, 0.0), (1.0, 0.0)]
    """
    rows, columns = inside.shape
    padded = np.pad(inside, 1)
    level = [
        [(c / columns, r / rows), ((c + 1) / columns, r / rows)]
        for r, c in np.argwhere(padded[:-1, 1:-1] != padded[1:, 1:-1]).tolist()
    ]
    upright = [
        [(c / columns, r / rows), (c / columns, (r + 1) / rows)]
        for r, c in np.argwhere(padded[1:-1, :-1] != padded[1:-1, 1:]).tolist()
    ]
    return level + upright


def place_in_words(grid: Float[ndarray, "rows columns"]) -> str:
    """Where the middle of the weight lies in a picture: upper left, centre, ...

    >>> place_in_words(np.eye(3))
    'centre'
    """
    thirds = []
    for axis, names in ((1, ("upper", "", "lower")), (0, ("left", "", "right"))):
        share = grid.sum(axis=axis) / grid.sum()
        middle = float(((np.arange(len(share)) + 0.5) / len(share) * share).sum())
        thirds.append(names[0 if middle < 0.4 else 1 if middle <= 0.6 else 2])
    return " ".join(part for part in thirds if part) or "centre"
