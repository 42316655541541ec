"""`make bands`: other seeds and threads, and what a number under its floor does to the table."""

import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = """
import os
import torch
from mmlib.results import report
torch.manual_seed(seed)
value = 0.5 + 0.1 * seed + (0.05 if torch.get_num_threads() == 1 else 0.0)
metrics = {"found": {"value": value, "floor": 0.55}, "aside": {"value": seed}}
report("06_toys", metrics, train_seconds=1.0, seed=seed, complete=True)
"""


@pytest.fixture
def tool(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    for name in ("bands", "notebooks", "readme", "parameters"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import bands

    return bands


@pytest.fixture
def project(tmp_path):
    parameters = new_code_cell("short_steps = 9\nseed = 0  # of it all", metadata={"tags": ["parameters"]})
    (tmp_path / "notebooks").mkdir()
    cells = [new_markdown_cell("# Toys: a try"), parameters, new_code_cell(CELLS)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks/06_toys.ipynb")
    (tmp_path / "README.md").write_text("before <!-- bands --><!-- /bands --> after")
    return tmp_path


def test_three_seeds_on_two_threads_and_on_one(tool, project, capsys):
    before = (project / "notebooks/06_toys.ipynb").read_bytes()
    tool.main(project / "README.md", project / "notebooks")
    rows = [line for line in (project / "README.md").read_text().splitlines() if line.startswith("|")]
    assert rows == [
        "| notebook | metric | 2 threads | 1 thread |",
        "| --- | --- | --- | --- |",
        "| [Toys: a try](notebooks/06_toys.ipynb) | `found` | 0.5 to 0.7, 1 of 3 under its floor | 0.55 to 0.75 |",
    ]
    assert "06_toys.ipynb, seed 0, threads 2: found is 0.5, UNDER ITS FLOOR 0.55\n" in capsys.readouterr().out
    assert (project / "notebooks/06_toys.ipynb").read_bytes() == before


def test_a_notebook_that_fails_otherwise_is_named(tool, project):
    notebook = nbformat.read(project / "notebooks/06_toys.ipynb", as_version=4)
    notebook.cells[2].source = "1 / 0"
    nbformat.write(notebook, project / "notebooks/06_toys.ipynb")
    with pytest.raises(SystemExit, match="06_toys.ipynb, seed 0, threads 2: no results. division by zero"):
        tool.main(project / "README.md", project / "notebooks")
    assert "|" not in (project / "README.md").read_text()
