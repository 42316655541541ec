"""Notebook 4 in JupyterLab in a browser: a reader changes how words are chosen, and asks where the model looked.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import re

import pytest

NOTEBOOK = "04_captioning.ipynb"
ENOUGH = 40  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def step_of(words):
    return int(re.search(r"step (\d+) of", words).group(1))


def words_of(demo):
    """The buttons of a caption's words."""
    return demo.root.locator(".widget-toggle-buttons button")


def test_a_reader_widens_the_beam_and_chooses_a_word_while_a_model_trains(lab, root):
    from browser.driver import copy_notebook

    copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, short_steps=2)
    lab.open(NOTEBOOK)
    lab.run_all(wait=False)

    panel = lab.demo("training-panel", timeout=180)
    panel.wait_for_words("Training: step", timeout=180)
    while step_of(panel.words) < ENOUGH:
        lab.page.wait_for_timeout(200)
    panel.press_button("Stop")
    assert step_of(panel.wait_for_words("Stopped at step")) >= ENOUGH
    lab.wait_idle()
    assert lab.complaints() == []

    decode = lab.demo("decode-explorer")
    decode.wait_for_words("^With 5 beams and length penalty 1.0 the model says “.*Word 1, ")
    decode.focus_slider(1)
    for key, words in (("ArrowRight", "^With 6 beams "), ("Home", "^With 1 beam "), ("End", "^With 8 beams ")):
        lab.page.keyboard.press(key)
        decode.wait_for_words(words)
    count = words_of(decode).count()
    before = decode.picture
    words_of(decode).last.click()
    decode.wait_for_words(rf"Word {count}, “{re.escape(words_of(decode).last.inner_text())}”, has \d+%")
    if count > 1:
        decode.wait_for_another_picture(before)
    decode.focus_slider(0)
    decode.press("ArrowRight")
    decode.root.get_by_label("words by").select_option("sampling")
    decode.wait_for_words("^In draw 1, at temperature 1.0 and top-p 0.90, the model says")
    decode.focus_slider(3)
    lab.page.keyboard.press("Home")
    decode.wait_for_words("^In draw 1, at temperature 0.1 and top-p 0.90, the model says")

    tree = lab.demo("tree-explorer")
    tree.wait_for_words(r"^After \d+ words? the best of 5 beams is “")
    tree.focus_slider(1)
    lab.page.keyboard.press("Home")
    tree.wait_for_words("^After 1 word the best of 5 beams is “")
    tree.focus_slider(2)
    for key, words in (("End", "^After 1 word the best of 8 beams"), ("Home", "^After 1 word the best of 1 beam is")):
        tree.press(key)
        tree.wait_for_words(words)

    lab.run_cell("training-panel")
    again = lab.demo("training-panel")
    again.wait_for_words("Training: step")
    tree = lab.demo("tree-explorer")
    tree.focus_slider(2)
    tree.press("End")
    decode = lab.demo("decode-explorer")
    words_of(decode).first.click()
    decode.wait_for_words(" Word 1, “")
    assert lab.is_running()
    again = lab.demo("training-panel")
    again.press_button("Stop")
    assert step_of(again.wait_for_words("Stopped at step")) >= 1
    lab.wait_idle(timeout=30)
    lab.demo("tree-explorer").wait_for_words("^After 1 word the best of 8 beams")
    assert lab.complaints() == []
