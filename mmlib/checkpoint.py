"""Keep a training run in a folder, so that it can be stopped or killed, and taken up where it was."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout

from mmlib.atomic import atomic_write
from mmlib.check import check_positive, refuse


class Checkpoint:
    """Keep a run in two files of a folder by turns, so that a whole one stays even if the disk loses the newer.

    `with` holds the folder, so that no other run writes into it. Of several processes only the first touches it, and
    sends the others what it reads, so they need no common disk.

    Args:
        folder: made when missing; holds `run.0.pt`, `run.1.pt` and, while a run lasts, `lock`.
        every: steps from one save to the next.
        settings: more of what the run was asked to do, such as its batch; a run with others is refused.

    Raises:
        ValueError: `every` is not above 0; on entering, the folder is in use by another run, or cannot be written.
    """

    def __init__(self, folder: str | Path, every: int = 100, **settings):
        check_positive("Checkpoint", "every", float(every))
        self.folder, self.every, self.settings = Path(folder), every, settings
        self.where = f"Checkpoint({str(folder)!r})"
        self.paths = [self.folder / f"run.{n}.pt" for n in range(2)]
        self.lock = FileLock(self.folder / "lock")

    def __enter__(self) -> "Checkpoint":
        _from_first(self._hold)
        return self

    def _hold(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "lock").touch()  # says why it cannot, where the lock only says that it cannot
            self.lock.acquire(timeout=0)
        except Timeout:
            refuse(self.where, "a folder of one run", "one that another run writes to", "Wait for it, or name another.")
        except (OSError, RuntimeError) as error:  # the latter where a file system has no locks
            refuse(self.where, "a folder that can be written", str(error), "Is it a file, or somebody else's?")

    def __exit__(self, *error) -> None:
        self.lock.release()

    def load(self, settings: dict, parts: dict[str, Any]) -> dict:
        """Bring the parts back to where the newest whole file has them, and give the history.

        Args:
            settings: what the run was asked to do.
            parts: what learns: name -> an object with `state_dict`; one of them is "model".

        Returns:
            What was saved, numbers and lists and dicts of them; empty when there are no files.

        Raises:
            ValueError: there are files, and none is whole; they are of other settings or of another model, and the
                parts are as they were; a run of this size cannot be written.
        """
        self.all_settings = settings | self.settings
        self.parts = parts | {"model": getattr(parts["model"], "module", parts["model"])}  # without DDP around it
        self.turn = 0  # of the file that is written next
        self.saved = 0  # steps
        saved = _from_first(self._newest)
        if saved is None:
            return {}
        _restore(self.where, saved, self.all_settings, self.parts)
        return saved["history"]

    def _newest(self) -> dict | None:
        """The content of the whole file with the most steps; also clears up, and tries whether there is space."""
        for left in self.folder.glob("*.tmp"):  # by a process that was killed: nobody else holds the lock
            left.unlink()
        there = [path for path in self.paths if path.exists()]
        whole = {path: saved for path in there if (saved := _read(path)) is not None}
        if there and not whole:
            refuse(self.where, "a whole checkpoint", "damaged files only", "Delete the folder and train anew.")
        try:
            self._write(trial := self.folder / "trial", {})
            trial.unlink()
        except OSError as error:
            refuse(self.where, "a folder that can be written", str(error), "Make room, or name another.")
        if not whole:
            return None
        path = max(whole, key=lambda path: len(whole[path]["history"]["losses"]))
        for damaged in set(there) - whole.keys():
            print(f"{damaged} is damaged, perhaps half written: going on from {path.name}.", flush=True)
        self.turn, self.saved = 1 - self.paths.index(path), len(whole[path]["history"]["losses"])
        return whole[path]

    def save(self, history: dict) -> None:
        """Write the run as it is now over the older of the two files, if there are new steps.

        Where that fails, as on a full disk, a line says so, and training can go on: the newer file is as it was.
        """
        steps = len(history["losses"])
        if steps == self.saved or not _is_first():
            return
        try:
            self._write(self.paths[self.turn], history)
            self.turn, self.saved = 1 - self.turn, steps
        except OSError as error:
            fix = f"Make room: the next save comes in {self.every} steps, or at the end."
            print(f"{self.where}: step {steps} could not be saved ({error}). Training goes on. {fix}", flush=True)

    def _write(self, path: Path, history: dict) -> None:
        states = {name: part.state_dict() for name, part in self.parts.items()}
        try:
            with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
                torch.save({"settings": self.all_settings, "parts": states, "history": history}, file)
        except RuntimeError as error:  # what torch makes of an OSError when it then closes its archive
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def _is_first() -> bool:
    return not _is_distributed() or dist.get_rank() == 0


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _from_first(give: Callable[[], Any]) -> Any:
    """What the first process gets, or the ValueError that it gets, in all of them."""
    found = [None]
    if _is_first():
        try:
            found = [give()]
        except ValueError as error:
            found = [error]
    if _is_distributed():
        dist.broadcast_object_list(found)
    if isinstance(found[0], ValueError):
        raise found[0]
    return found[0]


def _restore(where: str, saved: dict, settings: dict, parts: dict[str, Any]) -> None:
    fix = "Give the same again, delete the folder, or keep this run in another one."
    for name, value in settings.items():
        if saved["settings"].get(name) != value:
            refuse(where, f"a run with {name}={value}", f"{name}={saved['settings'].get(name)}", fix)
    for name, (theirs, ours) in _differences(saved["parts"]["model"], parts["model"].state_dict()):
        refuse(where, f"the model's {name} to be {ours}", theirs, fix)
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])


def _read(path: Path) -> dict | None:
    """What a checkpoint holds; None when it is damaged, or of another kind.

    It is a zip archive with a checksum (CRC-32) of each record, which torch writes and does not compare.
    """
    with open(path, "rb") as file:
        try:
            with ZipFile(file) as records:
                damaged = records.testzip()
            file.seek(0, os.SEEK_SET)
            saved = None if damaged else torch.load(file, map_location="cpu", weights_only=True)  # runs no code in it
        except Exception:  # damage shows as an error of any kind, from KeyError to OSError
            return None
    return saved if isinstance(saved, dict) and saved.keys() == {"settings", "parts", "history"} else None


def _differences(theirs: dict, ours: dict):
    """Name every tensor that is missing, superfluous or of another shape, with both shapes."""
    for name in theirs | ours:
        shapes = [str(tuple(state[name].shape)) if name in state else "absent" for state in (theirs, ours)]
        if shapes[0] != shapes[1]:
            yield name, shapes
