"""A run kept in two files by turns: damage, a killed process, a full disk, two runs in one folder, another run."""

import io
import math
import os
import re
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from mmlib import checkpoint as module
from mmlib.checkpoint import Checkpoint
from mmlib.train import train

FILES = ["lock", "run.0.pt", "run.1.pt"]


def finished_run(folder=None, on_step=None, lr=0.1, checkpoint=None, **settings):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    checkpoint = checkpoint or Checkpoint(folder, 1, **{"batch": 4} | settings)
    options = {"steps": 4, "lr": lr, "device": "cpu", "on_step": on_step, "checkpoint": checkpoint}
    history = train(model, lambda k: torch.randn(4, 3), lambda model, x: model(x).square().mean(), **options)
    return history, model.weight.detach().clone()


def stop_after(folder, step):
    """A folder as a kill behind this step leaves it."""

    def killed(record):
        if record["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finished_run(folder, killed)


def steps_in(path):
    return len(torch.load(path)["history"]["losses"])


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def put_zeros_into_weights(path):
    """The file stays a whole archive that torch loads."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path)["parts"]["model"]["weight"].numpy().tobytes()
    place = content.index(weight)
    content[place : place + len(weight)] = bytes(len(weight))
    path.write_bytes(content)
    assert not torch.load(path)["parts"]["model"]["weight"].any()


# ---- damage


@pytest.mark.parametrize("damage", [cut, put_zeros_into_weights, lambda path: path.write_bytes(b"")])
def test_the_older_file_is_taken_when_the_newer_is_damaged(tmp_path, capsys, damage):
    whole, weight = finished_run(tmp_path / "whole")
    stop_after(tmp_path / "hurt", 3)
    assert steps_in(tmp_path / "hurt/run.0.pt") == 3
    damage(tmp_path / "hurt/run.0.pt")
    steps = []
    history, same_weight = finished_run(tmp_path / "hurt", lambda record: steps.append(record["step"]))
    said = capsys.readouterr().out
    assert re.search(r"run\.0\.pt is damaged, perhaps half written: going on from run\.1\.pt\.\n$", said)
    assert steps == [3, 4] and history.losses == whole.losses and torch.equal(weight, same_weight)


def test_of_two_whole_files_the_newer_is_taken(tmp_path):
    stop_after(tmp_path, 3)
    steps = []
    finished_run(tmp_path, lambda record: steps.append(record["step"]))
    assert steps == [4] and sorted(os.listdir(tmp_path)) == FILES


def test_a_whole_file_is_never_written_over_while_the_other_is_damaged(tmp_path):
    stop_after(tmp_path, 3)
    cut(tmp_path / "run.0.pt")
    stop_after(tmp_path, 3)  # from step 2 on
    assert (steps_in(tmp_path / "run.0.pt"), steps_in(tmp_path / "run.1.pt")) == (3, 2)


def test_two_damaged_files_are_refused(tmp_path):
    finished_run(tmp_path)
    for path in tmp_path.glob("run.?.pt"):
        put_zeros_into_weights(path)
    with pytest.raises(ValueError, match="expected a whole checkpoint, got damaged files only. Delete the folder"):
        finished_run(tmp_path)


def test_every_flipped_bit_is_seen_or_harms_nothing(tmp_path):
    path = tmp_path / "file.pt"
    expected = {"settings": {"lr": 0.1}, "parts": {"w": torch.arange(9.0)}, "history": {"losses": [1.5]}}
    torch.save(expected, path)
    content, seen = path.read_bytes(), 0
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        saved = module._read(path)
        seen += saved is None
        if saved is not None:
            assert torch.equal(saved["parts"].pop("w"), torch.arange(9.0))
            assert saved == expected | {"parts": {}}
    assert seen > 100


def test_weights_alone_are_no_checkpoint(tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "run.0.pt")
    with pytest.raises(ValueError, match=r"Checkpoint\('.*'\): expected a whole checkpoint, got damaged files only"):
        finished_run(tmp_path)


def test_code_in_the_file_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    torch.save({"settings": Bomb(), "parts": {}, "history": {}}, tmp_path / "run.0.pt")
    with pytest.raises(ValueError, match="damaged"):
        finished_run(tmp_path)
    assert not (tmp_path / "boom").exists()


# ---- a place that cannot be written


@pytest.mark.parametrize("place", ["file", "file/inside", "/proc/nowhere/run"])
def test_a_place_that_cannot_be_written_is_named_before_the_first_step(tmp_path, place):
    if place.startswith("/proc") and sys.platform != "linux":
        pytest.skip("there is no /proc")
    (tmp_path / "file").touch()
    steps, folder = [], tmp_path / place
    with pytest.raises(
        ValueError, match=rf"^Checkpoint\('{folder}'\): expected a folder that can be written, got .*Errno"
    ):
        finished_run(folder, steps.append)
    assert not steps


def full_disk(monkeypatch, full):
    """There is no space left for a checkpoint while `full` is not empty."""

    class Full(io.FileIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    def open_file(path, mode):
        return Full(path, mode) if full and mode == "wb" else open(path, mode)

    monkeypatch.setattr(module, "open", open_file, raising=False)


def test_a_disk_that_is_full_from_the_start_is_named_before_the_first_step(tmp_path, monkeypatch):
    full_disk(monkeypatch, [True])
    steps = []
    with pytest.raises(ValueError, match="a folder that can be written, got .*No space left on device. Make room"):
        finished_run(tmp_path, steps.append)
    assert not steps and os.listdir(tmp_path) == ["lock"]


@pytest.mark.parametrize("room_again", [3, 4, math.inf])
def test_a_disk_that_is_full_for_a_while_loses_nothing_that_was_learned(tmp_path, monkeypatch, capsys, room_again):
    whole, weight = finished_run(tmp_path / "whole")
    full_disk(monkeypatch, full := [])

    def on_step(record):
        full[:] = [True] * (1 <= record["step"] < room_again)

    history, same_weight = finished_run(tmp_path / "full", on_step)
    assert history.losses == whole.losses and torch.equal(weight, same_weight)
    said = capsys.readouterr().out
    assert "full'): step 2 could not be saved ([Errno 28] No space left on device). Training goes on. Make room" in said
    kept = {math.inf: 1}.get(room_again, 4)
    assert max(map(steps_in, (tmp_path / "full").glob("run.?.pt"))) == kept
    full.clear()
    steps = []
    again, same_weight = finished_run(tmp_path / "full", lambda record: steps.append(record["step"]))
    assert steps == list(range(kept + 1, 5)) and torch.equal(weight, same_weight)


# ---- two runs, and killed ones


def test_a_folder_that_another_run_uses_is_refused(tmp_path):
    found = []

    def second():
        try:
            finished_run(tmp_path)
        except ValueError as error:
            found.append(str(error))

    def on_step(record):
        if record["step"] == 2:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(timeout=30)

    history, _ = finished_run(tmp_path, on_step)
    assert len(history.losses) == 4 and steps_in(tmp_path / "run.1.pt") == 4
    assert found == [
        f"Checkpoint({str(tmp_path)!r}): expected a folder of one run, got one that another run writes to. "
        "Wait for it, or name another."
    ]
    assert finished_run(tmp_path)[0].losses == history.losses  # free again


KILLED = """
import os, signal, sys, torch
from mmlib import atomic
from mmlib.checkpoint import Checkpoint
from mmlib.train import train

def on_step(record):
    if record["step"] == 2:
        atomic.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

torch.manual_seed(0)
model = torch.nn.Linear(3, 2)
train(model, lambda k: torch.randn(4, 3), lambda model, x: model(x).square().mean(), steps=4, lr=0.1, device="cpu",
      checkpoint=Checkpoint(sys.argv[1], 1, batch=4), on_step=on_step)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot kill so hard")
def test_what_a_process_leaves_that_was_killed_while_it_wrote_is_cleared_away(tmp_path, root):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, timeout=120)
    assert done.returncode < 0 and len(list(tmp_path.glob("*.tmp"))) == 1
    whole, weight = finished_run(tmp_path / "whole")
    history, same_weight = finished_run(tmp_path)  # the lock of a dead process holds nobody
    assert history.losses == whole.losses and torch.equal(weight, same_weight)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == FILES


# ---- another run


def test_other_settings_are_refused_also_by_a_checkpoint_that_was_used_before(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    for lr in (0.1, 0.1):
        finished_run(checkpoint=checkpoint, lr=lr)
    with pytest.raises(
        ValueError, match="expected a run with lr=0.2, got lr=0.1. Give the same again, delete the fold"
    ):
        finished_run(checkpoint=checkpoint, lr=0.2)


def test_steps_between_saves_of_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Checkpoint: expected every above 0, got 0"):
        Checkpoint(tmp_path, every=0)


@pytest.mark.parametrize("change", [{"batch": 8}, {"processes": 2}])
def test_a_run_of_another_batch_is_refused(tmp_path, change):
    finished_run(tmp_path, processes=1)
    with pytest.raises(ValueError, match="expected a run with {0}={1}, got {0}=".format(*next(iter(change.items())))):
        finished_run(tmp_path, **({"processes": 1} | change))


def test_a_run_of_another_model_is_refused(tmp_path):
    saved = {"settings": {"batch": 4}, "parts": {"model": {"w": torch.ones(3)}}, "history": {"losses": []}}
    torch.save(saved, tmp_path / "run.0.pt")
    with Checkpoint(tmp_path, batch=4) as checkpoint:
        with pytest.raises(ValueError, match=r"expected the model's w to be absent, got \(3,\)"):
            checkpoint.load({}, {"model": nn.Linear(3, 2)})
