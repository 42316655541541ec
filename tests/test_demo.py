"""`make demo` without its browser: what is run of a notebook, what is kept, and what a page makes of it."""

import pickle
import re
import subprocess
import sys

import nbformat
import pytest

MADE_OF = """
import torch
from torch.nn.functional import normalize
from mmlib import widgets
torch.manual_seed(0)
image_emb, text_emb = normalize(torch.randn(2, 50, 4), dim=-1)
pictures = torch.zeros(50, 3, 8, 8, dtype=torch.uint8)
explorer = widgets.SearchExplorer(
    lambda texts: text_emb[: len(texts)], Words(), image_emb[:3], pictures[:3], ["one", "two", "three"]
)
explorer.query.value = "two"
"""
WORDS = "class Words:\n    def unknown(self, text):\n        return [text] * batch_size"


@pytest.fixture
def tool(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    monkeypatch.delitem(sys.modules, "demo", raising=False)
    import demo

    demo.environment.cache_clear()
    return demo


@pytest.fixture
def notebook():
    parameters = nbformat.v4.new_code_cell("steps = 900  # long\nbatch_size = 2", metadata={"tags": ["parameters"]})
    cells = [
        nbformat.v4.new_markdown_cell("# Toys: a try\n\n**The question.** Does it\nwork?\n\nMore."),
        parameters,
        nbformat.v4.new_markdown_cell("## 7. Move it\n\n```\n## no heading\n```\n\n### Search, and back"),
        nbformat.v4.new_code_cell(WORDS),
        nbformat.v4.new_code_cell(MADE_OF),
        nbformat.v4.new_code_cell("raise RuntimeError('nobody runs what comes after the last demo')"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_the_cells_up_to_the_last_demo_are_run_with_the_numbers_of_the_recipe(tool, notebook):
    cells = tool.cells_to_run(notebook, {"steps": 7})
    assert len(cells) == 3 and "steps = 7  # long\nbatch_size = 2" in cells[0]
    assert "lecture.heading = 'Search, and back'" in cells[2]


def test_recipes_name_what_the_notebooks_have(tool, root):
    for stem, recipe in tool.RECIPES.items():
        cells = nbformat.read(root / "notebooks" / f"{stem}.ipynb", as_version=4).cells
        code = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
        own = {name: int(value) for name, value in re.findall(r"(?m)^(\w+) = (\d+)", code)}
        assert all(value <= own[name] for name, value in recipe.items())


def test_demos_are_kept_and_made_again_in_another_python(tool, notebook, root, tmp_path):
    path = tmp_path / "toys.pkl"
    tool.make_demos(path, notebook, {"steps": 7})
    assert [file.name for file in tmp_path.iterdir()] == ["toys.pkl"]
    assert path.stat().st_size < 100_000
    with open(path, "rb") as file:
        (kept,) = pickle.load(file)
    assert (kept["heading"], kept["demo"], kept["typed"]) == ("Search, and back", "SearchExplorer", {"query": "two"})
    shown = (
        "import lecture\n"
        "lecture.display = lambda heading, demo: print(heading.data, demo.live.image.width, demo.live.figure.dpi, "
        "demo.query.value, demo.state()['unknown'])\n"
        f"lecture.show({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", shown], env=tool.environment(), capture_output=True, text=True)
    assert done.stdout == "## Search, and back 860 200 two ['two', 'two']\n", done.stderr


def test_what_is_kept_is_known_by_all_that_it_hangs_on(tool, notebook):
    same = tool.fingerprint(notebook, {"steps": 7})
    assert tool.fingerprint(notebook, {"steps": 7}) == same != tool.fingerprint(notebook, {"steps": 8})
    notebook.cells[3].source += " "
    assert tool.fingerprint(notebook, {"steps": 7}) != same


def test_a_page_has_its_title_its_question_and_its_demos(tool, notebook, tmp_path):
    title = tool.title_of(tmp_path / "06_toys.ipynb", notebook)
    page = tool.page_of(title, notebook, tmp_path / "x.pkl")
    assert title == "6. Toys"
    assert page.cells[0].source.startswith("# 6. Toys\n\n**The question.** Does it\nwork?\n\n[All pages]")
    assert "lecture.show(" in page.cells[1].source


def test_a_cache_that_cannot_be_written_is_said(tool, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "file"))
    folder = tool.writable_folder()
    assert folder.is_dir() and "not kept for the next time" in capsys.readouterr().out
    folder.rmdir()
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    assert tool.writable_folder() == tmp_path / "cache" / "demo" and capsys.readouterr().out == ""


def test_a_taken_port_is_said_with_the_command_that_avoids_it(root):
    done = subprocess.run([sys.executable, "tools/demo.py", "lab"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1 and "make demo PORT=" in done.stderr


def test_nothing_of_a_page_comes_from_another_machine(root):
    template = root / "tools/voila/templates/lecture"
    files = [path.read_text() for path in template.iterdir()]
    assert len(files) == 5 and not [text for text in files if re.search(r"https?://|@import|url\(", text)]


def test_two_who_share_a_home_prepare_their_pages_at_once(root, tmp_path):
    """Each of the two has all pages at every moment."""
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, 'tools')\nimport demo\n"
        "demo.make_demos = lambda path, notebook, recipe: path.write_text('made')\n"
        "folder = Path(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    (folder / 'pages' / 'old page.ipynb').touch() if (folder / 'pages').exists() else None\n"
        "    pages = demo.prepare(folder)\n"
        "    assert len(list(pages.glob('?. *.ipynb'))) == len(list(Path('notebooks').glob('*.ipynb')))\n"
    )
    command, pipes = [sys.executable, "-c", code, str(tmp_path)], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(command, cwd=root, text=True, **pipes) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert not (tmp_path / "pages" / "old page.ipynb").exists() and not list(tmp_path.rglob("*.partial"))
