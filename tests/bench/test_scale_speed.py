"""What a large batch in pieces must cost: little memory, and not much more time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmlib.layers import PatchEmbedding
from mmlib.losses import clip_loss
from mmlib.models.clip import CLIP, CLIPConfig
from mmlib.scale.cached import backward_in_pieces

MEMORY_RATIO, TIME_RATIO = 0.25, 1.8  # of the whole batch at once; a third pass more is a ratio of 4/3
ROWS, PIECE = 1024, 128

pytestmark = pytest.mark.bench


def batch_and_ways(rows=ROWS):
    """The model of notebook 1 but for its stem, a batch, and both ways to its gradient."""
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(vocabulary=1500, stem=PatchEmbedding))
    image, text_ids = torch.rand(rows, 3, 32, 32), torch.randint(4, 1500, (rows, 16))
    text_ids[:, -1] = 3

    def whole():
        clip_loss(*model(image, text_ids)).backward()

    def in_pieces():
        loss_of = lambda *emb: clip_loss(*emb, model.log_scale)  # noqa: E731
        backward_in_pieces(lambda *few: model(*few)[:2], loss_of, [image, text_ids], PIECE)

    return {"whole": whole, "in_pieces": in_pieces}


def peak_megabytes(way):
    """What a process of its own needs on top of model, batch and libraries: the most memory that it ever held."""
    code = (
        "import sys, torch, test_scale_speed as bench\n"
        "torch.set_num_threads(1)\n"
        "bench.batch_and_ways(rows=8)[sys.argv[1]]()\n"  # what the libraries take once
        "run, before = bench.batch_and_ways()[sys.argv[1]], bench.most_megabytes()\n"
        "run()\n"
        "print(bench.most_megabytes() - before)"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, way], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def most_megabytes():
    """The most memory that this process has held; Linux's `getrusage` would count that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count the most memory of a process")
def test_memory_of_a_batch_in_pieces(compare):
    ours, theirs = peak_megabytes("in_pieces"), peak_megabytes("whole")
    what = f"Memory of the gradient of {ROWS:,} pairs, in cached pieces of {PIECE}"
    assert compare(what, ours, theirs, against="the whole batch at once", unit="MB") <= MEMORY_RATIO


def test_time_of_a_batch_in_pieces(side_by_side, compare):
    ways = batch_and_ways()
    ours, theirs = side_by_side(ways["in_pieces"], ways["whole"], rounds=7)
    what = f"Time of the gradient of {ROWS:,} pairs, in cached pieces of {PIECE}"
    assert compare(what, ours, theirs, against="the whole batch at once") <= TIME_RATIO
