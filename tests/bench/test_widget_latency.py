"""From a key press to new pixels in the browser: the main control of every demo, in its notebook, beside `interact`.

`interact` draws the figure of the first demo from new at each move. Both run in one page of one JupyterLab, so that
their ratio says something on any machine.
"""

import nbformat
import pytest

RATIO = 0.7  # of the median of `interact`
PRESSES = 30
PARAMETERS = {  # short trainings: a demo is no slower for a model that knows little
    "01_clip": {"steps": 20, "short_steps": 2},
    "02_timesformer": {"steps": 20, "short_steps": 2},
    "03_retrieval": {"steps": 20, "short_steps": 2},
    "04_captioning": {"steps": 40, "short_steps": 2},
    "05_audio_visual_fusion": {"steps": 20, "fusion_steps": 20, "short_steps": 2},
}
TEXT, SLIDER = "input[type=text]", ".noUi-handle"
FORTH, LETTER = ("ArrowRight", "ArrowLeft"), ("s", "Backspace")
# Demo -> what is moved, where, two keys, and the most that the median and 90 % of the presses may take: milliseconds
# in which a reader still sees a picture that follows the key. `training-panel` has nothing to move: it draws by itself.
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
import matplotlib.pyplot as plt
from ipywidgets import FloatLogSlider, interactive
from mmlib.widgets.temperature import Drawing

def draw(temperature):
    figure = plt.figure(figsize=(8.6, Drawing.height(12) / 100), dpi=100)
    Drawing(figure, twelve.image, first_names, learned).update(sim, temperature, 0)
    plt.show()

learned = temperature
sim = (image_emb @ text_emb.T).double()
plain = interactive(draw, temperature=FloatLogSlider(value=learned, min=-2.3, max=0, step=0.04))
plain.add_class("plain-interact")
plain
"""

pytestmark = [pytest.mark.bench, pytest.mark.browser]


@pytest.mark.parametrize("name", PARAMETERS)
def test_new_pixels_soon_after_a_key_press(chromium, root, tmp_path, reacts, name):
    from browser.driver import Lab, copy_notebook

    folder = tmp_path / "notebooks"
    folder.mkdir()
    path = copy_notebook(root / "notebooks" / f"{name}.ipynb", folder, **PARAMETERS[name])
    first = name == next(iter(PARAMETERS))
    if first:
        add_cell(path, INTERACT, after="TemperatureExplorer(")
    with Lab(chromium, folder) as lab:
        lab.open(path.name)
        lab.run_all()
        took = {}
        for demo in lab.demos():
            if demo != "training-panel":
                what, place, keys, _ = MAIN[demo]
                took[demo] = time_keys(lab.demo(demo), place, keys)
                reacts(f"{name[:2].lstrip('0')}. `{demo}`", what, took[demo])
        if first:
            plain = time_keys(lab.demo("plain-interact"), SLIDER, FORTH)
            reacts("the first of these as `interact`", "temperature", plain)
        assert lab.complaints() == []
    for demo, timing in took.items():
        most = MAIN[demo][-1]
        assert timing.median <= most[0] and timing.nine_in_ten <= most[1], (demo, timing)
    if first:
        assert took["temperature-explorer"].median <= RATIO * plain.median


def test_every_demo_is_timed(root):
    from browser.lesson import PANEL, demos_of

    paths = sorted((root / "notebooks").glob("*.ipynb"))
    assert set().union(*map(demos_of, paths)) == {*MAIN, PANEL} and [*PARAMETERS] == [path.stem for path in paths]


def add_cell(path, code, after):
    notebook = nbformat.read(path, as_version=4)
    place = next(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and after in cell.source)
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(code.strip()))
    nbformat.write(notebook, path)


def time_keys(demo, place, keys):
    if place == TEXT:
        demo.type("woman judge")
        demo.wait_for_words("^Nearest: ")
    demo.root.locator(place).first.focus()
    demo.time_keys([*keys] * 3)  # warm
    return demo.time_keys([*keys] * (PRESSES // 2))
