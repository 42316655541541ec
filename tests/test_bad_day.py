"""A bad day: a kernel that dies, a full disk, a home that cannot be written or that two share, another locale, awkward
paths, no fonts, a wrong clock.

The cache's own troubles (damage, two processes, a folder that is a file) are in `test_emoji.py`, those of a checkpoint
in `test_train.py`, those of an install in `test_setup.py`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from PIL import Image
from torch import nn

from mmlib.data.cache import cached_array
from mmlib.train import train

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path fill="{}" d="M0 0h8v4h-8z"/></svg>'


def python(root, code, *arguments, **environment):
    """Run code in another Python; what is set to None is not in its environment."""
    merged = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=root, env=merged, capture_output=True, text=True, timeout=120, encoding="utf-8")


@pytest.fixture
def drawings(tmp_path):
    folder = tmp_path / "my drawings, naïve & 学"
    folder.mkdir()
    for code, colour in (("1F600", "red"), ("1F601", "blue")):
        (folder / f"{code}.svg").write_text(SVG.format(colour))
    return folder


# ---------------------------------------------------------------- a kernel that is killed

SOME_TRAINING = """
import time
import torch
from mmlib.checkpoint import Checkpoint
from mmlib.data.emoji import make_pictures
from mmlib.train import train

pictures = make_pictures(8, FOLDER).image.flatten(1) / 255
torch.manual_seed(0)
model = torch.nn.Linear(192, 1)
history = train(
    model,
    lambda step: pictures[torch.randint(2, (4,))],
    lambda model, x: model(x).square().mean(),
    steps=40,
    lr=1e-2,
    device="cpu",
    on_step=lambda record: (print(f"step {record['step']};", flush=True), time.sleep(0.02)),
    checkpoint=CHECKPOINT,
)
print("losses", history.losses, "weights", model.weight.sum().item())
"""


def said_by(client, code, until="losses"):
    """What the code prints, up to some text."""
    client.execute(code)
    text, deadline = "", time.monotonic() + 60
    while until not in text:
        assert time.monotonic() < deadline, text
        message = client.get_iopub_msg(timeout=60)
        assert message["msg_type"] != "error", message["content"]["evalue"]
        text += message["content"].get("text", "") if message["msg_type"] == "stream" else ""
    return text


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows cannot kill so hard")
def test_a_kernel_killed_in_training_runs_again_to_the_same_result(tmp_path, drawings):
    """From its checkpoint where it had one, from the start where not."""
    cache, checkpoint = tmp_path / "cache", f"Checkpoint({str(tmp_path / 'run')!r}, every=5)"
    code = SOME_TRAINING.replace("FOLDER", repr(str(drawings)))
    run = code.replace("CHECKPOINT", checkpoint)
    manager, client = start_new_kernel(kernel_name="python3", env=os.environ | {"MMLIB_CACHE": str(cache)})
    try:
        said_by(client, run, until="step 12;")
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        while manager.is_alive():
            time.sleep(0.05)
        (kept,) = cache.iterdir()  # what was written is whole, and there is nothing else
        before = kept.read_bytes()
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        again = said_by(client, run)
        assert [kept] == list(cache.iterdir()) and kept.read_bytes() == before
        whole = said_by(client, code.replace("CHECKPOINT", "None"))
        assert again.startswith("step 11;") and whole.startswith("step 1;")
        assert again.split("losses")[1] == whole.split("losses")[1]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


KILLED = """
import os, signal, sys
import numpy as np
from mmlib import atomic
from mmlib.data import cache
if sys.argv[1] == "killed":
    atomic.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
print(cache.cached_array("name", (3,), lambda: np.arange(3, dtype=np.uint8)).tolist())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows cannot kill so hard")
def test_killed_while_the_cache_is_written(root, tmp_path):
    """What is left is a file that nobody takes for the whole one."""
    assert python(root, KILLED, "killed", MMLIB_CACHE=str(tmp_path)).returncode == -signal.SIGKILL
    assert not (tmp_path / "name").exists()
    done = python(root, KILLED, "again", MMLIB_CACHE=str(tmp_path))
    assert done.stdout == "[0, 1, 2]\n" and (tmp_path / "name").stat().st_size == 35


# ---------------------------------------------------------------- a full disk

FULL = """
import os, sys
import numpy as np
import torch
from mmlib.checkpoint import Checkpoint
from mmlib.data.cache import cached_array
from mmlib.train import train

made = []
def make():
    made.append(1)
    return np.arange(200_000, dtype=np.uint8)

for _ in range(2):
    assert cached_array("large", (200_000,), make).sum() == make().sum()
assert len(made) == 4 and not os.listdir(sys.argv[1]), os.listdir(sys.argv[1])  # made each time, nothing left behind
assert cached_array("small", (9,), lambda: np.arange(9, dtype=np.uint8)).tolist() == list(range(9))

def learn(model, folder):
    options = {"steps": 3, "lr": 0.1, "device": "cpu", "checkpoint": Checkpoint(folder, every=1)}
    return train(model, lambda step: torch.ones(1, 4), lambda model, x: model(x).square().mean(), **options).losses

folder = os.path.join(sys.argv[1], "run")
small = torch.nn.Linear(4, 4)
losses = learn(small, folder)
kept = sorted(os.listdir(folder))
try:
    learn(torch.nn.Linear(4, 4000), os.path.join(sys.argv[1], "other"))
except ValueError as error:
    print("said:", error)
again = torch.nn.Linear(4, 4)
assert learn(again, folder) == losses and torch.equal(again.weight, small.weight)
assert sorted(os.listdir(folder)) == kept == ["lock", "run.0.pt", "run.1.pt"]
print("whole")
"""


def test_a_disk_that_is_really_full(root, tmp_path):
    """In a file system of 64 kB that only this process sees."""
    inside = 'mount -t tmpfs -o size=64k tmpfs "$1" && MMLIB_CACHE="$1" exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", inside, "sh", str(tmp_path), sys.executable]
    if shutil.which("unshare") is None or subprocess.run([*command[:-1], "true", ""], capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk to fill")
    done = subprocess.run([*command, FULL], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("whole\n"), done.stderr
    assert "other'): expected a folder that can be written, got [Errno 28] No space left on device" in done.stdout


def test_no_space_left_while_the_bytes_are_written(tmp_path, monkeypatch):
    """The same on every system: `write` is what fails."""
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))

    class Full:
        def __init__(self, path, mode):
            path.touch()

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def write(self, content):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmlib.data.cache.open", Full, raising=False)
    assert cached_array("name", (3,), lambda: np.arange(3, dtype=np.uint8)).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- a home that cannot be written

NOWHERE = "/proc/nowhere" if sys.platform == "linux" else "/dev/null/nowhere"  # not even root can write there
HOMELESS = {"HOME": NOWHERE, "MMLIB_CACHE": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None, "MPLCONFIGDIR": None}

DRAW = """
import sys
from mmlib import plots
from mmlib.data.emoji import load_pictures, make_pictures
from mmlib.widgets import TrainingPanel
pictures = make_pictures(8, sys.argv[1])
figure = plots.plot_pictures(pictures.image, [names[0] for names in pictures.names])
figure.canvas.draw()
panel = TrainingPanel(3, (1.0, "one"))
print(len(pictures), len(panel.live.image.value) > 1000)
"""


def test_a_home_that_cannot_be_written_costs_nothing_but_the_cache(root, drawings):
    done = python(root, DRAW, drawings, **HOMELESS)
    assert done.returncode == 0 and done.stdout == "2 True\n", done.stderr


def test_jupyter_gets_a_home_for_the_run(root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(root / "tools"))
    from lab import with_a_home

    assert with_a_home({"HOME": "as it was"}) == {"HOME": "as it was"} and capsys.readouterr().out == ""
    monkeypatch.setenv("HOME", NOWHERE)
    other = with_a_home({"HOME": NOWHERE, "A": "1"})
    assert other["A"] == "1" and os.path.isdir(other["HOME"]) and os.access(other["HOME"], os.W_OK)
    assert "Your home folder cannot be written" in capsys.readouterr().out
    os.rmdir(other["HOME"])


def test_two_students_with_one_home_at_once(root, tmp_path, drawings):
    """A new home, in which both kernels, matplotlib and mmlib make their folders at the same moment."""
    code = "from mmlib import plots\nfrom mmlib.data.emoji import make_pictures\n"
    code += f"pictures = make_pictures(8, {str(drawings)!r})\n"
    code += "plots.plot_pictures(pictures.image, ['one', 'two']).canvas.draw()\nprint(len(pictures))"
    home = {"HOME": str(tmp_path / "home")} | {name: None for name in HOMELESS if name != "HOME"}
    environment = {name: value for name, value in (os.environ | home).items() if value is not None}
    (tmp_path / "home").mkdir()
    students = [tmp_path / "ann", tmp_path / "ben"]
    for folder in students:
        folder.mkdir()
        cells = [nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "n.ipynb")
    command, pipes = [sys.executable, "tools/notebooks.py"], {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    both = [subprocess.Popen([*command, str(folder)], cwd=root, env=environment, **pipes) for folder in students]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    for folder in students:
        outputs = nbformat.read(folder / "n.ipynb", as_version=4).cells[0].outputs
        assert [output.text for output in outputs if output.name == "stdout"] == ["2\n"]


# ---------------------------------------------------------------- another locale, awkward paths

OWN = """
import sys
from pathlib import Path
import torch
from mmlib import plots, source
from mmlib.checkpoint import Checkpoint
from mmlib.data.emoji import load_pictures, make_pictures
from mmlib.data.text import Tokenizer
from tools.readme import readme_table
folder = Path(sys.argv[1])
pictures = load_pictures(folder, size=8)
assert pictures.names == (("a café", "女超级英雄"), ("I ı İ ß",)), ascii(pictures.names)
tokenizer = Tokenizer.from_texts(name for names in pictures.names for name in names)
assert tokenizer.encode(["I"]).shape == tokenizer.encode(["i"]).shape
assert len(make_pictures(8, folder)) == 2
model = torch.nn.Linear(2, 2)
with Checkpoint(folder / "课程 run") as checkpoint:
    assert checkpoint.load({}, {"model": model}) == {}
    checkpoint.save({"losses": [1.0]})
    assert checkpoint.load({}, {"model": model}) == {"losses": [1.0]}
figure = plots.plot_lines({"x": ([0, 1.5], [0.25, 1.5])}, "step", "nats")
figure.canvas.draw()
assert "0.6" in {label.get_text() for label in figure.axes[0].get_yticklabels()}  # a point, no comma
print(f"{readme_table(Path('notebooks')).count('|') > 100} {0.5:.2f} {'I'.lower()}")
"""


@pytest.mark.parametrize("language", ["C", "tr_TR.UTF-8"])
def test_a_locale_of_another_language_changes_nothing(root, drawings, language):
    """With the names of files and the texts in them in several scripts. A locale that is missing here acts like C."""
    for name, colour in (("一.png", "red"), ("b b.png", "blue")):
        Image.new("RGB", (9, 9), colour).save(drawings / name)
    captions = "image,caption\n一.png,a café\n一.png,女超级英雄\nb b.png,I ı İ ß\n"
    (drawings / "captions.txt").write_text(captions, encoding="utf-8")
    (drawings / "own.py").write_text(OWN, encoding="utf-8")
    told = {"LC_ALL": language, "LANG": language, "PYTHONWARNDEFAULTENCODING": "1"}
    run = "import runpy, sys; runpy.run_path(sys.argv[1] + '/own.py')"
    done = python(root, run, drawings, **told, MMLIB_CACHE=str(drawings / "缓存"))
    assert done.returncode == 0 and done.stdout == "True 0.50 i\n", done.stderr
    ours = [line for line in done.stderr.splitlines() if "EncodingWarning" in line and "mmlib" in line]
    assert not ours  # whoever opens a text without saying how it is encoded gets the locale's way


# ---------------------------------------------------------------- no fonts, a wrong clock, one thread

NO_FONTS = """
import matplotlib.font_manager as fonts
assert not fonts.findSystemFonts(), fonts.findSystemFonts()[:3]
fonts._load_fontmanager(try_read_cache=False)
import numpy as np
from mmlib import plots
figure = plots.plot_bars({"女 cat": 0.5}, "title")
figure.canvas.draw()
ink = (np.asarray(figure.canvas.buffer_rgba())[..., :3] < 100).sum()
print(plots.fit("女 cat", 100), ink > 200, fonts.findfont("DejaVu Sans").split("/")[-1])
"""


def test_without_any_font_of_the_system_figures_have_their_type(root, tmp_path):
    """matplotlib brings its own; a character that it lacks becomes a box, and nothing is said on stderr."""
    hide = "import matplotlib.font_manager as fonts\nfonts.findSystemFonts = lambda *_, **__: []\n"
    done = python(root, hide + NO_FONTS, MPLCONFIGDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == "□ cat True DejaVuSans.ttf\n"


def test_nobody_reads_the_clock_on_the_wall(root):
    """A clock that jumps would make a training end before it began, and a cache older than what it was made from."""
    wall = re.compile(r"\btime\.time\(|\b(?:now|today|utcnow)\(|st_mtime|\bgmtime\b|\blocaltime\b")
    read = [path for folder in ("mmlib", "tools") for path in (root / folder).rglob("*.py")]
    assert len(read) > 50 and not [path.name for path in read if wall.search(path.read_text(encoding="utf-8"))]


def test_one_thread_learns_what_two_learn():
    def losses(threads):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        batch, loss = lambda step: torch.randn(256, 64), lambda model, x: model(x).square().mean()
        return [f"{x:.4f}" for x in train(model, batch, loss, steps=5, lr=1e-2, device="cpu").losses]

    assert losses(1) == losses(2)
