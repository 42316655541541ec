"""More than one process, and batches in pieces: the same result as one process with the whole batch."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import scale_worker
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError

from mmlib.layers import PatchEmbedding
from mmlib.losses import clip_loss
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.scale import clip as recipe
from mmlib.scale.__main__ import main
from mmlib.scale.cached import backward_in_pieces
from mmlib.scale.gather import clip_loss_of_all

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["-m", "mmlib.scale", "01_clip", "--steps", "10", "--batch", "15"]  # 8 and 7: uneven
DEADLINE = 120  # seconds, of whatever is waited for: far more than it takes


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def environment(**more):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path} | more


def start_two(*arguments):
    """Two processes as torchrun starts them, without one that watches over them."""
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return [
        subprocess.Popen([sys.executable, *arguments], env=environment(RANK=n, LOCAL_RANK=n, **group), **pipes)
        for n in "01"
    ]


def finish(process):
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


@pytest.fixture
def two():
    """`start_two` whose processes are gone at the end, whatever happens."""
    started = []

    def start(*arguments):
        started.extend(both := start_two(*arguments))
        return both

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(path, processes):
    end = time.monotonic() + DEADLINE
    while not path.exists():
        assert time.monotonic() < end and all(p.poll() is None for p in processes), f"{path.name} never came"
        time.sleep(0.01)


# ---- the loss over processes


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    for code, out, err in map(finish, start_two(str(Path(scale_worker.__file__)), str(folder))):
        assert code == 0, out + err
    return [torch.load(folder / f"{n}.pt") for n in range(2)]


def alone():
    image, text_ids, key = scale_worker.whole_batch()
    model = scale_worker.make_model()
    loss = clip_loss(*model(image, text_ids), key[:, None] == key)
    loss.backward()
    return loss.detach(), scale_worker.gradients(model)


@pytest.mark.parametrize("way", ["ddp", "cached"])
def test_two_processes_equal_one_with_the_whole_batch(found, way):
    loss, grads = alone()
    for process in found:
        their_loss, theirs = process[way]
        torch.testing.assert_close(their_loss, loss, atol=1e-6, rtol=0)
        assert theirs.keys() == grads.keys()
        for name, grad in grads.items():
            torch.testing.assert_close(theirs[name], grad, atol=1e-6, rtol=0, msg=name)
    assert max(grad.abs().max() for grad in grads.values()) > 1e-3  # there is something to compare


def test_right_answers_of_other_processes_count(found):
    """Without the keys, or with those of one process only, the loss would be another."""
    image, text_ids, key = scale_worker.whole_batch()
    here = torch.arange(len(key)) < scale_worker.SIZES[0]
    same = (key[:, None] == key) & (here[:, None] == here)
    loss = clip_loss(*scale_worker.make_model()(image, text_ids), same)
    assert abs(loss - found[0]["ddp"][0]) > 1e-3  # a thousand times what is forgiven above


def test_the_loss_against_open_clip(found):
    for process in found:
        ours, theirs = process["peer"]
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], atol=1e-6, rtol=0, msg=name)


def test_processes_of_one_machine_share_its_cores(found):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert [process["threads"] for process in found] == [max(1, cores // 2)] * 2


def test_a_process_that_is_alone_needs_no_group():
    emb, key = F.normalize(torch.randn(2, 4, 3), dim=-1), torch.tensor([0, 1, 1, 2])
    ours = clip_loss_of_all(*emb, torch.tensor(1.0), key)
    torch.testing.assert_close(ours, clip_loss(*emb, torch.tensor(1.0), key[:, None] == key))


def test_sides_and_keys_of_different_lengths_are_refused():
    emb = torch.eye(3)
    for text_emb, key, says in [(emb[:2], None, r"got \[2, 3\] rows"), (emb, torch.arange(4), r"got \[3, 4\] rows")]:
        with pytest.raises((ValueError, TypeCheckError), match=rf"{says}|Expected type"):  # the latter under the hook
            clip_loss_of_all(emb, text_emb, torch.tensor(1.0), key)


# ---- a large batch in pieces


class Held:
    """Counts the bytes that graphs keep for their way back; parameters, which stay anyway, are left out."""

    def __init__(self, model):
        self.parameters = {p.data_ptr() for p in model.parameters()}
        self.now = self.peak = 0

    def pack(self, tensor):
        if tensor.data_ptr() in self.parameters:
            return tensor, None
        size, kept = tensor.numel() * tensor.element_size(), type("Kept", (), {})()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(kept, self.release, size)
        return tensor, kept

    def release(self, size):
        self.now -= size

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda packed: packed[0])
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)


def large_batch(rows):
    text_ids = torch.randint(4, 30, (rows, 8))
    text_ids[:, -1] = 3
    return torch.rand(rows, 3, 32, 32), text_ids


def small_clip(**changes):
    torch.manual_seed(0)
    sizes = {"text_width": 64, "image_width": 64, "embed": 32} | changes
    return CLIP(CLIPConfig(vocabulary=30, **sizes))


def in_pieces(model, inputs, piece):
    model.zero_grad()
    loss = backward_in_pieces(
        lambda *few: model(*few)[:2], lambda i, t: clip_loss(i, t, model.log_scale), inputs, piece
    )
    return loss, scale_worker.gradients(model)


def at_once(model, inputs):
    model.zero_grad()
    loss = clip_loss(*model(*inputs))
    loss.backward()
    return loss.detach(), scale_worker.gradients(model)


def test_1024_in_pieces_of_128_equal_the_whole_in_a_quarter_of_the_memory():
    model, inputs = small_clip(stem=PatchEmbedding), large_batch(1024)
    with Held(model) as whole:
        loss, grads = at_once(model, inputs)
    with Held(model) as cached:
        their_loss, theirs = in_pieces(model, inputs, 128)
    torch.testing.assert_close(their_loss, loss, atol=1e-5, rtol=0)
    for name, grad in grads.items():
        torch.testing.assert_close(theirs[name], grad, atol=1e-5, rtol=1e-5, msg=name)
    assert whole.now == cached.now == 0  # the count itself is sound
    assert 0 < cached.peak <= whole.peak / 4, f"{cached.peak / whole.peak:.2f} of the memory"


def test_plain_accumulation_is_another_gradient():
    model, inputs = small_clip(stem=PatchEmbedding), large_batch(64)
    _, grads = at_once(model, inputs)
    model.zero_grad()
    for few in zip(*(x.split(16) for x in inputs), strict=True):
        (clip_loss(*model(*few)) / 4).backward()
    plain, grad = (torch.cat([g.flatten() for g in each.values()]) for each in (scale_worker.gradients(model), grads))
    assert (plain - grad).norm() > 0.1 * grad.norm()


@pytest.mark.parametrize("piece", [1, 7, 20, 100])
def test_pieces_of_any_size(piece):
    model, inputs = small_clip(stem=PatchEmbedding), large_batch(20)
    loss, grads = at_once(model, inputs)
    their_loss, theirs = in_pieces(model, inputs, piece)
    torch.testing.assert_close(their_loss, loss)
    for name, grad in grads.items():
        torch.testing.assert_close(theirs[name], grad, atol=1e-5, rtol=1e-5, msg=name)


def test_dropout_repeats_itself():
    """Held against the same pieces with all their graphs kept, which draw each random number once."""
    inputs, weight = torch.randn(2, 12, 6), torch.randn(6, 4, requires_grad=True)

    def encode(*few):
        return [F.normalize(F.dropout(x, 0.5) @ weight, dim=-1) for x in few]

    def loss_of(image_emb, text_emb):
        return clip_loss(image_emb, text_emb, torch.tensor(1.0))

    torch.manual_seed(5)
    sides = zip(*(encode(*few) for few in zip(*(x.split(5) for x in inputs), strict=True)), strict=True)
    loss_of(*map(torch.cat, sides)).backward()
    grad, weight.grad, after = weight.grad, None, torch.rand(())
    torch.manual_seed(5)
    backward_in_pieces(encode, loss_of, list(inputs), piece=5)
    torch.testing.assert_close(weight.grad, grad)
    assert torch.rand(()) == after  # as if each number had been drawn once


def test_a_frozen_tower_stays_as_it_is_and_the_other_learns():
    model, inputs = small_clip(stem=PatchEmbedding), large_batch(20)
    model.image.requires_grad_(False)
    for frozen in (None, model.text):
        if frozen is not None:
            frozen.requires_grad_(False)  # now the scale alone is left
        model.zero_grad()
        clip_loss(*model(*inputs)).backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        backward_in_pieces(lambda *few: model(*few)[:2], lambda i, t: clip_loss(i, t, model.log_scale), inputs, piece=7)
        theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert theirs.keys() == grads.keys()
        for name, grad in grads.items():
            torch.testing.assert_close(theirs[name], grad, atol=1e-5, rtol=1e-5, msg=name)


def test_a_side_that_the_loss_does_not_look_at():
    weight = torch.ones(3, 2, requires_grad=True)
    inputs = [torch.randn(5, 3), torch.randn(5, 3)]
    backward_in_pieces(lambda a, b: (a @ weight, b @ weight), lambda a, b: a.square().sum(), inputs, piece=2)
    torch.testing.assert_close(weight.grad, 2 * inputs[0].T @ inputs[0] @ weight.detach())


def test_batch_normalisation_is_the_exception_in_training_mode():
    model, inputs = small_clip(), large_batch(32)
    in_training = [at_once(model, inputs)[0], in_pieces(model, inputs, 8)[0]]
    model.eval()
    fixed = [at_once(model, inputs)[0], in_pieces(model, inputs, 8)[0]]
    torch.testing.assert_close(fixed[0], fixed[1])
    assert abs(in_training[0] - in_training[1]) > 1e-3


def test_pieces_of_nothing_are_refused():
    model = small_clip(stem=PatchEmbedding)
    for inputs, piece in [(large_batch(4), 0), ([torch.rand(4, 3, 32, 32), large_batch(3)[1]], 2), (large_batch(0), 2)]:
        with pytest.raises(ValueError, match="backward_in_pieces: expected inputs with as many rows each, and a piece"):
            in_pieces(model, inputs, piece)


# ---- half precision


@pytest.fixture(scope="module")
def pairs():
    return recipe.Pairs(batch=32)


def losses_in(precision, pairs, device="cpu"):
    _, history = recipe.train_clip(pairs, torch.device(device), steps=30, precision=precision)
    return torch.tensor(history.losses)


def test_bfloat16_on_the_cpu_follows_float32(pairs):
    exact, half = losses_in(torch.float32, pairs), losses_in(torch.bfloat16, pairs)
    assert exact[0] - exact[-1] > 0.2  # it learns
    assert 0 < (half - exact).abs().mean() < 0.01 and (half - exact).abs().max() < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 with a GradScaler needs a CUDA device")
def test_float16_with_a_scaler_on_cuda_follows_float32(pairs):
    exact, half = losses_in(torch.float32, pairs, "cuda"), losses_in(torch.float16, pairs, "cuda")
    assert 0 < (half - exact).abs().mean() < 0.02 and (half - exact).abs().max() < 0.1


# ---- the command


def notebook_names():
    """What the notebook's cells define, up to its batches and its loss."""
    cells = json.loads((ROOT / "notebooks/01_clip.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    wanted = ("import math", "pictures = make_pictures", "parts = ", "augment = ", "def batch_of")
    names = {"batch_size": 32, "seed": 0}
    for start in wanted:
        source = next(source for source in sources if re.search(rf"^{start}", source, flags=re.M))
        exec(re.sub(r"^(some|figure|plots|display|rows|print|example)\b.*\n?", "", source, flags=re.M), names)
    return names


def test_one_process_draws_the_batches_of_the_notebook(pairs):
    names = notebook_names()
    for step in (1, 2, 3):
        torch.manual_seed(step)
        ours = pairs.batch_of(step)
        torch.manual_seed(step)
        image, text_ids, same = names["batch_of"](step)
        assert torch.equal(ours.image, image) and torch.equal(ours.text_ids, text_ids)
        assert torch.equal(ours.key[:, None] == ours.key, same)


def test_processes_take_apart_what_they_draw_alike(pairs, monkeypatch):
    torch.manual_seed(3)
    whole = pairs.batch_of(1).key
    monkeypatch.setattr(recipe, "world_size", lambda: 3)
    parts = []
    for number in range(3):
        monkeypatch.setattr(recipe, "rank", lambda number=number: number)
        torch.manual_seed(3)
        parts.append(pairs.batch_of(1))
    assert torch.equal(torch.cat([part.key for part in parts]), whole)
    assert [len(part.image) for part in parts] == [11, 11, 10]


def test_without_torchrun_it_is_one_process(capsys, tmp_path):
    main(["01_clip", "--steps", "2", "--batch", "4", "--checkpoint", str(tmp_path), "--precision", "bfloat16"])
    assert re.search(r"01_clip: 2 steps of 4 pairs, processes: 1, .*validation R@1 0\.\d+\.", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "run.0.pt", "run.1.pt"]


def test_a_folder_that_is_a_file_is_refused_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "taken").touch()
    monkeypatch.setattr(recipe.Pairs, "batch_of", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(ValueError, match=r"Checkpoint\('.*taken'\): expected a folder that can be written, got .*Is"):
        main(["01_clip", "--steps", "2", "--batch", "4", "--checkpoint", str(tmp_path / "taken")])


def test_a_batch_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="expected a batch of 2 pairs or more, got 1. Each process needs one."):
        main(["01_clip", "--batch", "1"])


def test_a_patience_of_nothing_is_refused():
    with pytest.raises(ValueError, match="process_group: expected patience above 0, got 0. It is in seconds: try 120."):
        main(["01_clip", "--patience", "0"])


def kept(folder):
    """The newest run in a folder."""
    runs = [torch.load(path, weights_only=True) for path in folder.glob("run.?.pt")]
    return max(runs, key=lambda run: len(run["history"]["losses"]))


def test_a_run_that_is_killed_goes_on_to_the_same_result(two, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first, second = two(*SMALL, "--checkpoint", str(killed))
    wait_for(killed / "run.1.pt", [first, second])  # the second of the 10 checkpoints
    first.kill()  # the one that writes; the other ends by itself
    assert_gives_up(second, number=1, patience=120)
    assert 2 <= len(kept(killed)["history"]["losses"]) < 10

    for code, out, err in map(finish, two(*SMALL, "--checkpoint", str(whole))):
        assert code == 0, out + err
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    done = subprocess.run(
        [*torchrun, *SMALL, "--checkpoint", str(killed)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("01_clip: 10 steps of 15 pairs, processes: 2") == 1  # the first process speaks
    ours, theirs = kept(killed), kept(whole)
    assert ours["history"]["losses"] == theirs["history"]["losses"] and len(ours["history"]["losses"]) == 10
    for name, weight in theirs["parts"]["model"].items():
        assert torch.equal(ours["parts"]["model"][name], weight), name


def assert_gives_up(process, number, patience):
    code, _, err = finish(process)
    last = err.strip().splitlines()[-1]
    says = f"mmlib.scale: process {number} of 2: expected an answer of the others within {patience} s, got "
    assert code == 1 and last.startswith(says), err
    assert last.endswith("then start all again; they go on from the last checkpoint."), err


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows cannot stop a process half-way")
def test_when_one_process_hangs_the_other_says_so_and_ends(two, tmp_path):
    first, second = two(*SMALL[:3], "--steps", "400", "--batch", "4", "--checkpoint", str(tmp_path), "--patience", "8")
    wait_for(tmp_path / "run.0.pt", [first, second])
    second.send_signal(signal.SIGSTOP)
    assert_gives_up(first, number=0, patience=8)
