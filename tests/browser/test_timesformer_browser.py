"""Notebook 2 in JupyterLab in a browser: the frames that a reader takes away, and the order that he changes.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import pytest

NOTEBOOK = "02_timesformer.ipynb"
ENOUGH = 20  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def test_a_reader_takes_frames_away_and_changes_their_order_while_a_model_trains(lab, root):
    from browser import lesson
    from browser.driver import copy_notebook

    notebook = copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, short_steps=2)
    lab.open(NOTEBOOK)
    lesson.run_all(lab, ENOUGH)

    frames = lab.demo("frame-count-explorer")
    frames.wait_for_words("^With 16 frames a clip of “right” is called")
    frames.focus_slider()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "Home"):
        frames.press(key)
    frames.wait_for_words("With 1 frame a clip of “right” is called")
    frames.press("End")
    frames.wait_for_words("With 16 frames a clip of “right” is called")
    lesson.choose(frames, "motion", "shake")
    frames.wait_for_words("With 16 frames a clip of “shake” is called")

    order = lab.demo("order-explorer")
    order.wait_for_words("^Frames 1 2 3 4 5 6 7 8, the clip forward. The model calls it")
    order.focus_slider()
    order.press("ArrowRight")
    order.wait_for_words("^Frames 8 2 3 4 5 6 7 1. The model calls it")
    order.press("End")
    order.wait_for_words("^Frames 8 7 6 5 4 3 2 1, the clip backward. The model calls it")
    lesson.choose(order, "play", "backward")
    order.wait_for_words("^Frames 1 2 3 4 5 6 7 8, the clip forward")
    lesson.choose(order, "swap", "at random")
    order.wait_for_words("^Frames [1-8 ]{15}. The model calls it")

    lesson.walk_all(lab, notebook)
    with lesson.training(lab):
        frames = lab.demo("frame-count-explorer")
        frames.focus_slider()
        for key in ("Home", "ArrowRight", "End"):
            frames.press(key)
        order = lab.demo("order-explorer")
        order.focus_slider()
        order.press("Home")
    lesson.close_and_reopen(lab, notebook)
