"""Published TimeSformer checkpoints: random weights of transformers' own class, read by ours and given back."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from einops import rearrange
from PIL import Image
from torch.nn.functional import cross_entropy

from mmlib.layers import ConvStem, PatchEmbedding
from mmlib.models.timesformer import TimeSformer
from mmlib.pretrained import load_timesformer, save_timesformer
from mmlib.pretrained.files import places_of
from mmlib.pretrained.timesformer import INNER, ONES, OUTER

transformers = pytest.importorskip("transformers")
try:  # the one that resizes with PIL, as we do
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil as Processor
except ImportError:  # before version 5
    from transformers import VideoMAEImageProcessor as Processor

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
NAMES = ["archery", "bowling", "juggling balls"]
KINDS = {
    "divided": dict(attention_type="divided_space_time", image_size=16, hidden_size=16, num_attention_heads=2),
    "joint": dict(attention_type="joint_space_time", image_size=24, hidden_size=24, num_attention_heads=3),
    "space": dict(attention_type="space_only", image_size=16, hidden_size=16, layer_norm_eps=1e-2),
}


def write_peer(folder, kind="divided", **changes):
    """A peer whose parameters are all random, and the folder that it was saved in."""
    sizes = dict(patch_size=8, num_frames=3, num_hidden_layers=2, num_attention_heads=4) | KINDS[kind] | changes
    sizes = {"intermediate_size": 4 * sizes["hidden_size"]} | sizes
    config = transformers.TimesformerConfig(**sizes, id2label=dict(enumerate(NAMES)))
    peer = transformers.TimesformerForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    peer.save_pretrained(folder)
    size = sizes["image_size"]
    settings = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    settings |= {"resample": 2, "image_mean": MEAN, "image_std": STD, "do_rescale": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return peer


def logits(peer, video):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return peer((video - mean) / std).logits


@torch.inference_mode()
def assert_same(model, peer, frames=3):
    size = model.config.image_size
    video = torch.rand(2, frames, 3, size, size)
    expected = logits(peer, video)
    if model.config.attention == "space":  # theirs gives logits of each frame, and leaves the mean to the caller
        video = rearrange(video, "b t c h w -> (b t) 1 c h w")
    assert (expected[0] - expected[-1]).abs().max() > 1e-3  # or all videos look alike, and anything agrees
    torch.testing.assert_close(model(video), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("timesformer")
    torch.manual_seed(0)
    write_peer(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_transformers(kind, tmp_path):
    peer = write_peer(tmp_path, kind)
    model, _, class_names = load_timesformer(tmp_path)
    assert_same(model, peer)
    assert class_names == tuple(NAMES) and model.config.attention == kind and not model.training


@pytest.mark.parametrize("changes", [dict(num_frames=5, patch_size=4), dict(num_hidden_layers=3, hidden_size=32)])
def test_other_sizes(changes, tmp_path):
    peer = write_peer(tmp_path, **changes)
    assert_same(load_timesformer(tmp_path).model, peer, frames=changes.get("num_frames", 3))


@pytest.mark.parametrize("kind", KINDS)
def test_our_weights_go_back_to_transformers(kind, tmp_path):
    write_peer(tmp_path / "theirs", kind)
    published = load_timesformer(tmp_path / "theirs")
    with torch.no_grad():
        for parameter in published.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_timesformer(published, tmp_path / "ours")
    peer = transformers.TimesformerForVideoClassification.from_pretrained(tmp_path / "ours").eval()
    assert_same(published.model, peer)
    assert peer.config.id2label == dict(enumerate(NAMES))

    again = load_timesformer(tmp_path / "ours")
    assert (again.prepare, again.class_names) == (published.prepare, published.class_names)
    for got, expected in zip(again.model.parameters(), published.model.parameters(), strict=True):
        assert torch.equal(got, expected)


UNSAVED = {
    "centre": (dict(centre=True), "a model with centre=False, got centre=True. Build on a loaded model"),
    "stem": (dict(stem=ConvStem), r"patches by one convolution \(PatchEmbedding\) with a bias, got ConvStem"),
    "bias": (dict(stem=PatchEmbedding), ".* with a bias, got PatchEmbedding"),
    "classes": (dict(classes=2), "2 classes or more, and 2 names for them, got 3"),
    "more classes": (dict(classes=4), "2 classes or more, and 4 names for them, got 3"),
    "size": (dict(image_size=24), "a preparation that cuts to 24 pixels, got 16"),
}


@pytest.mark.parametrize("changes, words", UNSAVED.values(), ids=UNSAVED)
def test_what_the_layout_has_no_place_for_is_not_saved(changes, words, folder, tmp_path):
    published = load_timesformer(folder)
    config = replace(published.model.config, **({"stem": partial(PatchEmbedding, bias=True)} | changes))
    with pytest.raises(ValueError, match=f"^save_timesformer: expected {words}"):
        save_timesformer(published._replace(model=TimeSformer(config)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_standardise_its_clips_comes_back_the_same(folder, tmp_path):
    published = load_timesformer(folder)
    model = TimeSformer(replace(published.model.config, stem=partial(PatchEmbedding, bias=True))).eval()
    save_timesformer(published._replace(model=model), tmp_path)
    video = torch.rand(2, 3, 3, 16, 16)
    torch.testing.assert_close(load_timesformer(tmp_path).model(video), model(video))


@pytest.mark.parametrize("classes, parameters", [(400, 121_566_352), (174, 121_392_558)])
def test_published_sizes(classes, parameters, folder, tmp_path, monkeypatch):
    """The whole loader on settings of the published size, with weights that have shapes and no values."""
    from mmlib.pretrained import timesformer

    with torch.device("meta"):
        peer = transformers.TimesformerForVideoClassification(transformers.TimesformerConfig(num_labels=classes))
    names = {n: f"class {n}" for n in range(classes)}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "timesformer", "id2label": names}))
    settings = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    settings |= {"resample": 2, "image_mean": [0.45] * 3, "image_std": [0.225] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(timesformer, "fill", lambda *args: None)
    monkeypatch.setattr(timesformer, "read_weights", lambda *args: None)
    model, _, class_names = load_timesformer(tmp_path)
    assert sum(p.numel() for p in model.parameters()) == parameters and class_names[-1] == f"class {classes - 1}"
    shapes = {n: model.state_dict()[k] for k, p in places_of(model, OUTER, INNER, ONES).items() for n in p.names}
    assert sorted(shapes) == sorted(peer.state_dict())
    assert model.norm.eps == 1e-6


def test_ten_steps_of_fine_tuning_lower_the_loss(folder):
    model = load_timesformer(folder).model
    video, target, losses = torch.rand(3, 3, 3, 16, 16), torch.arange(3), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(10):
        losses.append(cross_entropy(model(video), target))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_clips_are_prepared_as_in_transformers(folder):
    model, prepare, _ = load_timesformer(folder)
    clips = torch.randint(0, 256, (2, 3, 3, 30, 45), dtype=torch.uint8)
    video = prepare.clips(clips)
    assert video.shape == (2, 3, 3, 16, 16) and 0 <= video.min() and video.max() <= 1
    theirs = Processor.from_pretrained(folder)
    expected = theirs(list(clips[0].numpy()), return_tensors="pt")["pixel_values"][0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    torch.testing.assert_close((video[0] - mean) / std, expected, atol=0.02, rtol=0)
    with pytest.raises(
        ValueError, match=r"Preparation.clips: expected clips of as many frames each, got lengths \[2, 3"
    ):
        prepare.clips([clips[0], clips[1, :2]])
    for one in (clips[0], [Image.new("RGB", (20, 20))] * 3):
        with pytest.raises(
            ValueError, match="Preparation.clips: expected a list of .*clip.*, got .* One. Put it into a"
        ):
            prepare.clips(one)


REFUSED = [
    (dict(hidden_act="quick_gelu"), "expected hidden_act gelu, got 'quick_gelu'"),
    (dict(qkv_bias=False), "expected qkv_bias True, got False"),
    (dict(intermediate_size=40), "expected intermediate_size 64, got 40"),
    (dict(num_channels=1), "expected num_channels 3, got 1"),
    (dict(attention_type="time_only"), "expected attention_type divided_space_time.*got 'time_only'"),
    (dict(model_type="videomae"), "expected a checkpoint of model_type 'timesformer' in .*, got 'videomae'"),
    (
        dict(id2label={"0": "archery", "2": "bowling"}),
        "expected config.json with a name in id2label for each of its classes, got 2 names",
    ),
    (dict(id2label={"0": "archery", "1": 7}), "expected config.json with a name in id2label .*, got 2 names"),
    (dict(id2label=["archery", "bowling"]), "expected config.json with a name in id2label.*, which is no dictionary"),
    (dict(image_size=[16, 16]), r"expected config.json with a whole number for image_size, got \[16, 16\]"),
]


@pytest.mark.parametrize("change, words", REFUSED, ids=[next(iter(change)) for change, _ in REFUSED])
def test_settings_that_are_refused(change, words, folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"^load_timesformer: {words}"):
        load_timesformer(tmp_path)


def test_a_model_without_a_classifier_lists_what_is_missing(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    transformers.TimesformerForVideoClassification.from_pretrained(folder).timesformer.save_pretrained(
        tmp_path / "base"
    )
    (tmp_path / "base" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="classifier.bias is missing\n.*classifier.weight is missing\n"):
        load_timesformer(tmp_path)
