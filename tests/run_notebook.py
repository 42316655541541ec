"""Run a notebook on the device that stands in for a GPU, with few steps and little data: `python run_notebook.py PATH`.

It is run twice: once straight, and once with each cell interrupted half way and then run again. Both must end alike.
"""

import json
import linecache
import os
import sys
from functools import partial
from pathlib import Path

import IPython.display
from stand_in import StandIn
from torch import Tensor

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
FEW = {"steps": 2, "other_steps": 2, "short_steps": 1, "fusion_steps": 1, "test_pairs": 120}


def code_cells(path):
    """(place, source, tags) of each code cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [(n, cell) for n, cell in enumerate(cells) if cell["cell_type"] == "code"]
    return [(n, "".join(cell["source"]), cell["metadata"].get("tags", [])) for n, cell in code]


def run(path, run_cell):
    """Run a notebook and give its variables; `run_cell` takes the code of a cell and the variables."""
    variables = {"__name__": "__main__"}
    for n, source, tags in code_cells(path):
        name = f"<{path.name}, cell {n}>"
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name  # for tracebacks
        run_cell(compile(source, name, "exec"), variables)
        if "parameters" in tags:
            variables |= {name: few for name, few in FEW.items() if name in variables}
    return variables


def run_straight(path):
    """The variables, and how often each cell called torch."""
    calls = []

    def count(code, variables):
        before = device.calls
        exec(code, variables)
        calls.append(device.calls - before)

    with StandIn() as device:
        return run(path, count), calls


def run_interrupted(path, calls):
    """The variables, each cell having been interrupted half way and run again."""
    halves = iter(calls)

    def interrupt(code, variables):
        device.interrupted = device.calls + next(halves) // 2
        try:
            exec(code, variables)
        except KeyboardInterrupt:
            interrupted.append(code.co_filename)
        device.interrupted = None
        exec(code, variables)

    interrupted = []
    with StandIn() as device:
        variables = run(path, interrupt)
    assert len(interrupted) > 20, interrupted  # cells that call torch at all
    return variables


def make_small():
    """Let notebooks show nothing, load and train little, and give the list of what they would have shown."""
    import mmlib.data.motion
    import mmlib.data.speech
    import mmlib.decode
    import mmlib.train
    from mmlib import plots, results, widgets

    shown = []
    for module in (IPython.display, results, plots.style, plots.sounds, plots.clips, mmlib.source):
        module.display = lambda *what, **how: shown.extend(what)
    plots.show = lambda figure, alt: None
    widgets.live.Live.draw = lambda live: None
    sys.modules["faiss"] = None  # its section searches a million vectors, and asks no model
    train, make_clips, make_speech = mmlib.train.train, mmlib.data.motion.make_clips, mmlib.data.speech.make_speech
    mmlib.train.train = lambda *args, steps, **options: train(*args, steps=min(steps, 2), **options)
    mmlib.data.motion.make_clips = lambda sprites, clips, *how, **more: make_clips(
        sprites, min(clips, 36), *how, **more
    )
    mmlib.data.speech.make_speech = lambda: make_speech(670)  # each voice, each digit, once
    mmlib.decode.beam_search = partial(mmlib.decode.beam_search, limit=4)
    return shown


def shape_of(value):
    """How much there is in a variable, whatever the numbers."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in value.items() if isinstance(key, (str, int, tuple))}
    if isinstance(value, (list, tuple)):
        return [shape_of(each) for each in value]
    return type(value).__name__


def main(path):
    """Run it both ways and compare what came."""
    import mmlib.source  # noqa: F401  (its display is silenced too)
    from mmlib.results import MIME

    os.environ["MMLIB_DEVICE"] = "mps"
    shown = make_small()
    straight, calls = run_straight(path)
    again = run_interrupted(path, calls)
    differ = [name for name in straight | again if shape_of(straight.get(name)) != shape_of(again.get(name))]
    assert not differ, f"after the interruptions these variables are of another size: {differ}"
    first, *_, last = (each[MIME]["metrics"] for each in shown if isinstance(each, dict) and MIME in each)
    differ = [name for name in first if first[name] != last[name]]
    assert not differ, f"after the interruptions these results are others: {differ}"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
