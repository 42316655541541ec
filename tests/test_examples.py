"""The examples in the docstrings of mmlib give what they say, with shapes checked."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "mmlib").rglob("*.py"))]


def examples(module):
    return doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module.removesuffix(".__init__")))


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    failed, said = 0, []
    for example in examples(module):
        failed += doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_examples_are_found_and_short():
    found = [example for module in MODULES for example in examples(module) if example.examples]
    assert len(found) > 10
    for example in found:
        code = "".join(line.source for line in example.examples)
        assert len(code.splitlines()) < 5, example.name
