"""What a notebook reports at its end, and the two tables of these reports in the README.

    python -m mmlib.results README.md notebooks

rewrites them from the committed outputs: what was measured, between the markers `<!-- results -->` and
`<!-- /results -->`, and what it cost, between `<!-- budgets -->` and `<!-- /budgets -->`.
"""

import json
import math
import os
import sys
from html import escape
from pathlib import Path

import torch
from IPython.display import display

from mmlib.check import refuse

MIME = "application/vnd.mmlib.results+json"
COLUMNS = ("value", "chance", "control", "floor")


def report(
    notebook: str, metrics: dict[str, dict], *, train_seconds: float, seed: int, complete: bool, **extra
) -> None:
    """Show what the model reached, keep it in the notebook's output, and fail when it is not enough.

    Args:
        notebook: the name of the file, without its ending.
        metrics: name -> `value`, and where there is one `chance` (of a model that knows nothing), `control` (the
            same training on destroyed data) and `floor` (the least that is accepted; more is better).
        train_seconds: wall clock of the training, `History.seconds`.
        seed: of the training.
        complete: whether the training ran to the end that the floors were measured at. A reader who stops it or makes
            it shorter sees the table, and that its floors do not count.
        extra: whatever else the output should hold.

    Raises:
        AssertionError: a metric is under its floor.
        ValueError: a metric whose value is missing or not finite, or an entry that is none of the four above.
    """
    rows = {name: _row(name, metric) for name, metric in metrics.items()}
    facts = {"train_seconds": round(train_seconds, 1), "threads": torch.get_num_threads(), "seed": seed}
    facts |= {"complete": complete, "peak_memory_gb": _peak_memory_gb()}
    results = {"notebook": notebook, **facts, "metrics": rows, **extra}
    display({"text/plain": _plain(results), "text/html": _html(results), MIME: results}, raw=True)

    low = {name: row for name, row in rows.items() if row["floor"] is not None and row["value"] < row["floor"]}
    if low and complete:
        found = "; ".join(f"{name} is {_show(row['value'])}, under {_show(row['floor'])}" for name, row in low.items())
        fix = "Restart the kernel and run all cells; then try another seed."
        raise AssertionError(f"{notebook}: {found}. {fix}")


def read(path: str | Path) -> dict:
    """What the notebook file at `path` last reported.

    Raises:
        ValueError: the file is no notebook, or it was never run to its end.
    """
    cells = _cells(path)
    outputs = (output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    found = [data[MIME] for data in outputs if MIME in data]
    if not found:
        refuse(f"results.read({str(path)!r})", "a notebook with reported results", "none", "Run it: make notebooks.")
    return found[-1]


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
            shown = " | ".join(_show(row[column]) for column in ("value", "chance", "control"))
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
        rows.append(f"| {link_to(path)} | {times} | {_show(results['peak_memory_gb'])} GB | {size:.1f} MB |")
    return "\n".join(rows)


def link_to(path: Path) -> str:
    """A link in Markdown to a notebook, which stands in a folder beside the README."""
    return f"[{_title(path)}]({path.parent.name}/{path.name})"


def insert_table(readme: str, table: str, name: str = "results") -> str:
    """The README's text with the table between the markers of this name.

    Raises:
        ValueError: the markers are missing, or there more than once.
    """
    begin, finish = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, start, rest = readme.partition(begin)
    old, end, after = rest.partition(finish)
    if not (start and end) or begin in rest or finish in after:
        refuse(
            "insert_table", f"one {begin} and, behind it, one {finish}", "something else", "Put them into the README."
        )
    return f"{before}{begin}\n\n{table}\n\n{finish}{after}"


def renew_table(readme: str | Path, table: str, name: str = "results") -> None:
    """Write the table between the markers of this name into the README, or leave the file as it was."""
    path = Path(readme)
    text = insert_table(path.read_text(encoding="utf-8"), table, name)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def main(readme: str, folder: str) -> None:
    """Bring the README's tables up to date."""
    renew_table(readme, readme_table(folder))
    renew_table(readme, budget_table(folder), "budgets")


def _notebooks(folder: str | Path) -> list[Path]:
    paths = sorted(Path(folder).glob("*.ipynb"))
    if not paths:
        refuse("mmlib.results", f"notebooks in {str(folder)!r}", "none", "Name the folder that holds them.")
    return paths


def _row(name: str, metric: dict) -> dict:
    numbers = {column: metric.get(column) for column in COLUMNS}
    row = {column: None if number is None else round(float(number), 4) for column, number in numbers.items()}
    where, unknown = f"report: metric {name}", sorted(metric.keys() - set(COLUMNS))
    if unknown:
        refuse(where, f"any of {', '.join(COLUMNS)}", ", ".join(unknown), "Check the spelling.")
    if row["value"] is None or not math.isfinite(row["value"]):
        refuse(where, "a value that is a finite number", str(row["value"]), "Look at how it is computed.")
    return row


def _peak_memory_gb() -> float | None:
    """The most memory that this process has held so far; None on Windows, which has no such count."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def _show(number: float | None) -> str:
    return "-" if number is None else f"{number:.12g}"  # a count of parameters keeps all its digits


def _caption(results: dict) -> str:
    how = f"training: {results['train_seconds']:g} s, threads: {results['threads']}, seed: {results['seed']}"
    how += "" if results["complete"] else "; training was cut short, so the floors do not count"
    return f"Results of {results['notebook']} ({how})"


def _plain(results: dict) -> str:
    lines = [("metric", *COLUMNS)]
    lines += [(name, *(_show(row[column]) for column in COLUMNS)) for name, row in results["metrics"].items()]
    width = max(len(line[0]) for line in lines)
    table = [line[0].ljust(width) + "".join(cell.rjust(10) for cell in line[1:]) for line in lines]
    return "\n".join([_caption(results), *table])


def _html(results: dict) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in ("metric", *COLUMNS))
    body = ""
    for name, row in results["metrics"].items():
        cells = "".join(f"<td>{_show(row[column])}</td>" for column in COLUMNS)
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    caption = f"<caption>{escape(_caption(results))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(path: str | Path) -> list[dict]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError):
        pass
    refuse(f"results.read({str(path)!r})", "a notebook file", "something else", "Restore it from version control.")


def _title(path: Path) -> str:
    """The first heading of a notebook, or the name of its file."""
    texts = ("".join(cell["source"]) for cell in _cells(path) if cell["cell_type"] == "markdown")
    headings = (line[2:].strip() for text in texts for line in text.splitlines() if line.startswith("# "))
    return next(headings, path.stem)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m mmlib.results README.md notebooks")
    main(*sys.argv[1:])
