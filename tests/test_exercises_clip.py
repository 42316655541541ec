"""The exercises of notebook 1 beyond their catalogues: they agree with the package, and their numbers are true."""

import math

import pytest
import torch

from mmlib import losses
from mmlib.exercises import clip
from mmlib.exercises.clip import infonce, multi_positive, text_encoder, zero_shot
from mmlib.models.clip import zero_shot_classifier


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
