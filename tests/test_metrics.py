"""Metrics against matrices worked out by hand."""

import math
from itertools import permutations

import pytest
import torch

from mmlib.metrics import (
    accuracy,
    confusion_matrix,
    entropy,
    inverse_variance_weights,
    mean_average_precision,
    median_rank,
    rank_correlation,
    rank_of_best,
    recall_at_k,
    reciprocal_rank_fusion,
    squared_error,
    top_k_accuracy,
)

SIM = torch.tensor(
    [
        [0.9, 0.1, 0.3, 0.2, 0.0, 0.5],  # right: 0           -> rank 1
        [0.2, 0.4, 0.8, 0.6, 0.1, 0.0],  # right: 1           -> rank 3
        [0.5, 0.6, 0.1, 0.2, 0.7, 0.3],  # right: 2 and 5     -> best is 5, rank 4
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],  # right: 0           -> rank 6
    ]
)
RIGHT = torch.zeros(4, 6, dtype=torch.bool)
RIGHT[0, 0] = RIGHT[1, 1] = RIGHT[2, 2] = RIGHT[2, 5] = RIGHT[3, 0] = True


def test_ranks_by_hand():
    assert rank_of_best(SIM, RIGHT).tolist() == [1, 3, 4, 6]


@pytest.mark.parametrize("k, expected", [(1, 0.25), (2, 0.25), (3, 0.5), (4, 0.75), (5, 0.75), (6, 1.0)])
def test_recall_by_hand(k, expected):
    assert recall_at_k(SIM, RIGHT, k) == expected


def test_median_rank_by_hand():
    assert median_rank(SIM, RIGHT) == 3.5


def test_another_right_answer_above_does_not_hurt():
    right = torch.tensor([[True, True, False]])
    assert rank_of_best(torch.tensor([[0.2, 0.9, 0.5]]), right).tolist() == [1]


def test_ties_cost_half_so_that_equal_similarities_are_chance():
    right = torch.eye(9, dtype=torch.bool)
    assert rank_of_best(torch.zeros(9, 9), right).tolist() == [5] * 9
    for k in range(1, 10):
        assert recall_at_k(torch.zeros(9, 9), right, k) == pytest.approx(k / 9)
        assert top_k_accuracy(torch.zeros(9, 9), torch.arange(9), k) == pytest.approx(k / 9)
    assert accuracy(torch.zeros(3, 9), torch.zeros(3, dtype=torch.int64)) == pytest.approx(1 / 9)


def test_ties_equal_the_mean_over_all_orders():
    scores, right = [0.9, 0.5, 0.5, 0.5, 0.5, 0.1], [False, True, False, True, False, False]
    firsts = [min(1 + order.index(i) for i in (1, 3)) + 1 for order in permutations([1, 2, 3, 4])]
    sim, answers = torch.tensor([scores]), torch.tensor([right])
    assert rank_of_best(sim, answers).item() == pytest.approx(sum(firsts) / len(firsts))
    for k in range(1, 7):
        hits = sum(first <= k for first in firsts) / len(firsts)
        assert recall_at_k(sim, answers, k) == pytest.approx(hits)


def test_ties_among_right_answers_cost_nothing():
    assert rank_of_best(torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([[True, True, False]])).tolist() == [1]


def test_refusals():
    with pytest.raises(ValueError, match="k from 1 to 6, got 7"):
        recall_at_k(SIM, RIGHT, 7)
    with pytest.raises(ValueError, match="right answer for each query, got none for query 1"):
        rank_of_best(SIM[:2], torch.tensor([[True] * 6, [False] * 6]))
    with pytest.raises(ValueError, match="got NaN"):
        rank_of_best(SIM * float("nan"), RIGHT)


def test_accuracy_by_hand():
    logits = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75


@pytest.mark.parametrize("k, expected", [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)])
def test_top_k_by_hand(k, expected):
    logits = torch.tensor([[4.0, 3, 2, 1]] * 4)  # the targets rank first, second, third, fourth
    assert top_k_accuracy(logits, torch.tensor([0, 1, 2, 3]), k) == expected


def test_top_1_is_accuracy_and_equal_logits_are_no_answer():
    logits, target = torch.randn(50, 6), torch.randint(6, (50,))
    share = (logits.argmax(dim=1) == target).float().mean().item()
    assert top_k_accuracy(logits, target, 1) == accuracy(logits, target) == pytest.approx(share)
    assert top_k_accuracy(torch.zeros(5, 6), torch.arange(5), 3) == pytest.approx(0.5)


@pytest.mark.parametrize("metric", [accuracy, squared_error, lambda x, y: top_k_accuracy(x, y, 1)])
@pytest.mark.parametrize(
    "logits, target, words",
    [
        (torch.full((2, 3), math.nan), torch.tensor([0, 1]), "got NaN"),
        (torch.eye(4), torch.arange(4)[:, None], r"target \(b\) of whole numbers, got int64 \(4, 1\)"),
        (torch.eye(4), torch.arange(3), r"got int64 \(3,\) beside"),
        (torch.eye(4), torch.arange(4) + 1, "targets from 0 to 3, got targets from 1 to 4"),
        (torch.eye(4), torch.arange(4) - 1, "targets from 0 to 3, got targets from -1 to 2"),
        (torch.zeros(0, 4), torch.arange(0), "not empty"),
    ],
)
def test_answers_that_cannot_be_counted_are_refused(metric, logits, target, words):
    with pytest.raises(ValueError, match=words):
        metric(logits, target)


def test_whole_numbers_of_any_length_are_targets():
    for dtype in (torch.int8, torch.int16, torch.int32):
        target = torch.arange(4, dtype=dtype)
        assert accuracy(torch.eye(4), target) == 1 and squared_error(torch.eye(4), target) == 0
        assert confusion_matrix(target, target, 4).tolist() == torch.eye(4).tolist()


def test_entropy_refuses_what_is_no_probability():
    for probs in ([0.5, math.nan], [1.5, -0.5], [-0.1, 0.2]):
        with pytest.raises(ValueError, match="entropy: expected probs"):
            entropy(torch.tensor(probs))


@pytest.mark.parametrize("k", [0, 5])
def test_top_k_refuses_more_classes_than_there_are(k):
    with pytest.raises(ValueError, match=f"k from 1 to 4, got {k}"):
        top_k_accuracy(torch.zeros(2, 4), torch.tensor([0, 1]), k)


def test_confusion_by_hand():
    predicted, target = torch.tensor([0, 1, 1, 2, 0]), torch.tensor([0, 0, 0, 0, 2])
    expected = [[0.25, 0.5, 0.25, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert confusion_matrix(predicted, target, classes=4).tolist() == expected


@pytest.mark.parametrize("predicted, target", [([3], [0]), ([0], [3]), ([-1], [0])])
def test_confusion_refuses_other_classes(predicted, target):
    with pytest.raises(ValueError, match="classes from 0 to 2, got"):
        confusion_matrix(torch.tensor(predicted), torch.tensor(target), classes=3)


@pytest.mark.parametrize("n", [1, 2, 12])
def test_entropy_of_certainty_is_0_and_of_ignorance_log_n(n):
    assert entropy(torch.eye(n)).tolist() == [0] * n
    torch.testing.assert_close(entropy(torch.full((n,), 1 / n)).item(), math.log(n))


def test_entropy_by_hand():
    torch.testing.assert_close(entropy(torch.tensor([0.5, 0.25, 0.25])).item(), 1.5 * math.log(2))


# Rankings with several right answers


def test_mean_average_precision_by_hand():
    # Right answers stand at ranks 1; 3; 4 and 6; 6: so 1, 1/3, (1/4 + 2/6) / 2, 1/6.
    expected = (1 + 1 / 3 + (1 / 4 + 2 / 6) / 2 + 1 / 6) / 4
    assert mean_average_precision(SIM, RIGHT) == pytest.approx(expected)


def test_mean_average_precision_equals_torchmetrics():
    from torchmetrics.functional.retrieval import retrieval_average_precision

    sim, right = torch.rand(40, 30), torch.rand(40, 30) < 0.1  # the peer takes what is below 0 as not found
    right[:, 0] |= ~right.any(dim=1)
    expected = [retrieval_average_precision(s, r).item() for s, r in zip(sim, right, strict=True)]
    assert mean_average_precision(sim, right) == pytest.approx(sum(expected) / 40)


def test_ranks_equal_torchmetrics():
    from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_reciprocal_rank

    sim, right = torch.rand(40, 30), torch.rand(40, 30) < 0.1  # the peer takes what is below 0 as not found
    right[:, 0] |= ~right.any(dim=1)
    rows = list(zip(sim, right, strict=True))
    hits = [retrieval_hit_rate(s, r, top_k=5).item() for s, r in rows]
    assert recall_at_k(sim, right, 5) == pytest.approx(sum(hits) / 40)
    first = torch.stack([retrieval_reciprocal_rank(s, r) for s, r in rows])
    torch.testing.assert_close(1 / rank_of_best(sim, right), first)


def test_with_one_right_answer_it_is_the_mean_reciprocal_rank():
    sim, right = torch.randn(30, 20), torch.eye(20).bool()[torch.arange(30) % 20]
    expected = (1 / rank_of_best(sim, right)).mean().item()
    assert mean_average_precision(sim, right) == pytest.approx(expected)


@pytest.mark.parametrize("places", [[0, 1], [1, 2], [0, 2]])
def test_equal_similarities_are_the_worst_case_wherever_the_right_answers_stand(places):
    right = torch.zeros(1, 3, dtype=torch.bool)
    right[0, places] = True
    assert mean_average_precision(torch.zeros(1, 3), right) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_fusion_by_hand():
    first = torch.tensor([[0.9, 0.5, 0.1]])  # ranks 1 2 3
    second = torch.tensor([[100.0, 300.0, 200.0]])  # ranks 3 1 2
    expected = torch.tensor([[1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]])
    torch.testing.assert_close(reciprocal_rank_fusion(first, second), expected)
    torch.testing.assert_close(reciprocal_rank_fusion(first, second, k=1).argmax(dim=1), torch.tensor([1]))


def test_fusion_of_one_search_keeps_its_order_and_no_scale_matters():
    sim = torch.randn(8, 30)
    assert torch.equal(reciprocal_rank_fusion(sim).argsort(dim=1), sim.argsort(dim=1))
    other = torch.randn(8, 30)
    torch.testing.assert_close(reciprocal_rank_fusion(sim, other), reciprocal_rank_fusion(1000 * sim, other - 7))
    torch.testing.assert_close(reciprocal_rank_fusion(sim, other), reciprocal_rank_fusion(other, sim))


def test_equals_share_the_mean_of_their_ranks():
    fused = reciprocal_rank_fusion(torch.tensor([[0.5, 0.9, 0.5, 0.1]]), k=10)  # ranks 2.5, 1, 2.5, 4
    torch.testing.assert_close(fused, torch.tensor([[1 / 12.5, 1 / 11, 1 / 12.5, 1 / 14]]))


def test_refusals_of_rankings():
    with pytest.raises(ValueError, match="mean_average_precision: expected a right answer for each query, got none"):
        mean_average_precision(SIM[:1], torch.zeros(1, 6, dtype=torch.bool))
    with pytest.raises(
        ValueError, match=r"sims \(q, g\).*\(2, 6\) beside sims \(4, 6\). All searches rank one gallery"
    ):
        reciprocal_rank_fusion(SIM, SIM[:2])
    with pytest.raises(ValueError, match=r"one matrix \(q, g\) a search, got none"):
        reciprocal_rank_fusion()
    with pytest.raises(ValueError, match="k above 0, got 0"):
        reciprocal_rank_fusion(SIM, k=0)
    with pytest.raises(ValueError, match="reciprocal_rank_fusion: expected similarities of numbers, got NaN"):
        reciprocal_rank_fusion(SIM * float("nan"))


def test_squared_error_by_hand():
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    assert squared_error(probs, torch.tensor([0, 1])) == pytest.approx((0.09 + 0.04 + 0.01) / 2)
    assert squared_error(probs, torch.tensor([1, 2])) == pytest.approx((0.49 + 0.64 + 0.01 + 2) / 2)


def test_inverse_variance_weights_by_hand():
    weights = inverse_variance_weights(torch.tensor([[1.0, 4.0], [2.0, 2.0], [0.5, torch.inf]]))
    torch.testing.assert_close(weights, torch.tensor([[0.8, 0.2], [0.5, 0.5], [1.0, 0.0]]))
    torch.testing.assert_close(
        inverse_variance_weights(torch.tensor([1.0, 2.0, 4.0])), torch.tensor([4.0, 2.0, 1.0]) / 7
    )
    tiny = torch.tensor([1e-45, 1e-44])  # their inverses are too large for a float32
    assert inverse_variance_weights(tiny).isfinite().all()


@pytest.mark.parametrize(
    "variances, message",
    [
        ([0.0, 1.0], "variances above 0, got 0"),
        ([-1.0, 1.0], "variances above 0, got -1"),
        ([math.nan, 1.0], "variances above 0"),
        ([math.inf, math.inf], "a row that is all infinite"),
    ],
)
def test_inverse_variance_weights_refuse(variances, message):
    with pytest.raises(ValueError, match=message):
        inverse_variance_weights(torch.tensor(variances))


def test_rank_correlation_by_hand_and_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    assert rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([9.0, 4.0, 1.0])) == -1
    assert rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    x, y = torch.randn(30), torch.randint(4, (30,)).float()  # with many equals
    assert rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_rank_correlation_refuses_nan():
    with pytest.raises(ValueError, match="rank_correlation: expected y of numbers, got NaN"):
        rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, math.nan]))


@pytest.mark.parametrize("x, y", [([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [3.0, 3.0])])
def test_rank_correlation_refuses_what_has_no_order(x, y):
    with pytest.raises(ValueError, match="rank_correlation: expected (x|y) with values that differ"):
        rank_correlation(torch.tensor(x), torch.tensor(y))
