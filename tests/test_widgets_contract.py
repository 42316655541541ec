"""What every demo promises, tried on all of them: errors, threads, the training lock, labels, the page, memory."""

import gc
import threading
import time
import weakref

import ipywidgets
import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from page import check_texts, pixels
from test_widgets import panel_with, search, temperature, zero_shot
from test_widgets_captioner import decode, tree
from test_widgets_fusion import explore, say_it
from test_widgets_retrieval import MARGINS, Turned, by_name, negatives
from test_widgets_retrieval import search as retrieval
from test_widgets_video import frame_count, order
from torch import nn

from mmlib import train, widgets
from mmlib.widgets.live import ROUTE, Demo

DEMOS = {
    "DecodeExplorer": decode,
    "FrameCountExplorer": frame_count,
    "FusionExplorer": lambda: explore(sound_errors={"hiss": [0.4, 0.6, 1.0], "rain": [0.2, 0.2, 0.4]}),
    "NamesExplorer": by_name,
    "NegativesExplorer": lambda: negatives({("hardest", margin): Turned(0.1 + margin) for margin in MARGINS}),
    "OrderExplorer": order,
    "RetrievalExplorer": retrieval,
    "SayItExplorer": say_it,
    "SearchExplorer": search,
    "TemperatureExplorer": lambda: temperature()[0],
    "TreeExplorer": tree,
    "ZeroShotExplorer": zero_shot,
}
# Controls and other values of them, each of which gives another picture; the last one asks the model anew.
MOVES = {
    "DecodeExplorer": {"width": 1, "word": 1, "picture": 1},
    "FrameCountExplorer": {"frames": 2, "motion": 2, "clip": 3},
    "FusionExplorer": {
        "digit": 7, "writing": 2, "says": 2, "picture_noise": 0.9, "picture_kind": "rain", "sound_noise": 0.9,
        "blindfold": True, "fusion": "early",
    },
    "NamesExplorer": {"picture": 2},
    "NegativesExplorer": {"margin": 0.5},
    "OrderExplorer": {"swapped": 4, "motion": 2, "clip": 3, "play": "backward", "pairs": "at random"},
    "RetrievalExplorer": {"query": "dog", "k": 2},
    "SayItExplorer": {"language": "de", "digit": "3"},
    "SearchExplorer": {"query": "cat"},
    "TemperatureExplorer": {"temperature": 0.2, "picture": 4},
    "TreeExplorer": {"width": 1, "step": 1, "picture": 1},
    "ZeroShotExplorer": {"picture": 5, "classes": "cat, flag"},
}  # fmt: skip
ASK_NO_MODEL = {"NamesExplorer", "TemperatureExplorer"}  # they live on embeddings
each_demo = pytest.mark.parametrize("name", DEMOS)


def descendants(widget):
    for child in getattr(widget, "children", ()):
        yield child
        yield from descendants(child)


def controls_of(demo):
    """Everything in a demo that a reader can set or press."""
    kinds = ipywidgets.Button, ipywidgets.widgets.widget_description.DescriptionWidget
    return [
        inside for inside in descendants(demo) if isinstance(inside, kinds) and not isinstance(inside, ipywidgets.HTML)
    ]


def make(name, moved=True):
    demo = DEMOS[name]()
    for control, value in MOVES[name].items() if moved else ():
        getattr(demo, control).value = value
    assert "Error" not in demo.live.words.value
    return demo


def models_in(value):
    """The models among what a demo was made with."""
    if isinstance(value, nn.Module):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [model for each in values for model in models_in(each)]


def test_every_demo_is_here():
    assert sorted([*DEMOS, "TrainingPanel"]) == sorted(widgets.__all__) and list(MOVES) == list(DEMOS)
    assert len({getattr(widgets, name).css_class for name in widgets.__all__}) == len(widgets.__all__)


@each_demo
def test_each_control_gives_another_picture_of_the_same_size(name):
    demo = make(name, moved=False)
    seen = [pixels(demo)]
    for control, value in MOVES[name].items():
        getattr(demo, control).value = value
        seen.append(pixels(demo))
        assert "Error" not in demo.live.words.value
        assert seen[-1].shape == seen[0].shape and not np.array_equal(seen[-1], seen[-2]), control
    height, width = seen[0].shape[:2]
    assert (width, height) == (int(demo.live.image.width), int(demo.live.image.height))


@each_demo
def test_redrawing_in_place_gives_the_picture_of_a_whole_drawing(name):
    demo = make(name)
    quick = pixels(demo)
    demo.live.ground_changed()
    demo.live.draw()
    assert np.array_equal(pixels(demo), quick)
    demo.live.figure.canvas.draw()
    whole = np.asarray(demo.live.figure.canvas.buffer_rgba())
    differing = (np.abs(quick.astype(int) - whole).max(axis=2) > 8).mean()
    assert differing < (0.02 if hasattr(demo, "answers") else 0.005)  # lines that cross, and frames under pictures


@each_demo
def test_no_text_leaves_the_page_or_runs_into_another(name):
    assert check_texts(make(name).live.figure)


@pytest.mark.parametrize("step", ["state", "draw", "words"])
@each_demo
def test_an_error_is_shown_beside_nothing_older_and_the_next_answer_is_right(name, step, monkeypatch):
    demo = make(name)
    before, sound = demo.live.image.value, getattr(demo, step)

    def broken(*state):
        raise RuntimeError("no <weights>")

    monkeypatch.setattr(demo, step, broken)
    demo.refresh()
    assert "RuntimeError: no &lt;weights&gt;" in demo.live.words.value and 'role="alert"' in demo.live.words.value
    assert not any(artist.get_visible() for artist in demo.live.moving) and demo.live.image.value != before
    assert all(widget.layout.visibility == "hidden" for widget in demo.beside)
    monkeypatch.setattr(demo, step, sound)
    demo.refresh()
    assert demo.live.image.value == before and 'role="status"' in demo.live.words.value
    assert all(widget.layout.visibility is None for widget in demo.beside)


@pytest.mark.parametrize("name", [name for name in DEMOS if name not in ASK_NO_MODEL])
def test_a_callback_waits_for_the_training_step_in_progress(name):
    demo = make(name, moved=False)
    *first, (last, value) = MOVES[name].items()
    for control, other in first:
        getattr(demo, control).value = other
    before = demo.live.image.value
    with train.lock:
        thread = threading.Thread(target=setattr, args=(getattr(demo, last), "value", value))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and demo.live.image.value == before
    thread.join(30)
    assert demo.live.image.value != before


@each_demo
def test_the_mode_of_every_model_comes_back(name):
    demo = make(name, moved=False)
    models = models_in(demo.made_with)
    for n, model in enumerate(models):
        model.train(n % 2 == 0)
    for control, value in MOVES[name].items():
        getattr(demo, control).value = value
    assert [model.training for model in models] == [n % 2 == 0 for n in range(len(models))]


@each_demo
def test_each_move_is_answered_once(name, monkeypatch):
    demo, asked = make(name, moved=False), []
    monkeypatch.setattr(demo, "state", lambda state=demo.state: asked.append(1) or state())
    for control, value in MOVES[name].items():
        getattr(demo, control).value = value
    assert len(asked) == len(MOVES[name])


@each_demo
def test_threads_at_once_leave_a_demo_that_agrees_with_its_controls(name):
    demo = make(name, moved=False)

    def move(control, values):
        for value in values:
            control.value = value

    controls = {getattr(demo, control): value for control, value in MOVES[name].items()}
    swings = [(control, [value, control.value] * 2 + [value]) for control, value in controls.items()]
    threads = [threading.Thread(target=move, args=swing) for swing in swings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(control.value == pytest.approx(value) for control, value in controls.items())
    shown = demo.live.image.value
    demo.refresh()
    assert demo.live.image.value == shown and "Error" not in demo.live.words.value


@each_demo
def test_a_change_while_another_thread_draws_is_not_lost(name):
    demo = make(name, moved=False)
    *first, (last, value) = MOVES[name].items()
    for control, other in first:
        getattr(demo, control).value = other
    before = demo.live.image.value
    with demo.live.lock:
        demo._drawing = True  # as that thread would
        thread = threading.Thread(target=setattr, args=(getattr(demo, last), "value", value))
        thread.start()
        thread.join(0.1)
        demo._drawing = False
    thread.join(30)
    assert demo.live.image.value != before


@pytest.mark.parametrize("name", [*DEMOS, "TrainingPanel"])
def test_labels_are_whole_words_are_spoken_and_callbacks_are_free(name):
    demo = DEMOS[name]() if name in DEMOS else panel_with([1, 2])
    controls = controls_of(demo)
    labels = [control.description.strip() for control in controls]
    assert labels and all(labels) and len(set(labels)) == len(labels), labels  # two of one name sound alike
    for control in controls:
        assert getattr(control.style, "description_width", "initial") == "initial", control.description
        assert getattr(control.comm, ROUTE, None) is None, control.description
    assert 'aria-live="polite"' in demo.live.words.value and demo.live.image.layout.max_width == "100%"
    assert type(demo).css_class in demo._dom_classes
    assert not any(widget.autoplay for widget in descendants(demo) if isinstance(widget, ipywidgets.Audio))


@each_demo
def test_a_demo_can_be_made_again_larger_and_finer(name, monkeypatch):
    told = []
    monkeypatch.setattr(Demo, "on_made", staticmethod(told.append))
    demo = make(name, moved=False)
    args, kwargs = demo.made_with
    monkeypatch.setattr(Demo, "resolution", 2)
    again = type(demo)(*args, **kwargs)
    assert told == [demo, again] and again.live.figure.dpi == 2 * demo.live.figure.dpi
    assert again.live.image.width == demo.live.image.width
    assert np.allclose(pixels(again).shape[:2], 2 * np.array(pixels(demo).shape[:2]), atol=1)


def test_demos_that_were_closed_leave_nothing_behind():
    demos = [make(name) for name in DEMOS]
    ids = {widget.model_id for demo in demos for widget in (demo, *descendants(demo))}
    gone = {type(demo).__name__: weakref.ref(demo) for demo in demos}
    while demos:
        demos.pop().close()
    gc.collect()
    assert [name for name, demo in gone.items() if demo() is not None] == []
    assert not ids & set(ipywidgets.Widget.get_manager_state()["state"])


CELL = """
import time
from ipywidgets import Button
from mmlib.widgets.live import answer_while_cells_run
button, pressed = Button(), []
answer_while_cells_run(button)
button.on_click(pressed.append)
print(button.comm.comm_id)
"""
TRAINING = (
    "for step in range(100):\n    time.sleep(0.1)\n    if pressed:\n        break\nprint(len(pressed), step < 99)"
)


def test_a_button_is_answered_while_a_cell_runs():
    """As JupyterLab does it: the click comes on a subshell, and it is the kernel that says who hears it."""
    manager, client = start_new_kernel()
    try:
        told = []
        client.execute_interactive(CELL, output_hook=told.append, timeout=120)
        (button,) = [each["content"]["text"].strip() for each in told if each["msg_type"] == "stream"]
        client.control_channel.send(client.session.msg("create_subshell_request"))
        while (reply := client.control_channel.get_msg(timeout=30))["msg_type"] != "create_subshell_reply":
            pass
        click = {"comm_id": button, "data": {"method": "custom", "content": {"event": "click"}}}
        message = client.session.msg("comm_msg", click)
        message["header"]["subshell_id"] = reply["content"]["subshell_id"]
        threading.Timer(1.0, client.shell_channel.send, [message]).start()
        told.clear()
        start = time.monotonic()
        client.execute_interactive(TRAINING, output_hook=told.append, timeout=60)
        said = [each["content"]["text"] for each in told if each["msg_type"] == "stream"]
        assert said == ["1 True\n"] and time.monotonic() - start < 9
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
