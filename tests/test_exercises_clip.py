"""The exercises of notebook 1 beyond their catalogues: they agree with the package, and their numbers are true."""

import math

import pytest
import torch

from mmlib import losses
from mmlib.exercises import clip
from mmlib.models.clip import zero_shot_classifier


def test_references_agree_with_the_package():
    for image_emb, text_emb, temperature in clip.check_symmetric.cases:
        ours = clip.symmetric_loss(image_emb, text_emb, temperature)
        torch.testing.assert_close(ours, losses.clip_loss(image_emb, text_emb, log_scale(temperature)))
    for image_emb, text_emb, temperature, same in clip.check_multi_positive.cases:
        ours = clip.multi_positive_loss(image_emb, text_emb, temperature, same)
        torch.testing.assert_close(ours, losses.clip_loss(image_emb, text_emb, log_scale(temperature), same))
    for case in clip.classifier.cases:
        torch.testing.assert_close(clip.build_classifier(*case), zero_shot_classifier(*case))


def log_scale(temperature):
    return torch.tensor(-math.log(temperature))


def test_landmarks_of_the_text_by_hand():
    eye, one = torch.eye(2), math.log(1 + math.exp(-1))
    assert clip.info_nce(eye, eye, 1.0).item() == pytest.approx(one) == pytest.approx(0.3133, abs=5e-5)
    twice = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert clip.symmetric_loss(twice, eye, 1.0).item() == pytest.approx(0.7532, abs=5e-5)
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert clip.multi_positive_loss(eye, eye, 1.0, everything).item() == pytest.approx(0.8133, abs=5e-5)


def test_the_given_encoder_is_not_started_and_shows_what_padding_does():
    outcome = clip.check_text_encoder(clip.given)
    assert outcome.diagnosis.startswith("Not started: ")
    assert f"cosine {clip.cosine_over_padding():.2f}" in outcome.diagnosis
    assert clip.cosine_over_padding() < 0.9


def test_the_second_function_is_checked_when_the_first_is_right():
    text = clip.check_zero_shot(zero_shot_classifier, lambda image_emb, classifier: ...).diagnosis
    assert text.startswith("Not started: ") and text.endswith(" (zero_shot_classifier is right already.)")
    assert clip.check_zero_shot(lambda *case: ..., lambda *case: ...).diagnosis.endswith("run the cell again.")
