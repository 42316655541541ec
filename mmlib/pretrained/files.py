"""The Hugging Face layout, read and written: settings as JSON, weights as safetensors, their names for ours.

A file may cut into several tensors what is one here (queries, keys and values), and put axes of length 1 before it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmlib.atomic import atomic_write
from mmlib.check import refuse
from mmlib.pretrained.hub import CONVERT, INDEX, WEIGHTS, need

Names = Mapping[str, str | tuple[str, ...]]


class Place(NamedTuple):
    """Where one of our tensors lies in their file."""

    names: tuple[str, ...]  # several: equal parts along the first axis
    ones: int = 0  # axes of length 1 before ours


def places_of(model: nn.Module, outer: Names, inner: Names, ones: Mapping[str, int] | None = None) -> dict[str, Place]:
    """Name of each of our tensors -> its place in their file.

    Args:
        model: ours.
        outer: the beginnings of names, ours -> theirs.
        inner: names inside a block, ours -> theirs; several where they cut.
        ones: our name -> axes of length 1 that they put before it.

    Raises:
        ValueError: a parameter that their layout does not know.
    """
    places = {}
    for name in model.state_dict():
        start = next((start for start in outer if name == start or name.startswith(f"{start}.")), None)
        theirs = (outer.get(start, "") + name.removeprefix(start or ""),)
        block = re.fullmatch(r"(.+\.\d+)\.(.+)\.(weight|bias)", theirs[0])
        if start is None or (block and block[2] not in inner):
            fix = "Keep such a model with torch.save."
            refuse(type(model).__name__, "parameters of the published layout", f"{name} besides", fix)
        if block:
            parts = inner[block[2]]
            theirs = tuple(f"{block[1]}.{part}.{block[3]}" for part in ([parts] if isinstance(parts, str) else parts))
        places[name] = Place(theirs, (ones or {}).get(name, 0))
    return places


def split(tensor: Tensor, place: Place) -> dict[str, Tensor]:
    """Our tensor as they hold it."""
    parts = tensor.chunk(len(place.names)) if len(place.names) > 1 else [tensor]
    return {name: part[(None,) * place.ones] for name, part in zip(place.names, parts, strict=True)}


def fill(where: str, model: nn.Module, theirs: dict[str, Tensor], places: dict[str, Place]) -> None:
    """Give the model their weights, in 32 bits.

    Raises:
        ValueError: names that are missing or left over, shapes that differ, and weights that are NaN or infinite, all
            in one.
    """
    ours = model.state_dict()
    expected = {name: part.shape for key, place in places.items() for name, part in split(ours[key], place).items()}
    found = {name: x.shape for name, x in theirs.items() if not name.endswith("position_ids")}  # a count, in old files
    wrong = [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name} is left over" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if expected[name] != found[name]:
            wrong.append(f"{name} has shape {tuple(found[name])}, not {tuple(expected[name])}")
    wrong += [f"{name} holds NaN or infinity" for name, x in theirs.items() if not x.isfinite().all()]
    if wrong:
        got = f"{len(wrong)} that do not fit:\n  " + "\n  ".join(sorted(wrong)) + "\n"
        refuse(where, "the names and shapes that config.json promises", got, "Are both files of the same model?")
    state = {key: torch.cat([theirs[n].flatten() for n in place.names]) for key, place in places.items()}
    state = {key: x.reshape(ours[key].shape).to(torch.float32, copy=True) for key, x in state.items()}
    model.load_state_dict(state, assign=True)


def read_json(where: str, folder: Path, name: str) -> dict[str, Any]:
    """Read settings.

    Raises:
        FileNotFoundError: no such file, with a list of what is there.
        ValueError: no JSON, as after a download that was cut short; JSON that is no dictionary.
    """
    if not (folder / name).is_file():
        _missing(where, folder, name)
    fix = "Delete the file and fetch it again."
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except ValueError as error:
        refuse(where, f"settings in {folder / name}", f"no JSON ({error})", fix)
    return part_of(where, f"settings in {folder / name}", found)


def part_of(where: str, expected: str, found: Any) -> dict[str, Any]:
    """A part of the settings, which must be names with values; an empty one where there is none."""
    if not isinstance(found, dict | None):
        refuse(where, expected, f"{found!r:.40}, which is no dictionary", "Delete the file and fetch it again.")
    return found or {}


def read_config(where: str, folder: Path, model_type: str) -> dict[str, Any]:
    """Read config.json, and refuse that of another model."""
    config = read_json(where, folder, "config.json")
    if config.get("model_type") != model_type:
        got, fix = repr(config.get("model_type")), "Load it with transformers: mmlib has no class for it."
        refuse(where, f"a checkpoint of model_type {model_type!r} in {folder}", got, fix)
    return config


def read_weights(where: str, folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a folder, from one file or from those that an index names.

    Raises:
        FileNotFoundError: no weights, or only a pickle, or one of several files is missing.
        ValueError: a file that is damaged or cut short.
    """
    files = [WEIGHTS]
    if not (folder / WEIGHTS).exists() and (folder / INDEX).exists():
        places = part_of(where, f"a weight_map in {folder / INDEX}", read_json(where, folder, INDEX).get("weight_map"))
        files = sorted({Path(str(file)).name for file in places.values()})
    for file in files:
        if not (folder / file).is_file():
            _missing(where, folder, file)
    return {name: tensor for file in files for name, tensor in _read_file(where, folder / file).items()}


def _read_file(where: str, path: Path) -> dict[str, Tensor]:
    safetensors = need(where, "safetensors")
    try:
        return need(where, "safetensors.torch").load_file(path)
    except safetensors.SafetensorError as error:
        fix = "It is cut short or damaged: delete it and fetch it again."
        if path.read_bytes()[:200].startswith(b"version https://git-lfs"):
            fix = "It is the pointer that git leaves in place of a large file: run git lfs pull."
        refuse(where, "whole weights", f"{path}, {path.stat().st_size:,} bytes: {error}", fix)


def _missing(where: str, folder: Path, name: str) -> None:
    there = sorted(path.name for path in folder.iterdir())
    fix = "Copy the whole folder; with a network, download=True and the model's name fetch what is missing."
    if name == WEIGHTS and any(file.endswith((".bin", ".pt", ".pth")) for file in there):
        fix = CONVERT
    refuse(where, f"{name} in {folder}", ", ".join(there) or "an empty folder", fix, error=FileNotFoundError)


def write(folder: Path, model: nn.Module, places: dict[str, Place], settings: dict[str, dict]) -> None:
    """Write weights and settings, each file whole or not at all."""
    state = {name: x for key, tensor in model.state_dict().items() for name, x in split(tensor, places[key]).items()}
    state = {name: x.detach().cpu().clone(memory_format=torch.contiguous_format) for name, x in state.items()}
    with atomic_write(folder / WEIGHTS) as unfinished:
        need("save", "safetensors.torch").save_file(state, unfinished, metadata={"format": "pt"})
    for name, setting in settings.items():
        with atomic_write(folder / name) as unfinished:
            unfinished.write_text(json.dumps(setting, indent=2), encoding="utf-8")


def set_eps(model: nn.Module, eps: float) -> None:
    """Give every LayerNorm the small number that keeps it from dividing by zero: checkpoints differ in it."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps


def read_eps(where: str, config: Mapping[str, Any]) -> float:
    """The small number of every LayerNorm, from settings.

    Raises:
        ValueError: it is no number above 0 and below 1.
    """
    eps = config["layer_norm_eps"]
    if not isinstance(eps, float) or not 0 < eps < 1:
        refuse(where, "config.json with a layer_norm_eps above 0 and below 1", repr(eps))
    return eps


def read_sizes(where: str, config: Mapping[str, Any], keys: Iterable[str]) -> list[int]:
    """Whole numbers above 0 from settings.

    Raises:
        ValueError: one is not there, or is something else.
    """
    for key in keys:
        if type(config.get(key)) is not int or not 0 < config[key] < 1e8:  # true and false are whole numbers to Python
            refuse(where, f"config.json with a whole number for {key}", repr(config.get(key)))
    return [config[key] for key in keys]
