"""The exercises of notebook 4 beyond their catalogues: they agree with the package, and their numbers are true."""

import math

import answers_captioner as answers
import pytest
import torch
from test_widgets_captioner import TOKENIZER, Chain

from mmlib import caption_metrics, losses
from mmlib.decode import beam_search
from mmlib.exercises import captioner
from mmlib.exercises.core import edited


def test_references_agree_with_the_package_and_with_torch():
    for case in captioner.check_lstm_step.cases:
        torch.testing.assert_close(captioner.lstm_step(*case), answers.by_cell(*case))
    for logits, text_ids, pad_id in captioner.check_masked_loss.cases:
        right = losses.caption_loss(logits, text_ids[:, 1:], pad_id=pad_id)
        torch.testing.assert_close(captioner.masked_loss(logits, text_ids, pad_id), right)
    for captions, references, most in captioner.score.cases:
        right = answers.score_of_the_package(captions, references, most)
        assert captioner.bleu(captions, references, most) == pytest.approx(right)
    for caption, references, n in captioner.matches.cases:
        own, most = caption_metrics.ngrams(" ".join(caption), n), None
        for reference in references:
            counts = caption_metrics.ngrams(" ".join(reference), n)
            most = counts if most is None else most | counts
        assert captioner.clipped_matches(caption, references, n) == (own & most).total()


def test_landmarks_of_the_text_by_hand():
    zeros = torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4)
    hidden, cell = captioner.lstm_step(torch.ones(1, 1), torch.ones(1, 1), torch.full((1, 1), 2.0), *zeros)
    assert cell.item() == pytest.approx(1.0)
    assert hidden.item() == pytest.approx(0.3808, abs=5e-5)

    bets = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], [[0.125, 0.5, 0.375], [1e-9, 1.0, 1e-9]]]).log()
    text_ids = torch.tensor([[2, 0, 1], [2, 0, 1]])
    bets[0, 1], text_ids[0, 2] = torch.tensor([0.25, 1e-9, 0.75]).log(), 0
    assert captioner.masked_loss(bets, text_ids, 1).item() == pytest.approx(1.3863, abs=5e-5)
    everything = edited(captioner.masked_loss, {"own[real]": "own"})
    assert everything(bets, text_ids, 1).item() == pytest.approx(1.0397, abs=5e-5)

    logits = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]]).log()
    score, parent, word = captioner.beam_step(
        torch.tensor([0.6, 0.4]).log(), logits, torch.tensor([False, False]), 2, 2
    )
    assert score.tolist() == pytest.approx([-1.0217, -1.2040], abs=5e-5)
    assert (parent.tolist(), word.tolist()) == ([1, 0], [0, 0])

    assert captioner.clipped_matches(*captioner.matches.cases[0]) == 2
    assert captioner.bleu(*captioner.score.cases[1]) == pytest.approx(0.3667, abs=5e-5)
    assert math.sqrt(5 / 7 * 2 / 6) == pytest.approx(0.4880, abs=5e-5)
    assert captioner.bleu(*captioner.score.cases[3]) == pytest.approx(0.802719, abs=5e-7)


def test_the_step_of_the_exercise_is_the_step_of_beam_search():
    """On models whose next word hangs on the last one alone, the steps of the exercise find what the package finds."""
    model, width, waited = Chain().eval(), 3, False
    for _ in range(5):
        model.table.data = torch.randn(model.table.shape)
        with torch.inference_mode():
            found = beam_search(model, torch.zeros(1, 3, 8, 8), TOKENIZER, width=width, alpha=0.0).tree
        score, word, ended = torch.zeros(1), torch.tensor([TOKENIZER.start_id]), torch.tensor([False])
        for kept in found:
            score, parent, word = captioner.beam_step(score, model.table[word], ended, TOKENIZER.pad_id, width)
            waited |= bool(ended[parent].any())
            ended = ended[parent] | (word == TOKENIZER.end_id)
            assert (parent.tolist(), word.tolist()) == (kept.parent[0].tolist(), kept.word[0].tolist())
            assert score.tolist() == pytest.approx(kept.log_prob[0].tolist(), abs=1e-5)
    assert waited
