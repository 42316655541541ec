"""How far results move with the seed and the number of threads: `python tools/bands.py README.md notebooks`.

Every notebook is run with seeds 0, 1 and 2 on two threads, then on one, and its file stays as it is. The README shows,
for each metric with a floor, the lowest and the highest of three seeds. A number under its floor is kept, and said:
that is what this is for.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from parameters import set_parameters
from readme import link_to, renew_table

from mmlib.results import MIME
from notebooks import execute

SEEDS, THREADS = (0, 1, 2), (2, 1)
CORES = 2  # kernels run beside each other as long as their threads have a core each


def metrics_of(path, seed, threads):
    """What the notebook reports, metric -> its row; also when `report` then fails, for a number under its floor."""
    # The small trainings are cut short: no floor hangs on them.
    notebook = set_parameters(nbformat.read(path, as_version=4), seed=seed, short_steps=2)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with suppress(CellExecutionError):
        execute(notebook, path.parent, env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    reports = [output.data[MIME] for output in outputs if MIME in output.get("data", {})]
    if not reports:
        errors = [output.evalue for output in outputs if output.output_type == "error"]
        sys.exit(f"{path.name}, seed {seed}, threads {threads}: no results. {' '.join(errors)}")
    metrics = reports[-1]["metrics"]
    for name, row in metrics.items():
        under = row["floor"] is not None and row["value"] < row["floor"]
        where = f"{path.name}, seed {seed}, threads {threads}: {name} is {row['value']:g}"
        print(where + (f", UNDER ITS FLOOR {row['floor']:g}" if under else ""), flush=True)
    return metrics


def band(rows):
    """The lowest and the highest value, and in how many of the runs it was under its floor."""
    values = sorted(row["value"] for row in rows)
    under = sum(row["value"] < row["floor"] for row in rows)
    return f"{values[0]:.4g} to {values[-1]:.4g}" + (f", {under} of {len(rows)} under its floor" if under else "")


def table(found):
    """In Markdown; `found` is (path, threads) -> the metrics of each seed."""
    head = ["notebook", "metric", *(f"{threads} thread{'s' * (threads > 1)}" for threads in THREADS)]
    lines = [head, ["---"] * len(head)]
    for path in dict.fromkeys(path for path, _ in found):
        first = found[path, THREADS[0]][0]
        for name in sorted(name for name, row in first.items() if row["floor"] is not None):
            bands = [band([metrics[name] for metrics in found[path, threads]]) for threads in THREADS]
            lines.append([link_to(path), f"`{name}`", *bands])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(readme, folder):
    paths, found = sorted(Path(folder).resolve().glob("*.ipynb")), {}
    for threads in THREADS:
        runs = list(product(paths, SEEDS))
        with ThreadPoolExecutor(CORES // threads) as beside:
            results = list(beside.map(lambda run, threads=threads: metrics_of(*run, threads), runs))
        for (path, _), metrics in zip(runs, results, strict=True):
            found.setdefault((path, threads), []).append(metrics)
    renew_table(readme, table(found), "bands")


if __name__ == "__main__":
    main(*sys.argv[1:])
