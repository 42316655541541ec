"""Exercise 6 of notebook 1: the gradient of a large batch, when only a few pairs fit into memory.

Memory is watched: `encode` counts the pairs whose graph is still alive, and stops when there are too many.
"""

import weakref
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.clip.infonce import both_ways, unit_pairs
from mmlib.exercises.core import Mistake, call, check_shape, check_value, exercise, name_of, not_yet

TEMPERATURE = 0.3


def loss_of(image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"]) -> Float[Tensor, ""]:
    """The symmetric loss of exercise 2; a single pair costs 0."""
    return both_ways(image_emb, text_emb, TEMPERATURE)


class _Graph:
    """Stands for the graph of some pairs: it is alive as long as one of their tensors is kept for the way back."""

    def __init__(self, rows: int):
        self.rows = rows


def make_encode(room: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """An encoder of both sides with one weight, and memory for the graph of `room` pairs."""
    alive: weakref.WeakSet[_Graph] = weakref.WeakSet()

    def encode(image: Float[Tensor, "b f"], text: Float[Tensor, "b f"], weight: Float[Tensor, "f e"]):
        """Features of pairs and the weight -> the embeddings of both sides, (b e) each."""
        if torch.is_grad_enabled() and weight.requires_grad:
            held = sum(graph.rows for graph in alive)
            if held + len(image) > room:
                raise RuntimeError(f"out of memory: room for the graph of {room} pairs, needed {held + len(image)}")
        graph = _Graph(len(image))
        with torch.autograd.graph.saved_tensors_hooks(lambda x: _keep(alive, graph, x), lambda kept: kept[1]):
            return F.normalize((image @ weight).tanh(), dim=-1), F.normalize((text @ weight).tanh(), dim=-1)

    return encode


def _keep(alive: weakref.WeakSet, graph: _Graph, x: Tensor) -> tuple[_Graph, Tensor]:
    alive.add(graph)
    return graph, x


def _whole(image_emb: Tensor, text_emb: Tensor, piece: int) -> tuple[Tensor, Tensor]:
    return torch.autograd.grad(loss_of(image_emb, text_emb), (image_emb, text_emb))


def _each_alone(image_emb: Tensor, text_emb: Tensor, piece: int, by: Callable = lambda few, b: len(few) / b):
    """What the losses of the pieces ask: no piece knows of the others."""
    few = zip(image_emb.split(piece), text_emb.split(piece), strict=True)
    loss = sum(loss_of(i, t) * by(i, len(image_emb)) for i, t in few)
    return torch.autograd.grad(loss, (image_emb, text_emb))


def gradient_in_pieces(
    encode: Callable,
    loss: Callable,
    weight: Float[Tensor, "f e"],
    image: Float[Tensor, "b f"],
    text: Float[Tensor, "b f"],
    piece: int,
    *,
    ask: Callable = _whole,
    hand: Callable = lambda of_image, of_text: (of_image, of_text),
    combine: Callable = lambda parts, piece: torch.stack([part for part, _ in parts]).sum(dim=0),
) -> Float[Tensor, "f e"]:
    """The gradient of the whole batch's loss: embeddings first, then what is asked of them, then each piece again."""
    few = list(zip(image.split(piece), text.split(piece), strict=True))
    with torch.no_grad():
        sides = zip(*(encode(i, t, weight) for i, t in few), strict=True)
    image_emb, text_emb = (torch.cat(side).requires_grad_() for side in sides)
    asked = hand(*ask(image_emb, text_emb, piece))
    weight, parts = weight.detach().requires_grad_(), []
    for (i, t), *grads in zip(few, *(side.split(piece) for side in asked), strict=True):
        emb = encode(i, t, weight)
        parts.append((torch.autograd.grad(emb, weight, grads)[0], len(i)))
        del emb
    return combine(parts, piece)


PLAIN = "this is plain accumulation: each piece has its own loss, in which a picture meets the texts of its piece only."
PIECES_MISTAKES = [
    Mistake(
        f"{PLAIN} Take one loss, over the embeddings of all pieces.",
        {"ask": _each_alone},
    ),
    Mistake(
        f"{PLAIN} And the losses are added up with no mean.",
        {"ask": lambda i, t, piece: _each_alone(i, t, piece, by=lambda few, b: 1.0)},
    ),
    Mistake(
        "you divided by the number of pieces. The loss of the whole batch is a mean over all pairs already: add up.",
        {"combine": lambda parts, piece: torch.stack([part for part, _ in parts]).mean(dim=0)},
    ),
    Mistake(
        "only the last piece is in your gradient. Add up over the pieces: .grad does, unless you set it to None.",
        {"combine": lambda parts, piece: parts[-1][0]},
    ),
    Mistake(
        "only the first piece is in your gradient. Is the return line inside the loop?",
        {"combine": lambda parts, piece: parts[0][0]},
    ),
    Mistake(
        "the last piece, which is smaller, is missing. Tensor.split gives it too; a range of b // piece does not.",
        {"combine": lambda parts, piece: torch.stack([part for part, rows in parts if rows == piece]).sum(dim=0)},
    ),
    Mistake(
        "the gradient through the texts is missing. Hand back both sides.",
        {"hand": lambda of_image, of_text: (of_image, torch.zeros_like(of_text))},
    ),
    Mistake(
        "the gradient through the pictures is missing. Hand back both sides.",
        {"hand": lambda of_image, of_text: (torch.zeros_like(of_image), of_text)},
    ),
    Mistake(
        "the pictures were given what the loss asks of the texts, and the texts what it asks of the pictures.",
        {"hand": lambda of_image, of_text: (of_text, of_image)},
    ),
    Mistake(
        "the gradient has the wrong sign. Nothing is turned round on the way back.",
        {"combine": lambda parts, piece: -torch.stack([part for part, _ in parts]).sum(dim=0)},
    ),
]


def make_cases() -> list[tuple]:
    """Small batches, each with an empty memory: what an earlier answer left there is not counted."""
    cases = []
    for b, piece, seed in ((6, 3, 1), (8, 2, 2), (7, 3, 3)):
        image, text = unit_pairs(b, 5, seed)
        weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        cases.append((make_encode(room=piece), loss_of, weight, image, text, piece))
    return cases


@exercise
def check_pieces(gradient_in_pieces_of: Callable) -> str:
    """Check `gradient_in_pieces(encode, loss_of, weight (f e), image (b f), text (b f), piece) -> gradient (f e)`."""
    name = name_of(gradient_in_pieces_of)
    hints = {(): "That is the loss. Return the gradient of the weight, weight.grad."}
    cases = make_cases()
    for i, case in enumerate(make_cases()):
        got = call(gradient_in_pieces_of, *case)
        if torch.equal(got, case[2]):
            not_yet(f"{name} gives the weight back. Return its gradient.")
        check_shape(name, got, (5, 4), hints, "A gradient has the shape of its weight.")
        label = f"{len(case[3])} pairs in pieces of {case[5]}"
        check_value(name, got, gradient_in_pieces, cases[: i + 1], PIECES_MISTAKES, label)
    return "the gradient of the whole batch, and never more than one piece in memory."
