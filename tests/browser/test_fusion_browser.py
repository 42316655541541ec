"""Notebook 5 in JupyterLab in a browser: a reader changes the fusion, mutes the sound, and sees the weights move.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import pytest

NOTEBOOK = "05_audio_visual_fusion.ipynb"
ENOUGH = 20  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def tick(demo, label):
    """Tick or untick the box with this label, and wait for another picture."""
    before = demo.picture
    demo.root.get_by_label(label, exact=True).click()
    demo.wait_for_another_picture(before)


def player(demo):
    """What the player would play."""
    return demo.root.locator("audio").first.get_attribute("src")


def test_a_reader_changes_the_fusion_mutes_the_sound_and_sees_weights_move_while_a_model_trains(lab, root):
    from browser import lesson
    from browser.driver import copy_notebook

    notebook = copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, fusion_steps=20, short_steps=2)
    lab.open(NOTEBOOK)
    lesson.run_all(lab, ENOUGH)

    fusion = lab.demo("fusion-explorer")
    fusion.wait_for_words("“attention” sees a 0 .*hears “0”.* Weight on the sound 0")
    lesson.choose(fusion, "fusion", "late")
    fusion.wait_for_words("“late” sees a 0 .* Weight on the sound 0")
    lesson.choose(fusion, "fusion", "early")
    fusion.wait_for_words("“early” .* It has no weights to read")
    lesson.choose(fusion, "fusion", "attention")
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
    tick(fusion, "blindfold")

    say = lab.demo("say-explorer")
    say.wait_for_words("^7 in English .*as in the training")
    said = player(say)
    lesson.choose(say, "language", "German (never heard)")
    say.wait_for_words("^7 in German, a language that the model never heard")
    assert player(say) != said
    say.focus_slider(1)
    say.press("End")
    say.wait_for_words("pitch 95: the model hears")

    lesson.walk_all(lab, notebook)
    with lesson.training(lab):
        fusion = lab.demo("fusion-explorer")
        tick(fusion, "blindfold")
        tick(fusion, "blindfold")
        fusion.focus_slider()
        for key in ("Home", "ArrowRight", "ArrowRight"):
            fusion.press(key)
    lesson.close_and_reopen(lab, notebook)
