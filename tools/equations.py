"""Write the equations of the notebooks into the teacher's notes: `python tools/equations.py docs/teaching notebooks`.

A line of a page that begins with the number of an equation, as `**(1.4)**`, gets the equation of that number under it.
"""

import re
import sys
from pathlib import Path

import nbformat

NAMED = re.compile(r"^(\*\*\((\d+\.\d+)\)\*\*.*)\n(?:\n```math\n[^`]*```\n)?", flags=re.M)


def equations_of(notebook):
    """Number -> equation, on one line, from `$$ ... \\tag{1.4} $$`."""
    texts = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = {}
    for block in re.findall(r"\$\$(.+?)\$\$", texts, flags=re.S):
        number = re.search(r"\\tag\{(\d+\.\d+)\}", block)
        if number:
            found[number[1]] = " ".join(block.replace(number[0], "").split())
    return found


def renewed(page, equations):
    """The page with each equation that it names; a number without an equation ends in an error that says so."""

    def with_equation(named):
        if named[2] not in equations:
            sys.exit(f"The page names equation ({named[2]}), and the notebook has none of that number.")
        return f"{named[1]}\n\n```math\n{equations[named[2]]}\n```\n"

    return NAMED.sub(with_equation, page)


def main(pages, notebooks):
    for page in sorted(Path(pages).glob("*.md")):
        notebook = nbformat.read(Path(notebooks) / f"{page.stem}.ipynb", as_version=4)
        page.write_text(renewed(page.read_text(encoding="utf-8"), equations_of(notebook)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
