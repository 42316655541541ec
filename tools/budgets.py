"""A plugin of pytest, for nbval: a notebook that has become slow, or large in memory, fails.

    python -m pytest -p tools.budgets --nbval-lax notebooks

Each cell may take three times what the longest cell took in the committed run, and all of a notebook's cells together
three times what the whole run took: slow machines pass, and a cell that has come to take minutes does not.
"""

import math
from collections import defaultdict

import pytest
import torch

from mmlib.results import MIME, read

ROOM = 3  # times as slow as the computer of the committed run
MEMORY_GB = 1.5
spent = defaultdict(float)  # path of a notebook -> seconds so far


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and item.path.suffix == ".ipynb" and report.passed:
        over = over_budget(item.path, call.duration, getattr(item, "test_outputs", None) or [])
        if over:
            report.outcome, report.longrepr = "failed", f"{item.path.name}, {item.name}: {over}"
    return report


def over_budget(path, seconds, outputs):
    """What a cell of the notebook has exceeded, or an empty text."""
    before, spent[path] = spent[path], spent[path] + seconds
    longest, whole = limits(path)
    memory = [output["data"][MIME]["peak_memory_gb"] for output in outputs if MIME in output.get("data", {})]
    if seconds > longest:
        return f"it took {seconds:.1f} s. {ROOM} times the longest cell of the committed run are {longest:.1f} s."
    if before <= whole < spent[path]:  # said once
        return f"{spent[path]:.0f} s so far. {ROOM} times the whole of the committed run are {whole:.0f} s."
    # Drivers of a GPU count towards the memory of a process, so this is asked of the CPU alone.
    if on_cpu() and memory and (memory[-1] or 0) > MEMORY_GB:
        return f"the kernel has held {memory[-1]} GB; {MEMORY_GB} GB are allowed."
    return ""


def limits(path):
    """Seconds for a cell, and for all. Without end for a notebook never timed: tests/test_notebooks.py names it."""
    try:
        results = read(path)
    except ValueError:
        results = {}
    return tuple(ROOM * results.get(name, math.inf) for name in ("longest_cell_seconds", "total_seconds"))


def on_cpu():
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()
