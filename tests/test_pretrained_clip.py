"""Published CLIP checkpoints: random weights of transformers' own class, read by ours and given back."""

import inspect
import json
import string
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mmlib.layers import ConvStem, PatchEmbedding, QuickGELU
from mmlib.losses import clip_loss
from mmlib.models.clip import CLIP
from mmlib.pretrained import Preparation, load_clip, save_clip
from mmlib.pretrained.clip import INNER, OUTER, _config_of, places_of

transformers = pytest.importorskip("transformers")
try:  # the one that resizes with PIL, as we do
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:  # before version 5
    from transformers import CLIPImageProcessor

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = [*string.ascii_lowercase, *string.digits, *"!,.'"]
TOKENS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "ca", "cat</w>", "do", "dog</w>", START, END]
MERGES = ["c a", "ca t</w>", "d o", "do g</w>"]
TEXTS = ["a cat", "Dogs, and   a CAT's 2 dogs!", "cat", "a b c d e f g h i j k l m n o p q r s t"]
KINDS = {
    "quick": dict(
        text=dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu"),
        vision=dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, hidden_act="quick_gelu"),
        size=(16, 8, 8),  # image, patch, embedding
    ),
    "gelu": dict(
        text=dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=4, hidden_act="gelu"),
        vision=dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, hidden_act="gelu"),
        size=(28, 7, 12),
    ),
    "eps": dict(
        text=dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=1, layer_norm_eps=1e-2),
        vision=dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=8, layer_norm_eps=1e-3),
        size=(24, 4, 16),
    ),
}


def write_pieces(folder, positions=14):
    """The tokenizer's files, as OpenAI published them."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(TOKENS)}), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]), encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": positions}
    settings |= {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_peer(folder, kind="quick", **text):
    """A peer with random weights, and the folder that it and its tokenizer and its preparation were saved in."""
    image, patch, embed = KINDS[kind]["size"]
    ids = dict(vocab_size=len(TOKENS), bos_token_id=len(TOKENS) - 2, eos_token_id=len(TOKENS) - 1, pad_token_id=1)
    text = KINDS[kind]["text"] | ids | dict(max_position_embeddings=14) | text
    vision = KINDS[kind]["vision"] | dict(image_size=image, patch_size=patch)
    for part in (text, vision):
        part["intermediate_size"] = 4 * part["hidden_size"]
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=embed)
    peer = randomised(transformers.CLIPModel(config))
    peer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": image}, crop_size=image).save_pretrained(folder)
    write_pieces(folder)
    return peer


@torch.no_grad()
def randomised(peer):
    """Every parameter drawn anew, or those that start at zero or one would hide a mistake."""
    for parameter in peer.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    peer.logit_scale.fill_(2.2)
    return peer.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    write_peer(path)
    return path


def standardised(peer, image):
    processor = CLIPImageProcessor()
    mean, std = (torch.tensor(x)[:, None, None] for x in (processor.image_mean, processor.image_std))
    return (image - mean) / std


@torch.inference_mode()
def answers(peer, image, text_ids):
    out = peer(input_ids=text_ids, pixel_values=standardised(peer, image))
    return out.image_embeds, out.text_embeds, out.logits_per_image


# Against transformers


@torch.inference_mode()
def assert_same(model, peer, image, text_ids):
    image_emb, text_emb = model.encode_image(image), model.encode_text(text_ids)
    for got, expected in zip((image_emb, text_emb), answers(peer, image, text_ids), strict=False):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    features = peer.visual_projection(peer.vision_model(standardised(peer, image)).pooler_output)
    torch.testing.assert_close(model.image(image), features, atol=1e-5, rtol=1e-5)
    logits = model.log_scale.exp() * image_emb @ text_emb.T
    torch.testing.assert_close(logits, answers(peer, image, text_ids)[2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_logits_equal_those_of_transformers(kind, tmp_path):
    peer = write_peer(tmp_path, kind)
    model, _, tokenizer = load_clip(tmp_path)
    image = torch.rand(3, 3, model.config.image_size, model.config.image_size)
    for texts in (TEXTS, TEXTS[:1], TEXTS[2:3]):
        assert_same(model, peer, image, tokenizer.encode(texts))
    assert not model.training and all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())


def test_text_is_read_at_its_first_end_whatever_the_padding(tmp_path):
    peer = write_peer(tmp_path)
    model = load_clip(tmp_path).model
    end = len(TOKENS) - 1
    rows = torch.tensor([[80, 3, end, end, end], [80, 3, 5, end, 0], [80, end, 7, end, 9]])
    assert_same(model, peer, torch.rand(1, 3, 16, 16), rows)


@pytest.mark.parametrize("padding", [0, 7])
def test_old_settings_that_call_the_end_2_mean_the_tokenizers(padding, tmp_path):
    """Also where rows without a token pad the embedding to a round number."""
    peer = write_peer(tmp_path, eos_token_id=2, vocab_size=len(TOKENS) + padding)
    model, _, tokenizer = load_clip(tmp_path)
    assert model.config.end_id == len(TOKENS) - 1
    assert_same(model, peer, torch.rand(1, 3, 16, 16), tokenizer.encode(TEXTS))


def test_settings_in_the_manner_of_old_files(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "config.json").read_text())
    for part in ("text", "vision"):
        settings[f"{part}_config_dict"] = settings[f"{part}_config"]
        settings[f"{part}_config"] = settings[f"{part}_config"] | {"hidden_size": 999}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    old = {"crop_size": 16, "size": 16, "do_resize": True, "do_center_crop": True, "do_normalize": True, "resample": 3}
    old |= {
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
        "feature_extractor_type": "CLIPFeatureExtractor",
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    _, prepare, _ = load_clip(tmp_path)
    assert prepare == (16, 16, 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_weights_in_16_bits_and_counts_of_positions_are_read(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = {name: x.half() for name, x in load_file(folder / "model.safetensors").items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(14)[None]
    save_file(weights, tmp_path / "model.safetensors")
    for got, expected in zip(load_clip(tmp_path).model.parameters(), load_clip(folder).model.parameters(), strict=True):
        torch.testing.assert_close(got, expected.half().float(), atol=0, rtol=0)


def test_weights_in_several_files(tmp_path):
    peer = write_peer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    peer.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model, _, tokenizer = load_clip(tmp_path)
    assert_same(model, peer, torch.rand(2, 3, 16, 16), tokenizer.encode(TEXTS))
    sorted(tmp_path.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(FileNotFoundError, match="load_clip: expected model-00001-of-"):
        load_clip(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_our_weights_go_back_to_transformers(kind, tmp_path):
    write_peer(tmp_path / "theirs", kind)
    published = load_clip(tmp_path / "theirs")
    with torch.no_grad():
        for parameter in published.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_clip(published, tmp_path / "ours")
    peer = transformers.CLIPModel.from_pretrained(tmp_path / "ours").eval()
    image = torch.rand(2, 3, published.model.config.image_size, published.model.config.image_size)
    assert_same(published.model, peer, image, published.tokenizer.encode(TEXTS))
    assert transformers.CLIPTokenizer.from_pretrained(tmp_path / "ours")(TEXTS[1])["input_ids"][0] == len(TOKENS) - 2

    again = load_clip(tmp_path / "ours")
    assert again.prepare == published.prepare and again.model.config.activation == published.model.config.activation
    for got, expected in zip(again.model.parameters(), published.model.parameters(), strict=True):
        assert torch.equal(got, expected)
    assert not list((tmp_path / "ours").glob("*.tmp"))


def own(folder, model=CLIP, **changes):
    """What is published there, with a new model of the same sizes."""
    published = load_clip(folder)
    return published._replace(model=model(replace(published.model.config, **changes)).eval())


class WithMore(CLIP):
    def __init__(self, config):
        super().__init__(config)
        self.text.more = torch.nn.Linear(2, 2)


UNSAVED = {
    "stem": (dict(stem=ConvStem), r"patches by one convolution \(PatchEmbedding\) without a bias, got ConvStem"),
    "bias": (dict(stem=partial(PatchEmbedding, bias=True)), "without a bias, got PatchEmbedding"),
    "activation": (dict(activation=torch.nn.ReLU), "an activation QuickGELU or GELU, got ReLU"),
    "size": (dict(image_size=24), "a preparation that cuts to 24 pixels, got 16"),
    "end": (dict(end_id=7), f"ends texts with 7, got one of {len(TOKENS)} pieces that ends texts with 85"),
    "vocabulary": (dict(vocabulary=86 - 1, end_id=84), "a tokenizer of at most 85 pieces"),
}


@pytest.mark.parametrize("changes, words", UNSAVED.values(), ids=UNSAVED)
def test_what_the_layout_has_no_place_for_is_not_saved(changes, words, folder, tmp_path):
    published = own(folder, **({"stem": PatchEmbedding} | changes))
    with pytest.raises(ValueError, match=f"^save_clip: expected .*{words}"):
        save_clip(published, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_parameter_that_the_layout_does_not_know_is_named(folder, tmp_path):
    with pytest.raises(
        ValueError, match="^WithMore: expected parameters of the published layout, got text.more.weight"
    ):
        save_clip(own(folder, WithMore, stem=PatchEmbedding), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_standardise_its_pictures_comes_back_the_same(folder, tmp_path):
    published = own(folder, stem=PatchEmbedding)
    save_clip(published, tmp_path)
    image = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(load_clip(tmp_path).model.encode_image(image), published.model.encode_image(image))
    assert load_clip(tmp_path).prepare.std == (1, 1, 1)  # as transformers reads it


PUBLISHED = {
    "openai/clip-vit-base-patch32": ({}, {}, 512, 151_277_313),
    "openai/clip-vit-base-patch16": ({}, {"patch_size": 16}, 512, 149_620_737),
    "openai/clip-vit-large-patch14": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "patch_size": 14}
        | {"num_hidden_layers": 24},
        768,
        427_616_513,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name, monkeypatch):
    from mmlib.pretrained import clip

    text, vision, embed, parameters = PUBLISHED[name]
    config = _config_of("test", clip.TEXT | text, clip.VISION | vision, {"projection_dim": embed})
    with torch.device("meta"):
        theirs = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=embed)
        peer = transformers.CLIPModel(theirs)
        model = CLIP(clip.replace(config, stem=clip.partial(clip.StandardisedPatches, mean=[0.0] * 3, std=[1.0] * 3)))
    assert sum(p.numel() for p in model.parameters()) == parameters
    names = [n for place in places_of(model, OUTER, INNER).values() for n in place.names]
    assert sorted(names) == sorted(peer.state_dict()) and config.activation is QuickGELU


def test_ten_steps_of_fine_tuning_lower_the_loss(folder):
    model, prepare, tokenizer = load_clip(folder)
    image, text_ids = torch.rand(4, 3, 16, 16), tokenizer.encode(TEXTS)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(10):
        losses.append(clip_loss(*model(image, text_ids)))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


# Pictures and texts


@pytest.mark.parametrize("height, width", [(16, 16), (40, 61), (33, 20), (9, 200)])
def test_pictures_are_prepared_as_in_transformers(folder, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    model, prepare, _ = load_clip(folder)
    expected = CLIPImageProcessor.from_pretrained(folder)(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    forms = [Image.fromarray(pixels), pixels, torch.from_numpy(pixels).permute(2, 0, 1)]
    image = prepare.pictures(forms)
    assert image.shape == (3, 3, 16, 16) and image.min() >= 0 and image.max() <= 1
    for got in standardised(None, image):
        torch.testing.assert_close(got, expected[0], atol=0.02, rtol=0)  # a step of 1/255 is 0.015 here


def test_grey_pictures_and_transparent_ones_become_rgb(folder):
    prepare = load_clip(folder).prepare
    grey, clear = np.full((20, 30), 51, dtype=np.uint8), np.full((20, 30, 4), 102, dtype=np.uint8)
    image = prepare.pictures([grey, clear])
    assert torch.allclose(image[0], torch.tensor(0.2)) and torch.allclose(image[1], torch.tensor(0.4))


def test_texts_become_the_ids_of_transformers(folder):
    tokenizer = load_clip(folder).tokenizer
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    expected = theirs(TEXTS, padding=True, truncation=True, max_length=14, return_tensors="pt")["input_ids"]
    assert torch.equal(tokenizer.encode(TEXTS), expected)
    assert tokenizer.encode(["a cat"]).tolist() == [[TOKENS.index(t) for t in (START, "a</w>", "cat</w>", END)]]
    assert tokenizer.encode(TEXTS)[3, -1] == TOKENS.index(END) and tokenizer.unknown("quokka") == []


def test_bad_pictures_and_texts_are_refused(folder):
    _, prepare, tokenizer = load_clip(folder)
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    bad = [
        (pixels, r"expected a list of pictures, got \(20, 20, 3\). One"),
        (Image.fromarray(pixels), r"Preparation.pictures: expected a list of pictures, got Image. One\? Put it into a"),
        ("cat.png", "expected a list of pictures, got str. One"),
        ([Image.new("I;16", (20, 20))], "expected pictures of 8 bits a colour, got mode I;16. Bring the values"),
        ([], "got an empty list"),
        ([pixels / 255], r"got ndarray \(20, 20, 3\) float64. Values from 0 to 1"),
        (["cat.png"], "expected PIL pictures.*got str"),
        ([np.zeros((20, 20, 2), dtype=np.uint8)], r"got ndarray \(20, 20, 2\)"),
    ]
    for pictures, words in bad:
        with pytest.raises(ValueError, match=words):
            inspect.unwrap(Preparation.pictures)(prepare, pictures)  # as without the tests' check of types
    for texts in ("a cat", []):
        with pytest.raises(ValueError, match="Pieces.encode: expected a list of texts"):
            tokenizer.encode(texts)
