"""Notebook 4 in JupyterLab in a browser: a reader changes how words are chosen, and asks where the model looked.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import re

import pytest

NOTEBOOK = "04_captioning.ipynb"
ENOUGH = 100  # steps of training, so that the captions have come to an end of their own when it is stopped

pytestmark = pytest.mark.browser


def words_of(demo):
    """The buttons of a caption's words."""
    return demo.root.locator(".widget-toggle-buttons button")


def test_a_reader_widens_the_beam_and_chooses_a_word_while_a_model_trains(lab, root):
    from browser import lesson
    from browser.driver import copy_notebook

    notebook = copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, short_steps=2)
    lab.open(NOTEBOOK)
    lesson.run_all(lab, ENOUGH)

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

    lesson.walk_all(lab, notebook)
    with lesson.training(lab):
        tree = lab.demo("tree-explorer")
        tree.focus_slider(2)
        tree.press("End")
        decode = lab.demo("decode-explorer")
        words_of(decode).last.click()
        decode.wait_for_words(rf" Word {words_of(decode).count()}, “")
    lesson.close_and_reopen(lab, notebook)
