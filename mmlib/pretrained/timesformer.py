"""Published TimeSformer checkpoints in `mmlib.models.timesformer.TimeSformer`, and back.

Documented: facebook/timesformer-base-finetuned-k400 (486 MB), and its likes for k600 and ssv2. Their authors take the
same colour from all frames, where the course's model takes each frame's own: `centre=False` says so.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmlib.check import refuse
from mmlib.models.timesformer import TimeSformer, TimeSformerConfig
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

ATTENTION = {"divided_space_time": "divided", "joint_space_time": "joint", "space_only": "space"}
OUTER = {
    "class_token": "timesformer.embeddings.cls_token",
    "position": "timesformer.embeddings.position_embeddings",
    "time": "timesformer.embeddings.time_embeddings",
    "patches.convolution": "timesformer.embeddings.patch_embeddings.projection",
    "blocks": "timesformer.encoder.layer",
    "norm": "timesformer.layernorm",
    "classify": "classifier",
}
INNER = {
    "norm_time": "temporal_layernorm",
    "temporal.qkv": "temporal_attention.attention.qkv",
    "temporal.out": "temporal_attention.output.dense",
    "project": "temporal_dense",
    "norm_space": "layernorm_before",
    "spatial.qkv": "attention.attention.qkv",
    "spatial.out": "attention.output.dense",
    "norm_mlp": "layernorm_after",
    "norm1": "layernorm_before",
    "attention.qkv": "attention.attention.qkv",
    "attention.out": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.0": "intermediate.dense",
    "mlp.2": "output.dense",
}
ONES = {"class_token": 2, "position": 1, "time": 1}
DEFAULTS = {  # where config.json is silent
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "num_frames": 8,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "attention_type": "divided_space_time",
}
SIZES = ("image_size", "patch_size", "num_frames", "hidden_size", "num_hidden_layers", "num_attention_heads")


class PublishedTimeSformer(NamedTuple):
    """A model, what its clips go through before it, and what its scores mean."""

    model: TimeSformer
    prepare: Preparation
    class_names: tuple[str, ...]


def load_timesformer(name: str | Path, download: bool = False, revision: str | None = None) -> PublishedTimeSformer:
    """Read a published TimeSformer with its classifier.

    Args:
        name, download, revision: as `load_clip`.

    Returns:
        The model in evaluation mode; it takes what `prepare.clips` gives. With as many frames as it was trained on the
        scores are the published ones; with others, time is interpolated.

    Raises:
        ImportError, FileNotFoundError, ConnectionError, ValueError: as `load_clip`.
    """
    where = "load_timesformer"
    folder = folder_of(where, name, download, revision)
    settings = DEFAULTS | read_config(where, folder, "timesformer")
    class_names = _class_names(where, settings)
    image_size, patch, frames, width, layers, heads = read_sizes(where, settings, SIZES)
    _check_kind(where, settings)
    eps = read_eps(where, settings)
    prepare = read_preparation(where, folder, image_size)
    config = TimeSformerConfig(
        classes=len(class_names),
        attention=ATTENTION[settings["attention_type"]],
        image_size=image_size,
        patch=patch,
        frames=frames,
        width=width,
        layers=layers,
        heads=heads,
        centre=False,
        stem=partial(StandardisedPatches, bias=True, mean=prepare.mean, std=prepare.std),
    )
    with torch.device("meta"):  # no memory, and no random numbers for weights that are read anyway
        model = TimeSformer(config)
    fill(where, model, read_weights(where, folder), places_of(model, OUTER, INNER, ONES))
    set_eps(model, eps)
    return PublishedTimeSformer(model.eval(), prepare, class_names)


def _class_names(where: str, settings: dict[str, Any]) -> tuple[str, ...]:
    expected = "config.json with a name in id2label for each of its classes"
    names = part_of(where, expected, settings.get("id2label"))
    numbers = [str(number) for number in range(len(names))]
    if len(names) < 2 or names.keys() != set(numbers) or not all(isinstance(name, str) for name in names.values()):
        refuse(where, expected, f"{len(names)} names", "Load a fine-tuned one.")
    return tuple(names[number] for number in numbers)


def _check_kind(where: str, settings: dict[str, Any]) -> None:
    expected = {"hidden_act": "gelu", "qkv_bias": True, "num_channels": 3}
    expected["intermediate_size"] = 4 * settings["hidden_size"]
    wrong = {key: settings[key] for key, value in expected.items() if settings[key] != value}
    if wrong:
        needed = ", ".join(f"{key} {expected[key]}" for key in wrong)
        refuse(where, needed, ", ".join(map(repr, wrong.values())), "mmlib's TimeSformer has no others.")
    if settings["attention_type"] not in list(ATTENTION):
        refuse(where, f"attention_type {', '.join(ATTENTION)}", repr(settings["attention_type"]))


def save_timesformer(published: PublishedTimeSformer, folder: str | Path) -> None:
    """Write a model, fine-tuned perhaps, so that `load_timesformer` and transformers read it.

    Raises:
        ValueError: a model that the layout has no place for, with other patches or parameters, or frames that lose
            their own mean colour; a preparation of another model; names for other classes.
    """
    where, model, config = "save_timesformer", published.model, published.model.config
    if config.centre:
        refuse(where, "a model with centre=False", "centre=True", "Build on a loaded model.")
    if len(published.class_names) != config.classes or config.classes < 2:
        expected = f"2 classes or more, and {config.classes} names for them"
        refuse(where, expected, f"{len(published.class_names)}", "Use published._replace(class_names=...).")
    prepare = preparation_of(where, model.patches, published.prepare, config.image_size, bias=True)
    sizes = (config.image_size, config.patch, config.frames, config.width, config.layers, config.heads)
    settings = DEFAULTS | dict(zip(SIZES, sizes, strict=True))
    settings |= {
        "architectures": ["TimesformerForVideoClassification"],
        "model_type": "timesformer",
        "intermediate_size": 4 * config.width,
        "layer_norm_eps": model.norm.eps,
        "attention_type": {ours: theirs for theirs, ours in ATTENTION.items()}[config.attention],
        "id2label": dict(enumerate(published.class_names)),
        "label2id": {name: number for number, name in enumerate(published.class_names)},
    }
    prepared = prepare.settings() | {"image_processor_type": "VideoMAEImageProcessor"}
    files = {"config.json": settings, FILE: prepared}
    write(Path(folder), model, places_of(model, OUTER, INNER, ONES), files)
