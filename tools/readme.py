"""The two tables of the README that tell what the committed notebooks reported.

    python tools/readme.py README.md notebooks

rewrites them: what was measured, between the markers `<!-- results -->` and `<!-- /results -->`, and what it cost,
between `<!-- budgets -->` and `<!-- /budgets -->`.
"""

import sys
from pathlib import Path

import nbformat

from mmlib.atomic import atomic_write
from mmlib.check import refuse
from mmlib.results import read, show


def readme_table(folder: str | Path) -> str:
    """One row in Markdown for each metric of each notebook in the folder, which stands beside the README.

    Metrics with a floor come first, then by name: notebook files are written with their keys sorted.

    Raises:
        ValueError: there is no notebook, or one without results.
    """
    rows = ["| notebook | trained in | metric | value | chance | control |", "|---|---|---|---|---|---|"]
    for path in _notebooks(folder):
        results, link = read(path), link_to(path)
        for name, row in sorted(results["metrics"].items(), key=lambda item: (item[1]["floor"] is None, item[0])):
            shown = " | ".join(show(row[column]) for column in ("value", "chance", "control"))
            rows.append(f"| {link} | {results['train_seconds']:.0f} s | `{name}` | {shown} |")
    return "\n".join(rows)


def budget_table(folder: str | Path) -> str:
    """One row in Markdown for each notebook in the folder: time, memory and size of its file.

    Raises:
        ValueError: there is no notebook, or one without results, or one that `make notebooks` has not timed.
    """
    rows = ["| notebook | whole run | longest cell | peak memory | file |", "|---|---|---|---|---|"]
    for path in _notebooks(folder):
        results, size = read(path), path.stat().st_size / 1e6
        if "total_seconds" not in results:
            refuse("budget_table", f"times in {path.name}", "none", "Run it: make notebooks.")
        times = f"{results['total_seconds']:.0f} s | {results['longest_cell_seconds']:.0f} s, {results['longest_cell']}"
        rows.append(f"| {link_to(path)} | {times} | {show(results['peak_memory_gb'])} GB | {size:.1f} MB |")
    return "\n".join(rows)


def link_to(path: Path) -> str:
    """A link in Markdown to a notebook, by its first heading; it stands in a folder beside the README."""
    texts = (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    headings = (line[2:].strip() for text in texts for line in text.splitlines() if line.startswith("# "))
    return f"[{next(headings, path.stem)}]({path.parent.name}/{path.name})"


def insert_table(readme: str, table: str, name: str = "results") -> str:
    """The README's text with the table between the markers of this name.

    Raises:
        ValueError: the markers are missing, or there more than once.
    """
    begin, finish = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, start, rest = readme.partition(begin)
    old, end, after = rest.partition(finish)
    if not (start and end) or begin in rest or finish in after:
        expected = f"one {begin} and, behind it, one {finish}"
        refuse("insert_table", expected, "something else", "Put them into the README.")
    return f"{before}{begin}\n\n{table}\n\n{finish}{after}"


def renew_table(readme: str | Path, table: str, name: str = "results") -> None:
    """Write the table between the markers of this name into the README, or leave the file as it was."""
    text = insert_table(Path(readme).read_text(encoding="utf-8"), table, name)
    with atomic_write(readme) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def main(readme: str, folder: str) -> None:
    """Bring the README's tables up to date."""
    renew_table(readme, readme_table(folder))
    renew_table(readme, budget_table(folder), "budgets")


def _notebooks(folder: str | Path) -> list[Path]:
    paths = sorted(Path(folder).glob("*.ipynb"))
    if not paths:
        refuse("readme", f"notebooks in {str(folder)!r}", "none", "Name the folder that holds them.")
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tools/readme.py README.md notebooks")
    main(*sys.argv[1:])
