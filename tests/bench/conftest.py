"""The tables of `make bench`: each test that holds us against a peer, or a demo against a clock, adds a row.

With BENCH_README set to a README the tables are also written there, each between the markers of its name, such as
`<!-- bench -->` and `<!-- /bench -->`, unless a timing failed or a peer is missing.
"""

import datetime
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import yardstick  # noqa: E402

HEADS = {  # of each table
    "bench": "| what | here | there | ratio | held against |\n|---|---|---|---|---|",
    "latency": "| demo | what is moved | median | 90 % are within |\n|---|---|---|---|",
}
YARDSTICK_SECONDS = 0.12  # of the machine on which the limits in seconds were set
ROWS = pytest.StashKey()


@pytest.fixture(scope="session")
def slower():
    """How many times as long as where the limits in seconds were set the same work takes here; 1 or more."""
    return max(1.0, yardstick.seconds() / YARDSTICK_SECONDS)


@pytest.fixture
def compare(request):
    """Add a row: `compare(what, ours, theirs, package)`, in seconds, or in megabytes with `unit="MB"`.

    Without a package we are held against another way of our own, which `against` names.
    """

    def add(what, ours, theirs, package=None, against="", unit="s"):
        peer = f"{package} {version(package)}" if package else against
        row = f"| {what} | {show(ours, unit)} | {show(theirs, unit)} | {ours / theirs:.2f} | {peer} |"
        add_row(request, "bench", row)
        return ours / theirs

    return add


@pytest.fixture
def reacts(request):
    """Add a row: `reacts(demo, what, timing)`, from a key press to new pixels."""

    def add(demo, what, timing):
        row = f"| {demo} | {what} | {timing.median:.0f} ms | {timing.nine_in_ten:.0f} ms |"
        add_row(request, "latency", row)

    return add


def add_row(request, table, row):
    request.config.stash.setdefault(ROWS, {}).setdefault(table, []).append(row)


def show(value, unit):
    if unit == "MB":
        return f"{value:,.0f} MB"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


@pytest.fixture
def side_by_side():
    """`side_by_side(ours, theirs, rounds)`: seconds of both, taken in turn so that both meet the same weather.

    Of all rounds the fastest fifth ends at what is given: what other programs did meanwhile only ever adds to a time.
    """

    def measure(ours, theirs, rounds=15):
        times = ([], [])
        for _ in range(rounds + 2):
            for call, taken in zip((ours, theirs), times, strict=True):
                start = time.perf_counter()
                call()
                taken.append(time.perf_counter() - start)
        return [torch.tensor(taken[2:]).quantile(0.2).item() for taken in times]  # the first two warm up

    return measure


def machine():
    """The processor as the system names it, the threads, and the versions that all rows share."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
    )


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    date = datetime.date.today().isoformat()
    start = f"Measured on {date}, mmlib {version('mmlib')} on {machine()}."
    rows = config.stash.get(ROWS, {})
    tables = {name: "\n".join([start, "", HEADS[name], *rows[name]]) for name in HEADS if name in rows}
    for table in tables.values():
        terminalreporter.write_line(f"\n{table}")
    readme = os.environ.get("BENCH_README")
    if not (readme and tables):
        return
    if exitstatus != 0 or terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(
            f"Not written into {readme}: a timing failed, or something to compare with is missing."
        )
        return
    from tools.readme import renew_table

    for name, table in tables.items():
        renew_table(readme, table, name)
    terminalreporter.write_line(f"Written into {readme}.")
