"""Run a notebook on the device that stands in for a GPU, with few steps and little data: `python run_notebook.py PATH`.

Each cell is interrupted half way, as with Ctrl-C, and then run again.
"""

import ast
import json
import linecache
import os
import sys
from functools import partial
from pathlib import Path

import IPython.display
from stand_in import StandIn

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
FEW = {"steps": 2, "other_steps": 2, "short_steps": 1, "fusion_steps": 1, "test_pairs": 120}


def code_cells(path):
    """(place, source, tags) of each code cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [(n, cell) for n, cell in enumerate(cells) if cell["cell_type"] == "code"]
    return [(n, "".join(cell["source"]), cell["metadata"].get("tags", [])) for n, cell in code]


def run(path):
    """Run a notebook, each cell interrupted first, and give the places of the cells in which that came to pass."""
    variables, interrupted = {"__name__": "__main__"}, []
    for n, source, tags in code_cells(path):
        name = f"<{path.name}, cell {n}>"
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name  # for tracebacks
        with StandIn() as device:
            if any(interrupt(source, name, variables, device, calls) for calls in (100, 1)):
                interrupted.append(n)
            before = [(key, each, len(each)) for key, each in lists_in(variables)]
            exec(compile(source, name, "exec"), variables)
        grown = [key for key, each, length in before if len(each) > length]
        assert not grown, f"{name} adds to {grown} again when it is run again: it must make these lists itself"
        if "parameters" in tags:
            variables |= {key: few for key, few in FEW.items() if key in variables}
    return interrupted


def interrupt(source, name, variables, device, calls):
    """Run a cell, and interrupt it as Ctrl-C would at the torch call of this number from its middle statement on."""
    code, middle, armed = compile(source, name, "exec"), middle_of(source), []

    def watch(frame, event, arg):
        if frame.f_code is code and frame.f_lineno == middle and not armed:
            armed.append(device.calls)
            device.interrupted = device.calls + calls
            sys.settrace(None)  # it makes every call slow
        return watch if frame.f_code is code else None

    device.interrupted = None
    sys.settrace(watch)
    try:
        exec(code, variables)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
        device.interrupted = None
    return False


def middle_of(source):
    """The line of the middle one of a cell's simple statements, those inside its own functions left aside."""

    def simple(statements):
        for statement in statements:
            if isinstance(statement, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
                yield from simple(statement.body)
            elif not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                yield statement.lineno

    lines = [*simple(ast.parse(source).body)]
    return lines[len(lines) // 2] if lines else 0


def lists_in(values, key=""):
    """All lists among the variables, also inside of dicts, each with a name."""
    for name, value in values.items():
        if isinstance(value, list):
            yield f"{key}{name}", value
        elif isinstance(value, dict) and name != "__builtins__":
            yield from lists_in(value, f"{key}{name}, ")


def make_small():
    """Let notebooks show nothing, and load and train little."""
    import mmlib.data.motion
    import mmlib.data.speech
    import mmlib.decode
    import mmlib.source
    import mmlib.train
    from mmlib import plots, results, widgets

    for module in (IPython.display, results, plots.style, plots.sounds, plots.clips, mmlib.source):
        module.display = lambda *shown, **how: None
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


if __name__ == "__main__":
    os.environ["MMLIB_DEVICE"] = "mps"
    make_small()
    interrupted = run(Path(sys.argv[1]).resolve())
    assert len(interrupted) > 15, interrupted
