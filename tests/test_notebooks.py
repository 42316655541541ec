"""The committed notebooks, read as files: one clean run, short cells, and pictures that a screen reader can tell.

That they run is what nbval tests (`make test`)."""

import json
import re
from pathlib import Path

import pytest

from mmlib.results import read

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
RESULTS = "application/vnd.mmlib.results+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
SHORTEST_ALT = 40  # characters: longer than a title, so that it says what there is to see

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path):
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]


def outputs(path):
    return [output for cell in code_cells(path) for output in cell["outputs"]]


def html(path):
    return ["".join(output["data"]["text/html"]) for output in outputs(path) if "text/html" in output.get("data", {})]


def prose(path):
    """The text of the markdown cells without their blocks of code."""
    texts = ["".join(cell["source"]) for cell in load(path)["cells"] if cell["cell_type"] == "markdown"]
    return re.sub(r"^```.*?^```", "", "\n\n".join(texts), flags=re.S | re.M)


def tagged(path, tag):
    return [cell for cell in load(path)["cells"] if tag in cell["metadata"].get("tags", [])]


def test_there_is_a_notebook():
    assert NOTEBOOKS


@each_notebook
def test_outputs_come_from_one_clean_run(path):
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(path) if output["output_type"] == "error"]
    assert not [output for output in outputs(path) if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs(path))


@each_notebook
def test_compared_cells_have_something_to_compare(path):
    compared = tagged(path, "nbval-check-output")
    assert compared and all(cell["outputs"] for cell in compared)


@each_notebook
def test_no_cell_hides_a_failure(path):
    assert not tagged(path, "raises-exception") and not tagged(path, "nbval-skip")


@each_notebook
def test_the_file_holds_what_lasts(path):
    metadata = load(path)["metadata"]
    assert set(metadata) == {"kernelspec", "language_info"}
    assert metadata["kernelspec"]["name"] == "python3"
    assert not [cell for cell in code_cells(path) if "execution" in cell["metadata"]]
    assert not [output for output in outputs(path) if WIDGET in output.get("data", {})]


@each_notebook
def test_cells_are_short(path):
    assert 25 <= len(load(path)["cells"]) <= 80
    for cell in code_cells(path):
        assert len("".join(cell["source"]).splitlines()) <= 20, "".join(cell["source"])[:80]


@each_notebook
def test_one_cell_holds_the_parameters(path):
    assert [cell["cell_type"] for cell in tagged(path, "parameters")] == ["code"]


@each_notebook
def test_pictures_are_told_in_words(path):
    for output in outputs(path):
        if "image/png" in output.get("data", {}):
            alt = output["metadata"].get("image/png", {}).get("alt", "")
            assert len(alt) >= SHORTEST_ALT, f"alt text {alt!r}"
    tags = [tag for text in [*html(path), prose(path)] for tag in re.findall(r"<img\b[^>]*>", text)]
    assert not [tag for tag in tags if not re.search(r'\balt="[^"]+"', tag)]
    assert not re.findall(r"!\[\s*\]\(", prose(path))


@each_notebook
def test_tables_have_headers(path):
    for text in [*html(path), prose(path)]:
        for table in re.findall(r"<table\b.*?</table>", text, flags=re.S):
            assert "<th" in table, table[:80]


@each_notebook
def test_headings_are_in_order(path):
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) ", prose(path), flags=re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels


@each_notebook
def test_results_are_at_their_floors_or_above(path):
    last = [output.get("data", {}) for output in code_cells(path)[-1]["outputs"]]
    results = [data[RESULTS] for data in last if RESULTS in data]
    assert len(results) == 1 and results[0]["notebook"] == path.stem
    assert results[0]["complete"]
    metrics = results[0]["metrics"]
    floors = {metric: entry["floor"] for metric, entry in metrics.items() if entry.get("floor") is not None}
    assert floors
    assert not [metric for metric, floor in floors.items() if metrics[metric]["value"] < floor]


@each_notebook
def test_budgets_are_held(path):
    """Times are counted in yardsticks: another computer may be slower, and is then given more by tools/budgets.py."""
    results = read(path)
    assert results["peak_memory_gb"] <= 1.5
    yardstick = results["yardstick_seconds"]
    assert len(results["cell_seconds"]) == len(code_cells(path))
    assert results["longest_cell_seconds"] <= 1200 * yardstick and results["total_seconds"] <= 2400 * yardstick
    assert results["longest_cell_seconds"] <= results["total_seconds"] and results["longest_cell"]
    assert path.stat().st_size <= 3e6
