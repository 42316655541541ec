"""Notebook 3 in JupyterLab in a browser: a search box that a reader fills in Chinese, and a model made on demand.

One long test, as a reader works: each start of JupyterLab takes longer than all that is done in it.
"""

import pytest

NOTEBOOK = "03_retrieval.ipynb"
ENOUGH = 20  # steps of training, so that the model is no longer random when it is stopped

pytestmark = pytest.mark.browser


def search_for(demo, text):
    """Type a text, wait for other pictures, and give what the demo says in its table."""
    before = demo.picture
    demo.type(text)
    demo.wait_for_another_picture(before)
    demo.wait_for_words("^Nearest: ")
    return demo.root.locator("table").inner_text()


def test_a_reader_searches_in_chinese_and_has_a_model_trained_on_demand(lab, root):
    from browser import lesson
    from browser.driver import copy_notebook

    notebook = copy_notebook(root / "notebooks" / NOTEBOOK, lab.folder, other_steps=2, short_steps=2)
    lab.open(NOTEBOOK)
    lesson.run_all(lab, ENOUGH)

    search = lab.demo("retrieval-explorer")
    search_for(search, "judge")
    table = search_for(search, "法官")
    assert "Chinese: " in table and "法官" in table
    search_for(search, "juezz")
    lesson.choose(search, "examples in", "Chinese")
    search.wait_for_words(r"exactly this name; \w+ comes at place \d+(\.5)? of 400")
    search.focus_slider()
    search.press("ArrowRight")
    assert search.root.locator("tbody tr").count() == 6
    search.type("")
    search.wait_for_words("^Type a name")

    names = lab.demo("names-explorer")
    names.focus_slider()
    names.press("ArrowRight")
    names.root.get_by_label("names in").select_option("Japanese")
    names.wait_for_words("in Japanese: nearest is “.*comes at place")
    assert names.root.locator("tbody tr").count() == 8

    negatives = lab.demo("negatives-explorer")
    negatives.wait_for_words("Recall at 1 is")
    negatives.focus_slider()
    negatives.press("ArrowRight")
    negatives.wait_for_words("press “train this one”")
    before = negatives.picture
    negatives.press_button("train this one")
    negatives.wait_for_another_picture(before)
    negatives.wait_for_words("Recall at 1 is")

    lesson.walk_all(lab, notebook)
    with lesson.training(lab):
        search_for(lab.demo("retrieval-explorer"), "警察")
        names = lab.demo("names-explorer")
        names.focus_slider()
        names.press("Home")
    lesson.close_and_reopen(lab, notebook)
