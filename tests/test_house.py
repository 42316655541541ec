"""The rules of the house, read from the files themselves: nothing here runs a model."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "mmlib").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

MAY_IMPORT = {
    "check": set(),
    "atomic": set(),
    "layers": {"check"},
    "models": {"layers", "check"},
    "losses": {"check"},
    "metrics": {"check"},
    "caption_metrics": {"check"},
    "decode": {"device", "check"},
    "data": {"check", "atomic"},
    "record": {"layers", "check"},
    "plots": {"check"},
    "results": {"check"},
    "source": set(),
    "server": set(),
    "pretrained": {"models", "layers", "check", "atomic"},
    "checkpoint": {"check", "atomic"},
    "device": {"check"},
    "train": {"checkpoint", "device", "check"},
    "scale": {"checkpoint", "train", "models", "data", "losses", "metrics", "device", "check"},
    "widgets": {
        "plots",
        "record",
        "results",
        "train",
        "losses",
        "metrics",
        "caption_metrics",
        "decode",
        "device",
        "check",
    },
    "exercises": {"losses", "check"},
}


def name(path):
    return path.relative_to(ROOT).as_posix()


def room(path):
    """The room of a file: `models` for mmlib/models/clip.py, `train` for mmlib/train.py."""
    return path.relative_to(ROOT / "mmlib").with_suffix("").parts[0]


def imported(tree):
    """Every module that a file imports, at its top or inside a function, with dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the whole name, `from mmlib...`"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "mmlib")


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


# Imports


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_go_one_way(path):
    rooms = {module.split(".")[1] for module in imported(TREES[path]) if module.startswith("mmlib.")}
    here = room(path)
    if here == "__init__":
        assert rooms == set()
    else:
        assert here in MAY_IMPORT, f"{here} is a new room: say in MAY_IMPORT what it may import"
        assert rooms <= MAY_IMPORT[here] | {here}


def test_models_never_import_each_other():
    for path in (ROOT / "mmlib/models").glob("*.py"):
        assert not [module for module in imported(TREES[path]) if module.startswith("mmlib.models")], name(path)


def test_only_widgets_import_ipywidgets_and_nothing_imports_pyplot():
    for path, tree in TREES.items():
        modules = set(imported(tree))
        assert room(path) == "widgets" or not {m for m in modules if m.split(".")[0] == "ipywidgets"}, name(path)
        assert not {m for m in modules if m.startswith(("matplotlib.pyplot", "pylab"))}, name(path)
        assert "from matplotlib import pyplot" not in path.read_text(encoding="utf-8"), name(path)


def test_importing_mmlib_does_nothing():
    done = python("import mmlib, sys; assert not {'torch', 'numpy', 'matplotlib', 'ipywidgets'} & set(sys.modules)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_of_torch_sleep_while_they_wait_unless_told_otherwise(monkeypatch):
    shown = "import mmlib, os; print(os.environ['OMP_WAIT_POLICY'], end='')"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert python(shown).stdout == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert python(shown).stdout == "ACTIVE"


def test_modules_other_than_widgets_import_no_widget_print_nothing_and_seed_nothing():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES if room(path) != "widgets"]
    imports = "\n".join(f"import {module}" for module in modules if not module.endswith("__init__"))
    done = python(
        "import sys, torch; state = torch.get_rng_state()\n"
        f"{imports}\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "loaded = {'ipywidgets', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_whatever_mmlib_imports_is_in_pyproject():
    core, extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")
    core = {plain(listed) for listed in re.findall(r'^    "([\w-]+)', core, flags=re.M)}
    pretrained = re.search(r"^pretrained = \[(.*?)\]", extras, flags=re.M | re.S).group(1)
    pretrained = core | {plain(listed) for listed in re.findall(r'"([\w-]+)', pretrained)}
    owners = defaultdict(set)  # packages_distributions of Python 3.10 misses those without a top_level.txt
    for distribution in distributions():
        own = re.findall(r"^(\w+)(?:/|\.py,)", distribution.read_text("RECORD") or "", flags=re.M)
        for top in set(own):
            owners[top].add(plain(distribution.name))
    for path, tree in TREES.items():
        declared = pretrained if room(path) == "pretrained" else core
        tops = {module.split(".")[0] for module in imported(tree)} - sys.stdlib_module_names - {"mmlib"}
        for top in tops:
            assert owners[top] & declared, (name(path), top)


def plain(distribution):
    return distribution.lower().replace("_", "-")


# Files


def public(node, prefix=""):
    """Functions and classes with a public name, and what classes hold, with their dotted names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_everything_public_has_a_docstring(path):
    assert ast.get_docstring(TREES[path]), "the module says what it is for"
    setters = {"setter", "deleter"}
    for called, node in public(TREES[path]):
        if not any(isinstance(mark, ast.Attribute) and mark.attr in setters for mark in node.decorator_list):
            assert ast.get_docstring(node), f"{called} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_is_left_undone(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text(encoding="utf-8"))


def project_files():
    """Every text file of the project, leaving out what tools make."""
    made = {".git", ".venv", "__pycache__", ".ipynb_checkpoints", ".hypothesis", "build"}
    tops = [top for top in ROOT.iterdir() if top.name not in made and not re.search(r"egg-info$|_cache$", top.name)]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    return [path for path in files if path.is_file() and not made & set(path.parts) and path.suffix not in {".png"}]


def test_no_file_speaks_of_one_machine():
    place = re.compile(rf"/(root|home|Users)/\w|{re.escape(str(ROOT))}/\w|\.\./\w+/\w+\.md")
    for path in project_files():
        found = place.search(path.read_text(encoding="utf-8"))
        assert not found, f"{name(path)}: {found and found.group()}"
