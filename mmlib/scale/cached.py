"""The gradient of a batch that does not fit into memory: embeddings first, then each piece again (GradCache)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

from mmlib.check import refuse


def backward_in_pieces(
    encode: Callable[..., Sequence[Tensor]], loss_of: Callable[..., Tensor], inputs: Sequence[Tensor], piece: int
) -> Tensor:
    """Add the gradient of the whole batch to `.grad` with the memory of one piece, and give the loss.

    Every piece is encoded twice: once to know its embeddings, and once to follow their gradient to the weights.

    Equation: dL/dtheta = sum over pieces of sum_(i in piece) (dL/du_i du_i/dtheta + dL/dv_i dv_i/dtheta)
    (1.17; Gao et al. 2021, eq. 5)

    Args:
        encode: one piece of each input to embeddings, one tensor (b, e) for each side. Dropout repeats itself, but
            batch normalisation sees one piece at a time, as it would in any accumulation: with it the result is the
            whole batch's only in evaluation mode.
        loss_of: the embeddings of the whole batch to a scalar; parameters in it, such as a scale, get theirs too.
        inputs: tensors with as many rows each.
        piece: rows that are encoded with a graph at once; the last piece may be smaller.

    Raises:
        ValueError: inputs with different numbers of rows or with none, a piece below 1.
    """
    rows = {len(x) for x in inputs}
    if len(rows) != 1 or 0 in rows or piece < 1:
        got = f"inputs of {', '.join(str(len(x)) for x in inputs)} rows and a piece of {piece}"
        refuse("backward_in_pieces", "inputs with as many rows each, and a piece of 1 or more", got)
    pieces = list(zip(*(x.split(piece) for x in inputs), strict=True))
    states, parts = [], []
    with torch.no_grad():  # 1. all embeddings, and nothing that leads to them
        for each in pieces:
            states.append(_random_state(each))
            parts.append(tuple(encode(*each)))

    sides = [torch.cat(side).requires_grad_() for side in zip(*parts, strict=True)]
    loss = loss_of(*sides)
    loss.backward()  # 2. the gradient of each embedding; zero where the loss does not look at a side

    grads = [(torch.zeros_like(side) if side.grad is None else side.grad).split(piece) for side in sides]
    for each, state, *grad in zip(pieces, states, *grads, strict=True):
        with _replayed(state):
            emb = encode(*each)
        learned = [(e, g) for e, g in zip(emb, grad, strict=True) if e.requires_grad]  # a frozen tower learns nothing
        if learned:
            torch.autograd.backward(*zip(*learned, strict=True))  # 3. each piece again, now down to the weights
    return loss.detach()


def _random_state(inputs: Sequence[Tensor]) -> tuple:
    return torch.get_rng_state(), get_device_states(*inputs)


@contextmanager
def _replayed(state: tuple) -> Iterator[None]:
    """Draw the random numbers that were drawn from this state on; the present state comes back at the end."""
    here, (devices, there) = state
    with torch.random.fork_rng(devices):
        torch.set_rng_state(here)
        set_device_states(devices, there)
        yield
