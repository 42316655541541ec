"""A plugin of pytest, for nbval: a notebook that has become slow, or large in memory, fails.

    python -m pytest -p tools.budgets --nbval-lax notebooks

A cell may take three times what it took in the committed run, and so may all cells of a notebook together. Both are
multiplied by how much slower this machine is than that of the committed run, told by a yardstick that was timed there
and is timed here: a slow or a busy machine passes, and a cell that has come to do four times the work does not.
"""

import math
from collections import defaultdict

import pytest
import torch

from mmlib.results import MIME, read
from tools import yardstick

ALLOWED = 3  # times as long
SMALL = 0.1  # of the whole run: cells that take less depend on caches and disks, so each may take ALLOWED times this
MEMORY_GB = 1.5
spent = defaultdict(float)  # path of a notebook -> seconds so far
here = {}  # path of a notebook -> seconds of the yardstick, just before it is tested


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    if item.path.suffix == ".ipynb" and item.path not in here:
        here[item.path] = yardstick.seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and item.path.suffix == ".ipynb" and report.passed:
        outputs = getattr(item, "test_outputs", None) or []
        over = over_time(item.path, item.cell_num, call.duration) or over_memory(outputs)
        if over:
            report.outcome, report.longrepr = "failed", f"{item.path.name}, {item.name}: {over}"
    return report


def over_time(path, cell, seconds):
    """What a cell of the notebook has exceeded, or an empty text."""
    before, spent[path] = spent[path], spent[path] + seconds
    allowed_cell, allowed_whole = limits(path, cell)
    if seconds > allowed_cell or before <= allowed_whole < spent[path]:
        here[path] = max(here[path], yardstick.seconds())  # the machine may have become busy since
        allowed_cell, allowed_whole = limits(path, cell)
    if seconds > allowed_cell:
        return f"it took {seconds:.1f} s; {ALLOWED} times the committed run are {allowed_cell:.1f} s on this machine."
    if before <= allowed_whole < spent[path]:  # said once
        return f"{spent[path]:.0f} s so far; {ALLOWED} times the whole are {allowed_whole:.0f} s on this machine."
    return ""


def limits(path, cell):
    """Seconds for a cell, by its number, and for all. Without end for a notebook that was never timed or has changed:
    tests/test_notebooks.py names it."""
    try:
        results = read(path)
    except ValueError:
        results = {}
    whole, cells = results.get("total_seconds", math.inf), results.get("cell_seconds", [])
    own = cells[cell] if cell < len(cells) else math.inf
    slower = here[path] / results.get("yardstick_seconds", here[path])
    return ALLOWED * slower * max(own, SMALL * whole), ALLOWED * slower * whole


def over_memory(outputs):
    """What the kernel holds beyond its budget, or an empty text."""
    memory = [output["data"][MIME]["peak_memory_gb"] for output in outputs if MIME in output.get("data", {})]
    # Drivers of a GPU count towards the memory of a process, so this is asked of the CPU alone.
    if on_cpu() and memory and (memory[-1] or 0) > MEMORY_GB:
        return f"the kernel has held {memory[-1]} GB; {MEMORY_GB} GB are allowed."
    return ""


def on_cpu():
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()
