"""The driver of the browser tests hears of what goes wrong, also in cells that nobody has scrolled to."""

import nbformat
import pytest

pytestmark = pytest.mark.browser


def test_errors_and_warnings_in_cells_are_complaints(lab):
    new = nbformat.v4
    long = [new.new_markdown_cell("\n\n".join("text" * 9))] * 9
    codes = "1 + 1", "import warnings; warnings.warn('careful')", "1 / 0", "2 + 2"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = new.new_notebook(cells=[*long, *map(new.new_code_cell, codes)], metadata=kernel)
    nbformat.write(notebook, lab.folder / "wrong.ipynb")
    lab.open("wrong.ipynb")
    assert lab.complaints() == []
    lab.run_all()
    warning, error = lab.complaints()
    assert warning.startswith("cell [2]: ") and "careful" in warning
    assert error.startswith("cell [3]: ") and "ZeroDivisionError" in error
