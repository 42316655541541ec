"""Losses against plain loops, hand-worked numbers, closed forms, and open_clip."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmlib.losses import clip_loss, siglip_loss


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def info_nce_by_loop(queries, keys, scale, same):
    total = 0.0
    for i in range(len(queries)):
        exps = [math.exp(scale * float(queries[i] @ keys[j])) for j in range(len(keys))]
        answers = [j for j in range(len(keys)) if same[i][j]]
        total += sum(-math.log(exps[j] / sum(exps)) / len(answers) for j in answers)
    return total / len(queries)


@pytest.mark.parametrize("several", [False, True])
def test_clip_loss_equals_a_loop(several):
    image, text, log_scale = unit(6, 5), unit(6, 5), torch.tensor(1.3, dtype=torch.float64)
    same = torch.eye(6, dtype=torch.bool)
    if several:
        same[0, 3] = same[3, 0] = same[2, 4] = True  # not symmetric on purpose: rows and columns differ
    by_loop = info_nce_by_loop(image, text, log_scale.exp().item(), same.tolist())
    by_loop += info_nce_by_loop(text, image, log_scale.exp().item(), same.T.tolist())
    got = clip_loss(image, text, log_scale, same if several else None)
    torch.testing.assert_close(got.item(), by_loop / 2)


def test_clip_loss_on_three_pairs_by_hand():
    # Similarities [[1, 0, 0], [0, 1, 0], [0, 1, 0]]: text 2 lies where picture 1 lies. Scale log 2 makes exps 2, 1, 1.
    image = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    text = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    scale = torch.tensor(math.log(math.log(2)))
    to_text = (-math.log(2 / 4) - math.log(2 / 4) - math.log(1 / 4)) / 3
    to_image = (-math.log(2 / 4) - math.log(2 / 5) - math.log(1 / 3)) / 3
    torch.testing.assert_close(clip_loss(image, text, scale).item(), (to_text + to_image) / 2)


@pytest.mark.parametrize("b", [8, 32, 128])
def test_clip_loss_of_embeddings_that_say_nothing_is_log_b(b):
    alike = torch.ones(b, 4) / 2
    torch.testing.assert_close(clip_loss(alike, alike, torch.tensor(2.0)).item(), math.log(b))
    same = torch.eye(b, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    torch.testing.assert_close(clip_loss(alike, alike, torch.tensor(2.0), same).item(), math.log(b))


def test_clip_loss_of_perfect_pairs_with_orthogonal_negatives():
    b, scale = 8, 10.0
    got = clip_loss(torch.eye(b), torch.eye(b), torch.tensor(math.log(scale)))
    torch.testing.assert_close(got.item(), math.log(1 + (b - 1) * math.exp(-scale)), rtol=1e-3, atol=1e-7)


def test_clip_loss_does_not_mind_the_order_of_pairs():
    image, text, order = unit(7, 3), unit(7, 3), torch.randperm(7)
    log_scale = torch.tensor(2.0, dtype=torch.float64)
    torch.testing.assert_close(clip_loss(image, text, log_scale), clip_loss(image[order], text[order], log_scale))
    torch.testing.assert_close(clip_loss(image, text, log_scale), clip_loss(text, image, log_scale))


def test_clip_loss_and_gradients_equal_open_clip():
    from open_clip.loss import ClipLoss

    def leaves():
        torch.manual_seed(3)
        return (
            F.normalize(torch.randn(16, 8), dim=-1).requires_grad_(),
            F.normalize(torch.randn(16, 8), dim=-1).requires_grad_(),
            torch.tensor(2.5, requires_grad=True),
        )

    ours, theirs = leaves(), leaves()
    loss = clip_loss(*ours)
    peer = ClipLoss()(theirs[0], theirs[1], theirs[2].exp())
    torch.testing.assert_close(loss, peer)
    loss.backward(), peer.backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_several_names_are_not_negatives():
    image = torch.eye(4)[[0, 0, 1, 2]]  # pairs 0 and 1 show one picture
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    scale = torch.tensor(math.log(100.0))
    assert clip_loss(image, image, scale) > 0.3  # one-hot: two right answers fight, at least log 2 for half the rows
    shared = clip_loss(image, image, scale, same)
    torch.testing.assert_close(shared.item(), math.log(2) / 2)  # the entropy of the target, and nothing above it


def test_siglip_loss_equals_a_loop():
    image, text = unit(5, 4), unit(5, 4)
    log_scale, bias = torch.tensor(1.0, dtype=torch.float64), torch.tensor(-0.7, dtype=torch.float64)
    total = 0.0
    for i in range(5):
        for j in range(5):
            z = (1 if i == j else -1) * (math.e * float(image[i] @ text[j]) - 0.7)
            total += math.log(1 + math.exp(-z))
    torch.testing.assert_close(siglip_loss(image, text, log_scale, bias).item(), total / 5)


def test_siglip_loss_equals_open_clip():
    from open_clip.loss import SigLipLoss

    image, text = unit(6, 4), unit(6, 4)
    peer = SigLipLoss()(image, text, torch.tensor(10.0, dtype=torch.float64), torch.tensor(-10.0))
    ours = siglip_loss(image, text, torch.tensor(10.0, dtype=torch.float64).log(), torch.tensor(-10.0).double())
    torch.testing.assert_close(ours, peer)


@pytest.mark.parametrize("loss", [clip_loss, lambda i, t, s: siglip_loss(i, t, s, torch.tensor(0.0))])
def test_a_batch_of_one_is_refused(loss):
    with pytest.raises(ValueError, match="2 pairs or more, got 1.*teaches nothing"):
        loss(torch.ones(1, 1), torch.ones(1, 1), torch.tensor(0.0))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperatures_without_a_log_are_refused(temperature):
    with pytest.raises(ValueError, match="finite log_scale.*temperature must be above 0"):
        clip_loss(torch.eye(3), torch.eye(3), -torch.tensor(temperature).log())


def test_same_without_the_pairs_is_refused():
    with pytest.raises(ValueError, match=r"same\[i, i\] True"):
        clip_loss(torch.eye(3), torch.eye(3), torch.tensor(0.0), torch.zeros(3, 3, dtype=torch.bool))
