"""What must be fast in notebook 3: the loss with hardest negatives against a peer's, and the answer to a query."""

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.features import PICTURE_FEATURES, TEXT_FEATURES, text_features
from mmlib.losses import triplet_loss
from mmlib.models.retrieval import Retrieval, RetrievalConfig, top_k

LOSS_RATIO = 0.5  # of the time of pytorch-metric-learning's miner and loss, both directions, gradients included
QUERY_SECONDS = 0.010  # features, embedding, and a look at every picture
SEARCH_RATIO = 1.5  # of the time of faiss' flat index
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


def test_the_loss_against_pytorch_metric_learning(side_by_side, compare):
    image, text = (F.normalize(torch.randn(BATCH, EMBED), dim=1).requires_grad_() for _ in range(2))
    labels = torch.arange(BATCH)
    torch.testing.assert_close(triplet_loss(image, text, MARGIN, "hardest"), their_loss(image, text, labels))
    ours, theirs = side_by_side(
        lambda: triplet_loss(image, text, MARGIN, "hardest").backward(),
        lambda: their_loss(image, text, labels).backward(),
        rounds=30,
    )
    what = f"Triplet loss with hardest negatives and its gradient, batch {BATCH:,}"
    assert compare(what, ours, theirs, "pytorch-metric-learning") <= LOSS_RATIO


@pytest.mark.parametrize("queries, rows", [(1, 100_000), (64, 100_000)])
def test_exact_search_against_faiss(side_by_side, compare, queries, rows):
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    gallery, query = (F.normalize(torch.randn(n, EMBED), dim=1) for n in (rows, queries))
    index = faiss.IndexFlatIP(EMBED)
    index.add(gallery.numpy())
    array = query.numpy()
    assert torch.equal(top_k(query, gallery, 10).places, torch.from_numpy(index.search(array, 10)[1]))
    ours, theirs = side_by_side(lambda: top_k(query, gallery, 10), lambda: index.search(array, 10))
    what = f"Exact search, {queries} of {rows:,} vectors"
    assert compare(what, ours, theirs, "faiss-cpu") <= SEARCH_RATIO


def test_a_query_over_all_pictures(benchmark, capsys, slower):
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
    assert benchmark.stats.stats.median <= QUERY_SECONDS * slower
