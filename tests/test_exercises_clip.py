"""The checkers of notebook 1 take right answers of any style, and name the mistake in wrong ones."""

import json
import math
from pathlib import Path

import pytest
import torch
from answers_clip_losses import RIGHT as RIGHT_LOSSES
from answers_clip_losses import WRONG as WRONG_LOSSES
from answers_clip_texts import RIGHT as RIGHT_TEXTS
from answers_clip_texts import WRONG as WRONG_TEXTS
from answers_clip_texts import check_build, check_predict
from test_exercises import run_cell, solutions

from mmlib import losses
from mmlib.exercises import clip
from mmlib.exercises.clip import infonce, multi_positive, text_encoder, zero_shot
from mmlib.exercises.core import candidates
from mmlib.models.clip import zero_shot_classifier

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "01_clip.ipynb"
CHECKS = {
    clip.check_info_nce: (infonce.one_way, infonce.INFO_NCE_MISTAKES),
    clip.check_symmetric: (infonce.both_ways, infonce.SYMMETRIC_MISTAKES),
    clip.check_multi_positive: (multi_positive.multi_positive, multi_positive.MULTI_POSITIVE_MISTAKES),
    check_build: (zero_shot.classifier_of, zero_shot.CLASSIFIER_MISTAKES),
    check_predict: (zero_shot.nearest, zero_shot.PREDICT_MISTAKES),
    clip.check_text_encoder: (text_encoder.text_encoder, text_encoder.ENCODER_MISTAKES),
}
WRONG = {**WRONG_LOSSES, **WRONG_TEXTS}
each_wrong = pytest.mark.parametrize(
    "check, phrase, answer", [(check, *pair) for check, pairs in WRONG.items() for pair in pairs]
)
each_check = pytest.mark.parametrize("check", CHECKS)


@pytest.mark.parametrize("check, answer", RIGHT_LOSSES + RIGHT_TEXTS)
def test_right_answers_pass(check, answer):
    outcome = check(answer)
    assert outcome.passed, outcome
    assert outcome.diagnosis.startswith("Correct: ")


@each_wrong
def test_wrong_answers_are_named(check, phrase, answer):
    outcome = check(answer)
    assert not outcome.passed
    assert phrase in outcome.diagnosis, outcome
    assert outcome.diagnosis.startswith(("Not yet: ", "Not started: "))
    assert "\n" not in outcome.diagnosis


@each_check
def test_each_mistake_of_the_catalogue_is_told_from_all_others(check):
    reference, mistakes = CHECKS[check]
    for mistake in mistakes:
        outcome = check(lambda *arguments, turned=mistake.knobs: reference(*arguments, **turned))
        assert outcome.diagnosis.startswith(f"Not yet: {mistake.says} ("), outcome


@each_check
def test_two_mistakes_at_once_never_blame_a_third(check):
    reference, mistakes = CHECKS[check]
    for pair in candidates(mistakes):
        outcome = check(lambda *arguments, turned=pair.knobs: reference(*arguments, **turned))
        blamed = [mistake.says for mistake in mistakes if mistake.says in outcome.diagnosis]
        assert all(says in pair.says for says in blamed), (pair.says, outcome)
        assert not outcome.passed


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
    assert "answer stopped at line" in outcome.diagnosis and '`raise KeyError("oh")`' in outcome.diagnosis


@each_check
def test_a_wrong_type_is_named(check):
    assert "returned a value of type str. It should return a torch tensor" in check(lambda *arguments: "1.6").diagnosis


def test_references_agree_with_the_package():
    for image_emb, text_emb, temperature in infonce.PAIRS:
        ours = infonce.both_ways(image_emb, text_emb, temperature)
        torch.testing.assert_close(ours, losses.clip_loss(image_emb, text_emb, log_scale(temperature)))
    for image_emb, text_emb, temperature, same in multi_positive.MULTI_POSITIVE_CASES:
        ours = multi_positive.multi_positive(image_emb, text_emb, temperature, same)
        torch.testing.assert_close(ours, losses.clip_loss(image_emb, text_emb, log_scale(temperature), same))
    for case in zero_shot.CLASSIFIER_CASES:
        torch.testing.assert_close(zero_shot.classifier_of(*case), zero_shot_classifier(*case))


def log_scale(temperature):
    return torch.tensor(-math.log(temperature))


def test_landmarks_of_the_text_by_hand():
    eye, one = torch.eye(2), math.log(1 + math.exp(-1))
    assert infonce.one_way(eye, eye, 1.0).item() == pytest.approx(one) == pytest.approx(0.3133, abs=5e-5)
    twice = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert infonce.both_ways(twice, eye, 1.0).item() == pytest.approx(0.7532, abs=5e-5)
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert multi_positive.multi_positive(eye, eye, 1.0, everything).item() == pytest.approx(0.8133, abs=5e-5)


def test_the_given_encoder_is_not_started_and_shows_what_padding_does():
    outcome = clip.check_text_encoder(lambda *case: text_encoder.text_encoder(*case, **text_encoder.GIVEN))
    assert outcome.diagnosis.startswith("Not started: ")
    assert f"cosine {text_encoder.cosine_over_padding():.2f}" in outcome.diagnosis
    assert text_encoder.cosine_over_padding() < 0.9


# ---- the notebook itself


def cells(kind):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def names():
    return {"torch": torch, "F": torch.nn.functional, **{name: getattr(clip, name) for name in clip.__all__}}


def test_solutions_of_the_notebook_pass_and_its_stubs_are_not_started():
    answers = names()
    for solution in solutions("\n\n".join(cells("markdown"))):
        exec(solution, answers)
    stubs = [cell for cell in cells("code") if any(f"\n{name}(" in cell for name in clip.__all__)]
    assert len(stubs) == len(clip.__all__)
    for stub in stubs:
        assert run_cell(stub, names()).diagnosis.startswith("Not started: "), stub
        call = stub.strip().splitlines()[-1]
        assert run_cell(call, answers).passed, call
