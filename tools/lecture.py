"""In a kernel: listen to what the demos of a notebook are made of, keep it, and make them again on a page.

    lecture.listen()           # then the cells of the notebook
    lecture.keep("demos.pkl")
    lecture.show("demos.pkl")  # at any time, in another kernel

Models, data and the functions that a notebook has defined are kept as they are at the end (by cloudpickle).
"""

import os
import pickle
from pathlib import Path

import cloudpickle
from IPython.display import Markdown, display
from ipywidgets import Text
from torch import Tensor

from mmlib import widgets
from mmlib.widgets.live import Demo

FINER = 2  # pixels drawn for a pixel shown, since a page for the last row is enlarged
heading = ""  # of the part of the notebook that runs
made = []


def listen():
    """From now on, note each demo that is made."""
    Demo.on_made = staticmethod(lambda demo: made.append((heading, demo)))


def _own(value):
    """A tensor that is a part of a larger one would be kept with all of it."""
    return value.clone() if isinstance(value, Tensor) else value


def keep(path):
    """Write all that was noted, or nothing."""
    demos = [_kept(over, demo) for over, demo in made]
    partial = Path(path).with_suffix(f".{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            cloudpickle.dump(demos, file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _kept(over, demo):
    """What a demo is made of, and what stands in its text boxes: a notebook types an example into some."""
    args, kwargs = demo.made_with
    typed = {name: control.value for name, control in vars(demo).items() if isinstance(control, Text)}
    parts = {"args": [_own(each) for each in args], "kwargs": {name: _own(each) for name, each in kwargs.items()}}
    return {"heading": over, "demo": type(demo).__name__, "typed": typed} | parts


def show(path):
    """Display the demos that were kept, each under its heading."""
    Demo.resolution = FINER
    with open(path, "rb") as file:
        demos = pickle.load(file)
    for kept in demos:
        demo = getattr(widgets, kept["demo"])(*kept["args"], **kept["kwargs"])
        for name, text in kept["typed"].items():
            getattr(demo, name).value = text
        display(Markdown(f"## {kept['heading']}"), demo)
