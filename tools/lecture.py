"""In a kernel: listen to what the demos of a notebook are made of, keep it, and make them again on a page.

    lecture.listen()           # then the cells of the notebook
    lecture.keep("demos.pkl")
    lecture.show("demos.pkl")  # at any time, in another kernel

Models, data and the functions that a notebook has defined are kept as they are at the end (by cloudpickle).
"""

import pickle

import cloudpickle
from IPython.display import Markdown, display
from ipywidgets import Text
from torch import Tensor

from mmlib import widgets
from mmlib.atomic import atomic_write
from mmlib.widgets.live import Live

FINER = 2  # pixels drawn for a pixel shown, since a page for the last row is enlarged
heading = ""  # of the part of the notebook that runs
made = []


def listen():
    """From now on, note what each demo is made of."""
    for name in widgets.__all__:
        if name != "TrainingPanel":  # which belongs to a training, and a page has none
            _note_calls(getattr(widgets, name))


def _note_calls(demo):
    make = demo.__init__

    def noted(self, *args, **kwargs):
        made.append((heading, self, [_own(each) for each in args], kwargs))
        make(self, *args, **kwargs)

    demo.__init__ = noted


def _own(value):
    """A tensor that is a part of a larger one would be kept with all of it."""
    return value.clone() if isinstance(value, Tensor) else value


def keep(path):
    """Write all that was noted, or nothing."""
    demos = [
        {"heading": over, "demo": type(demo).__name__, "args": args, "kwargs": kwargs, "typed": _typed(demo)}
        for over, demo, args, kwargs in made
    ]
    with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
        cloudpickle.dump(demos, file)


def _typed(demo):
    """What stands in the text boxes: a notebook types an example into some."""
    return {name: control.value for name, control in vars(demo).items() if isinstance(control, Text)}


def show(path):
    """Display the demos that were kept, each under its heading."""
    _draw_finer()
    with open(path, "rb") as file:
        demos = pickle.load(file)
    for kept in demos:
        demo = getattr(widgets, kept["demo"])(*kept["args"], **kept["kwargs"])
        for name, text in kept["typed"].items():
            getattr(demo, name).value = text
        display(Markdown(f"## {kept['heading']}"), demo)


def _draw_finer():
    make = Live.__init__

    def finer(self, figure, moving):
        make(self, figure, moving)
        figure.set_dpi(FINER * figure.dpi)

    Live.__init__ = finer
