"""What all tests share: shapes checked in every call of mmlib, one thread, a seed, tools to call, and the browser."""

import os
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import pytest
from hypothesis import settings

import mmlib  # noqa: F401 (before torch: threads that wait sleep, here and in the processes that tests start)

# No deadlines, since the machine may be busy, and the same examples in each run of the fast tests.
settings.register_profile("short", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("long", max_examples=500, deadline=None)
settings.load_profile("short")

CHROMIUMS = (
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
CHROMIUM_FLAGS.append("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost")  # asks nobody


def pytest_configure(config):
    # Checking shapes takes time, so the timings go without.
    if config.option.markexpr != "bench" and "NO_HOOK" not in os.environ:
        jaxtyping.install_import_hook("mmlib", "shapes.check")


def find_chromium():
    """The path of the system's browser, or None. CHROMIUM in the environment comes first."""
    if "CHROMIUM" in os.environ:
        return shutil.which(os.environ["CHROMIUM"])
    return next((path for path in CHROMIUMS if os.access(path, os.X_OK)), None)


def pytest_runtest_setup(item):
    """Skip the browser tests where there is no browser, and say so; on a CI machine that is a failure."""
    if item.get_closest_marker("browser") is None or find_chromium():
        return
    reason = "no Chromium or Chrome found: install one, or set CHROMIUM to its path"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    """The browser, started once; a test that asks for it carries the marker `browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def root():
    """The folder of the project."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def script(root, monkeypatch, capsys):
    """Runs `tools/NAME.py ARGUMENTS` in this process, which has long imported what takes another one seconds."""

    def run(name, *arguments):
        path = str(root / "tools" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        if isinstance(code, str):  # as Python does when it ends
            return SimpleNamespace(returncode=1, stdout=said.out, stderr=f"{said.err}{code}\n")
        return SimpleNamespace(returncode=code or 0, stdout=said.out, stderr=said.err)

    monkeypatch.syspath_prepend(str(root / "tools"))
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("the script goes on as another program"))
    return run


@pytest.fixture(autouse=True)
def seeded(request):
    """The same random numbers in each test, and one thread: on tiny tensors more of them only wait for each other."""
    import torch  # after the hook

    threads = torch.get_num_threads()
    if request.node.get_closest_marker("bench") is None:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
