"""Keep a training run in a file, so that it can be stopped or killed, and taken up where it was.

The file is written under another name and then renamed: whatever goes wrong, the last whole one stays.
"""

import os
from pathlib import Path
from typing import Any

import torch

from mmlib.check import refuse


def save_checkpoint(path: str | Path, settings: dict, parts: dict[str, Any], history: dict) -> None:
    """Write a run to `path`, or leave the file there as it was.

    Args:
        path: the file; its folder is made when missing.
        settings: what the run was asked to do; `load_checkpoint` refuses the file for any other settings.
        parts: what learns: name -> an object with `state_dict`; one of them is "model".
        history: numbers, texts, lists, tuples and dicts of them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    states = {name: part.state_dict() for name, part in parts.items()}
    try:
        torch.save({"settings": settings, "parts": states, "history": history}, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoint(path: str | Path, settings: dict, parts: dict[str, Any]) -> dict:
    """Bring the parts back to where they were when `path` was written, and give the history.

    Raises:
        ValueError: the file is damaged, no checkpoint, or of other settings or another model. The parts are then
            as they were.
    """
    where = f"load_checkpoint({str(path)!r})"
    saved = _read(where, path)
    mend = "Give the same again, delete the file, or keep this run in another one."
    for name, value in settings.items():
        if saved["settings"].get(name) != value:
            refuse(where, f"a run with {name}={value}", f"{name}={saved['settings'].get(name)}", mend)
    for name, (theirs, ours) in _differences(saved["parts"]["model"], parts["model"].state_dict()):
        refuse(where, f"the model's {name} to be {ours}", theirs, mend)
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])
    return saved["history"]


def _read(where: str, path: str | Path) -> dict:
    with open(path, "rb") as file:
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)  # runs no code from the file
        except Exception:  # damage shows as an error of any kind, from KeyError to OSError
            saved = None
    if not isinstance(saved, dict) or saved.keys() != {"settings", "parts", "history"}:
        refuse(where, "a whole checkpoint", "a damaged file, or one of another kind", "Delete it and train anew.")
    return saved


def _differences(theirs: dict, ours: dict):
    """Name every tensor that is missing, superfluous or of another shape, with both shapes."""
    for name in theirs | ours:
        shapes = [str(tuple(state[name].shape)) if name in state else "absent" for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            yield name, shapes
