"""What a notebook reports at its end, and what a notebook file last reported."""

import json
import math
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
        ValueError: a metric without a value, with a number that is not finite, or with an entry of another name.
    """
    rows = {name: _row(name, metric) for name, metric in metrics.items()}
    facts = {"train_seconds": round(train_seconds, 1), "threads": torch.get_num_threads(), "seed": seed}
    facts |= {"complete": complete, "peak_memory_gb": _peak_memory_gb()}
    results = {"notebook": notebook, **facts, "metrics": rows, **extra}
    display({"text/plain": _plain(results), "text/html": _html(results), MIME: results}, raw=True)

    low = {name: row for name, row in rows.items() if row["floor"] is not None and row["value"] < row["floor"]}
    if low and complete:
        found = "; ".join(f"{name} is {show(row['value'])}, under {show(row['floor'])}" for name, row in low.items())
        fix = "Restart the kernel and run all cells; then try another seed."
        raise AssertionError(f"{notebook}: {found}. {fix}")


def read(path: str | Path) -> dict:
    """What the notebook file at `path` last reported.

    Raises:
        ValueError: the file is no notebook, or it was never run to its end.
    """
    where = f"results.read({str(path)!r})"
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError):
        refuse(where, "a notebook file", "something else", "Restore it from version control.")
    outputs = (output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    found = [data[MIME] for data in outputs if MIME in data]
    if not found:
        refuse(where, "a notebook with reported results", "none", "Run it: make notebooks.")
    return found[-1]


def _row(name: str, metric: dict) -> dict:
    numbers = {column: metric.get(column) for column in COLUMNS}
    row = {column: None if number is None else round(float(number), 4) for column, number in numbers.items()}
    where, unknown = f"report: metric {name}", sorted(metric.keys() - set(COLUMNS))
    if unknown:
        refuse(where, f"any of {', '.join(COLUMNS)}", ", ".join(unknown), "Check the spelling.")
    for column, number in row.items():
        missing = number is None and column == "value"
        if missing or (number is not None and not math.isfinite(number)):
            refuse(where, f"a {column} that is a finite number", str(number), "Look at how it is computed.")
    return row


def _peak_memory_gb() -> float | None:
    """The most memory that this process has held so far; None on Windows, which has no such count."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def show(number: float | None) -> str:
    """A number of a report as its tables have it; a count of parameters keeps all its digits."""
    return "-" if number is None else f"{number:.12g}"


def _caption(results: dict) -> str:
    how = f"training: {results['train_seconds']:g} s, threads: {results['threads']}, seed: {results['seed']}"
    how += "" if results["complete"] else "; training was cut short, so the floors do not count"
    return f"Results of {results['notebook']} ({how})"


def _plain(results: dict) -> str:
    lines = [("metric", *COLUMNS)]
    lines += [(name, *(show(row[column]) for column in COLUMNS)) for name, row in results["metrics"].items()]
    width = max(len(line[0]) for line in lines)
    table = [line[0].ljust(width) + "".join(cell.rjust(10) for cell in line[1:]) for line in lines]
    return "\n".join([_caption(results), *table])


def _html(results: dict) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in ("metric", *COLUMNS))
    body = ""
    for name, row in results["metrics"].items():
        cells = "".join(f"<td>{show(row[column])}</td>" for column in COLUMNS)
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    caption = f"<caption>{escape(_caption(results))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
