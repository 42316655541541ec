"""What must be fast in notebook 1: a step of training against a peer's, the import, and the pictures."""

import os
import subprocess
import sys
import time

import pytest
import torch

from mmlib.data.emoji import make_pictures
from mmlib.layers import PatchEmbedding
from mmlib.losses import clip_loss
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.train import make_optimizer

STEP_RATIO = 0.95  # of the time of transformers' CLIPModel of the same widths, depths and batch
IMPORT_SHARE = 0.25  # of the time of `import torch`, on top of it
RENDER_SECONDS, CACHE_SECONDS = 5, 0.3
BATCH, WORDS = 128, 16

pytestmark = pytest.mark.bench


def our_step(config):
    model = CLIP(config)
    return step_of(model, lambda image, text_ids: clip_loss(*model(image, text_ids)))


def their_step(config):
    from transformers import CLIPConfig as PeerConfig
    from transformers import CLIPModel

    shared = {"hidden_act": "gelu", "projection_dim": config.embed}
    text = {
        "vocab_size": config.vocabulary,
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "max_position_embeddings": config.positions,
        "eos_token_id": config.end_id,
        "bos_token_id": 2,
        "pad_token_id": 0,
    }
    image = {
        "hidden_size": config.image_width,
        "intermediate_size": 4 * config.image_width,
        "num_hidden_layers": config.image_layers,
        "num_attention_heads": config.image_heads,
        "image_size": config.image_size,
        "patch_size": config.patch,
    }
    peer = PeerConfig(text_config=text | shared, vision_config=image | shared, projection_dim=config.embed)
    model = CLIPModel(peer)
    return step_of(model, lambda image, ids: model(input_ids=ids, pixel_values=image, return_loss=True).loss)


def open_clip_step(config):
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP as Peer

    image = {"image_size": config.image_size, "patch_size": config.patch, "width": config.image_width}
    image |= {"layers": config.image_layers, "head_width": config.image_width // config.image_heads}
    text = {"context_length": WORDS, "vocab_size": config.vocabulary, "width": config.text_width}
    text |= {"heads": config.text_heads, "layers": config.text_layers}
    model, loss = Peer(config.embed, image, text), ClipLoss()
    return step_of(model, lambda image, text_ids: loss(*model(image, text_ids)))


def sizes(layers):
    return CLIPConfig(vocabulary=1500, stem=PatchEmbedding, text_layers=layers, image_layers=layers)


def step_of(model, loss_of):
    optimizer = make_optimizer(model.train(), weight_decay=0.1)  # the same for both
    image, text_ids = torch.rand(BATCH, 3, 32, 32), torch.randint(4, 1500, (BATCH, WORDS))
    text_ids[:, -1] = 3

    def step():
        optimizer.zero_grad()
        loss_of(image, text_ids).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("layers", [2, 4])
def test_a_training_step_against_transformers(side_by_side, compare, layers):
    config = sizes(layers)
    ours, theirs = side_by_side(our_step(config), their_step(config), rounds=30)
    assert compare(f"CLIP, a step of {BATCH} pairs, {layers} layers", ours, theirs, "transformers") <= STEP_RATIO


@pytest.mark.parametrize("layers", [2, 4])
def test_a_training_step_against_open_clip(side_by_side, compare, layers):
    config = sizes(layers)
    ours, theirs = side_by_side(our_step(config), open_clip_step(config), rounds=30)
    assert compare(f"CLIP, a step of {BATCH} pairs, {layers} layers", ours, theirs, "open_clip_torch") <= STEP_RATIO


def test_import_costs_little_more_than_torch(capsys):
    def seconds(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    both = [(seconds("import torch"), seconds("import torch, mmlib.models.clip, mmlib.losses")) for _ in range(5)]
    torch_alone, ours = (min(column) for column in zip(*both, strict=True))
    with capsys.disabled():
        print(
            f"\nimport of torch {torch_alone:.2f} s; of the model and its loss as well {ours - torch_alone:.2f} s more"
        )
    assert ours - torch_alone <= IMPORT_SHARE * torch_alone


def test_pictures_the_first_time_and_from_the_cache(tmp_path, monkeypatch, capsys, slower):
    monkeypatch.setenv("MMLIB_CACHE", os.fspath(tmp_path))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        make_pictures(size=32)
        seconds.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f"\nall pictures: {seconds[0]:.1f} s the first time, {seconds[1]:.2f} s from the cache")
    assert seconds[0] <= RENDER_SECONDS * slower and seconds[1] <= CACHE_SECONDS * slower
