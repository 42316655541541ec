"""The workflow for GitHub runs the script that every CI machine runs, on what pyproject.toml promises."""

import os
import re
import runpy
import subprocess

import pytest
import yaml


@pytest.fixture(scope="module")
def workflow(root):
    return yaml.safe_load((root / ".github/workflows/test.yml").read_text(encoding="utf-8"))


def test_it_runs_on_every_change_and_every_week(workflow):
    when = workflow[True]  # YAML 1.1 reads the key `on` as true
    assert {"push", "pull_request", "schedule"} <= set(when)
    minute, hour, day, month, weekday = when["schedule"][0]["cron"].split()
    assert day == month == "*" and weekday in set("0123456") and minute.isdecimal() and hour.isdecimal()


def test_it_runs_on_both_systems_with_the_oldest_and_the_newest_python(workflow, root):
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    oldest, above = re.search(
        r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', (root / "pyproject.toml").read_text(), re.M
    ).groups()
    assert matrix["system"] == ["ubuntu-latest", "macos-latest"]
    assert matrix["python"] == [f"3.{oldest}", f"3.{int(above) - 1}"]
    used = [step.get("with", {}).get("python-version") for step in workflow["jobs"]["test"]["steps"]]
    assert "${{ matrix.python }}" in used and workflow["jobs"]["test"]["runs-on"] == "${{ matrix.system }}"


def test_its_last_step_is_the_script_of_every_ci_machine(workflow, root):
    assert workflow["jobs"]["test"]["steps"][-1] == {"run": ".ci/run"}
    assert os.access(root / ".ci/run", os.X_OK)
    assert subprocess.run(["bash", "-n", root / ".ci/run"]).returncode == 0


def test_the_script_looks_for_a_browser_where_the_tests_do(root):
    looked_at = runpy.run_path(str(root / "tests/conftest.py"))["CHROMIUMS"]
    script = (root / ".ci/run").read_text()
    assert looked_at and all(path in script for path in looked_at)
