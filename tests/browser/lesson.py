"""What every notebook goes through in JupyterLab: run, restarted, walked through, trained again, and reopened."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from browser.driver import Demo, Lab
from browser.walker import controls_of, walk, walk_one

from mmlib import widgets

PANEL = "training-panel"  # its one button is pressed while it trains


def step_of(words: str) -> int:
    return int(re.search(r"step (\d+) of", words).group(1))


def demos_of(notebook: Path) -> set[str]:
    """The CSS classes of the demos that a notebook makes."""
    cells = nbformat.read(notebook, as_version=4).cells
    made = re.findall(r"\bwidgets\.([A-Z]\w+)\(", "\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    return {getattr(widgets, name).css_class for name in made}


def choose(demo: Demo, label: str, option: str) -> None:
    """Choose from the list with this label, and wait for another picture."""
    before = demo.picture
    demo.root.get_by_label(label, exact=True).select_option(option)
    demo.wait_for_another_picture(before)


def run_all(lab: Lab, enough: int) -> None:
    """Run all cells, restart the kernel in mid-training, run all again, and stop the training after so many steps."""
    lab.run_all(wait=False)
    panel = lab.demo(PANEL, timeout=180)
    panel.wait_for_words("Training: step", timeout=180)
    before = panel.root.element_handle()
    lab.restart_and_run_all(wait=False)
    lab.page.wait_for_function("panel => !panel.isConnected", arg=before, timeout=180_000)
    panel = lab.demo(PANEL, timeout=180)
    panel.wait_for_words("Training: step", timeout=180)
    while step_of(panel.words) < enough:
        lab.page.wait_for_timeout(100)
    panel.press_button("Stop")
    assert enough <= step_of(panel.wait_for_words("Stopped at step"))
    lab.wait_idle()
    assert lab.complaints() == []


def walk_all(lab: Lab, notebook: Path) -> None:
    """Walk through every control of every demo of the notebook."""
    found = set(lab.demos())
    assert found == demos_of(notebook)
    for name in sorted(found - {PANEL}):
        walk(lab.demo(name), name)
        assert lab.complaints() == [], name


@contextmanager
def training(lab: Lab) -> Iterator[None]:
    """Train again, and stop after what is done meanwhile."""
    lab.run_cell(PANEL)
    lab.demo(PANEL).wait_for_words("Training: step")
    yield
    assert lab.is_running()
    panel = lab.demo(PANEL)
    panel.press_button("Stop")
    assert step_of(panel.wait_for_words("Stopped at step")) >= 1
    lab.wait_idle(timeout=30)
    assert lab.complaints() == []


def close_and_reopen(lab: Lab, notebook: Path) -> None:
    """Close the notebook and open it again: each demo shows what it showed, and answers, since the kernel lives on."""
    for name in lab.demos():
        lab.demo(name).wait_for_rest()
    shown = {name: lab.demo(name).wait_for_words(".") for name in lab.demos()}
    lab.close_and_reopen(notebook.name)
    for name, words in shown.items():
        demo = lab.demo(name)
        demo.wait_for_words(f"^{re.escape(words)}$")
        assert name == PANEL or any(walk_one(demo, name, control) for control in controls_of(demo)), name
    assert lab.complaints() == []
