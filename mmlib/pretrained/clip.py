"""Published CLIP checkpoints in `mmlib.models.clip.CLIP`, and back.

Documented: openai/clip-vit-base-patch32 (605 MB), openai/clip-vit-base-patch16 (599 MB) and
openai/clip-vit-large-patch14 (1.7 GB). Others of the same layout load too, whatever their sizes.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from mmlib.check import refuse
from mmlib.layers import QuickGELU
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.pretrained.files import (
    fill,
    part_of,
    places_of,
    read_config,
    read_eps,
    read_sizes,
    read_weights,
    set_eps,
    write,
)
from mmlib.pretrained.hub import folder_of
from mmlib.pretrained.pictures import FILE, Preparation, StandardisedPatches, preparation_of, read_preparation
from mmlib.pretrained.pieces import Pieces, check_pieces, read_pieces

ACTIVATIONS = {"quick_gelu": QuickGELU, "gelu": nn.GELU}
OUTER = {
    "log_scale": "logit_scale",
    "image.class_token": "vision_model.embeddings.class_embedding",
    "image.position": "vision_model.embeddings.position_embedding.weight",
    "image.patches.convolution": "vision_model.embeddings.patch_embedding",
    "image.norm_in": "vision_model.pre_layrnorm",
    "image.blocks": "vision_model.encoder.layers",
    "image.norm_out": "vision_model.post_layernorm",
    "image.project": "visual_projection",
    "text.token": "text_model.embeddings.token_embedding",
    "text.position": "text_model.embeddings.position_embedding.weight",
    "text.blocks": "text_model.encoder.layers",
    "text.norm_out": "text_model.final_layer_norm",
    "text.project": "text_projection",
}
INNER = {
    "norm1": "layer_norm1",
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
SHARED = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_hidden_layers": 12}  # where config.json is silent
TEXT = SHARED | {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}
VISION = SHARED | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "num_channels": 3,
}
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads")


class PublishedCLIP(NamedTuple):
    """A model, and what its pictures and texts go through before it."""

    model: CLIP
    prepare: Preparation
    tokenizer: Pieces


def load_clip(name: str | Path, download: bool = False, revision: str | None = None) -> PublishedCLIP:
    """Read a published CLIP.

    Args:
        name: a folder in the Hugging Face layout, or the name of a model on the hub.
        download: fetch from the hub what is not on this machine; says its size first.
        revision: a branch, tag or commit of the hub; None for the main branch.

    Returns:
        The model in evaluation mode. Its `encode_image` takes what `prepare.pictures` gives, its `encode_text` what
        `tokenizer.encode` gives.

    Raises:
        ImportError: the extra `pretrained` is not installed.
        FileNotFoundError: the model, or a file of it, is not on this machine.
        ConnectionError: a download was asked for, and there is no network.
        ValueError: another model, sizes or names that do not fit, a file that is damaged.
    """
    where = "load_clip"
    folder = folder_of(where, name, download, revision)
    settings = read_config(where, folder, "clip")
    parts = {name: settings.get(f"{name}_dict") or settings.get(name) for name in ("text_config", "vision_config")}
    text, vision = (part_of(where, f"{name} of config.json", part) for name, part in parts.items())  # _dict: old files
    text, vision = TEXT | text, VISION | vision
    config = _config_of(where, text, vision, {"projection_dim": 512} | settings)
    text_eps, image_eps = read_eps(where, text), read_eps(where, vision)
    # Old files call the end 2, by mistake: the tokenizer knows it.
    end_id = None if config.end_id == 2 else config.end_id
    tokenizer = read_pieces(where, folder, config.vocabulary, end_id, config.positions)
    config = replace(config, end_id=tokenizer.pieces.eos_token_id)
    prepare = read_preparation(where, folder, config.image_size)
    with torch.device("meta"):  # no memory, and no random numbers for weights that are read anyway
        model = CLIP(replace(config, stem=partial(StandardisedPatches, mean=prepare.mean, std=prepare.std)))
    fill(where, model, read_weights(where, folder), places_of(model, OUTER, INNER))
    set_eps(model.text, text_eps)
    set_eps(model.image, image_eps)
    return PublishedCLIP(model.eval(), prepare, tokenizer)


def _config_of(where: str, text: dict[str, Any], vision: dict[str, Any], settings: dict[str, Any]) -> CLIPConfig:
    text_width, text_layers, text_heads = read_sizes(where, text, SIZES)
    image_width, image_layers, image_heads = read_sizes(where, vision, SIZES)
    vocabulary, positions, end_id = read_sizes(where, text, ("vocab_size", "max_position_embeddings", "eos_token_id"))
    image_size, patch = read_sizes(where, vision, ("image_size", "patch_size"))
    (embed,) = read_sizes(where, settings, ("projection_dim",))
    hidden = text["intermediate_size"], vision["intermediate_size"]
    if hidden != (4 * text_width, 4 * image_width) or vision["num_channels"] != 3:
        got = f"intermediate_size {hidden} for widths {(text_width, image_width)}, {vision['num_channels']} colours"
        refuse(where, "blocks whose middle layer is 4 times as wide, and 3 colours", got, "mmlib's CLIP has no others.")
    names = [text["hidden_act"], vision["hidden_act"]]
    if names[0] != names[1] or names[0] not in list(ACTIVATIONS):
        got = " and ".join(sorted(set(map(repr, names))))
        refuse(where, f"hidden_act {' or '.join(ACTIVATIONS)}, one for both encoders", got, "mmlib has no others.")
    return CLIPConfig(
        vocabulary=vocabulary,
        end_id=end_id,
        positions=positions,
        text_width=text_width,
        text_layers=text_layers,
        text_heads=text_heads,
        image_size=image_size,
        patch=patch,
        image_width=image_width,
        image_layers=image_layers,
        image_heads=image_heads,
        embed=embed,
        activation=ACTIVATIONS[names[0]],
    )


def save_clip(published: PublishedCLIP, folder: str | Path) -> None:
    """Write a model, fine-tuned perhaps, so that `load_clip` and transformers read it.

    Raises:
        ValueError: a model that the layout has no place for, with other patches, activations or parameters; a
            preparation or a tokenizer of another model.
    """
    where, model, folder = "save_clip", published.model, Path(folder)
    config, pieces = model.config, published.tokenizer.pieces
    activations = {activation: name for name, activation in ACTIVATIONS.items()}
    if config.activation not in activations:
        expected = f"an activation {' or '.join(each.__name__ for each in activations)}"
        refuse(where, expected, config.activation.__name__, "The layout has no place for others.")
    prepare = preparation_of(where, model.image.patches, published.prepare, config.image_size, bias=False)
    check_pieces(where, pieces, config.vocabulary, config.end_id)
    shared = {"hidden_act": activations[config.activation], "projection_dim": config.embed}
    text = shared | {
        "model_type": "clip_text_model",
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "layer_norm_eps": model.text.norm_out.eps,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.positions,
        "bos_token_id": pieces.bos_token_id,
        "eos_token_id": config.end_id,
        "pad_token_id": pieces.pad_token_id,
    }
    vision = shared | {
        "model_type": "clip_vision_model",
        "hidden_size": config.image_width,
        "intermediate_size": 4 * config.image_width,
        "num_hidden_layers": config.image_layers,
        "num_attention_heads": config.image_heads,
        "layer_norm_eps": model.image.norm_out.eps,
        "image_size": config.image_size,
        "patch_size": config.patch,
    }
    settings = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": config.embed}
    settings |= {"text_config": text, "vision_config": vision}
    prepared = prepare.settings() | {"image_processor_type": "CLIPImageProcessor"}
    write(folder, model, places_of(model, OUTER, INNER), {"config.json": settings, FILE: prepared})
    pieces.save_pretrained(folder)
