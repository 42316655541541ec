"""`make lab` and `make test` on machines that lack something: a shell script plays python3, so nothing is installed."""

import os
import shutil
import subprocess

import pytest

MAKE = shutil.which("make")
SHELL_TOOLS = ("sh", "dirname", "cksum", "cat", "rm", "cp", "mkdir")

PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c import sys"*) echo {version} ;;
    "-c import venv"*) exit {venv} ;;
    "-c import pip"*) exit 0 ;;
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip") echo "$@" >> pip.log; [ ! -e offline ] ;;
    "tools/lab.py "*) echo "opened on $2" ;;
    "tools/demo.py "*) echo "demos on $2" ;;
    *) echo "ran $@" ;;
esac
"""

pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make here (Windows?): use the plain pip commands")


@pytest.fixture
def project(tmp_path, root):
    """A copy of what `make` reads, in a folder whose name is as awkward as a name may be."""
    folder = tmp_path / "a course, naïve & 学"
    shutil.copytree(root / "tools", folder / "tools")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(root / name, folder)
    (folder / "bin").mkdir()
    for name in SHELL_TOOLS:
        (folder / "bin" / name).symlink_to(shutil.which(name))
    return folder


def add_python(project, name, version, venv=0):
    script = project / "bin" / name
    script.write_text(PYTHON.format(version=version, venv=venv))
    script.chmod(0o755)


def make(project, *arguments):
    environment = {"PATH": str(project / "bin"), "LC_ALL": "C"}
    run = subprocess.run([MAKE, *arguments], cwd=project, env=environment, capture_output=True, text=True, timeout=30)
    return run.returncode, run.stdout + run.stderr


def pip_calls(project):
    log = project / "pip.log"
    return [line for line in log.read_text().splitlines() if "--editable" in line] if log.exists() else []


def test_help_is_the_default_and_names_every_target(project, root):
    code, said = make(project)
    targets = (root / "Makefile").read_text().split(".PHONY: help ")[1].splitlines()[0].split()
    assert code == 0 and "test" in targets
    assert [line.split()[1] for line in said.splitlines()] == targets


def test_lab_sets_up_once(project):
    add_python(project, "python3", "3.12")
    code, said = make(project, "lab")
    assert code == 0 and "Making .venv" in said and "Set-up done." in said and "opened on 8888" in said
    assert make(project, "lab", "PORT=9000") == (0, "opened on 9000\n")
    assert pip_calls(project) == ["-m pip install --editable ."]


def test_test_installs_the_extra_and_then_lab_has_nothing_to_do(project):
    add_python(project, "python3", "3.12")
    code, said = make(project, "test")
    assert code == 0 and "ran -m ruff check ." in said and "All tests passed." in said
    make(project, "lab")
    assert pip_calls(project) == ["-m pip install --editable .[test]"]


def test_demo_installs_its_extra_once_on_a_port_of_its_own(project):
    add_python(project, "python3", "3.12")
    make(project, "lab")
    code, said = make(project, "demo")
    assert code == 0 and "Making .venv" not in said and "demos on 8866" in said
    assert make(project, "demo", "PORT=9000") == (0, "demos on 9000\n")
    assert make(project, "lab") == (0, "opened on 8888\n")
    assert pip_calls(project) == ["-m pip install --editable .", "-m pip install --editable .[demo]"]


def test_after_the_tests_the_demos_need_nothing(project):
    add_python(project, "python3", "3.12")
    make(project, "test")
    assert make(project, "demo") == (0, "demos on 8866\n")
    make(project, "lab")
    assert pip_calls(project) == ["-m pip install --editable .[test]"]


@pytest.mark.parametrize("hours", [-30_000, 0, 30_000])
def test_another_pyproject_is_installed_again_whatever_the_clock_said(project, hours):
    add_python(project, "python3", "3.12")
    make(project, "lab")
    wrong = (project / ".venv/ready-lab").stat().st_mtime + 3600 * hours
    os.utime(project / ".venv/ready-lab", (wrong, wrong))
    assert make(project, "lab") == (0, "opened on 8888\n")
    with open(project / "pyproject.toml", "a") as file:
        file.write("# one more\n")
    code, said = make(project, "lab")
    assert code == 0 and "Making .venv" not in said and len(pip_calls(project)) == 2


def test_a_moved_project_is_installed_again(project):
    add_python(project, "python3", "3.12")
    make(project, "lab")
    moved = project.rename(project.parent / "elsewhere")
    assert make(moved, "lab")[0] == 0
    assert len(pip_calls(moved)) == 2


def test_no_network_is_said_and_nothing_is_taken_for_done(project):
    add_python(project, "python3", "3.12")
    (project / "offline").touch()
    code, said = make(project, "lab")
    assert code != 0 and "is this machine online?" in said and "Run the same command again" in said
    assert "opened" not in said and not list((project / ".venv").glob("ready-*"))
    (project / "offline").unlink()
    assert "opened on 8888" in make(project, "lab")[1]


def test_a_failed_extra_leaves_no_stamp_of_an_earlier_install(project):
    add_python(project, "python3", "3.12")
    make(project, "lab")
    (project / "offline").touch()
    assert make(project, "test")[0] != 0
    assert not list((project / ".venv").glob("ready-*"))


def test_no_python_at_all(project):
    code, said = make(project, "lab")
    assert code != 0 and "needs Python 3.10, 3.11, 3.12 or 3.13" in said
    assert "no python3 at all" in said and "https://www.python.org/downloads/" in said


@pytest.mark.parametrize("version", ["3.9", "3.14", "2.7"])
def test_an_unsuitable_python_is_named(project, version):
    add_python(project, "python3", version)
    code, said = make(project, "lab")
    assert code != 0 and f"bin/python3 ({version})" in said and not (project / ".venv").exists()


def test_a_suitable_python_behind_an_unsuitable_one_is_found(project):
    add_python(project, "python3", "3.14")
    add_python(project, "python3.11", "3.11")
    code, said = make(project, "lab")
    assert code == 0 and "bin/python3.11 (Python 3.11)" in said


def test_a_python_without_venv_says_which_package_brings_it(project):
    add_python(project, "python3", "3.11", venv=1)
    code, said = make(project, "lab")
    assert code != 0 and "without its venv module" in said and "sudo apt install python3.11-venv" in said


def test_a_venv_of_an_unsuitable_python_is_made_again(project):
    add_python(project, "python3", "3.12")
    make(project, "lab")
    (project / ".venv/bin/python").write_text(PYTHON.format(version="3.9", venv=0))
    code, said = make(project, "lab")
    assert code == 0 and "Making .venv" in said


def test_ci_runs_make_test_from_any_folder(project, root, tmp_path):
    add_python(project, "python3", "3.12")
    shutil.copytree(root / ".ci", project / ".ci")
    for name in ("bash", "env", "make"):
        (project / "bin" / name).symlink_to(shutil.which(name))
    environment = {"PATH": str(project / "bin"), "CHROMIUM": "a browser"}
    run = subprocess.run(
        [project / ".ci/run"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0 and run.stdout.endswith("All tests passed.\n"), run.stderr


def test_the_versions_looked_for_are_those_of_pyproject(root):
    assert 'requires-python = ">=3.10,<3.14"' in (root / "pyproject.toml").read_text()
    assert "3.10 | 3.11 | 3.12 | 3.13)" in (root / "tools/setup.sh").read_text()
