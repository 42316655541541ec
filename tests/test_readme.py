"""The README's tables of results and costs, made from what the notebooks reported."""

import subprocess
import sys

import pytest
from test_results import EXPECTED, write_notebook

from mmlib.results import MIME
from tools.readme import budget_table, insert_table, main, readme_table

TIMES = {"total_seconds": 118.4, "longest_cell_seconds": 60.6, "longest_cell": "5. Train it"}  # `make notebooks` adds


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    second = EXPECTED | TIMES | {"train_seconds": 3.6, "metrics": {"map": EXPECTED["metrics"]["hard_r1"]}}
    write_notebook(folder / "02_b.ipynb", {MIME: second}, title=None)
    write_notebook(folder / "01_a.ipynb", {MIME: EXPECTED | TIMES})
    return folder


def test_the_table(folder):
    assert readme_table(folder).splitlines()[2:] == [
        "| [CLIP](notebooks/01_a.ipynb) | 58 s | `text_to_image_r1` | 0.8712 | 0.0025 | 0.003 |",
        "| [CLIP](notebooks/01_a.ipynb) | 58 s | `hard_r1` | 0.25 | 0.0025 | - |",
        "| [02_b](notebooks/02_b.ipynb) | 4 s | `map` | 0.25 | 0.0025 | - |",
    ]
    assert len({line.count("|") for line in readme_table(folder).splitlines()}) == 1


def test_the_table_of_costs(folder):
    (folder / "02_b.ipynb").write_text((folder / "02_b.ipynb").read_text() + " " * 1_230_000)
    assert budget_table(folder).splitlines()[2:] == [
        "| [CLIP](notebooks/01_a.ipynb) | 118 s | 61 s, 5. Train it | 0.75 GB | 0.0 MB |",
        "| [02_b](notebooks/02_b.ipynb) | 118 s | 61 s, 5. Train it | 0.75 GB | 1.2 MB |",
    ]
    assert len({line.count("|") for line in budget_table(folder).splitlines()}) == 1


def test_a_notebook_that_was_run_by_hand_has_no_times(folder):
    write_notebook(folder / "01_a.ipynb", {MIME: EXPECTED})
    with pytest.raises(ValueError, match="budget_table: expected times in 01_a.ipynb, got none.*make notebooks"):
        budget_table(folder)


@pytest.mark.parametrize("table", [readme_table, budget_table])
def test_no_notebooks(tmp_path, table):
    with pytest.raises(ValueError, match="expected notebooks in .*, got none"):
        table(tmp_path)


def test_the_command_rewrites_the_table_and_nothing_else(folder, root):
    readme = folder.parent / "README.md"
    old = "Grüße\n<!-- results -->old<!-- /results -->\nand\n<!-- budgets --><!-- /budgets -->\nend\n"
    readme.write_text(old, encoding="utf-8")
    command = [sys.executable, "tools/readme.py", str(readme), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = readme.read_text(encoding="utf-8")
    tables = f"<!-- results -->\n\n{readme_table(folder)}\n\n<!-- /results -->\nand\n"
    tables += f"<!-- budgets -->\n\n{budget_table(folder)}\n\n<!-- /budgets -->\n"
    assert text == f"Grüße\n{tables}end\n"
    main(str(readme), str(folder))
    assert readme.read_text(encoding="utf-8") == text


def test_a_table_of_another_name_has_its_own_markers():
    text = "<!-- results -->a<!-- /results --><!-- bench -->b<!-- /bench -->"
    expected = "<!-- results -->a<!-- /results --><!-- bench -->\n\ntable\n\n<!-- /bench -->"
    assert insert_table(text, "table", "bench") == expected


@pytest.mark.parametrize("order", ["", "S", "E", "ES", "SSE", "SEE", "SESE"])
def test_markers_that_are_missing_or_doubled(order):
    text = order.replace("S", "<!-- results -->").replace("E", "<!-- /results -->")
    with pytest.raises(ValueError, match="insert_table: expected one <!-- results --> and"):
        insert_table(text, "table")


def test_a_write_that_fails_leaves_the_readme(folder, monkeypatch):
    readme = folder.parent / "README.md"
    readme.write_text("<!-- results --><!-- /results -->")

    def no_space(source, target):
        raise OSError("No space left on device")

    monkeypatch.setattr("mmlib.atomic.os.replace", no_space)
    with pytest.raises(OSError, match="No space"):
        main(str(readme), str(folder))
    assert readme.read_text() == "<!-- results --><!-- /results -->"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["README.md", "notebooks"]
