"""The walk through every demo: it forgets none, and it fails by name where a control changes nothing."""

import re

import pytest

from mmlib import widgets

pytestmark = pytest.mark.browser

# A demo as the front end builds it, small: a list that changes words and picture, and whatever is put beside it.
PAGE = """
<div class="widget-vbox small-explorer">
  <div class="widget-dropdown"><label>size</label><select onchange="WORDS; PICTURE">
    <option>1</option><option>2</option><option>3</option></select></div>
  BESIDE
  <img src="0"><div class="widget-html"><div aria-live="polite">Size 1.</div></div>
</div>
"""
WORDS = "document.querySelector('[aria-live]').innerText = `Size ${this.value}.`"
PICTURE = "document.querySelector('img').src = this.value"
OFF = '<div class="widget-checkbox"><label>dim</label><input type="checkbox" disabled></div>'
SHORT = '<div class="widget-checkbox"><label>dim</label><input type="checkbox" onclick="return false"></div>'


@pytest.fixture(scope="module")
def page(chromium):
    page = chromium.new_page()
    yield page
    page.close()


def walk_page(page, monkeypatch, words=WORDS, picture=PICTURE, beside=""):
    from browser import walker
    from browser.driver import Demo

    monkeypatch.setattr(walker, "SECONDS", 0.3)
    page.set_content(PAGE.replace("WORDS", words).replace("PICTURE", picture).replace("BESIDE", beside))
    return walker.walk(Demo(page, page.locator(".small-explorer")), "small-explorer")


def test_a_walk_tells_what_it_moved(page, monkeypatch):
    assert walk_page(page, monkeypatch) == ["size"]
    assert page.locator("select").input_value() == "1"  # where it ends


@pytest.mark.parametrize(
    "broken, message",
    [
        ({"words": ""}, "small-explorer, 'size', ['End']: the words stay 'Size 1.'"),
        ({"picture": ""}, "small-explorer, 'size', ['End']: the picture stays"),
        ({"beside": OFF}, "small-explorer: nothing switches on ['dim']"),
        ({"beside": SHORT}, "small-explorer, 'dim': [[0, 0, 1], [0, 0, 1], [0, 0, 1]]"),
        ({"beside": OFF.replace("dim", "")}, "a control has no label"),
        ({"beside": "<textarea></textarea>"}, "<textarea></textarea>"),
        ({"beside": '<p role="alert">ValueError</p>'}, "ValueError"),
    ],
)
def test_a_walk_fails_by_name(page, monkeypatch, broken, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        walk_page(page, monkeypatch, **broken)


def test_every_demo_is_walked_in_a_notebook(root):
    from browser.lesson import demos_of
    from browser.walker import STILL

    files = (root / "tests" / "browser").glob("test_*_browser.py")
    walked = re.findall(r'(?m)^NOTEBOOK = "(.+)"', "\n".join(path.read_text(encoding="utf-8") for path in files))
    paths = sorted((root / "notebooks").glob("*.ipynb"))
    assert sorted(walked) == [path.name for path in paths]
    found = [demos_of(path) for path in paths]
    assert len(set().union(*found)) == len(widgets.__all__)
    assert {name for name, _ in STILL} <= set().union(*found)
