"""The exercises of notebook 5 beyond their catalogues: they agree with the package, and their numbers are true."""

import pytest
import torch

from mmlib.exercises import fusion
from mmlib.metrics import inverse_variance_weights


def test_references_agree_with_the_package():
    for estimates, variances in fusion.check_inverse_variance.cases:
        ours = fusion.combine(estimates, variances)
        torch.testing.assert_close(ours, (inverse_variance_weights(variances) * estimates).sum(dim=1))


def test_landmarks_of_the_text_by_hand():
    logits = torch.tensor([[0.0, 3.0]]).log1p()  # probabilities 1/5 and 4/5
    mixed = fusion.late_fusion(logits, logits.flip(1), torch.tensor(0.0))
    torch.testing.assert_close(mixed, torch.tensor([[0.5, 0.5]]))
    emb = torch.eye(2)[None]
    both = torch.ones(1, 2, dtype=torch.bool)
    fused = fusion.attention_fusion(emb, torch.tensor([1.0, 0.0]), both)
    torch.testing.assert_close(fused, torch.tensor([[0.7311, 0.2689]]), atol=5e-5, rtol=0)
    best = fusion.combine(torch.tensor([[10.0, 20.0]]), torch.tensor([[1.0, 4.0]]))
    torch.testing.assert_close(best, torch.tensor([12.0]))


def test_no_other_weights_have_a_smaller_variance():
    variances = torch.tensor([[0.5, 2.0, 4.0]])
    best = inverse_variance_weights(variances)
    least = (best**2 * variances).sum()
    assert least.item() == pytest.approx(1 / (1 / variances).sum().item())  # (5.10)
    others = (best + 0.2 * torch.randn(500, 3)).softmax(dim=1)
    assert ((others**2 * variances).sum(dim=1) >= least).all()
