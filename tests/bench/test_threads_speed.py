"""A training step beside other programs: with one busy process a core it takes twice as long, and not ten times."""

import os
import subprocess
import sys
from contextlib import contextmanager
from statistics import median

import pytest

QUIET_RATIO = 1.05  # of the time without the setting, on a quiet machine
BUSY_RATIO = 2.0  # of the quiet time, with one busy process a core

pytestmark = pytest.mark.bench


def step_seconds(root, **environment):
    """The yardstick, timed in a process of its own, since OpenMP reads its settings once."""
    unset = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", "import yardstick; print(yardstick.seconds(repeats=5))"]
    done = subprocess.run(
        command, cwd=root / "tools", env=unset | environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@contextmanager
def busy_cores():
    """One process a core that does nothing but work."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def test_threads_that_wait_leave_the_processor_to_others(root, compare):
    passive = subprocess.run(
        [sys.executable, "-c", "import mmlib, os; print(os.environ['OMP_WAIT_POLICY'])"],
        env={name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    rounds = [(step_seconds(root, OMP_WAIT_POLICY=passive), step_seconds(root)) for _ in range(3)]
    quiet, quiet_without = (median(column) for column in zip(*rounds, strict=True))
    with busy_cores():
        rounds = [(step_seconds(root, OMP_WAIT_POLICY=passive), step_seconds(root)) for _ in range(2)]
    busy, busy_without = (median(column) for column in zip(*rounds, strict=True))
    compare("The yardstick, quiet", quiet, quiet_without, against="threads that spin")
    compare("The yardstick, one busy process a core", busy, busy_without, against="threads that spin")
    compare("The yardstick, one busy process a core", busy, quiet, against="a quiet machine")
    assert quiet <= QUIET_RATIO * quiet_without
    assert busy <= BUSY_RATIO * quiet
