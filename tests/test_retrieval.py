"""The retrieval model: unit vectors, gradients, one batch by heart, exact search, and odd queries."""

import pytest
import torch
import torch.nn.functional as F

from mmlib.data.features import TEXT_FEATURES, text_features
from mmlib.losses import triplet_loss
from mmlib.metrics import recall_at_k
from mmlib.models.retrieval import Retrieval, RetrievalConfig, top_k
from mmlib.train import make_optimizer

SMALL = RetrievalConfig(image_features=12, text_features=10, embed=8, hidden=16)


def pairs(b=6):
    return torch.randn(b, 12), torch.randn(b, 10)


def test_the_defaults_are_those_of_the_field():
    model = Retrieval(RetrievalConfig())
    assert model.encode_image(torch.randn(2, 2048)).shape == model.encode_text(torch.randn(2, 768)).shape == (2, 512)


def test_features_are_centred_and_their_scale_hardly_matters():
    model, far = Retrieval(SMALL), torch.randn(64, 12) * torch.logspace(0, 3, 12) + 1000
    inner = model.image[0](far)
    torch.testing.assert_close(inner.mean(dim=0), torch.zeros(12), atol=1e-3, rtol=0)
    torch.testing.assert_close(inner.std(dim=0), torch.ones(12), atol=0.02, rtol=0)
    constant = model.text[0](torch.cat([torch.ones(64, 9), 1e-4 * torch.randn(64, 1)], dim=1))
    assert constant.abs().max() < 0.01  # what does not vary is not blown up


def test_embeddings_are_unit_vectors_and_forward_gives_both():
    model, (image, text) = Retrieval(SMALL).eval(), pairs()
    image_emb, text_emb = model(image, text)
    torch.testing.assert_close(image_emb.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(text_emb.norm(dim=1), torch.ones(6))
    assert torch.equal(image_emb, model.encode_image(image)) and torch.equal(text_emb, model.encode_text(text))


def test_rows_do_not_mix():
    model, (image, _) = Retrieval(SMALL).eval(), pairs()
    alone = torch.cat([model.encode_image(row[None]) for row in image])
    torch.testing.assert_close(model.encode_image(image), alone)


def test_dropout_is_for_training_alone():
    model, (image, _) = Retrieval(SMALL), pairs()
    assert not torch.equal(model.encode_image(image), model.encode_image(image))
    model.eval()
    assert torch.equal(model.encode_image(image), model.encode_image(image))


def test_every_parameter_gets_a_gradient():
    model = Retrieval(SMALL)
    triplet_loss(*model(*pairs()), margin=1.0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("negatives", ["random", "semi-hard", "hardest"])
def test_one_batch_is_learned_by_heart(negatives):
    model, (image, text) = Retrieval(SMALL), pairs(12)
    optimizer = make_optimizer(model, weight_decay=0.0)
    for _ in range(300):
        optimizer.zero_grad()
        triplet_loss(*model(image, text), 0.2, negatives).backward()
        optimizer.step()
    image_emb, text_emb = model.eval()(image, text)
    assert recall_at_k(image_emb @ text_emb.T, torch.eye(12).bool(), 1) >= 11 / 12


@pytest.mark.parametrize(
    "features, words",
    [
        (torch.zeros(12), r"features \(b, i\) of floats, got float32 \(12,\). One row\? Add the batch axis"),
        (torch.zeros(2, 10), r"features \(b, 12\), got \(2, 10\). Build the model for the width"),
        (torch.zeros(2, 12).int(), r"features \(b, i\) of floats, got int32 \(2, 12\). Use image_features.float\(\)"),
        (torch.full((2, 12), torch.nan), "finite numbers, got NaN or infinity"),
        (torch.full((2, 12), torch.inf), "finite numbers, got NaN or infinity"),
    ],
)
def test_features_that_are_refused(features, words):
    with pytest.raises(ValueError, match="Retrieval.encode_image: expected .*" + words):
        Retrieval(SMALL).encode_image(features)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_number_among_many_is_found(value):
    features = torch.randn(40, 12)
    features[17, 5] = value
    with pytest.raises(ValueError, match="finite numbers, got NaN or infinity"):
        Retrieval(SMALL).encode_image(features)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="image_features that is not empty, got .0, 12.. Was everything filtered out"):
        Retrieval(SMALL).eval().encode_image(torch.empty(0, 12))


def test_pairs_that_differ_in_number_are_refused():
    with pytest.raises(
        ValueError, match=r"Retrieval: expected text_features \(b, j\).*beside image_features \(3, 12\)"
    ):
        Retrieval(SMALL).eval()(torch.randn(3, 12), torch.randn(1, 10))


# Search


def test_top_k_by_hand():
    gallery = F.normalize(torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 0]]), dim=1)
    found = top_k(torch.tensor([[1.0, 0], [0, 1]]), gallery, k=3)
    assert found.places[0].tolist() == [0, 1, 2]
    assert found.places[1, :2].tolist() == [2, 1]
    torch.testing.assert_close(found.scores[0], torch.tensor([1.0, 0.5**0.5, 0.0]))


@pytest.mark.parametrize("k", [0, 5])
def test_top_k_of_more_than_there_is(k):
    with pytest.raises(ValueError, match=f"top_k: expected k from 1 to 4, got {k}. The gallery is no larger"):
        top_k(torch.eye(4), torch.eye(4), k)


def test_top_k_equals_faiss():
    faiss = pytest.importorskip("faiss")
    query, gallery = F.normalize(torch.randn(20, 32), dim=1), F.normalize(torch.randn(500, 32), dim=1)
    index = faiss.IndexFlatIP(32)
    index.add(gallery.numpy())
    scores, places = index.search(query.numpy(), 10)
    found = top_k(query, gallery, 10)
    torch.testing.assert_close(found.scores, torch.from_numpy(scores))
    assert torch.equal(found.places, torch.from_numpy(places))


@pytest.mark.parametrize(
    "query", ["", " ", "\U0001f9d1\u200d\U0001f33e", "dragon " * 1429, "x" * 10_000, "дракон", "تنين", "\x00\ud800"]
)
def test_any_query_gets_an_answer(query):
    model = Retrieval(RetrievalConfig(image_features=12, text_features=TEXT_FEATURES, embed=8, hidden=16)).eval()
    gallery = model.encode_image(torch.randn(5, 12))
    found = top_k(model.encode_text(text_features([query])), gallery, k=5)
    assert found.scores.isfinite().all() and sorted(found.places[0].tolist()) == [0, 1, 2, 3, 4]
