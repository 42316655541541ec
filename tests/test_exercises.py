"""What all checkers share: one line of text, whatever the reader's function does; and how exercises are read."""

import ast
import re
import textwrap

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from jaxtyping import Float
from torch import Tensor

from mmlib.exercises.core import Exercise, Mistake, Outcome, edited, in_turn


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


def twice(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:  # noqa: F722
    y = 2 * x
    return y


check_double = Exercise(
    reference=twice,
    mistakes={
        "the factor is 3.": {"2 * x": "3 * x"},
        "shifted by 1.": {"return y": "return y + 1"},
        "the sign.": [{"2 * x": "-2 * x"}, {"2 * x": "2 * x.abs()"}],
    },
    cases=[(torch.tensor([0.0, 0.5]),), (torch.tensor([1.0, -4.0]),)],
    shape="One number each.",
    hints=lambda n: {(): "Keep the axis.", (n, n): "No table."},
    label=lambda n, x: f"{n} numbers from {x[0]:.0f}",
    praise="twice as much.",
)


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
    seen = "2 numbers from 0, row 1: expected 1.0000, got 1.5000."
    assert diagnose(lambda x: 3 * x) == f"Not yet: the factor is 3. ({seen})"
    assert "two things at once. One: shifted by 1. Two: the sign. (" in diagnose(lambda x: 1 - 2 * x)


def test_a_sentence_may_name_several_edits():
    assert "the sign. (" in diagnose(lambda x: -2 * x)
    assert "the sign. (" in diagnose(lambda x: 2 * x.abs())


def test_pairs_edit_different_places():
    candidates = list(check_double.candidates())
    assert candidates[0] == Mistake("the factor is 3.", {"2 * x": "3 * x"})
    assert [len(candidate.edits) for candidate in candidates] == [1, 1, 1, 1, 2, 2, 2]


def test_an_edit_that_does_not_fit_is_refused():
    assert edited(twice, {"2 * x": "5 * x", "return y": "return y + 1"})(torch.ones(1)) == 6
    for old in ("7 * x", "y"):
        with pytest.raises(ValueError, match=f"edit of twice: expected `{re.escape(old)}` once in its source"):
            edited(twice, {old: "z"})


def test_an_unknown_mistake_shows_both_numbers_and_what_to_do():
    text = diagnose(lambda x: 7 * x)
    assert "in a way that I do not know. 2 numbers from 0, row 1: expected 1.0000, got 3.5000." in text
    assert text.endswith(check_double.advice)


def test_several_functions_are_checked_in_turn():
    check = in_turn(check_double, check_double)
    assert check(twice, twice).passed
    assert check(twice, lambda x: x[:1]).diagnosis.endswith("One number each. (twice is right already.)")
    assert check(lambda x: ..., twice).diagnosis.endswith("run the cell again.")
    assert "the checker needs 2 functions, got 1." in check(twice).diagnosis


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
    assert diagnose(lambda x: x.sum()) == "Not yet: your function returned shape (), expected (2,). Keep the axis."
    assert diagnose(lambda x: x[:1]).endswith("One number each.")
    assert "plain Python float" in diagnose(lambda x: 1.0)
    assert "a value of type tuple" in diagnose(lambda x: (x, x))
    assert "needs the function itself, got a value of type Tensor" in diagnose(torch.ones(2))


def test_arguments_are_protected():
    assert "changes its argument x in place" in diagnose(lambda x: x.mul_(2))
    assert check_double.cases[0][0].tolist() == [0.0, 0.5]


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


def product(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, ""]:  # noqa: F722
    return (x * y).sum()


def test_gradients():
    check = Exercise(
        reference=product, mistakes={}, cases=[(torch.ones(3), torch.arange(3.0))], label=lambda: "", praise="done"
    )
    assert check(lambda x, y: (y * x).sum()).passed
    assert "is detached: no gradient" in check(lambda x, y: (x * y).sum().detach()).diagnosis
    assert "no gradient reaches y" in check(lambda x, y: (x * y.detach()).sum()).diagnosis
    half = check(lambda x, y: (x * y)[:2].sum() + (x * y)[2:].sum().detach())
    assert "the gradient of x is not" in half.diagnosis
    assert "Stay in torch" in check(lambda x, y: torch.tensor((x * y).numpy().sum())).diagnosis


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
