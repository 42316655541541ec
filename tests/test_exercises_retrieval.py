"""The exercises of notebook 3 beyond their catalogues: they agree with the package, and their numbers are true."""

import pytest
import torch

from mmlib import losses, metrics
from mmlib.exercises import retrieval


def test_landmarks_of_the_text_by_hand():
    image_emb, text_emb = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert retrieval.hardest_loss(image_emb, text_emb, 0.5).item() == pytest.approx(0.2)
    assert retrieval.hardest_loss(torch.ones(5, 1), torch.ones(5, 1), 0.2).item() == pytest.approx(0.4)
    sim = torch.tensor([[0.5, 0.9, 0.4, 0.1]]).expand(4, 4)
    assert retrieval.semi_hard_mask(sim, torch.eye(4).bool(), 0.2)[0].tolist() == [False, False, True, False]
    sim, right = torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.tensor([[False, True, False, True]])
    assert [retrieval.recall_with_ties(sim, right, k).item() for k in (1, 2, 3)] == [0, 0, 1]
    fused = retrieval.fuse(torch.tensor([[0.9, 0.2, 0.5]]), torch.tensor([[0.1, 0.2, 0.3]]), 1)
    torch.testing.assert_close(fused, torch.tensor([[3 / 4, 7 / 12, 5 / 6]]))


def test_references_agree_with_the_package():
    for image_emb, text_emb, margin in retrieval.check_triplet_loss.cases:
        ours = retrieval.hardest_loss(image_emb, text_emb, margin)
        torch.testing.assert_close(ours, losses.triplet_loss(image_emb, text_emb, margin, "hardest"))
    for sim, right, k in retrieval.check_recall.cases:
        sim = sim + 1e-3 * torch.rand(sim.shape)  # the package shares ties out, the exercise puts them in their middle
        assert retrieval.recall_with_ties(sim, right, k).item() == pytest.approx(metrics.recall_at_k(sim, right, k))
    for sim_a, sim_b, k in retrieval.check_reciprocal_rank_fusion.cases:
        ours = retrieval.fuse(sim_a, sim_b, k)
        torch.testing.assert_close(ours, metrics.reciprocal_rank_fusion(sim_a, sim_b, k=k))
