"""What all checkers share: one line of text, whatever the reader's function does; and how exercises are read."""

import ast
import re
import textwrap

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from mmlib.exercises.core import (
    OldMistake as Mistake,
)
from mmlib.exercises.core import (
    Outcome,
    call,
    candidates,
    check_gradient,
    check_shape,
    check_value,
    exercise,
)


def solutions(markdown):
    """The Python of each folded solution."""
    folded = re.findall(r"<details>\s*<summary>Solution</summary>(.*?)</details>", markdown, flags=re.S)
    return [code for part in folded for code in re.findall(r"^```python\n(.*?)^```", part, flags=re.S | re.M)]


def run_cell(source, names):
    """Run a cell and return the value of its last line, as a notebook does."""
    tree = ast.parse(source)
    assert isinstance(tree.body[-1], ast.Expr), f"the cell ends without a call: {source}"
    exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)
    return eval(compile(ast.Expression(tree.body[-1].value), "cell", "eval"), names)


def scaled(x, *, factor=2.0, shift=0.0):
    return factor * x + shift


MISTAKES = [
    Mistake("the factor is 3.", {"factor": 3.0}),
    Mistake("shifted by 1.", {"shift": 1.0}),
    Mistake("the sign.", {"factor": -2.0}),
]
CASES = [(torch.tensor([0.0, 0.5]),), (torch.tensor([1.0, -4.0]),)]


@exercise
def check_double(double):
    for i, case in enumerate(CASES):
        got = call(double, *case)
        check_shape("double", got, (2,), {(): "Keep the axis."}, "One number each.")
        check_value("double", got, scaled, CASES[: i + 1], MISTAKES, f"case {i}")
    return "twice as much."


def diagnose(double):
    outcome = check_double(double)
    assert not outcome.passed
    return outcome.diagnosis


def test_an_outcome_is_shown_as_plain_text():
    outcome = check_double(lambda x: x + x)
    assert outcome == Outcome(True, "Correct: twice as much.")
    shown, _ = InteractiveShell.instance().display_formatter.format(outcome)
    assert shown == {"text/plain": "Correct: twice as much."}


def test_one_mistake_and_two_are_named():
    assert diagnose(lambda x: 3 * x) == "Not yet: the factor is 3. (case 0, row 1: expected 1.0000, got 1.5000.)"
    assert "two things at once. One: shifted by 1. Two: the sign. (" in diagnose(lambda x: 1 - 2 * x)


def test_pairs_turn_different_knobs():
    assert [set(candidate.knobs) for candidate in candidates(MISTAKES)] == [
        *({"factor"}, {"shift"}, {"factor"}),
        *({"factor", "shift"}, {"factor", "shift"}),
    ]


def test_an_unknown_mistake_shows_both_numbers():
    text = diagnose(lambda x: 7 * x)
    assert "in a way that I do not know. case 0, row 1: expected 1.0000, got 3.5000." in text


def test_a_mistake_that_an_earlier_case_excludes_is_not_blamed():
    def like_the_sign_in_the_second_case_only(x):
        return 2 * x if x[0] == 0 else -2 * x

    assert "do not know" in diagnose(like_the_sign_in_the_second_case_only)


def test_nan_is_no_match():
    assert "row 0: expected 0.0000, got nan" in diagnose(lambda x: x * torch.nan)


def test_not_started():
    assert diagnose(lambda x: ...).startswith("Not started: put your code in place of the ...")
    assert diagnose(lambda x: None) == (
        "Not started: your function returned None. If you did write it, its return line is missing."
    )


def test_shapes_and_types():
    assert diagnose(lambda x: x.sum()) == "Not yet: double returned shape (), expected (2,). Keep the axis."
    assert diagnose(lambda x: x[:1]).endswith("One number each.")
    assert "plain Python float" in diagnose(lambda x: 1.0)
    assert "a value of type tuple" in diagnose(lambda x: (x, x))
    assert "needs the function itself, got a value of type Tensor" in diagnose(torch.ones(2))


def test_arguments_are_protected():
    assert "changes its argument x in place" in diagnose(lambda x: x.mul_(2))
    assert CASES[0][0].tolist() == [0.0, 0.5]


def test_an_error_shows_the_line_of_the_reader_and_a_hint():
    def double(x):
        y = torch.stack([x, x, x])
        return helper(y)

    def helper(y):
        return y @ y

    text = diagnose(double)
    line = helper.__code__.co_firstlineno + 1
    assert text.startswith(f"Not yet: double stopped at line {line} of your code: `return y @ y`. RuntimeError: ")
    assert text.endswith("One side needs a transpose, .T: the inner widths must agree.")


def test_an_error_inside_a_library_shows_the_line_of_the_reader():
    def double(x):
        return torch.nn.functional.cross_entropy(x, x[:1], reduction="oops")

    assert '`return torch.nn.functional.cross_entropy(x, x[:1], reduction="oops")`' in diagnose(double)


@pytest.mark.parametrize(
    "double, hint",
    [
        (lambda x: x + ..., "still has ... in place of its code"),
        (lambda x: x + None, "is a return line missing?"),
        (lambda x: y, "Is the name spelt as in the arguments"),  # noqa: F821
        (lambda x: x @ x.double(), "Two types of number meet"),
        (lambda x: (x > 0).argmax(), ".int()"),
        (lambda x: x.clone().requires_grad_().numpy(), "Stay in torch"),
        (lambda x, y: x, "your function could not be called"),
    ],
)
def test_hints(double, hint):
    assert hint in diagnose(double)


def test_an_interrupt_is_not_swallowed():
    def double(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_double(double)


def test_gradients():
    def gradient_of(loss):
        @exercise
        def check(loss):
            check_gradient(loss, lambda x, y: (x * y).sum(), [torch.ones(3), torch.arange(3.0)])
            return "done"

        return check(loss)

    assert gradient_of(lambda x, y: (y * x).sum()).passed
    assert "is detached: no gradient" in gradient_of(lambda x, y: (x * y).sum().detach()).diagnosis
    assert "no gradient reaches y" in gradient_of(lambda x, y: (x * y.detach()).sum()).diagnosis
    half = gradient_of(lambda x, y: (x * y)[:2].sum() + (x * y)[2:].sum().detach())
    assert "the gradient of x is not" in half.diagnosis
    assert "Stay in torch" in gradient_of(lambda x, y: torch.tensor((x * y).numpy().sum())).diagnosis


def test_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    check_double(lambda x: 2 * x)
    assert torch.equal(before, torch.get_rng_state())


def test_solutions_are_found_in_folded_parts_only():
    text = textwrap.dedent("""
        ### Exercise
        ```python
        not_this = 1
        ```
        <details><summary>Hint</summary>

        ```python
        nor_this = 1
        ```

        </details>

        <details><summary>Solution</summary>

        ```python
        def double(x):
            return 2 * x
        ```

        Or `x + x`.

        </details>
    """)
    assert solutions(text) == ["def double(x):\n    return 2 * x\n"]
    names = {"check_double": check_double}
    exec(solutions(text)[0], names)
    assert run_cell("check_double(double)", names).passed
    with pytest.raises(AssertionError, match="without a call"):
        run_cell("x = 1", {})
