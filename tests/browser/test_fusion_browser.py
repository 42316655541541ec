"""Notebook 5 in JupyterLab in a browser: a reader changes the fusion, mutes the sound, and sees the weights move.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import re

import pytest

NOTEBOOK = "05_audio_visual_fusion.ipynb"
ENOUGH = 20  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def step_of(words):
    return int(re.search(r"step (\d+) of", words).group(1))


def choose(demo, label, option):
    """Choose from the list with this label, and wait for another picture."""
    before = demo.picture
    demo.root.get_by_label(label, exact=True).select_option(option)
    demo.wait_for_another_picture(before)


def tick(demo, label):
    """Tick or untick the box with this label, and wait for another picture."""
    before = demo.picture
    demo.root.get_by_label(label, exact=True).click()
    demo.wait_for_another_picture(before)


def player(demo):
    """What the player would play."""
    return demo.root.locator("audio").first.get_attribute("src")


def test_a_reader_changes_the_fusion_mutes_the_sound_and_sees_weights_move_while_a_model_trains(lab, root):
    from browser.driver import copy_notebook

    copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, fusion_steps=20, short_steps=5)
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

    fusion = lab.demo("fusion-explorer")
    fusion.wait_for_words("“attention” sees a 0 .*hears “0”.* Weight on the sound 0")
    choose(fusion, "fusion", "late")
    fusion.wait_for_words("“late” sees a 0 .* Weight on the sound 0")
    choose(fusion, "fusion", "early")
    fusion.wait_for_words("“early” .* It has no weights to read")
    choose(fusion, "fusion", "attention")
    clean, sound = fusion.wait_for_words("Weight on the sound 0"), player(fusion)
    fusion.focus_slider(1)
    fusion.press("End")
    fusion.wait_for_words(r"hears “0” \(white 1\.00\)")
    assert fusion.words != clean and player(fusion) != sound  # the noise is heard
    tick(fusion, "mute")
    fusion.wait_for_words(r"hears nothing.* Weight on the sound 0\.00; inverse variance would give the sound 0\.00")
    tick(fusion, "blindfold")
    fusion.wait_for_words("Nothing is seen and nothing is heard")
    tick(fusion, "mute")
    fusion.wait_for_words(r"sees nothing.* Weight on the sound 1\.00")

    say = lab.demo("say-explorer")
    say.wait_for_words("^7 in English .*as in the training")
    said = player(say)
    choose(say, "language", "German (never heard)")
    say.wait_for_words("^7 in German, a language that the model never heard")
    assert player(say) != said
    say.focus_slider(1)
    say.press("End")
    say.wait_for_words("pitch 95: the model hears")

    lab.run_cell("training-panel")
    again = lab.demo("training-panel")
    again.wait_for_words("Training: step")
    fusion = lab.demo("fusion-explorer")
    tick(fusion, "blindfold")
    fusion.focus_slider()
    for _ in range(3):
        fusion.press("ArrowRight")
    assert lab.is_running()
    again = lab.demo("training-panel")
    again.press_button("Stop")
    assert step_of(again.wait_for_words("Stopped at step")) >= 1
    lab.wait_idle(timeout=30)
    lab.demo("fusion-explorer").wait_for_words(r"sees a 0 \(noise 0\.15\)")
    assert lab.complaints() == []
