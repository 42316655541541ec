"""What a notebook reports is shown, kept, and held against its floors."""

import json
from html.parser import HTMLParser

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mmlib import results as module
from mmlib.results import MIME, read, report

METRICS = {
    "text_to_image_r1": {"value": 0.871234, "chance": 0.0025, "control": 0.003, "floor": 0.85},
    "hard_r1": {"value": torch.tensor(0.25), "chance": 0.0025},
}
EXPECTED = {
    "notebook": "01_clip",
    "train_seconds": 58.1,
    "threads": 1,
    "seed": 0,
    "complete": True,
    "peak_memory_gb": 0.75,
    "metrics": {
        "text_to_image_r1": {"value": 0.8712, "chance": 0.0025, "control": 0.003, "floor": 0.85},
        "hard_r1": {"value": 0.25, "chance": 0.0025, "control": None, "floor": None},
    },
}


@pytest.fixture
def shown(monkeypatch):
    """The outputs that were displayed."""
    outputs = []
    monkeypatch.setattr(module, "display", lambda data, raw: outputs.append(data))
    monkeypatch.setattr(module, "_peak_memory_gb", lambda: 0.75)
    return outputs


def reported(shown, metrics=METRICS, **extra):
    report("01_clip", metrics, train_seconds=58.0712, seed=0, **({"complete": True} | extra))
    return shown[-1]


def write_notebook(path, *datas, title="# CLIP\n\nWords."):
    cells = [new_markdown_cell(title)] if title else []
    cells += [new_code_cell("report()", outputs=[new_output("display_data", data)]) for data in datas]
    nbformat.write(new_notebook(cells=cells), path)
    return path


class Table(HTMLParser):
    """The tags of a table, its header cells with their scope, and its texts."""

    def __init__(self, html):
        super().__init__()
        self.open, self.headers, self.cells, self.caption = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attrs = self.open[-1]
        if tag == "th":
            self.headers.append((attrs["scope"], data))
        elif tag == "td":
            self.cells.append(data)
        elif tag == "caption":
            self.caption = data


class TestReport:
    def test_one_output_holds_three_forms(self, shown):
        data = reported(shown)
        assert len(shown) == 1 and set(data) == {"text/plain", "text/html", MIME}

    def test_the_json_is_as_promised(self, shown):
        data = json.loads(json.dumps(reported(shown)[MIME], allow_nan=False))
        assert data == EXPECTED and list(data) == list(EXPECTED)

    def test_extra_facts_are_kept(self, shown):
        assert reported(shown, memory_gb=1.2)[MIME] == EXPECTED | {"memory_gb": 1.2}

    def test_the_table_can_be_read_aloud(self, shown):
        table = Table(reported(shown)["text/html"])
        assert table.caption == "Results of 01_clip (training: 58.1 s, threads: 1, seed: 0)"
        assert table.headers == [("col", text) for text in ("metric", "value", "chance", "control", "floor")] + [
            ("row", "text_to_image_r1"),
            ("row", "hard_r1"),
        ]
        assert table.cells == ["0.8712", "0.0025", "0.003", "0.85", "0.25", "0.0025", "-", "-"]
        assert table.open == []

    def test_names_are_no_markup(self, shown):
        assert ("row", "a<b") in Table(reported(shown, {"a<b": {"value": 1}})["text/html"]).headers

    def test_the_plain_table_is_aligned(self, shown):
        lines = reported(shown)["text/plain"].splitlines()
        assert lines[1].split() == ["metric", "value", "chance", "control", "floor"]
        assert lines[2].split() == ["text_to_image_r1", "0.8712", "0.0025", "0.003", "0.85"]
        assert len({len(line) for line in lines[1:]}) == 1

    def test_large_counts_keep_all_their_digits(self, shown):
        assert Table(reported(shown, {"parameters": {"value": 121_566_352}})["text/html"]).cells[0] == "121566352"

    def test_every_metric_under_its_floor_is_named_after_the_output(self, shown):
        metrics = {
            "a": {"value": 0.5, "floor": 0.6},
            "b": {"value": 0.6, "floor": 0.6},
            "c": {"value": 0.7, "floor": 0.8},
        }
        with pytest.raises(AssertionError) as error:
            reported(shown, metrics)
        assert str(error.value).startswith("01_clip: a is 0.5, under 0.6; c is 0.7, under 0.8. Restart the kernel")
        assert len(shown) == 1

    def test_a_training_that_was_cut_short_is_shown_and_not_judged(self, shown):
        data = reported(shown, {"a": {"value": 0.5, "floor": 0.6}}, complete=False)
        assert data[MIME]["complete"] is False and data[MIME]["metrics"]["a"]["floor"] == 0.6
        assert "the floors do not count" in Table(data["text/html"]).caption
        assert "the floors do not count" in data["text/plain"]

    def test_peak_memory_grows_with_what_was_held(self):
        before = module._peak_memory_gb()
        torch.ones(200_000_000, dtype=torch.uint8).add_(1)
        assert 0.02 < before <= module._peak_memory_gb() < 50

    def test_what_is_judged_is_what_is_shown(self, shown):
        reported(shown, {"a": {"value": 0.59999, "floor": 0.6}})
        assert shown[0][MIME]["metrics"]["a"]["value"] == 0.6

    @pytest.mark.parametrize(
        "metric, text",
        [
            ({"value": 0.5, "flor": 0.4}, "metric a: expected any of value, chance, control, floor, got flor"),
            ({"floor": 0.4}, "metric a: expected a value that is a finite number, got None"),
            ({"value": float("nan")}, "metric a: expected a value that is a finite number, got nan"),
            ({"value": 0.5, "floor": float("nan")}, "metric a: expected a floor that is a finite number, got nan"),
            ({"value": 0.5, "chance": float("inf")}, "metric a: expected a chance that is a finite number, got inf"),
        ],
    )
    def test_a_bad_metric_is_refused_and_not_shown(self, shown, metric, text):
        with pytest.raises(ValueError, match=text):
            reported(shown, {"a": metric})
        assert shown == []

    def test_a_notebook_file_keeps_it(self, shown, tmp_path):
        path = write_notebook(tmp_path / "n.ipynb", reported(shown))
        nbformat.validate(nbformat.read(path, as_version=4))
        assert read(path) == EXPECTED


class TestRead:
    def test_the_last_report_counts(self, tmp_path):
        path = write_notebook(tmp_path / "n.ipynb", {MIME: {"seed": 1}}, {MIME: {"seed": 2}}, {"text/plain": "x"})
        assert read(path) == {"seed": 2}

    def test_a_notebook_that_was_not_run(self, tmp_path):
        with pytest.raises(ValueError, match=r"n\.ipynb.*expected a notebook with reported results.*make notebooks"):
            read(write_notebook(tmp_path / "n.ipynb", {"text/plain": "x"}))

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "<<<<<<< HEAD"])
    def test_a_file_that_is_no_notebook(self, tmp_path, text):
        (tmp_path / "n.ipynb").write_text(text)
        with pytest.raises(ValueError, match=r"n\.ipynb.*expected a notebook file"):
            read(tmp_path / "n.ipynb")

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"n\.ipynb"):
            read(tmp_path / "n.ipynb")
