"""A JupyterLab in a browser for one test."""

import pytest

pytest.register_assert_rewrite("browser.lesson", "browser.walker")  # so that their assertions tell what they found


@pytest.fixture
def lab(chromium, tmp_path):
    """A lab whose folder starts out empty; copy or write a notebook into `lab.folder`, then `lab.open` it."""
    from browser.driver import Lab  # not before the markers have been looked at: Playwright may be missing

    folder = tmp_path / "notebooks"
    folder.mkdir()
    with Lab(chromium, folder) as lab:
        yield lab
