"""A JupyterLab in a browser: one for all tests of a process, a page of it for each."""

import pytest

pytest.register_assert_rewrite("browser.lesson", "browser.walker")  # so that their assertions tell what they found


@pytest.fixture(scope="session")
def jupyter(chromium, tmp_path_factory):
    from browser.driver import Lab  # not before the markers have been looked at: Playwright may be missing

    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    with Lab(chromium, folder) as lab:
        yield lab


@pytest.fixture
def lab(jupyter):
    """A lab with an empty page; copy or write a notebook into `lab.folder`, then `lab.open` it."""
    jupyter.turn_page()
    return jupyter
