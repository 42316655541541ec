"""Exercise 1 of notebook 4: one step of an LSTM, from its gates."""

import functools
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.captioner.parts import call_for
from mmlib.exercises.core import OldMistake as Mistake
from mmlib.exercises.core import check_gradient, check_shape, check_value, exercise, name_of

PARTS = ("hidden", "cell")


def _all_inputs(x: Tensor, hidden: Tensor, cell: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor) -> Tensor:
    return x @ w_x.T + hidden @ w_h.T + bias


def _kept_and_added(enter: Tensor, forget: Tensor, candidate: Tensor, cell: Tensor) -> Tensor:
    return forget * cell + enter * candidate


def lstm_step(
    x: Float[Tensor, "b d"],
    hidden: Float[Tensor, "b k"],
    cell: Float[Tensor, "b k"],
    w_x: Float[Tensor, "4*k d"],
    w_h: Float[Tensor, "4*k k"],
    bias: Float[Tensor, "4*k"],
    *,
    add: Callable = _all_inputs,
    cut: Callable = lambda blocks: blocks.chunk(4, dim=1),
    gate: Callable = torch.sigmoid,
    propose: Callable = torch.tanh,
    keep: Callable = _kept_and_added,
    show: Callable = lambda new, old: new.tanh(),
    give: Callable = lambda hidden, cell: (hidden, cell),
) -> Float[Tensor, "2 b k"]:
    """Add up the inputs, cut them into blocks, gate them, keep and add, show what the output gate lets out.

    Equation: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(W_x x + W_h h + b)  (4.4),
    c' = f c + i g, h' = o tanh(c')  (4.5)
    """
    enter, forget, candidate, leave = cut(add(x, hidden, cell, w_x, w_h, bias))
    new = keep(gate(enter), gate(forget), propose(candidate), cell)
    return torch.stack(give(gate(leave) * show(new, cell), new))


def _in_order(*places: int) -> dict[str, Callable]:
    """Take the blocks as if input, forget, candidate and output stood at these places."""
    return {"cut": lambda blocks: [blocks.chunk(4, dim=1)[place] for place in places]}


LSTM_MISTAKES = [
    Mistake(
        "your first two blocks are swapped. PyTorch puts the input gate first, then the forget gate.",
        _in_order(1, 0, 2, 3),
    ),
    Mistake(
        "your last two blocks are swapped. PyTorch puts the candidate third and the output gate last.",
        _in_order(0, 1, 3, 2),
    ),
    Mistake(
        "you read the blocks as forget, input, output, candidate. The order here is input, forget, candidate, output.",
        _in_order(1, 0, 3, 2),
    ),
    Mistake(
        "your blocks are torn: you took every fourth number. A block is k neighbours: chunk(4, dim=1).",
        {"cut": lambda blocks: rearrange(blocks, "b (k gates) -> gates b k", gates=4)},
    ),
    Mistake("the bias is missing.", {"add": lambda x, hidden, cell, w_x, w_h, bias: x @ w_x.T + hidden @ w_h.T}),
    Mistake(
        "the old hidden state has no effect. Add hidden @ w_h.T: it is all that the gates know of earlier words.",
        {"add": lambda x, hidden, cell, w_x, w_h, bias: x @ w_x.T + bias},
    ),
    Mistake(
        "you fed the cell to the gates. They read the hidden state: hidden @ w_h.T.",
        {"add": lambda x, hidden, cell, w_x, w_h, bias: x @ w_x.T + cell @ w_h.T + bias},
    ),
    Mistake("your gates are tanh. A gate is a share, from 0 to 1: sigmoid.", {"gate": torch.tanh}),
    Mistake("your gates are bare numbers. A gate is a share, from 0 to 1: sigmoid.", {"gate": lambda x: x}),
    Mistake("your candidate is a sigmoid, so the cell could only grow. It is a tanh.", {"propose": torch.sigmoid}),
    Mistake("your candidate has no tanh.", {"propose": lambda x: x}),
    Mistake(
        "you kept what the forget gate throws away. It says how much stays: forget * cell.",
        {"keep": lambda enter, forget, candidate, cell: (1 - forget) * cell + enter * candidate},
    ),
    Mistake(
        "the forget gate is not used: you let in 1 minus the input gate. That is a GRU; here the gates are two.",
        {"keep": lambda enter, forget, candidate, cell: (1 - enter) * cell + enter * candidate},
    ),
    Mistake(
        "the input gate has no effect: multiply the candidate by it.",
        {"keep": lambda enter, forget, candidate, cell: forget * cell + candidate},
    ),
    Mistake(
        "the old cell is lost, and with it all memory. Add forget * cell.",
        {"keep": lambda enter, forget, candidate, cell: enter * candidate},
    ),
    Mistake(
        "nothing is forgotten: multiply the old cell by the forget gate.",
        {"keep": lambda enter, forget, candidate, cell: cell + enter * candidate},
    ),
    Mistake("the new hidden state lacks its tanh: leave * tanh(cell).", {"show": lambda new, old: new}),
    Mistake(
        "your hidden state shows the old cell. Work out the new cell first, then show that.",
        {"show": lambda new, old: old.tanh()},
    ),
    Mistake("the two are swapped: return hidden, cell.", {"give": lambda hidden, cell: (cell, hidden)}),
]


def _case(b: int, d: int, k: int, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, d), (b, k), (b, k), (4 * k, d), (4 * k, k), (4 * k,)]
    return tuple(torch.randn(*shape, generator=generator) for shape in shapes)


LSTM_CASES = [_case(2, 3, 2, seed=0), _case(3, 3, 3, seed=1), _case(1, 2, 4, seed=2)]


@exercise
def check_lstm_step(lstm_step_of: Callable) -> str:
    """Check `lstm_step(x (b d), hidden (b k), cell (b k), w_x (4k d), w_h (4k k), bias (4k)) -> hidden, cell`."""
    for i, case in enumerate(LSTM_CASES):
        (b, k), parts = case[1].shape, call_for(PARTS, lstm_step_of, *case)
        hints = {
            (b, 4 * k): "That is all four blocks. Cut them: chunk(4, dim=1).",
            (4, b, k): "That is all four blocks. Each has its own part to play.",
            (k, b): "That is transposed: one row for each text.",
        }
        for part, got in zip(PARTS, parts, strict=True):
            check_shape(f"{part} of {name_of(lstm_step_of)}", got, (b, k), hints, "One state for each text.")
        label = f"{b} texts, width {k}; row 0 is hidden, row 1 is cell"
        check_value(name_of(lstm_step_of), torch.stack(parts), lstm_step, LSTM_CASES[: i + 1], LSTM_MISTAKES, label)
    check_gradient(_stacked(lstm_step_of), lstm_step, LSTM_CASES[0])
    return "this is nn.LSTMCell, number for number. Four gates a word, and a cell that is added to, not overwritten."


def _stacked(function: Callable) -> Callable:
    @functools.wraps(function)
    def one(*arguments: Tensor) -> Float[Tensor, "2 b k"]:
        return torch.stack(list(function(*arguments)))

    return one
