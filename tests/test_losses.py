"""Losses against plain loops, hand-worked numbers, closed forms, open_clip and pytorch-metric-learning."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from mmlib.losses import active_triplets, caption_loss, clip_loss, siglip_loss, triplet_loss


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


def siglip(image_emb, text_emb, log_scale, same=None):
    return siglip_loss(image_emb, text_emb, log_scale, torch.tensor(-1.0), same)


@pytest.mark.parametrize("loss", [clip_loss, siglip])
@pytest.mark.parametrize("log_scale", [torch.inf, -torch.inf, torch.nan, 90.0])
def test_scales_that_are_no_finite_number_are_refused(loss, log_scale):
    with pytest.raises(ValueError, match="finite log_scale.*temperature must be above 0"):
        loss(torch.eye(3), torch.eye(3), torch.tensor(log_scale))


@pytest.mark.parametrize("loss", [clip_loss, siglip])
def test_same_without_the_pairs_is_refused(loss):
    with pytest.raises(ValueError, match=r"same\[i, i\] True"):
        loss(torch.eye(3), torch.eye(3), torch.tensor(0.0), torch.zeros(3, 3, dtype=torch.bool))


@pytest.mark.parametrize("loss", [clip_loss, siglip, triplet_loss, active_triplets])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1)])
def test_same_of_another_shape_is_refused(loss, shape):
    setting = 0.2 if loss in (triplet_loss, active_triplets) else torch.tensor(0.0)
    with pytest.raises(ValueError, match=rf"expected same \(b, b\) of booleans, got bool {re.escape(str(shape))}"):
        loss(torch.eye(3), torch.eye(3), setting, same=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("loss", [clip_loss, siglip, triplet_loss, active_triplets])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_embeddings_that_are_no_numbers_are_refused(loss, value):
    setting = 0.2 if loss in (triplet_loss, active_triplets) else torch.tensor(0.0)
    image = torch.eye(3)
    image[1, 1] = value
    with pytest.raises(ValueError, match="expected embeddings of finite numbers.*Did the training diverge"):
        loss(image, torch.eye(3), setting)


def test_siglip_loss_of_many_alike_is_finite_in_float16():
    alike, zero = torch.ones(512, 4) / 2, torch.tensor(0.0)
    with torch.autocast("cpu", torch.float16):
        half = siglip_loss(alike, alike, zero, zero)
    torch.testing.assert_close(half, torch.tensor(512 * math.log1p(math.exp(1)) - 1), rtol=1e-3, atol=0)
    assert half.dtype == torch.float32


# Triplets


def triplet_by_loop(image, text, margin, negatives, same):
    """Both directions, one row at a time; `negatives` gives the places that may be chosen and picks one by its rank."""
    sim = (image @ text.T).tolist()
    b, total = len(sim), 0.0
    for i in range(b):
        for scores, wrong in (
            ([sim[i][j] for j in range(b)], [j for j in range(b) if not same[i][j]]),
            ([sim[j][i] for j in range(b)], [j for j in range(b) if not same[j][i]]),
        ):
            right = sim[i][i]
            if negatives == "semi-hard":
                wrong = [j for j in wrong if right - margin < scores[j] < right]
            if wrong:
                total += max(0.0, margin - right + max(scores[j] for j in wrong))
    return total / b


@pytest.mark.parametrize("negatives", ["semi-hard", "hardest"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
def test_triplet_loss_equals_a_loop(negatives, several, margin):
    image, text = unit(9, 4), unit(9, 4)
    same = torch.eye(9, dtype=torch.bool)
    if several:
        same[0, 3] = same[3, 0] = same[2, 4] = True  # not symmetric on purpose: rows and columns differ
        same[8] = True  # a picture without a wrong text
    expected = triplet_by_loop(image, text, margin, negatives, same.tolist())
    got = triplet_loss(image, text, margin, negatives, same if several else None)
    torch.testing.assert_close(got.item(), expected)
    assert expected > 0


def test_triplet_loss_by_hand():
    # Similarities [[1, 0.6], [0, 0.8]]. Pictures miss 0.5 - 1 + 0.6 = 0.1 and nothing, texts nothing and 0.3.
    image, text = torch.eye(2), torch.tensor([[1.0, 0], [0.6, 0.8]])
    for negatives in ("random", "hardest"):  # of two pairs, one is wrong: there is no choice
        torch.testing.assert_close(triplet_loss(image, text, 0.5, negatives).item(), 0.2)
    torch.testing.assert_close(triplet_loss(image, text, 0.5, "semi-hard").item(), 0.2)
    torch.testing.assert_close(triplet_loss(image, text, 0.1, "semi-hard").item(), 0.0)


@pytest.mark.parametrize("margin", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("negatives, times", [("random", 2), ("hardest", 2), ("semi-hard", 0)])
def test_a_collapsed_model_stands_at_twice_the_margin(margin, negatives, times):
    alike = unit(1, 5).expand(8, 5)
    torch.testing.assert_close(triplet_loss(alike, alike, margin, negatives).item(), times * margin)


@pytest.mark.parametrize("negatives", ["random", "semi-hard", "hardest"])
def test_pairs_that_lead_by_the_margin_cost_nothing(negatives):
    assert triplet_loss(torch.eye(5), torch.eye(5), 1.0, negatives).item() == 0
    if negatives != "semi-hard":  # where a wrong one must be behind, but by less than the margin
        assert triplet_loss(torch.eye(5), torch.eye(5).roll(1, dims=0), 0.2, "hardest").item() == pytest.approx(2.4)


def test_random_negatives_are_drawn_evenly_from_the_wrong_ones():
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    sim = torch.tensor([[0.9, 0.9, 0.1, 0.2], [0.9, 0.9, 0.3, 0.4], [0.1, 0.3, 0.9, 0.5], [0.2, 0.4, 0.5, 0.9]])
    expected = 0.0  # over all draws: the mean over the wrong ones of each row, and of each column
    for matrix in (sim, sim.T):
        for i in range(4):
            wrong = [j for j in range(4) if not same[i, j]]
            expected += sum(max(0.0, 1.0 - matrix[i, i].item() + matrix[i, j].item()) for j in wrong) / len(wrong) / 4
    image = sim.double()
    text = torch.eye(4, dtype=torch.float64)  # so that image @ text.T is the table itself
    draws = torch.stack([triplet_loss(image, text, 1.0, "random", same) for _ in range(1000)])
    assert draws.mean().item() == pytest.approx(expected, abs=0.02) and draws.std() > 0.01


def peer_loss(image, text, labels, negatives, margin):
    """One direction by pytorch-metric-learning: of its miner's triplets, those whose positive is the pair itself."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchEasyHardMiner, TripletMarginMiner
    from pytorch_metric_learning.reducers import SumReducer

    other, cosine = labels.clone(), CosineSimilarity()  # the same object twice would drop the diagonal
    if negatives == "hardest":
        anchor, _, _, negative = BatchEasyHardMiner("easy", "hard", distance=cosine)(image, labels, text, other)
    else:
        miner = TripletMarginMiner(margin, type_of_triplets="semihard", distance=cosine)
        anchor, positive, negative = miner(image, labels, text, other)
        anchor, negative = anchor[anchor == positive], negative[anchor == positive]
        sim = image @ text.T  # of all that are semi-hard, we take the most similar one
        rising = sim[anchor, negative].argsort()
        hardest = dict(torch.stack([anchor, negative])[:, rising].T.tolist())  # the last of an anchor stays
        anchor, negative = torch.tensor(list(hardest.items())).T
    loss = TripletMarginLoss(margin, distance=cosine, reducer=SumReducer())
    return loss(image, labels, (anchor, anchor, negative), text, other)


@pytest.mark.parametrize("negatives", ["semi-hard", "hardest"])
@pytest.mark.parametrize("several", [False, True])
def test_triplet_loss_and_gradients_equal_pytorch_metric_learning(negatives, several):
    labels = torch.arange(24) // 3 if several else torch.arange(24)
    ours = [unit(24, 6).requires_grad_() for _ in range(2)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    loss = triplet_loss(*ours, 0.3, negatives, labels[:, None] == labels)
    there = peer_loss(theirs[0], theirs[1], labels, negatives, 0.3)
    back = peer_loss(theirs[1], theirs[0], labels, negatives, 0.3)
    peer = (there + back) / len(labels)
    torch.testing.assert_close(loss, peer)
    loss.backward(), peer.backward()
    for mine, other in zip(ours, theirs, strict=True):
        tangent = other.grad - (other.grad * other).sum(dim=1, keepdim=True) * other  # the peer normalises once more
        mine_tangent = mine.grad - (mine.grad * mine).sum(dim=1, keepdim=True) * mine
        torch.testing.assert_close(mine_tangent, tangent)


def test_random_triplets_equal_pytorch_metric_learning_over_all_triplets():
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.reducers import MeanReducer

    image, text, labels = unit(6, 4), unit(6, 4), torch.arange(6)
    peer = TripletMarginLoss(0.5, distance=CosineSimilarity(), reducer=MeanReducer())  # the mean of all triplets
    expected = peer(image, labels, ref_emb=text, ref_labels=labels.clone())
    expected = expected + peer(text, labels, ref_emb=image, ref_labels=labels.clone())
    draws = torch.stack([triplet_loss(image, text, 0.5, "random") for _ in range(1000)])
    assert draws.mean().item() == pytest.approx(expected.item(), abs=0.02)


def test_another_name_of_the_picture_is_no_negative():
    image = torch.eye(3)[[0, 0, 1]]  # pairs 0 and 1 show one picture
    same = torch.eye(3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    assert triplet_loss(image, image, 0.2, "hardest").item() == pytest.approx(2 * 0.4 / 3)
    assert triplet_loss(image, image, 0.2, "hardest", same).item() == 0


def test_active_triplets_equal_a_loop():
    image, text, margin = unit(7, 3), unit(7, 3), 0.4
    same = torch.eye(7, dtype=torch.bool)
    same[0, 3] = same[2, 4] = True
    sim, costs = image @ text.T, []
    for i in range(7):
        costs += [margin - sim[i, i] + sim[i, j] for j in range(7) if not same[i, j]]
        costs += [margin - sim[i, i] + sim[j, i] for j in range(7) if not same[j, i]]
    expected = sum(cost > 0 for cost in costs) / len(costs)
    assert active_triplets(image, text, margin, same) == pytest.approx(expected.item())
    assert 0 < expected < 1


def test_active_triplets_of_a_collapsed_and_of_a_perfect_model():
    assert active_triplets(torch.ones(5, 1), torch.ones(5, 1), 0.2) == 1
    assert active_triplets(torch.eye(5), torch.eye(5), 0.2) == 0
    assert active_triplets(torch.eye(5), torch.eye(5), 1.5) == 1


@pytest.mark.parametrize("loss", [triplet_loss, active_triplets])
def test_triplets_that_are_refused(loss):
    where = loss.__name__
    with pytest.raises(ValueError, match=f"{where}: expected a batch of 2 pairs or more, got 1.*teaches nothing"):
        loss(torch.ones(1, 1), torch.ones(1, 1), 0.2)
    for margin in (0.0, -1.0, 2.5, math.nan):
        with pytest.raises(ValueError, match=f"{where}: expected a margin above 0, at most 2"):
            loss(torch.eye(3), torch.eye(3), margin)
    with pytest.raises(ValueError, match=rf"{where}: expected same\[i, i\] True"):
        loss(torch.eye(3), torch.eye(3), 0.2, same=torch.zeros(3, 3, dtype=torch.bool))


def test_rules_that_are_unknown_and_batches_without_triplets():
    with pytest.raises(ValueError, match="one of random, semi-hard, hardest, got 'hard'"):
        triplet_loss(torch.eye(3), torch.eye(3), 0.2, "hard")
    with pytest.raises(ValueError, match="at least one wrong pair, got none"):
        active_triplets(torch.eye(3), torch.eye(3), 0.2, torch.ones(3, 3, dtype=torch.bool))


# Captions

LOGITS = torch.randn(2, 3, 6, generator=torch.manual_seed(7), dtype=torch.float64)
WORDS = torch.tensor([[4, 5, 3], [2, 3, 0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_caption_loss_equals_a_loop(smoothing):
    total, count = 0.0, 0
    for row in range(2):
        for place in range(3):
            if WORDS[row, place] != 0:
                exps = [math.exp(x) for x in LOGITS[row, place].tolist()]
                target = [smoothing / 6 + (1 - smoothing) * (w == WORDS[row, place].item()) for w in range(6)]
                total -= sum(t * math.log(e / sum(exps)) for t, e in zip(target, exps, strict=True))
                count += 1
    torch.testing.assert_close(caption_loss(LOGITS, WORDS, smoothing=smoothing).item(), total / count)


def test_caption_loss_of_logits_that_say_nothing_is_log_v():
    for smoothing in (0.0, 0.3):
        got = caption_loss(torch.full((2, 3, 1536), 4.0), WORDS, smoothing=smoothing)
        torch.testing.assert_close(got.item(), math.log(1536))


def test_padding_is_nothing_to_learn():
    logits = LOGITS.clone().requires_grad_()
    loss = caption_loss(logits, WORDS, smoothing=0.1)
    loss.backward()
    assert not logits.grad[1, 2].any() and logits.grad[1, 1].any()
    longer = torch.cat([LOGITS, torch.randn(2, 4, 6, dtype=torch.float64)], dim=1)
    padded = F.pad(WORDS, (0, 4))
    torch.testing.assert_close(caption_loss(longer, padded, smoothing=0.1), loss)
    with_other_pad = padded.masked_fill(padded == 0, 1)
    torch.testing.assert_close(caption_loss(longer, with_other_pad, pad_id=1, smoothing=0.1), loss)


def test_the_penalty_by_hand():
    # Two regions. Caption 0 has three words, so tau is 3/2; caption 1 has two words and one pad, so tau is 1.
    attn = torch.tensor([[[1.0, 0], [1, 0], [0.5, 0.5]], [[1, 0], [0, 1], [1, 0]]], dtype=torch.float64)
    by_hand = ((1.5 - 2.5) ** 2 + (1.5 - 0.5) ** 2 + 0 + 0) / 2
    plain = caption_loss(LOGITS, WORDS)
    torch.testing.assert_close(
        caption_loss(LOGITS, WORDS, attn=attn, penalty=3.0) - plain, torch.tensor(3.0 * by_hand).double()
    )
    alike = torch.full((2, 3, 2), 0.5, dtype=torch.float64)
    torch.testing.assert_close(caption_loss(LOGITS, WORDS, attn=alike), plain)


@pytest.mark.parametrize(
    "logits, words, smoothing, message",
    [
        (torch.zeros(2, 3, 6), torch.zeros_like(WORDS), 0.0, "got 0 words"),
        (torch.zeros(2, 3, 6), WORDS, 1.0, r"smoothing in \[0, 1\).*smoothing 1"),
        (torch.zeros(2, 3, 6), WORDS, -0.1, "smoothing -0.1"),
    ],
)
def test_caption_losses_that_make_no_sense_are_refused(logits, words, smoothing, message):
    with pytest.raises(ValueError, match="caption_loss: .*" + message):
        caption_loss(logits, words, smoothing=smoothing)


def test_captions_with_their_start_are_refused_as_targets():
    with pytest.raises(ValueError, match=r"caption_loss: expected target_ids \(b, s\).*targets are text_ids\[:, 1:\]"):
        caption_loss(torch.zeros(2, 2, 6), WORDS)
    with pytest.raises(ValueError, match="caption_loss: expected target ids from 0 to 4, got ids from 2 to 5"):
        caption_loss(torch.zeros(2, 3, 5), WORDS)
