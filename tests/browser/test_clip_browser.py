"""Notebook 1 in JupyterLab in a browser: what a reader sees and touches, where kernel, server and page meet.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import re

import pytest

NOTEBOOK = "01_clip.ipynb"
ENOUGH = 60  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def step_of(words):
    return int(re.search(r"step (\d+) of", words).group(1))


def test_a_reader_runs_all_stops_searches_and_moves_the_temperature_while_a_model_trains(lab, root):
    from browser.driver import copy_notebook

    copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, short_steps=5)
    lab.open(NOTEBOOK)
    lab.run_all(wait=False)

    panel = lab.demo("training-panel", timeout=180)
    panel.wait_for_words("Training: step", timeout=180)
    seen = panel.picture
    panel.wait_for_another_picture(seen)
    while step_of(panel.words) < ENOUGH:
        lab.page.wait_for_timeout(200)
    panel.press_button("Stop")
    stopped = panel.wait_for_words("Stopped at step")
    assert ENOUGH <= step_of(stopped) < 900
    lab.wait_idle()
    assert lab.complaints() == []

    temperature = lab.demo("temperature-explorer")
    temperature.focus_slider()
    before = temperature.words
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        temperature.press(key)
    assert temperature.wait_for_words(r"Temperature 1\.000") != before

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

    lab.run_cell("training-panel")
    again = lab.demo("training-panel")
    again.wait_for_words("Training: step")
    temperature = lab.demo("temperature-explorer")
    temperature.focus_slider()
    for _ in range(5):
        temperature.press("ArrowLeft")
    assert lab.is_running()
    again = lab.demo("training-panel")
    again.press_button("Stop")
    assert step_of(again.wait_for_words("Stopped at step")) >= 1
    lab.wait_idle(timeout=30)
    assert lab.complaints() == []
