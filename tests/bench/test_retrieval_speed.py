"""What must be fast in notebook 3: the loss with hardest negatives against a peer's, and the answer to a query."""

import time

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.features import PICTURE_FEATURES, TEXT_FEATURES, text_features
from mmlib.losses import triplet_loss
from mmlib.models.retrieval import Retrieval, RetrievalConfig, top_k

LOSS_RATIO = 0.5  # of the time of pytorch-metric-learning's miner and loss, both directions, gradients included
QUERY_SECONDS = 0.010  # features, embedding, and a look at every picture
BATCH, EMBED, MARGIN, PICTURES = 1024, 256, 0.2, 3731

pytestmark = pytest.mark.bench


def their_loss(image, text, labels):
    """The peer's usual call, one direction after the other."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    other, cosine = labels.clone(), CosineSimilarity()  # the same object twice would drop the diagonal
    miner = BatchHardMiner(distance=cosine)
    loss = TripletMarginLoss(MARGIN, distance=cosine, reducer=MeanReducer())
    to_text = loss(image, labels, miner(image, labels, text, other), text, other)
    return to_text + loss(text, labels, miner(text, labels, image, other), image, other)


def test_the_loss_against_pytorch_metric_learning(benchmark, capsys):
    image, text = (F.normalize(torch.randn(BATCH, EMBED), dim=1).requires_grad_() for _ in range(2))
    labels, peer_seconds = torch.arange(BATCH), []
    torch.testing.assert_close(triplet_loss(image, text, MARGIN, "hardest"), their_loss(image, text, labels))

    def time_the_peer():  # before each round of ours, so that both meet the same weather
        start = time.perf_counter()
        their_loss(image, text, labels).backward()
        peer_seconds.append(time.perf_counter() - start)

    benchmark.pedantic(
        lambda: triplet_loss(image, text, MARGIN, "hardest").backward(),
        setup=time_the_peer,
        rounds=30,
        warmup_rounds=3,
    )
    ratio = benchmark.stats.stats.median / torch.tensor(peer_seconds[3:]).median().item()
    with capsys.disabled():
        print(f"\nhardest negatives, batch {BATCH}: {ratio:.2f} of the time of pytorch-metric-learning")
    assert ratio <= LOSS_RATIO


def test_a_query_over_all_pictures(benchmark, capsys):
    config = RetrievalConfig(PICTURE_FEATURES, TEXT_FEATURES, embed=EMBED, hidden=512)
    model = Retrieval(config).eval()
    gallery = F.normalize(torch.randn(PICTURES, EMBED), dim=1)
    queries = iter(f"woman firefighter number {n} dark skin tone" for n in range(1000))  # none of them seen before

    @torch.inference_mode()
    def answer(query):
        return top_k(model.encode_text(text_features([query])), gallery, k=10)

    benchmark.pedantic(answer, setup=lambda: ((next(queries),), {}), rounds=100, warmup_rounds=5)
    with capsys.disabled():
        print(f"\na query over {PICTURES} pictures: {benchmark.stats.stats.median * 1000:.1f} ms")
    assert benchmark.stats.stats.median <= QUERY_SECONDS
