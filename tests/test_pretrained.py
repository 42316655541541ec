"""Pretrained extractors: with weights drawn at random in place of the published ones, which no test may download."""

import pytest
import torch

from mmlib.pretrained import FETCH, READER, VIEWER, load_extractors
from mmlib.pretrained import extractors as module

transformers = pytest.importorskip("transformers")
resnet50 = pytest.importorskip("torchvision.models").resnet50


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    """What load_extractors gives where a ResNet-50 and a tiny BERT lie in the places of the published weights."""
    hub, reader = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("reader")
    (hub / "checkpoints").mkdir()
    torch.save(resnet50().state_dict(), hub / "checkpoints" / VIEWER)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog"]
    (reader / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(reader / "vocab.txt")).save_pretrained(reader)
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    transformers.BertModel(transformers.BertConfig(vocab_size=7, **sizes)).save_pretrained(reader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "get_dir", lambda: str(hub))
        patch.setattr(module, "READER", str(reader))
        yield load_extractors()


def test_pictures(extractors):
    image = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    features = extractors.picture_features(image, size=32)
    assert features.shape == (3, 2048) and features.isfinite().all() and not features.requires_grad
    torch.testing.assert_close(extractors.picture_features(image[1:2], size=32), features[1:2], rtol=1e-3, atol=1e-4)


def test_padding_says_nothing(extractors):
    alone, _ = extractors.text_features(["cat"]), extractors.text_features(["dog"])
    beside = extractors.text_features(["cat", "cat dog dog dog"])
    assert alone.shape == (1, 8)
    torch.testing.assert_close(beside[:1], alone)
    assert not torch.allclose(beside[1], beside[0])


def test_many_texts_are_read_in_parts(extractors):
    texts = ["cat", "dog"] * 50
    features = extractors.text_features(texts)
    assert len(features) == 100
    torch.testing.assert_close(features[98:], features[:2])


def test_no_list(extractors):
    with pytest.raises(ValueError, match="expected a list of texts"):
        extractors.text_features("cat")


def test_nothing_is_fetched_where_there_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert load_extractors() is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / VIEWER).touch()
    monkeypatch.setattr(module, "READER", str(tmp_path / "nowhere"))
    assert load_extractors() is None


def test_how_to_fetch_names_both():
    assert "resnet50" in FETCH and READER in FETCH
