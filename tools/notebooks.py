"""Run every notebook of a folder afresh and keep its outputs: `python tools/notebooks.py notebooks`.

What is kept is what a reader can use and what stays the same from run to run: no times of execution, no version of
the kernel, and in place of a live widget, which no file can hold, a line that says how to get it. How long the whole
run and each cell took stands with the notebook's results, beside the yardstick's time on this machine.
"""

import re
import sys
import time
from pathlib import Path

import nbformat
import yardstick
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mmlib.atomic import atomic_write
from mmlib.results import MIME

WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_LINE = "A live widget stands here while the notebook runs (make lab)."
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(notebook, folder, **kernel):
    """Run a notebook in a new kernel of this very Python, in its own folder, and time it; `kernel` may hold `env`."""
    started, took = {}, {}

    def start(cell, cell_index):
        started[cell_index] = time.perf_counter()

    def stop(cell, cell_index, execute_reply):
        took[cell_index] = time.perf_counter() - started[cell_index]

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=900,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=start,
        on_cell_executed=stop,
    )
    before = yardstick.seconds()
    client.execute(**kernel)
    add_times(notebook, took, (before + yardstick.seconds()) / 2)


def add_times(notebook, took, yardstick_seconds):
    """Put the times of the cells, place -> seconds, beside what the notebook has reported."""
    longest = max(took, key=took.get)
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    times = {"total_seconds": round(sum(took.values()), 1), "longest_cell_seconds": round(took[longest], 1)}
    times["longest_cell"] = heading_over(notebook, longest)
    times["cell_seconds"] = [round(took.get(place, 0), 1) for place in code]  # an empty cell is not run
    times["yardstick_seconds"] = round(yardstick_seconds, 4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                output.data[MIME] |= times


def heading_over(notebook, place):
    """The last heading before a cell: `5. Train it`."""
    texts = [cell.source for cell in notebook.cells[:place] if cell.cell_type == "markdown"]
    return ([""] + re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", "\n".join(texts))))[-1]


def clean(notebook):
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data = nbformat.from_dict({"text/plain": WIDGET_LINE})
    return notebook


def write(notebook, path):
    """Whole or not at all: an interrupted run leaves the old notebook."""
    with atomic_write(path) as unfinished:
        nbformat.write(notebook, unfinished)


def main(folder):
    paths = sorted(Path(folder).resolve().glob("*.ipynb"))
    if not paths:
        sys.exit(f"No notebook in {folder}.")
    for path in paths:
        print(f"Running {path.name} ...", flush=True)
        start = time.perf_counter()
        try:
            notebook = nbformat.read(path, as_version=4)
            execute(notebook, path.parent)
        except CellExecutionError as error:
            sys.exit(f"{path.name} failed, and is left as it was.\n{error}")
        write(clean(notebook), path)
        print(f"Running {path.name} took {time.perf_counter() - start:.0f} s.", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
