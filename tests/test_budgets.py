"""What notebooks may cost: measured by `make notebooks`, shown in the README, held by a plugin of nbval."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mmlib.results import MIME

REPORT = (
    "from IPython.display import display\n"
    f"display({{{MIME!r}: {{'notebook': 'n', 'peak_memory_gb': MEMORY}}, 'text/plain': 'x'}}, raw=True)"
)
SLEEPS = ["1", "import time; time.sleep(0.8)", "2"]
# name -> the cells, what the committed run is said to have taken in all and in each cell, and how many times as long
# the yardstick takes here as it is said to have taken there
NOTEBOOKS = {
    "fine": (["1", REPORT.replace("MEMORY", "1.5")], 60.0, [30.0, 30.0], 1),
    "slow_cell": (SLEEPS, 1.0, [0.0, 0.2, 0.0], 1),  # four times as long, on the same machine
    "slow_machine": (SLEEPS, 1.0, [0.0, 0.2, 0.0], 3),  # as long as there, three times over, and some more
    "slow_in_all": (["import time"] + 4 * ["time.sleep(0.5)"], 0.4, 5 * [30.0], 1),
    "large": (["1", REPORT.replace("MEMORY", "1.51")], 60.0, [30.0, 30.0], 1),
    "never_timed": (["import time; time.sleep(0.5)"], None, [], 1),
}


@pytest.fixture(scope="module")
def failures(root, tmp_path_factory):
    """What nbval, with the plugin, says of these notebooks: a line for each cell that fails."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, (sources, whole, cell_seconds, slower) in NOTEBOOKS.items():
        cells = [new_code_cell(source) for source in sources]
        if whole:
            times = {"total_seconds": whole, "cell_seconds": cell_seconds, "yardstick_seconds": 1 / slower}
            cells[-1] |= {"outputs": [new_output("display_data", {MIME: times})], "execution_count": 1}
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    (folder / "one_second.py").write_text("from tools import yardstick\nyardstick.seconds = lambda: 1.0\n")
    options = ["-q", "-p", "one_second", "-p", "tools.budgets", "--nbval-lax", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)]
    path = os.pathsep.join([str(folder), str(root)])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stdout.splitlines() if re.match(r"\w+\.ipynb, Cell \d+: ", line)]
    assert done.returncode == 1 and "3 failed" in done.stdout.splitlines()[-1], done.stdout + done.stderr
    return "\n".join(lines)


def test_what_stays_inside_passes_and_so_does_what_was_never_timed(failures):
    assert "fine" not in failures and "never_timed" not in failures


def test_a_cell_that_takes_four_times_as_long_fails_and_a_machine_three_times_as_slow_passes(failures):
    assert "slow_cell.ipynb, Cell 1: it took 0." in failures
    assert "3 times the committed run are 0.6 s on this machine" in failures
    assert "slow_machine" not in failures


def test_a_run_that_takes_more_than_three_times_as_long_fails_once(failures):
    assert failures.count("slow_in_all.ipynb") == 1 and "3 times the whole are 1 s on this machine" in failures


def test_before_a_cell_fails_the_machine_is_timed_again(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root))
    from tools import budgets

    recorded = {"total_seconds": 10.0, "cell_seconds": [8.0, 2.0], "yardstick_seconds": 1.0}
    monkeypatch.setattr(budgets, "read", lambda path: recorded)
    monkeypatch.setattr(budgets, "here", {"busy.ipynb": 1.0, "quiet.ipynb": 1.0})
    monkeypatch.setattr(budgets.yardstick, "seconds", lambda: 2.0)
    assert budgets.over_time("busy.ipynb", 0, 40.0) == ""
    monkeypatch.setattr(budgets.yardstick, "seconds", lambda: 1.0)
    assert "it took 40.0 s" in budgets.over_time("quiet.ipynb", 0, 40.0)


def test_the_yardstick_takes_some_time_and_leaves_the_random_state_alone(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root))
    import torch

    from tools import yardstick

    state = torch.get_rng_state()
    assert yardstick.seconds(repeats=1) > 0
    assert torch.equal(state, torch.get_rng_state())


def test_a_kernel_that_holds_too_much_fails(failures):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("drivers of a GPU count towards the memory of a process")
    assert "large.ipynb, Cell 1: the kernel has held 1.51 GB; 1.5 GB are allowed" in failures


def test_make_test_uses_the_plugin(root):
    steps = [line for line in (root / "Makefile").read_text().splitlines() if "--nbval-lax" in line]
    assert len(steps) == 1 and "-p tools.budgets" in steps[0]


def test_times_are_kept_with_the_results(script, tmp_path):
    cells = [
        new_markdown_cell("# Name\n\n## 1. First"),
        new_code_cell("1"),
        new_markdown_cell("## 2. Slow\n\n```\n## no heading\n```"),
        new_code_cell("import time; time.sleep(0.6)"),
        new_markdown_cell("## 3. Last"),
        new_code_cell(REPORT.replace("MEMORY", "0.5")),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "n.ipynb")
    done = script("notebooks", tmp_path)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "n.ipynb").read_text())["cells"][-1]["outputs"][0]["data"][MIME]
    assert kept["longest_cell"] == "2. Slow" and 0.6 <= kept["longest_cell_seconds"] < kept["total_seconds"] + 0.1 < 30
    assert (kept["notebook"], kept["peak_memory_gb"]) == ("n", 0.5)
    assert len(kept["cell_seconds"]) == 3 and kept["cell_seconds"][1] == kept["longest_cell_seconds"]
    assert kept["yardstick_seconds"] > 0
