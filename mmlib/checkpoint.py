"""Keep a training run in a file, so that it can be stopped or killed, and taken up where it was.

A file is written under another name and then renamed: whatever goes wrong, the last whole one stays.
"""

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mmlib.check import refuse


class OneFile:
    """Keep a run in one file."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def load(self, settings: dict, parts: dict[str, Any]) -> dict | None:
        """Bring the parts back to where they were and give the history, or None when there is no file yet."""
        return load_checkpoint(self.path, settings, parts) if self.path.exists() else None

    def save(self, settings: dict, parts: dict[str, Any], history: dict) -> None:
        """Write the run as it is now."""
        save_checkpoint(self.path, settings, parts, history)


class TwoFiles:
    """Keep a run in two files of a folder by turns, so that a whole one stays even if the disk loses the newer.

    Of several processes only the first touches the files. It sends the others what it reads, so they need no common
    disk.

    Args:
        folder: made when missing; holds `run.0.pt` and `run.1.pt`.
        settings: more of what the run was asked to do, such as its batch; a run with others is refused.
    """

    def __init__(self, folder: str | Path, settings: dict):
        self.paths = [Path(folder) / f"run.{n}.pt" for n in range(2)]
        self.settings = settings
        self.turn = 0  # of the file that is written next

    def load(self, settings: dict, parts: dict[str, Any]) -> dict | None:
        """Bring the parts back to where the newest whole file has them and give the history; None without files.

        Raises:
            ValueError: there are files, and none is whole; or they are of other settings or another model.
        """
        found = [self._newest() if _is_first() else None]
        if _are_several():
            dist.broadcast_object_list(found)
        path, saved, trouble = found[0]
        if trouble:
            refuse(f"TwoFiles({str(path)!r})", "a whole checkpoint", trouble, "Delete the folder and train anew.")
        if saved is None:
            return None
        _restore(f"TwoFiles({str(path)!r})", saved, settings | self.settings, _unwrapped(parts))
        return saved["history"]

    def save(self, settings: dict, parts: dict[str, Any], history: dict) -> None:
        """Write the run as it is now over the older of the two files."""
        if _is_first():
            save_checkpoint(self.paths[self.turn], settings | self.settings, _unwrapped(parts), history)
        self.turn = 1 - self.turn

    def _newest(self) -> tuple[str, dict | None, str]:
        """The path and the content of the whole file with the most steps, and what is wrong if there is none."""
        for path in self.paths:
            for unfinished in path.parent.glob(f"{path.name}.*.tmp"):
                unfinished.unlink(missing_ok=True)
        there = [path for path in self.paths if path.exists()]
        whole = {path: saved for path in there if (saved := _read(path)) is not None}
        if not whole:
            return str(self.paths[0].parent), None, "damaged files only" if there else ""
        path = max(whole, key=lambda path: len(whole[path]["history"]["losses"]))
        for damaged in set(there) - whole.keys():
            print(f"{damaged} is damaged, perhaps half written: going on from {path.name}.", flush=True)
        self.turn = 1 - self.paths.index(path)
        return str(path), whole[path], ""


def _are_several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _is_first() -> bool:
    return not _are_several() or dist.get_rank() == 0


def _unwrapped(parts: dict[str, Any]) -> dict[str, Any]:
    """The same parts, the model without what DistributedDataParallel puts around it."""
    return parts | {"model": getattr(parts["model"], "module", parts["model"])}


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
    where, saved = f"load_checkpoint({str(path)!r})", _read(path)
    if saved is None:
        refuse(where, "a whole checkpoint", "a damaged file, or one of another kind", "Delete it and train anew.")
    _restore(where, saved, settings, parts)
    return saved["history"]


def _restore(where: str, saved: dict, settings: dict, parts: dict[str, Any]) -> None:
    mend = "Give the same again, delete the file, or keep this run in another one."
    for name, value in settings.items():
        if saved["settings"].get(name) != value:
            refuse(where, f"a run with {name}={value}", f"{name}={saved['settings'].get(name)}", mend)
    for name, (theirs, ours) in _differences(saved["parts"]["model"], parts["model"].state_dict()):
        refuse(where, f"the model's {name} to be {ours}", theirs, mend)
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])


def _read(path: str | Path) -> dict | None:
    """What a checkpoint holds; None when it is damaged, or of another kind."""
    with open(path, "rb") as file:
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)  # runs no code from the file
        except Exception:  # damage shows as an error of any kind, from KeyError to OSError
            return None
    return saved if isinstance(saved, dict) and saved.keys() == {"settings", "parts", "history"} else None


def _differences(theirs: dict, ours: dict):
    """Name every tensor that is missing, superfluous or of another shape, with both shapes."""
    for name in theirs | ours:
        shapes = [str(tuple(state[name].shape)) if name in state else "absent" for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            yield name, shapes
