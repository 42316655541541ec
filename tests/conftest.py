"""What all tests share: shapes checked in every call of mmlib, one thread, a seed, and the browser."""

import os
import shutil
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

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


def pytest_configure(config):
    # Checking shapes takes time, so the timings go without.
    if config.option.markexpr != "bench" and "NO_HOOK" not in os.environ:
        jaxtyping.install_import_hook("mmlib", "beartype.beartype")


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
    """The path of the browser; a test that asks for it carries the marker `browser`."""
    return find_chromium()


@pytest.fixture(scope="session")
def root():
    """The folder of the project."""
    return Path(__file__).resolve().parent.parent


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
