"""Notebook 2 in JupyterLab in a browser: the frames that a reader takes away, and the order that he changes.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import re

import pytest

NOTEBOOK = "02_timesformer.ipynb"
ENOUGH = 20  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def step_of(words):
    return int(re.search(r"step (\d+) of", words).group(1))


def choose(demo, label, option):
    """Choose from the list with this label, and wait for another picture."""
    before = demo.picture
    demo.root.get_by_label(label).select_option(option)
    demo.wait_for_another_picture(before)


def test_a_reader_takes_frames_away_and_changes_their_order_while_a_model_trains(lab, root):
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

    frames = lab.demo("frame-count-explorer")
    frames.wait_for_words("^With 16 frames a clip of “right” is called")
    frames.focus_slider()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "Home"):
        frames.press(key)
    frames.wait_for_words("With 1 frame a clip of “right” is called")
    frames.press("End")
    frames.wait_for_words("With 16 frames a clip of “right” is called")
    choose(frames, "motion", "shake")
    frames.wait_for_words("With 16 frames a clip of “shake” is called")

    order = lab.demo("order-explorer")
    order.wait_for_words("^Frames 1 2 3 4 5 6 7 8, the clip forward. The model calls it")
    order.focus_slider()
    order.press("ArrowRight")
    order.wait_for_words("^Frames 8 2 3 4 5 6 7 1. The model calls it")
    order.press("End")
    order.wait_for_words("^Frames 8 7 6 5 4 3 2 1, the clip backward. The model calls it")
    choose(order, "play", "backward")
    order.wait_for_words("^Frames 1 2 3 4 5 6 7 8, the clip forward")
    choose(order, "swap", "at random")
    order.wait_for_words("^Frames [1-8 ]{15}. The model calls it")

    lab.run_cell("training-panel")
    again = lab.demo("training-panel")
    again.wait_for_words("Training: step")
    frames = lab.demo("frame-count-explorer")
    frames.focus_slider()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
        frames.press(key)
    order = lab.demo("order-explorer")
    order.focus_slider()
    order.press("Home")
    assert lab.is_running()
    again = lab.demo("training-panel")
    again.press_button("Stop")
    assert step_of(again.wait_for_words("Stopped at step")) >= 1
    lab.wait_idle(timeout=30)
    lab.demo("frame-count-explorer").wait_for_words("^With 2 frames a clip of “shake” is called")
    assert lab.complaints() == []
