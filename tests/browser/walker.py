"""Walk through every control of a demo by keyboard alone, to both ends of every range, as readers without a mouse do.

After each move the words have to be others, and the picture too, but for the controls in STILL. No control can be left
out: whatever in a demo takes the keyboard belongs to a control that is walked.
"""

from typing import NamedTuple

from browser.driver import Demo
from playwright.sync_api import Locator, TimeoutError

# Demo and label -> why the picture may stay as it is. The words change all the same.
STILL = {
    ("names-explorer", "names in"): "the picture is the same in every language; the table beside it changes",
    ("negatives-explorer", "negatives"): "models that nobody has trained yet all look like the one before training",
    ("decode-explorer", "beam width"): "more beams may find the same caption",
    ("decode-explorer", "length penalty"): "the longer caption may win in any case",
    ("decode-explorer", "temperature"): "the chances that are shown may round to the same",
    ("decode-explorer", "top-p"): "the words that are shown may all be among the likely ones",
    ("decode-explorer", "draw"): "two draws may say the same",
}
KINDS = {  # what a control is in the page, in the order of the walk: texts first, since others act on what was searched
    "text": ".widget-text:has(input[type=text])",
    "number": ".widget-text:has(input[type=number])",
    "slider": ".widget-slider",
    "list": ".widget-dropdown",
    "box": ".widget-checkbox",
    "choice": ".widget-toggle-buttons",
    "button": ":not(.widget-toggle-buttons) > button.widget-button",
}
# Where a control stands, and both ends of its range; a text and a button have none.
STAND = """
control => {
  const slider = control.querySelector(".noUi-target"), list = control.querySelector("select");
  const box = control.querySelector("input[type=checkbox]"), number = control.querySelector("input[type=number]");
  const choices = [...control.querySelectorAll("button")];
  if (slider) {
    const {min, max} = slider.noUiSlider.options.range;
    return [slider.noUiSlider.get(true), ...[min, max].flat()];
  }
  if (list) return [list.selectedIndex, 0, list.length - 1];
  if (box) return [Number(box.checked), 0, 1];
  if (number) return [number.value, number.min, number.max].map(Number);
  if (choices.length) return [choices.findIndex(choice => choice.matches(".mod-active")), 0, choices.length - 1];
  return null;
}
"""
# What takes the keyboard and belongs to no control. A player has the browser's own, and is none.
FORGOTTEN = """
(demo, kinds) => [...demo.querySelectorAll("input, select, textarea, button, [tabindex], [contenteditable=true]")]
  .filter(one => one.tabIndex >= 0 && !kinds.some(kind => one.closest(kind))).map(one => one.outerHTML)
"""
CHANGED = "([demo, words]) => demo.querySelector('[aria-live]').innerText !== words"
SECONDS = 20.0
ALL = "ControlOrMeta+A"


class Control(NamedTuple):
    """Something in a demo that a reader can set or press."""

    kind: str
    label: str
    part: Locator

    @property
    def is_on(self) -> bool:
        """Whether it can be used now."""
        return self.part.evaluate("part => !part.matches('[disabled]') && !part.querySelector('[disabled]')")

    def stand(self) -> list[float] | None:
        """Where it stands, and both ends of its range."""
        numbers = self.part.evaluate(STAND)
        return numbers and [round(number, 6) for number in numbers]

    def moves(self) -> list[tuple[str, list[str]]]:
        """What takes the keyboard, and the keys that are pressed in it; a slider ends away from its ends."""
        if self.kind == "text":
            return [("input", keys) for keys in ([ALL, *"scientist, cat"], [ALL, "Delete"], [*"dog"])]
        if self.kind == "number":
            _, least, most = self.stand()
            return [("input", ["ArrowUp"]), *(("input", [ALL, *f"{end:g}", "Enter"]) for end in (most, least))]
        if self.kind == "slider":
            keys = "ArrowRight", "End", "ArrowLeft", "Home", "ArrowRight", "PageUp"
            return [(".noUi-handle", [key]) for key in keys]
        if self.kind == "list":
            return [("select", [key]) for key in ("End", "ArrowUp", "Home")]
        if self.kind == "box":
            return [("input", ["Space"])] * 2
        if self.kind == "choice":
            return [(f"button >> nth={place}", ["Space"]) for place in (-1, 0)]
        return [("xpath=.", ["Enter"])]


def controls_of(demo: Demo) -> list[Control]:
    """All controls of a demo, in the order of the walk; each of them has a label."""
    found = [(kind, part) for kind, css in KINDS.items() for part in demo.root.locator(css).all()]
    controls = [Control(kind, _label_of(kind, part), part) for kind, part in found]
    assert all(control.label for control in controls), f"a control has no label: {controls}"
    forgotten = demo.root.evaluate(FORGOTTEN, [*KINDS.values()])
    assert not forgotten, forgotten
    return controls


def walk(demo: Demo, name: str) -> list[str]:
    """Walk through all controls of a demo, and give their labels.

    Those that are switched off are tried again with every list at its first choice, then at its last.
    """
    controls = controls_of(demo)
    waiting = [control for control in controls if not walk_one(demo, name, control)]
    for end in ("Home", "End"):
        for control in controls if waiting else ():
            if control.kind == "list":
                move(demo, name, control, "select", [end])
        waiting = [control for control in waiting if not walk_one(demo, name, control)]
    assert not waiting, f"{name}: nothing switches on {[control.label for control in waiting]}"
    return [control.label for control in controls]


def walk_one(demo: Demo, name: str, control: Control) -> bool:
    """Move a control to both ends of its range; whether it could be moved."""
    if not control.is_on:
        return False
    stands = [control.stand()]
    for css, keys in control.moves():
        move(demo, name, control, css, keys)
        stands.append(control.stand())
    if stands[-1] is not None:
        assert set(stands[-1][1:]) <= {stand[0] for stand in stands}, f"{name}, {control.label!r}: {stands}"
    return True


def move(demo: Demo, name: str, control: Control, css: str, keys: list[str]) -> None:
    """Press keys in a control, and wait until all has changed that has to change."""
    where = f"{name}, {control.label!r}, {keys}"
    stand, words, picture = control.stand(), demo.words, demo.picture
    control.part.locator(css).focus()
    for key in keys:
        demo.page.keyboard.press(key)
    if stand is not None and control.stand() == stand:
        assert stand[0] in stand[1:], f"{where}: it stays at {stand[0]}"
        return
    try:
        demo.page.wait_for_function(CHANGED, arg=[demo.root.element_handle(), words], timeout=1000 * SECONDS)
        if (name, control.label) not in STILL:
            demo.wait_for_another_picture(picture, SECONDS)
    except TimeoutError as error:
        still = "words stay" if demo.words == words else "picture stays, the words were"
        raise AssertionError(f"{where}: the {still} {words!r}") from error
    if control.kind in ("text", "button"):
        demo.wait_for_rest()
    alerts = demo.root.locator("[role=alert]").all_inner_texts()
    assert not alerts, f"{where}: {alerts}"


def _label_of(kind: str, part: Locator) -> str:
    return (part if kind == "button" else part.locator("label").last).inner_text().strip()
