"""What all exercises share: run the reader's function on small cases, and name the mistake.

An `Exercise` is data: a right answer, sentences that name mistakes, cases, and what to say of shapes. A mistake is an
edit of the right answer's source: what stands there, and what the reader wrote in its place. A wrong number is named by
computing what known mistakes would have given; pairs of them are tried too, because mistakes come in company. The first
step that finds something raises a `Finding`, and the reader sees one line of text.
"""

import __future__

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from mmlib.check import refuse

Edits = dict[str, str]


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a checker found: `passed`, and one line of text that starts with Correct, Not yet or Not started.

    >>> Outcome(True, "Correct: well done.")
    Correct: well done.
    """

    passed: bool
    diagnosis: str

    def __repr__(self) -> str:
        return self.diagnosis


class Mistake(NamedTuple):
    """One known mistake: the sentence that names it, and the edits of the right answer that make it."""

    says: str
    edits: Edits


class Finding(Exception):
    """Ends a check early with the line to show."""


def not_yet(text: str) -> NoReturn:
    """End the check: something is off."""
    raise Finding(f"Not yet: {text}")


def not_started(text: str) -> NoReturn:
    """End the check: there is nothing to judge yet."""
    raise Finding(f"Not started: {text}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Exercise:
    """A checker: call it with the reader's function, and it returns an `Outcome`.

    `hints`, `label` and `also` are functions that take what they need by name: an argument of the right answer, a size
    that its annotations name (`b` of "b e"), `answer` (the reader's function), `got` or `expected` (the two results).

    Args:
        reference: the right answer, written as a reader would write it.
        mistakes: sentence -> the edits of the reference that it names, or a list of several that deserve it.
        cases: arguments, the ones that tell most mistakes apart first. The gradient is checked on the first.
        shape: what a result of the right shape is, a whole sentence.
        hints: wrong shape -> what to say of it in place of `shape`.
        label: the case in a few words.
        praise: what stands behind "Correct: ".
        also: called between shape and value; it may raise a `Finding`.
        advice: what to do about a mistake that has no name.
    """

    reference: Callable
    mistakes: Mapping[str, Edits | list[Edits]]
    cases: Sequence[tuple]
    shape: str = ""
    hints: Callable[..., dict[tuple[int, ...], str]] = lambda: {}
    label: Callable[..., str]
    praise: str = ""
    also: Callable[..., None] = lambda: None
    advice: str = "Work the small example of the text by hand, and print each step beside it."
    known: dict[tuple, Tensor] = field(default_factory=dict, init=False)

    def __call__(self, answer: Any) -> Outcome:
        """Check one function."""
        return in_turn(self)(answer)

    def check(self, answer: Callable) -> None:
        """Raise a `Finding` where the reader's function differs from the reference: shape, value, then gradient."""
        for i, case in enumerate(self.cases):
            got = self.ask(answer, *case)
            _given(self.also, self.names(case) | {"answer": answer, "got": got})
            self.check_value(answer, got, i)
        self.check_gradient(answer)

    def ask(self, answer: Callable, *case: Any) -> Tensor:
        """Run the reader's function, and refuse all but a tensor of the right shape."""
        got = call(answer, *case)
        self.check_shape(name_of(answer), got, case, self.value(self.reference, *case))
        return got

    def value(self, function: Callable, *case: Any) -> Tensor:
        """What the reference, or an edit of it, gives: several tensors are stacked."""
        got = function(*case)
        if isinstance(got, tuple):
            return torch.stack([part.to(got[0].dtype) for part in got])
        return got if isinstance(got, Tensor) else torch.tensor(got, dtype=torch.float64)

    def names(self, case: tuple) -> dict[str, Any]:
        """The arguments of a case by name, and the sizes that the annotations of the reference name."""
        parameters = inspect.signature(self.reference).parameters.values()
        sizes = {}
        for parameter, argument in zip(parameters, case, strict=True):
            dims = getattr(parameter.annotation, "dim_str", "").split()
            sizes |= dict(zip(dims, getattr(argument, "shape", ()), strict=False))
        return sizes | {parameter.name: argument for parameter, argument in zip(parameters, case, strict=True)}

    def check_shape(self, what: str, got: Tensor, case: tuple, expected: Tensor) -> None:
        """Refuse a wrong shape, with its hint when it is a known one."""
        if got.shape != expected.shape:
            hints = _given(self.hints, self.names(case) | {"expected": expected})
            hint = hints.get(tuple(got.shape), self.shape)
            not_yet(f"{what} returned shape {tuple(got.shape)}, expected {tuple(expected.shape)}. {hint}")

    def check_value(self, answer: Callable, got: Tensor, i: int) -> None:
        """Refuse a wrong value on case `i`, and name the mistake, or the two, that give exactly this value."""
        case, expected = self.cases[i], self.with_mistake({}, i)
        if close(got, expected):
            return
        row, place = (), ""
        if expected.dim():
            off = (got.double() - expected.double()).abs().nan_to_num(torch.inf)
            row = int(off.reshape(len(off), -1).amax(dim=1).argmax())
            place = f", row {row}"
        label = _given(self.label, self.names(case) | {"got": got, "expected": expected})
        seen = f"{label}{place}: expected {_brief(expected[row])}, got {_brief(got[row])}."
        for says, edits in self.candidates():
            if close(got, self.with_mistake(edits, i)) and self.is_hidden(edits, i):
                not_yet(f"{says} ({seen})")
        not_yet(f"{name_of(answer)} is off, in a way that I do not know. {seen} {self.advice}")

    def is_hidden(self, edits: Edits, i: int) -> bool:
        """Whether the edited reference gives the right values in all cases before case `i`."""
        return all(close(self.with_mistake({}, k), self.with_mistake(edits, k)) for k in range(i))

    def with_mistake(self, edits: Edits, i: int) -> Tensor:
        """What the edited reference gives in case `i`, computed once; NaN when two mistakes cannot be made together."""
        key, function = (i, *edits.items()), edited(self.reference, edits)
        if key not in self.known:
            try:
                self.known[key] = self.value(function, *self.cases[i])
            except Exception:
                self.known[key] = torch.tensor(torch.nan)
        return self.known[key]

    def candidates(self) -> Iterator[Mistake]:
        """Yield each mistake alone, then each two that edit different places."""
        alone = [
            Mistake(says, edits)
            for says, variants in self.mistakes.items()
            for edits in (variants if isinstance(variants, list) else [variants])
        ]
        yield from alone
        for one, two in combinations(alone, 2):
            both = one.edits | two.edits
            if one.says != two.says and _apart(spans(self.reference, one.edits) + spans(self.reference, two.edits)):
                yield Mistake(f"two things at once. One: {one.says} Two: {two.says}", both)

    def check_gradient(self, answer: Callable) -> None:
        """Refuse a result through which the right gradient does not reach every floating point argument."""
        name = name_of(answer)
        leaves = [a.clone().requires_grad_() if _is_float(a) else a for a in self.cases[0]]
        expected = self.value(self.reference, *leaves)
        if not expected.requires_grad:
            return
        got = self.ask(answer, *leaves)
        parameters = _parameters(answer, len(leaves))
        floats = {parameter: leaf for parameter, leaf in zip(parameters, leaves, strict=True) if _is_float(leaf)}
        if not got.requires_grad:
            not_yet(
                f"the value is right, but {name} is detached: no gradient reaches its arguments, nothing is learned. "
                "Look for .detach(), .item(), .numpy(), torch.no_grad() or a torch.tensor(...) around your numbers."
            )
        uneven = 1 + torch.arange(got.numel()).cos().view_as(got)  # so that no entry can stand in for another
        found = torch.autograd.grad(got, list(floats.values()), uneven.to(got), allow_unused=True)
        right = torch.autograd.grad(expected, list(floats.values()), uneven.to(expected))
        for parameter, ours, theirs in zip(floats, right, found, strict=True):
            if theirs is None:
                not_yet(f"the value is right, but no gradient reaches {parameter}: it is detached on the way.")
            if not close(theirs, ours):
                not_yet(f"the value is right, but the gradient of {parameter} is not: a part of it is detached.")


def in_turn(*exercises: Exercise) -> Callable[..., Outcome]:
    """A checker of several functions: each is checked when those before it are right, and the last one is praised."""

    def checked(*answers: Any) -> Outcome:
        try:
            _check_in_turn(exercises, answers)
        except Finding as finding:
            return Outcome(False, str(finding))
        return Outcome(True, f"Correct: {exercises[-1].praise}")

    return checked


def _check_in_turn(exercises: Sequence[Exercise], answers: Sequence[Any]) -> None:
    if len(answers) != len(exercises):
        not_yet(f"the checker needs {len(exercises)} functions, got {len(answers)}.")
    for answer in answers:
        if not callable(answer):
            not_yet(f"the checker needs the function itself, got {kind_of(answer)}. Give its name, no brackets.")
    done = ""
    for exercise, answer in zip(exercises, answers, strict=True):
        try:
            exercise.check(answer)
        except Finding as finding:
            raise Finding(f"{finding}{done}") from None
        done = f" ({name_of(answer)} is right already.)"


# ---- mistakes as edits


def edited(function: Callable, edits: Edits) -> Callable:
    """The function with some of its source replaced: what stands there, exactly once -> what to put in its place.

    Raises:
        ValueError: what should be replaced stands there not once, but never or several times.
    """
    return _edited(function, tuple(edits.items()))


@functools.cache
def _edited(function: Callable, edits: tuple[tuple[str, str], ...]) -> Callable:
    function, source = inspect.unwrap(function), source_of(function)
    for (start, end), (_, new) in sorted(zip(spans(function, dict(edits)), edits, strict=True), reverse=True):
        source = source[:start] + new + source[end:]
    made: dict[str, Callable] = {}
    flags = __future__.annotations.compiler_flag  # annotations stay text: they need not be computed again
    exec(compile(source, f"<{function.__name__}, edited>", "exec", flags, True), function.__globals__, made)
    return made[function.__name__]


@functools.cache
def source_of(function: Callable) -> str:
    """The source of a function."""
    return inspect.getsource(inspect.unwrap(function))


def spans(function: Callable, edits: Edits) -> list[tuple[int, int]]:
    """Where each edit begins and ends in the source of a function."""
    source, places = source_of(function), []
    for old in edits:
        if source.count(old) != 1:
            refuse(f"edit of {function.__name__}", f"`{old}` once in its source", f"{source.count(old)} times")
        places.append((source.index(old), source.index(old) + len(old)))
    return places


def _apart(places: list[tuple[int, int]]) -> bool:
    """Whether no two spans overlap."""
    places = sorted(places)
    return all(end <= start for (_, end), (start, _) in zip(places, places[1:], strict=False))


def _given(function: Callable, names: dict[str, Any]) -> Any:
    """Call a function with those of the names that it asks for."""
    return function(**{parameter: names[parameter] for parameter in inspect.signature(function).parameters})


# ---- the reader's function


def run(function: Callable, *arguments: Any) -> Any:
    """Run the reader's function on copies of the arguments and return what it gives, or say what kept it from that."""
    name = name_of(function)
    copies = [a.clone() if isinstance(a, Tensor) else copy(a) for a in arguments]
    try:
        got = function(*copies)
    except Exception as error:
        not_yet(describe_error(name, function, error))
    if got is ...:
        not_started(f"put your code in place of the ... in {name}, then run the cell again.")
    if got is None:
        not_started(f"{name} returned None. If you did write it, its return line is missing.")
    for parameter, before, after in zip(_parameters(function, len(copies)), arguments, copies, strict=True):
        if not (torch.equal(before, after) if isinstance(before, Tensor) else before == after):
            not_yet(
                f"{name} changes its argument {parameter} in place, and whoever called it still needs it. "
                "Write x = x / y, not x /= y; no methods that end in an underscore, no .sort() of a list."
            )
    return got


def call(function: Callable, *arguments: Any) -> Tensor:
    """Run the reader's function as `run` does, and refuse all but a tensor."""
    got = run(function, *arguments)
    if isinstance(got, float):
        name = name_of(function)
        not_yet(f"{name} returned a plain Python float, so no gradient can flow back. Leave out .item() and float().")
    return as_tensor(function, got)


def as_tensor(function: Callable, got: Any) -> Tensor:
    """Refuse what is neither a tensor nor, where no gradient is asked for, a float."""
    if isinstance(got, float):
        return torch.tensor(got)
    if not isinstance(got, Tensor):
        not_yet(f"{name_of(function)} returned {kind_of(got)}. It should return a torch tensor.")
    return got


def describe_error(name: str, function: Callable, error: Exception) -> str:
    """Say which line of the reader stopped, why, and what to look at."""
    reason = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is the checker's own
    if not frames:
        return f"{name} could not be called: {reason}. Keep the arguments of the stub as they were."
    mine = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    line = f": `{mine.line}`" if mine.line else ""
    hint = next((hint for needle, hint in HINTS if needle in reason), "Print the shapes just before that line.")
    return f"{name} stopped at line {mine.lineno} of your code{line}. {type(error).__name__}: {reason}. {hint}"


HINTS = [
    ("ellipsis", "A function that you use here still has ... in place of its code."),
    ("NoneType", "Something you use here is None: is a return line missing?"),
    ("is not defined", "Is the name spelt as in the arguments, or an import missing?"),
    ("cannot be multiplied", "One side needs a transpose, .T: the inner widths must agree."),
    ("'Bool'", "Turn True and False into numbers first: .int()."),
    ("bool input", "Turn True and False into numbers first: .int()."),
    ("ambiguous", "A table has no single truth: write & in place of and, and cut a < b < c into (a < b) & (b < c)."),
    ("bitwise", "& binds tighter than <: put brackets around each comparison, (a < b) & (b < c)."),
    ("could not infer output dtype", "Turn True and False into numbers first: .float()."),
    ("numpy", "Stay in torch: numpy carries no gradient."),
    ("view size is not compatible", "A swap of axes moves no number in memory: use reshape or rearrange, not view."),
    ("t divide axis", "That axis has no such parts. Is one token too many among them, such as a class token?"),
    ("same dtype", "Two types of number meet: bring one to the type of the other with .to(x.dtype)."),
    ("math domain", "The log of 0: what should come out when nothing matches?"),
    ("positive input", "The log of 0: what should come out when nothing matches?"),
    ("division by zero", "Nothing to divide by: what should come out then?"),
]


def name_of(function: Callable) -> str:
    """The name that the reader gave the function."""
    name = getattr(function, "__name__", "<lambda>")
    return "your function" if name == "<lambda>" else name


def _parameters(function: Callable, count: int) -> list[str]:
    """Names of the `count` arguments, as the reader wrote them, or their numbers."""
    try:
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_POSITIONAL]
    except ValueError:  # built in, no signature
        names = []
    return names[:count] + [f"number {i + 1}" for i in range(len(names), count)]


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding, whatever the type of float."""
    return a.shape == b.shape and torch.allclose(a.detach().double(), b.detach().double(), rtol=1e-4, atol=1e-5)


def kind_of(value: Any) -> str:
    """Its type, in words."""
    return f"a value of type {type(value).__name__}"


def _brief(value: Tensor) -> str:
    form = "{:.4f}" if value.is_floating_point() else "{}"
    numbers = [form.format(number) for number in value.detach().flatten()[:3].tolist()]
    if value.dim() == 0:
        return numbers[0]
    return "[" + ", ".join(numbers) + (", ...]" if value.numel() > 3 else "]")
