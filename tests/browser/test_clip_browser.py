"""Notebook 1 in JupyterLab in a browser: what a reader sees and touches, where kernel, server and page meet.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import pytest

NOTEBOOK = "01_clip.ipynb"
ENOUGH = 60  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def test_a_reader_runs_all_stops_searches_and_moves_the_temperature_while_a_model_trains(lab, root):
    from browser import lesson
    from browser.driver import copy_notebook

    notebook = copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, short_steps=2)
    lab.open(NOTEBOOK)
    lesson.run_restart_and_run_all(lab, ENOUGH)  # here for all notebooks: they train in one panel

    temperature = lab.demo("temperature-explorer")
    temperature.focus_slider()
    before = temperature.words
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        temperature.press(key)
    assert temperature.wait_for_words(r"Temperature 1\.00\. ") != before

    search = lab.demo("search-explorer")
    search.type("woman quokka")
    assert "Nearest: " in search.wait_for_words("“quokka”")
    search.type("")
    search.wait_for_words("Type words")

    zero_shot = lab.demo("zero-shot-explorer")
    before = zero_shot.words
    zero_shot.focus_slider()
    zero_shot.press("ArrowRight")
    zero_shot.type("scientist, police officer")
    assert zero_shot.wait_for_words("is taken for (scientist|police officer)") != before

    lesson.walk_all(lab, notebook)
    with lesson.training(lab):
        temperature = lab.demo("temperature-explorer")
        temperature.focus_slider()
        for key in ("Home", "ArrowRight", "End", "ArrowLeft", "ArrowLeft"):
            temperature.press(key)
    lesson.close_and_reopen(lab, notebook)
