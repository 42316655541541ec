"""The scripts behind `make lab` and `make notebooks`, and the numbers that scripts and tests give to notebooks."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import nbformat
import pytest

from tools.parameters import set_parameters

WIDGET_CELL = "import ipywidgets\nipywidgets.IntSlider(3)"


def run(root, *arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


@pytest.fixture
def busy_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_one_that_is_free(root, busy_port):
    done = run(root, "tools/lab.py", busy_port)
    assert done.returncode == 1 and f"Port {busy_port} is taken" in done.stderr
    free = int(done.stderr.strip().rsplit("make lab PORT=", 1)[1])
    with socket.socket() as probe:
        assert free != busy_port and probe.connect_ex(("127.0.0.1", free)) != 0


@pytest.mark.parametrize("port", ["", "lab", "0", "-1", "65536"])
def test_a_port_that_is_none_is_refused(root, port):
    done = run(root, "tools/lab.py", port)
    assert done.returncode == 1 and "expected a number from 1 to 65535" in done.stderr


def notebook_of(path, *sources):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, path)
    return path


def test_lab_opens_the_first_notebook_in_the_browser(root, tmp_path):
    project, browser, opened = tmp_path / "naïve & 学", tmp_path / "browser", tmp_path / "opened"
    shutil.copytree(root / "tools", project / "tools")
    (project / "notebooks").mkdir()
    notebook_of(project / "notebooks/01_clip.ipynb", "1")
    browser.write_text(f'#!/bin/sh\ncp "${{1#file://}}" "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "BROWSER": f"{browser} %s", "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with open(tmp_path / "log", "w+") as log:
        command = [sys.executable, "tools/lab.py", str(port)]
        lab = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 60
            while not opened.exists() and lab.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert opened.exists(), (tmp_path / "log").read_text()
        finally:
            lab.terminate()
            lab.wait(timeout=30)
    assert f"localhost:{port}/lab/tree/notebooks/01_clip.ipynb" in opened.read_text()


def test_notebooks_are_run_and_cleaned(script, tmp_path):
    path = notebook_of(
        tmp_path / "one.ipynb", "print(1)\nprint(2)", WIDGET_CELL, "import os; os.path.basename(os.getcwd())"
    )
    done = script("notebooks", tmp_path)
    assert done.returncode == 0, done.stderr
    notebook = json.loads(path.read_text())
    assert [cell["execution_count"] for cell in notebook["cells"]] == [1, 2, 3]
    assert [len(cell["outputs"]) for cell in notebook["cells"]] == [1, 1, 1]
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all("execution" not in cell["metadata"] for cell in notebook["cells"])
    assert list(notebook["cells"][1]["outputs"][0]["data"]) == ["text/plain"]
    assert tmp_path.name in notebook["cells"][2]["outputs"][0]["data"]["text/plain"][0]


def test_a_notebook_that_fails_is_named_and_left_as_it_was(script, tmp_path):
    path = notebook_of(tmp_path / "broken.ipynb", "1 / 0")
    before = path.read_bytes()
    done = script("notebooks", tmp_path)
    assert done.returncode == 1 and "broken.ipynb failed" in done.stderr and "ZeroDivisionError" in done.stderr
    assert path.read_bytes() == before and list(tmp_path.glob("*.tmp")) == []


def test_a_folder_without_notebooks_is_refused(script, tmp_path):
    done = script("notebooks", tmp_path)
    assert done.returncode == 1 and "No notebook in" in done.stderr


def notebook_with(parameters):
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("steps = 1"), cell])


def test_parameters_get_other_values_and_keep_their_comments():
    notebook = notebook_with("steps=900  # long\nfew_steps = 2\nname = 'a'")
    changed = set_parameters(notebook, steps=7, name=r"b\1")
    assert changed.cells[1].source == "steps=7  # long\nfew_steps = 2\nname = 'b\\\\1'"
    assert changed.cells[0].source == "steps = 1" and "900" in notebook.cells[1].source


@pytest.mark.parametrize("parameters", ["few_steps = 2", "steps = 2\nsteps = 3"])
def test_a_parameter_that_is_not_there_once_is_refused(parameters):
    with pytest.raises(ValueError, match="the cell tagged `parameters` must hold one line `steps = ...`:\nf?e?w?_?s"):
        set_parameters(notebook_with(parameters), steps=7)


def test_every_notebook_has_what_other_runs_change(root):
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        set_parameters(nbformat.read(path, as_version=4), seed=7, steps=2, short_steps=2)
