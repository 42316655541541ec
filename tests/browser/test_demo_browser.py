"""The pages of `make demo` in a browser: made once from the notebooks with tiny trainings, then opened and moved."""

import os
import re
import signal
import sys
from types import SimpleNamespace

import nbformat
import pytest

pytestmark = pytest.mark.browser

FIRST = {  # the first demo of each page
    "1. CLIP": "temperature-explorer",
    "2. TimeSformer": "frame-count-explorer",
    "3. Retrieval": "retrieval-explorer",
    "4. Image captioning": "decode-explorer",
    "5. Audio-visual fusion": "fusion-explorer",
}
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
CONTRAST_AND_SIZE = """
() => [...document.querySelectorAll("#rendered_cells [aria-live], #rendered_cells .widget-label")].map(text => {
  const style = getComputedStyle(text), box = text.getBoundingClientRect();
  return {color: style.color, height: box.height, zoom: getComputedStyle(document.body).zoom, size: style.fontSize};
})
"""


@pytest.fixture(scope="module")
def tool(root):
    """tools/demo.py, with next to no training: enough for a captioner to say a word."""
    sys.path.insert(0, str(root / "tools"))
    import demo

    before = demo.RECIPES
    demo.RECIPES = {}
    for path in (root / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        demo.RECIPES[path.stem] = dict.fromkeys(re.findall(r"(?m)^(\w*steps) =", code), 2)
        if "captioning" in path.stem:
            demo.RECIPES[path.stem]["steps"] = 25
        assert set(before.get(path.stem, ())) <= set(demo.RECIPES[path.stem])
    yield demo
    demo.RECIPES = before
    sys.path.remove(str(root / "tools"))


@pytest.fixture(scope="module")
def made(tool, tmp_path_factory):
    """The demos of all notebooks, made once: their folder, the pages, and what was said about it."""
    folder = tmp_path_factory.mktemp("demos")
    return SimpleNamespace(folder=folder, pages=tool.prepare(folder))


@pytest.fixture(scope="module")
def projector(chromium, tool, made):
    from browser.driver import Projector

    def command(port):
        return tool.command(made.pages, port, "--no-browser")

    with Projector(chromium, made.pages, command, tool.environment()) as projector:
        yield projector


def test_a_second_start_makes_nothing(tool, made, capsys):
    kept = {path: path.stat().st_mtime_ns for path in made.folder.glob("*.pkl")}
    pages = tool.prepare(made.folder)
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in made.folder.glob("*.pkl")} == kept and len(kept) == len(FIRST)
    assert sorted(path.name for path in pages.iterdir()) == [f"{title}.ipynb" for title in FIRST]


def test_a_teacher_opens_every_page_and_moves_its_first_demo_by_keyboard(projector):
    for title, demo_class in FIRST.items():
        projector.open(title)
        demo = projector.demo(demo_class)
        before, seen = demo.words, demo.picture
        demo.focus_slider()
        projector.page.keyboard.press("ArrowLeft" if demo_class == "frame-count-explorer" else "ArrowRight")
        demo.wait_for_another_picture(seen)
        demo.wait_for_words(rf"^(?!{re.escape(before)}$)")
        assert demo.words != before, title
        assert projector.complaints() == [], title


def test_a_page_can_be_read_from_the_last_row(projector):
    projector.open("1. CLIP")
    demo = projector.demo("temperature-explorer")
    width = projector.page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 1280  # nothing stands beside the screen
    for text in projector.page.evaluate(CONTRAST_AND_SIZE):
        assert text["color"] == "rgb(0, 0, 0)"
        assert float(text["size"].removesuffix("px")) * float(text["zoom"]) >= 20, text
    shown = demo.root.locator("img").first.evaluate(
        "image => [image.naturalWidth, image.getBoundingClientRect().width]"
    )
    assert shown[0] >= shown[1]  # a pixel of the screen or more for a pixel of the figure: no blur


def test_a_page_says_that_its_python_has_ended_and_how_to_go_on(chromium, tool, tmp_path):
    from browser.driver import Projector

    cells = [
        nbformat.v4.new_markdown_cell("# Toys"),
        nbformat.v4.new_code_cell("import os, ipywidgets\nprint('process', os.getpid())\nipywidgets.IntSlider(3)"),
    ]
    pages = tmp_path / "pages"
    pages.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), pages / "Toys.ipynb")

    def command(port):
        return tool.command(pages, port, "--no-browser")

    with Projector(chromium, pages, command, tool.environment()) as projector:
        page, said = projector.page, projector.page.get_by_role("alert")
        projector.open("Toys")
        process = int(re.search(r"process (\d+)", page.locator("#rendered_cells").inner_text()).group(1))
        page.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(1000)
        assert said.count() == 0 and projector.complaints() == []
        os.kill(process, signal.SIGKILL)
        said.filter(has_text="has ended").filter(has_text="Reload the page (F5)").wait_for(timeout=30_000)
        page.reload()
        page.locator(".noUi-handle").wait_for(timeout=60_000)
        assert said.count() == 0
        projector.server.terminate()
        said.filter(has_text="does not answer").filter(has_text="make demo").wait_for(timeout=30_000)
        box, width = said.bounding_box(), page.evaluate("() => document.documentElement.clientWidth")
        assert box["y"] >= 0 and box["x"] >= 0 and box["x"] + box["width"] <= width  # in sight
