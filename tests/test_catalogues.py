"""Every checker of every notebook takes right answers of any style, and names the mistake in wrong ones.

Each `answers_*.py` that is listed here says which exercises a notebook has (CHECKS), and holds answers to them (RIGHT,
WRONG). AMBIGUOUS are mistakes that a second one can hide.
"""

import json
from pathlib import Path

import answers_captioner
import answers_clip
import answers_fusion
import answers_retrieval
import answers_timesformer
import einops
import pytest
import torch
from test_exercises import run_cell, solutions

from mmlib.exercises.core import edited

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = [answers_clip, answers_timesformer, answers_retrieval, answers_captioner, answers_fusion]
CHECKS = [check for answers in NOTEBOOKS for check in answers.CHECKS]
RIGHT = [pair for answers in NOTEBOOKS for pair in answers.RIGHT]
WRONG = [(check, *pair) for answers in NOTEBOOKS for check, pairs in answers.WRONG.items() for pair in pairs]
AMBIGUOUS = [says for answers in NOTEBOOKS for says in answers.AMBIGUOUS]

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.reference.__name__)
each_notebook = pytest.mark.parametrize("answers", NOTEBOOKS, ids=lambda answers: answers.NOTEBOOK)


@each_notebook
def test_each_checker_has_right_answers_and_six_wrong_ones(answers):
    for check in answers.CHECKS:
        assert check in [pair[0] for pair in answers.RIGHT], check
        assert len(answers.WRONG[check]) >= 6, check


@pytest.mark.parametrize("check, answer", RIGHT)
def test_right_answers_pass(check, answer):
    outcome = check(answer)
    assert outcome.passed, outcome
    assert outcome.diagnosis.startswith("Correct: ")


@pytest.mark.parametrize("check, phrase, answer", WRONG)
def test_wrong_answers_are_named(check, phrase, answer):
    outcome = check(answer)
    assert not outcome.passed
    assert phrase in outcome.diagnosis, outcome
    assert outcome.diagnosis.startswith(("Not yet: ", "Not started: "))
    assert "\n" not in outcome.diagnosis


def made(check, alone):
    """Mistakes of an exercise, one at a time or two, each with a function that makes it."""
    candidates = [mistake for mistake in check.candidates() if mistake.says.startswith("two things at once") != alone]
    return [(mistake.says, edited(check.reference, mistake.edits)) for mistake in candidates]


@each_check
def test_each_mistake_of_the_catalogue_is_told_from_all_others(check):
    for says, answer in made(check, alone=True):
        outcome = check(answer)
        assert outcome.diagnosis.startswith(f"Not yet: {says} ("), (says, outcome)


@each_check
def test_two_mistakes_at_once_never_blame_a_third(check):
    pairs = made(check, alone=False)
    for both, answer in pairs[:: 1 + len(pairs) // 40]:  # all of them, or some of very many
        outcome = check(answer)
        assert not outcome.passed, both
        if not any(says in both for says in AMBIGUOUS):
            assert all(says in both for says in check.mistakes if says in outcome.diagnosis), (both, outcome)


@each_check
def test_untouched_stubs_are_not_started(check):
    for stub in (lambda *arguments: ..., lambda *arguments: None):
        outcome = check(stub)
        assert not outcome.passed
        assert outcome.diagnosis.startswith("Not started: ")


@each_check
def test_a_function_that_raises_is_shown_with_its_line(check):
    def answer(*arguments):
        raise KeyError("oh")

    outcome = check(answer)
    assert not outcome.passed
    assert "stopped at line" in outcome.diagnosis and '`raise KeyError("oh")`' in outcome.diagnosis


@each_check
def test_a_wrong_type_is_named(check):
    assert "returned a value of type str. It should return" in check(lambda *arguments: "1.6").diagnosis


# ---- the notebooks themselves


def cells(notebook, kind):
    content = json.loads((FOLDER / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def names(exercises):
    checkers = {name: getattr(exercises, name) for name in exercises.__all__}
    reshapes = {"rearrange": einops.rearrange, "reduce": einops.reduce, "repeat": einops.repeat}
    return {"torch": torch, "F": torch.nn.functional, **reshapes, **checkers}


@each_notebook
def test_solutions_of_the_notebook_pass_and_its_stubs_are_not_started(answers):
    exercises, solved = answers.EXERCISES, names(answers.EXERCISES)
    for solution in solutions("\n\n".join(cells(answers.NOTEBOOK, "markdown"))):
        exec(solution, solved)
    stubs = [
        cell for cell in cells(answers.NOTEBOOK, "code") if any(f"\n{name}(" in cell for name in exercises.__all__)
    ]
    assert len(stubs) == len(exercises.__all__)
    for stub in stubs:
        assert run_cell(stub, names(exercises)).diagnosis.startswith("Not started: "), stub
        call = stub.strip().splitlines()[-1]
        assert run_cell(call, solved).passed, call


@each_notebook
def test_the_small_example_is_spoken_of_where_there_is_one(answers):
    """What a checker advises for a mistake without a name is in the text of its exercise."""
    texts = [text for text in cells(answers.NOTEBOOK, "markdown") if "### Exercise " in text]
    for check in answers.CHECKS:
        text = next(text for text in texts if f"def {check.reference.__name__}(" in text)
        assert "- By hand: " in text or "small example of the text" not in check.advice, check.advice
