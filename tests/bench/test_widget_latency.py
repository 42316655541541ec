"""From a key press to new pixels in the browser: the main control of every demo, in its notebook, beside `interact`.

`interact` draws the figure of the first demo from new at each move. It runs at the end of each notebook, in the same
page of the same JupyterLab, so that the ratio to it says something on any machine.
"""

import nbformat
import pytest

RATIO = 0.7  # of the median of `interact`
PRESSES = 30
PARAMETERS = {  # short trainings: a demo is no slower for a model that knows little
    "01_clip": {"steps": 20, "short_steps": 2},
    "02_timesformer": {"steps": 20, "short_steps": 2},
    "03_retrieval": {"steps": 20, "other_steps": 2, "short_steps": 2},
    "04_captioning": {"steps": 40, "short_steps": 2},
    "05_audio_visual_fusion": {"steps": 20, "fusion_steps": 20, "short_steps": 2},
}
TEXT, SLIDER = "input[type=text]", ".noUi-handle"
FORTH, LETTER = ("ArrowRight", "ArrowLeft"), ("s", "Backspace")
# Demo -> what is moved, where, two keys, and the most that the median and 90 % of the presses may take: milliseconds
# in which a reader still sees a picture that follows the key, on a machine as fast as the one of YARDSTICK_SECONDS.
# `training-panel` has nothing to move: it draws by itself.
MAIN = {
    "temperature-explorer": ("temperature", SLIDER, FORTH, (60, 90)),
    "search-explorer": ("a letter of a search", TEXT, LETTER, (150, 250)),
    "zero-shot-explorer": ("picture", SLIDER, FORTH, (60, 90)),
    "frame-count-explorer": ("frames", SLIDER, FORTH[::-1], (100, 150)),
    "order-explorer": ("frames swapped", SLIDER, FORTH, (100, 150)),
    "retrieval-explorer": ("a letter of a search", TEXT, LETTER, (150, 250)),
    "names-explorer": ("picture", SLIDER, FORTH, (60, 90)),
    "negatives-explorer": ("margin", SLIDER, FORTH, (100, 150)),
    "decode-explorer": ("picture", SLIDER, FORTH, (150, 250)),
    "tree-explorer": ("picture", SLIDER, FORTH, (150, 250)),
    "fusion-explorer": ("picture noise", SLIDER, FORTH, (60, 90)),
    "say-explorer": ("words a minute", SLIDER, FORTH, (150, 250)),
}

INTERACT = """
def draw_anew(temperature):
    figure = plt.figure(figsize=(8.6, Drawing.height(12) / 100), dpi=100)
    Drawing(figure, torch.zeros(12, 3, 32, 32, dtype=torch.uint8), ["name"] * 12, 0.05).update(SIM, temperature, 0)
    plt.show()

import matplotlib.pyplot as plt
import torch
from ipywidgets import FloatLogSlider, interactive
from mmlib.widgets.temperature import Drawing

SIM = torch.rand(12, 12, dtype=torch.float64)
plain = interactive(draw_anew, temperature=FloatLogSlider(value=0.05, min=-2.3, max=0, step=0.04))
plain.add_class("plain-interact")
plain
"""

pytestmark = [pytest.mark.bench, pytest.mark.browser]


@pytest.mark.parametrize("name", PARAMETERS)
def test_new_pixels_soon_after_a_key_press(chromium, root, tmp_path, reacts, slower, name):
    from browser.driver import Lab, copy_notebook

    folder = tmp_path / "notebooks"
    folder.mkdir()
    path = copy_notebook(root / "notebooks" / f"{name}.ipynb", folder, **PARAMETERS[name])
    add_cell(path, INTERACT)
    with Lab(chromium, folder) as lab:
        lab.open(path.name)
        lab.run_all()
        assert lab.complaints() == []
        took = {}
        for demo in lab.demos():
            if demo != "training-panel":
                what, place, keys, _ = MAIN[demo]
                took[demo] = time_keys(lab.demo(demo), place, keys)
                reacts(f"{name[:2].lstrip('0')}. `{demo}`", what, took[demo])
        plain = time_keys(lab.demo("plain-interact"), SLIDER, FORTH)
        reacts(f"{name[:2].lstrip('0')}. one as `interact`", "temperature", plain)
        assert lab.complaints() == []
    for demo, timing in took.items():
        most = MAIN[demo][-1]
        assert timing.median <= most[0] * slower and timing.nine_in_ten <= most[1] * slower, (demo, timing, slower)
        assert timing.median <= RATIO * plain.median, (demo, timing, plain)


def test_every_demo_is_timed(root):
    from browser.lesson import PANEL, demos_of

    paths = sorted((root / "notebooks").glob("*.ipynb"))
    assert set().union(*map(demos_of, paths)) == {*MAIN, PANEL} and [*PARAMETERS] == [path.stem for path in paths]


def add_cell(path, code):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(code.strip()))
    nbformat.write(notebook, path)


def time_keys(demo, place, keys):
    if place == TEXT:
        demo.type("woman judge")
        demo.wait_for_words("^Nearest: ")
    demo.root.locator(place).first.focus()
    demo.time_keys([*keys] * 3)  # warm
    return demo.time_keys([*keys] * (PRESSES // 2))
