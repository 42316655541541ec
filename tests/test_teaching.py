"""The teacher's notes: one page a notebook, which agrees with it in questions, exercises, sections and equations."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)

sys.path.insert(0, str(ROOT / "tools"))
from equations import equations_of, renewed  # noqa: E402


def page_of(path):
    return (ROOT / "docs/teaching" / f"{path.stem}.md").read_text(encoding="utf-8")


def prose(path):
    notebook = nbformat.read(path, as_version=4)
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def part(page, heading):
    return re.search(rf"^## {heading}.*?$(.*?)(?=^## |\Z)", page, flags=re.S | re.M)[1]


def rows(text):
    """The cells of the rows of a table, without its head."""
    lines = re.findall(r"^\|(.+)\|$", text, flags=re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def test_every_notebook_has_a_page_and_every_page_a_notebook():
    pages = {path.stem for path in (ROOT / "docs/teaching").glob("*.md")}
    assert pages == {path.stem for path in NOTEBOOKS}


@each_notebook
def test_a_class_is_as_long_as_it_says(path):
    timing = rows(part(page_of(path), "Timing"))
    for column, minutes in ((1, 50), (2, 90)):
        assert sum(int(row[column]) for row in timing if row[column] != "homework") == minutes
    assert all(row[1].isdecimal() or row[1] == "homework" for row in timing)


@each_notebook
def test_every_prediction_has_its_wrong_answer(path):
    asked = re.findall(
        r"^(\d)\. ", re.search(r"## 2\. Predict first(.*?)(?=^## |\Z)", prose(path), re.S | re.M)[1], re.M
    )
    answered = [row[0].split(".")[0] for row in rows(part(page_of(path), "Predict first"))]
    assert asked and [*dict.fromkeys(asked)] == answered
    assert all(len(row) == 4 and all(row) for row in rows(part(page_of(path), "Predict first")))


@each_notebook
def test_every_exercise_has_its_place(path):
    given = re.findall(r"^### Exercise (\d)", prose(path), flags=re.M)
    placed = re.findall(
        r"(?:^|[|;] ?)(\d) ", "".join("|".join(row) + "|" for row in rows(part(page_of(path), "Exercises")))
    )
    assert sorted(placed) == sorted(given)


@each_notebook
def test_sections_that_are_named_exist(path):
    there = set(re.findall(r"^## (\d+)\. ", prose(path), flags=re.M))
    named = re.findall(r"\(?sections? (\d+)(?: and (\d+))?", page_of(path))
    assert named and {number for pair in named for number in pair if number} <= there


@each_notebook
def test_equations_are_those_of_the_notebook(path):
    page, equations = page_of(path), equations_of(nbformat.read(path, as_version=4))
    listed = re.findall(r"^\*\*\((\d+\.\d+)\)\*\*", page, flags=re.M)
    assert listed == sorted(equations, key=lambda number: [int(part) for part in number.split(".")])
    assert renewed(page, equations) == page, "run: .venv/bin/python tools/equations.py docs/teaching notebooks"
    others = {number for other in NOTEBOOKS for number in equations_of(nbformat.read(other, as_version=4))}
    assert set(re.findall(r"\((\d\.\d+)\)", page)) <= others


def test_an_equation_is_put_under_its_number_once():
    page = "**(1.1)** One.\n\n**(1.2)** Two.\n"
    once = renewed(page, {"1.1": "a", "1.2": "b"})
    assert once == "**(1.1)** One.\n\n```math\na\n```\n\n**(1.2)** Two.\n\n```math\nb\n```\n"
    assert renewed(once, {"1.1": "c", "1.2": "b"}) == once.replace("a\n", "c\n")
    with pytest.raises(SystemExit, match="names equation \\(1.2\\)"):
        renewed(page, {"1.1": "a"})
