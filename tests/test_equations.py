"""Each equation that a notebook numbers is computed somewhere, and each number in a docstring is in a notebook."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def shown(paths):
    """The numbers that notebooks give to equations, as `\\tag{1.2}`."""
    return {number for path in paths for text in cells(path, "markdown") for number in tags(text)}


def tags(markdown):
    return re.findall(r"\\tag\{(\d+\.\d+)\}", markdown)


def computed_in_mmlib():
    """The numbers that docstrings name, as `Equation: ... (1.2; Paper year)`, and the file that does."""
    numbers = {}
    for path in (ROOT / "mmlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                numbers |= dict.fromkeys(equations(ast.get_docstring(node) or ""), path.name)
    return numbers


def equations(docstring):
    """The numbers in the paragraphs of a docstring that begin with `Equation:`."""
    paragraphs = [part for part in docstring.split("\n\n") if part.lstrip().startswith("Equation:")]
    return [number for part in paragraphs for number in re.findall(r"\((\d+\.\d+)(?=[;)])", part)]


def computed_in_cells(paths):
    """The numbers in comments of code cells: `# (1.2)`."""
    return {n for path in paths for code in cells(path, "code") for n in re.findall(r"#.*?\((\d+\.\d+)\)", code)}


def test_numbers_of_equations_are_read_right():
    assert tags(r"$$ a = b \tag{1.2} $$ and $$ c \tag{10.11} $$") == ["1.2", "10.11"]
    assert equations("One.\n\nEquation: f(x)\n= 1 (1.2; Someone 2020)\n\nArgs:\n    p: near (0.5)") == ["1.2"]
    assert equations("One.\n\nEquation: R = 1 (1.10)") == ["1.10"]


def test_every_equation_of_a_notebook_is_computed():
    orphans = shown(NOTEBOOKS) - set(computed_in_mmlib()) - computed_in_cells(NOTEBOOKS)
    assert NOTEBOOKS and not orphans


def test_every_equation_of_the_package_is_in_a_notebook():
    numbers = computed_in_mmlib()
    orphans = {number: where for number, where in numbers.items() if number not in shown(NOTEBOOKS)}
    assert numbers and not orphans


def test_no_equation_has_two_places_with_one_number():
    for path in NOTEBOOKS:
        numbers = [number for text in cells(path, "markdown") for number in tags(text)]
        assert len(numbers) == len(set(numbers)), path.name
        chapter = str(int(path.name[:2]))
        assert {number.split(".")[0] for number in numbers} == {chapter}, path.name
