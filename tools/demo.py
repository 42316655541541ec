"""Serve the demos of all notebooks with Voila, one page a notebook: `python tools/demo.py 8866`.

The demos act on models that the notebooks train. So a notebook's cells, up to its last demo, are run once, with fewer
steps; what its demos are made of is kept in the user's cache folder, and from then on a page is there in seconds.
"""

import hashlib
import os
import re
import sys
import tempfile
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import nbformat
from lab import checked_port, with_a_home
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from parameters import set_parameters

from mmlib.data.cache import cache_folder
from notebooks import write

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
# Other numbers for the cell tagged `parameters`: enough for good demos, and no long controls that no demo shows.
RECIPES = {
    "01_clip": {"steps": 500, "short_steps": 1},
    "02_timesformer": {"steps": 500, "short_steps": 1},
    "03_retrieval": {"steps": 150, "short_steps": 1},
    "04_captioning": {"steps": 400, "short_steps": 1},
    "05_audio_visual_fusion": {"steps": 300, "fusion_steps": 100, "short_steps": 1},
}


def writable_folder():
    """The folder of the demos in the user's cache, or one for this run alone where that cannot be written."""
    folder = cache_folder() / "demo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        print(f"{error}. So what is made now is not kept for the next time.")
        folder = Path(tempfile.mkdtemp(prefix="mmlib-demo-"))
    return folder


@lru_cache(maxsize=1)
def environment():
    """What kernels and Voila need to know: where `lecture` is, and the template."""
    paths = {"PYTHONPATH": [TOOLS, ROOT], "JUPYTER_PATH": [TOOLS]}
    joined = {name: [*map(str, new), os.environ.get(name, "")] for name, new in paths.items()}
    return with_a_home(os.environ) | {name: os.pathsep.join(filter(None, each)) for name, each in joined.items()}


def fingerprint(notebook, recipe):
    """Changes whenever the demos would: the cells, the package, the recipe, Python and torch."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "mmlib").rglob("*.py"))]
    sources += [cell.source for cell in notebook.cells] + [(TOOLS / "lecture.py").read_text(encoding="utf-8")]
    parts = [*sources, str(sorted(recipe.items())), sys.version, version("torch")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cells_to_run(notebook, recipe):
    """The code cells up to the last demo, with the recipe's numbers; each tells the heading that it stands under."""
    cells, heading, last = [], "", 0
    for cell in set_parameters(notebook, **recipe).cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"(?m)^##+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", cell.source)))[-1]
        elif cell.cell_type == "code":
            cells.append(f"lecture.heading = {heading!r}\n{cell.source}")
            if re.search(r"\bwidgets\.\w+Explorer\(", cell.source):
                last = len(cells)
    return cells[:last]


def make_demos(path, notebook, recipe):
    """Run the cells in a kernel of this Python, and keep the demos in `path`."""
    sources = ["import lecture\nlecture.listen()", *cells_to_run(notebook, recipe), f"lecture.keep({str(path)!r})"]
    run = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    quiet = {"extra_arguments": ["--log-level=ERROR"]}
    client = NotebookClient(run, kernel_name="python3", timeout=1800, **quiet)
    client.execute(env=environment(), cwd=str(ROOT / "notebooks"))


def title_of(path, notebook):
    """The number of a notebook and the first words of its title: `1. CLIP`."""
    title = re.search(r"(?m)^# ([^:\n]+)", notebook.cells[0].source)[1]
    return f"{int(path.stem[:2])}. {title}"


def page_of(title, notebook, demos):
    """A page: the title, the question of the notebook, then its demos."""
    question = re.search(r"(?s)\*\*The question\.\*\*.*?(?=\n\n|\Z)", notebook.cells[0].source)
    text = f"# {title}\n\n" + (question[0] if question else "") + "\n\n[All pages](../tree)"
    cells = [
        nbformat.v4.new_markdown_cell(text),
        nbformat.v4.new_code_cell(f"import lecture\nlecture.show({str(demos)!r})"),
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def prepare(folder):
    """Make what is missing of all pages, and give the folder that Voila serves."""
    pages, wanted = folder / "pages", set()
    pages.mkdir(exist_ok=True)  # two who share a home may both be here: nothing is there for a moment only
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook, recipe = nbformat.read(path, as_version=4), RECIPES.get(path.stem, {})
        title = title_of(path, notebook)
        demos = folder / f"{path.stem}-{fingerprint(notebook, recipe)}.pkl"
        if not demos.exists():
            print(f"{title}: its models are trained for the demos, once ...", flush=True)
            try:
                make_demos(demos, notebook, recipe)
            except CellExecutionError as error:
                sys.exit(f"{path.name} failed, so there are no demos of it.\n{error}")
            for old in set(folder.glob(f"{path.stem}-*.pkl")) - {demos}:
                old.unlink(missing_ok=True)
        wanted.add(pages / f"{title}.ipynb")
        write(page_of(title, notebook, demos), pages / f"{title}.ipynb")
    for old in set(pages.glob("*.ipynb")) - wanted:
        old.unlink(missing_ok=True)
    return pages


def command(pages, port, *options):
    """The command that serves the pages, to this machine alone."""
    fixed = ["--Voila.port_retries=0", "--template=lecture", "--classic-tree", "--show_tracebacks=True"]
    fixed += ["--Voila.kernel_websocket_connection_class=mmlib.server.PromptConnection"]
    fixed += ["--MappingKernelManager.cull_interval=60", "--MappingKernelManager.cull_idle_timeout=600"]
    return [sys.executable, "-m", "voila", str(pages), f"--port={port}", *fixed, *options]


def main(port):
    pages = prepare(writable_folder())
    print(f"Serving the demos at http://localhost:{port}/ . Ctrl-C ends it.", flush=True)
    os.execve(sys.executable, command(pages, port), environment())


if __name__ == "__main__":
    main(checked_port(sys.argv[1], "make demo"))
