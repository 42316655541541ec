"""Drive a notebook in JupyterLab in Chromium, as a reader does: run it, move sliders, press buttons, type.

    with Lab(chromium, folder) as lab:  # `chromium` is a browser that Playwright has started
        lab.open("01_clip.ipynb")
        lab.run_all()
        lab.demo("temperature-explorer").press("ArrowRight")
        assert lab.complaints() == []

A demo is found by its CSS class. Everything that the browser, the page and the server complain about is kept.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
from playwright.sync_api import Browser

from tools.parameters import set_parameters

SERVER_FLAGS = (
    "--no-browser --allow-root --ip=127.0.0.1 --IdentityProvider.token= --ServerApp.password= "
    "--ServerApp.disable_check_xsrf=True --ServerApp.port_retries=0 --LabApp.news_url=None "
    "--LabApp.expose_app_in_browser=True "
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate "
    "--ServerApp.kernel_websocket_connection_class=mmlib.server.PromptConnection"  # as `make lab` does
).split()
# The last words of a kernel that is restarted while a cell runs.
LAST_WORDS = re.compile(r"(?s)\[IPKernelApp\] ERROR(?:(?!\[IPKernelApp\]).)*?ZMQError: Socket operation on non-socket")
RUNNING = '.jp-Notebook-ExecutionIndicator[data-status="busy"]'
IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
# Asks the notebook: in the page, outputs out of sight are not written yet. A warning is as unwelcome as an error.
COMPLAINTS = """
() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(cell => (cell.toJSON().outputs ?? [])
  .filter(output => output.output_type === "error" || output.name === "stderr")
  .map(output => `[${cell.executionCount}]: ${[output.text ?? output.traceback].flat().join("\\n")}`))
"""

# A demo is a box around a line that speaks up; all classes but its own are those of the front end.
DEMOS = """
() => [...document.querySelectorAll(".widget-vbox:has(> .widget-html [aria-live])")]
  .map(box => [...box.classList].find(name => !/^(lm|jp|widget|jupyter)-/.test(name)))
"""

# Times each key press until the picture that it caused has been decoded and a frame has begun.
STOPWATCH = """
root => {
  const last = () => [...root.querySelectorAll("img")].map(img => img.src).join();
  window.pixels = {pressed: 0, took: null, src: last()};
  document.addEventListener("keydown", () => {
    window.pixels = {pressed: performance.now(), took: null, src: last()};
  }, true);
  new MutationObserver(async () => {
    const watch = window.pixels;
    if (watch.took !== null || !last() || last() === watch.src) return;
    const pressed = watch.pressed;
    await Promise.all([...root.querySelectorAll("img")].map(img => img.decode().catch(() => null)));
    requestAnimationFrame(() => {
      if (window.pixels.pressed === pressed && window.pixels.took === null)
        window.pixels.took = performance.now() - pressed;
    });
  }).observe(root, {subtree: true, childList: true, attributes: true, attributeFilter: ["src"]});
}
"""


def copy_notebook(source: Path, folder: Path, **parameters) -> Path:
    """Copy a notebook without outputs, with other numbers in its cell tagged `parameters` (`steps=20`)."""
    notebook = set_parameters(nbformat.read(source, as_version=4), **parameters)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / source.name)
    return folder / source.name


class Lab:
    """A Jupyter server in a folder, and one page of a browser that looks at it.

    Args:
        chromium: the browser.
        folder: what the server serves; its settings and its log go into a folder beside it.
        threads: of the kernels; 0 leaves the choice to them.
        width: of the browser's window in pixels.
    """

    def __init__(self, chromium: Browser, folder: Path, threads: int = 0, width: int = 1366):
        self.chromium, self.folder, self.threads, self.width = chromium, folder, threads, width
        self.private = folder.parent / f"{folder.name}-jupyter"
        self.log_path = self.private / "server.log"
        self.context = self.page = None
        self._heard, self._read = [], 0

    def __enter__(self) -> "Lab":
        shutil.rmtree(self.private, ignore_errors=True)
        self.private.mkdir()
        try:
            self._start_server()
            self.context = self.chromium.new_context(viewport={"width": self.width, "height": 900})
            self.turn_page()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error) -> None:
        if self.context is not None:
            self.context.close()
        self.server.terminate()  # the server ends its kernels
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()

    def turn_page(self) -> None:
        """Begin an empty page; the last one is closed, its kernel ended, and what was complained about forgotten."""
        if self.page is not None:
            self.page.close()
            for session in self._sessions():
                address = f"{self.url}/api/sessions/{session['id']}"
                urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=60).close()
        self._heard, self._read = [], len(self.log_path.read_text())
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self._heard.append(f"page: {error}"))
        self.page.on("console", self._listen)

    def _sessions(self) -> list[dict]:
        return json.load(urllib.request.urlopen(f"{self.url}/api/sessions", timeout=5))

    def open(self, name: str) -> None:
        """Open a notebook of the folder and wait for its kernel."""
        self.page.goto(f"{self.url}/lab/workspaces/{Path(name).stem}/tree/{name}?reset")
        self.page.wait_for_selector(IDLE, timeout=90_000)
        # The indicator says idle before there is a kernel; to run then brings up a dialog.
        self.page.locator(".jp-KernelName").filter(has_not_text="No Kernel").wait_for()
        for _ in range(600):
            sessions = self._sessions()
            if any(s["kernel"]["connections"] and s["kernel"]["execution_state"] == "idle" for s in sessions):
                return
            self.page.wait_for_timeout(100)
        raise TimeoutError(f"no kernel after a minute: {sessions}")

    def run_all(self, wait: bool = True, timeout: float = 300) -> None:
        """Run all cells, as from the menu Run; `timeout` in seconds."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('li.lm-Menu-item[data-command="runmenu:run-all"]').click()
        if wait:
            self.wait_idle(timeout)

    def restart_and_run_all(self, wait: bool = True, timeout: float = 300) -> None:
        """Restart the kernel and run all cells, as from the menu; `timeout` in seconds."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.locator('li.lm-Menu-item[data-command="runmenu:restart-and-run-all"]').click()
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.page.locator(RUNNING).wait_for()
        if wait:
            self.wait_idle(timeout)

    def close_and_reopen(self, name: str) -> None:
        """Save the notebook, close its tab, and open it again from the list of files; its kernel lives on."""
        self.page.locator(".jp-NotebookPanel").click(position={"x": 5, "y": 5})
        self.page.keyboard.press("ControlOrMeta+s")
        self.page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
        self.page.locator(".lm-TabBar-tab.jp-mod-current .lm-TabBar-tabCloseIcon").click()
        self.page.locator(".jp-NotebookPanel").wait_for(state="detached")
        self.page.locator(".jp-DirListing-item", has_text=name).dblclick()
        self.page.wait_for_selector(IDLE, timeout=90_000)

    def demos(self) -> list[str]:
        """The classes of all demos in the page."""
        return self.page.evaluate(DEMOS)

    def run_cell(self, css_class: str) -> None:
        """Run the one cell again that shows the demo with this class."""
        cell = self.page.locator(f".jp-CodeCell:has(.{css_class})").last
        cell.scroll_into_view_if_needed()
        cell.locator(".jp-InputPrompt").first.click()
        self.page.keyboard.press("Control+Enter")

    def wait_idle(self, timeout: float = 300) -> None:
        """Wait until no cell runs or waits to be run."""
        self.page.wait_for_function(
            """idle => document.querySelector(idle) &&
                ![...document.querySelectorAll(".jp-InputPrompt")].some(prompt => prompt.textContent.includes("*"))""",
            arg=IDLE,
            timeout=timeout * 1000,
        )

    def is_running(self) -> bool:
        """Whether a cell runs."""
        return self.page.locator(RUNNING).count() > 0

    def demo(self, css_class: str, timeout: float = 60) -> "Demo":
        """The demo with this class, scrolled into view."""
        demo = Demo(self.page, self.page.locator(f".{css_class}").last)
        demo.root.wait_for(state="attached", timeout=timeout * 1000)
        demo.root.scroll_into_view_if_needed()
        demo.root.locator("img").first.wait_for(timeout=timeout * 1000)
        return demo

    def complaints(self) -> list[str]:
        """Errors in cells, in the page, in the browser's console and in the server's log."""
        outputs = [f"cell {text}" for text in self.page.evaluate(COMPLAINTS)]
        said = LAST_WORDS.sub("", self.log_path.read_text()[self._read :])
        log = re.findall(r"(?m)^\[[EC] .*|^Traceback.*|^\w*Error: .*", said)
        return [*outputs, *self._heard, *(f"server: {line}" for line in log)]

    def screenshot(self, path: Path) -> None:
        """Keep what the reader sees."""
        self.page.screenshot(path=path)

    def _start_server(self) -> None:
        env = os.environ | {f"JUPYTER_{kind}_DIR": str(self.private / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
        env |= {
            "JUPYTERLAB_WORKSPACES_DIR": str(self.private / "workspaces"),
            "IPYTHONDIR": str(self.private / "ipython"),
        }
        env |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}
        if self.threads:
            env |= {"OMP_NUM_THREADS": str(self.threads)}
        settings = self.private / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')  # asks for nothing
        env |= {"JUPYTERLAB_SETTINGS_DIR": str(self.private / "settings")}
        port = self._free_port()
        command = [sys.executable, "-m", "jupyterlab", f"--port={port}", f"--ServerApp.root_dir={self.folder}"]
        self._serve([*command, *SERVER_FLAGS], env, f"{self.url}/api")

    def _free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return port

    def _serve(self, command: list[str], env: dict, answers: str) -> None:
        """Start the server, and wait until it answers at an address."""
        with open(self.log_path, "w") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=self.folder)
        for _ in range(600):
            assert self.server.poll() is None, f"the server ended:\n{self.log_path.read_text()}"
            try:
                urllib.request.urlopen(answers, timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"no answer from the server in a minute:\n{self.log_path.read_text()}")

    def _listen(self, message) -> None:
        if message.type == "error":
            self._heard.append(f"console: {message.text} ({message.location.get('url', '')})")


class Projector(Lab):
    """The pages of `make demo`, and one page of a browser that looks at them.

    Args:
        chromium: the browser.
        folder: holds the pages.
        command: port -> the command that serves them.
        env: of the server and its kernels.
    """

    def __init__(self, chromium: Browser, folder: Path, command: Callable[[int], list[str]], env: dict):
        super().__init__(chromium, folder, width=1280)
        self.command, self.env = command, env

    def open(self, title: str) -> None:
        """From the index to the page of this title."""
        self.page.goto(self.url)
        self.page.get_by_role("link", name=title).click()
        self.page.locator("#rendered_cells h1").filter(has_text=title).wait_for(timeout=90_000)

    def complaints(self) -> list[str]:
        """Errors on the page, in the console and in the server's log, and what was asked of other machines."""
        outputs = [f"page: {text}" for text in self.page.locator("text=/Traceback|Error:/").all_inner_texts()]
        log = re.findall(r"(?m).*(?:ERROR|CRITICAL|Traceback).*", self.log_path.read_text())
        return [*outputs, *self._heard, *(f"server: {line}" for line in log)]

    def _start_server(self) -> None:
        self._serve(self.command(self._free_port()), self.env, self.url)

    def turn_page(self) -> None:
        super().turn_page()
        self.page.on("request", self._watch)

    def _watch(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self._heard.append(f"asked for {request.url}")


class Timing(NamedTuple):
    """From the key press to new pixels."""

    median: float  # milliseconds
    nine_in_ten: float  # milliseconds that 90 % of the presses stay under


class Demo:
    """A demo in the page: its picture, its words and its controls."""

    def __init__(self, page, root):
        self.page, self.root = page, root

    @property
    def picture(self) -> str:
        """Address of the picture shown; another one as soon as it changes."""
        return self.root.locator("img").first.get_attribute("src")

    @property
    def words(self) -> str:
        """The line under the picture."""
        return self.root.locator("[aria-live]").inner_text()

    def focus_slider(self, n: int = 0) -> None:
        """Give the keyboard to the n-th slider."""
        handle = self.root.locator(".noUi-handle").nth(n)
        handle.scroll_into_view_if_needed()
        handle.focus()

    def press_button(self, name: str) -> None:
        """Press the button with this label, by keyboard."""
        self.root.locator("button", has_text=name).focus()
        self.page.keyboard.press("Enter")

    def type(self, text: str) -> None:
        """Replace what stands in the text box."""
        self.root.locator("input[type=text]").fill(text)

    def press(self, key: str, timeout: float = 20) -> None:
        """Press a key, and wait for another picture."""
        before = self.picture
        self.page.keyboard.press(key)
        self.wait_for_another_picture(before, timeout)

    def wait_for_another_picture(self, before: str, timeout: float = 20) -> None:
        """Wait until the picture is not the one with this address."""
        handle = self.root.element_handle()
        changed = "([root, before]) => root.querySelector('img').src !== before"
        self.page.wait_for_function(changed, arg=[handle, before], timeout=timeout * 1000)

    def wait_for_words(self, pattern: str, timeout: float = 20) -> str:
        """Wait until the words match, and give them."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.words):
            assert time.monotonic() < end, f"waited {timeout} s for {pattern!r}, the demo says {self.words!r}"
            self.page.wait_for_timeout(50)
        return self.words

    def wait_for_rest(self) -> None:
        """Wait until the words have stayed the same for a moment."""
        before, now = None, self.words
        while now != before:
            self.page.wait_for_timeout(300)
            before, now = now, self.words

    def time_keys(self, keys: list[str]) -> Timing:
        """Press keys one at a time, and measure each until its new pixels; the slider has the keyboard already."""
        self.page.evaluate(STOPWATCH, self.root.element_handle())
        took = []
        for key in keys:
            self.page.wait_for_timeout(120)  # the last press has come to rest
            self.page.keyboard.press(key)
            self.page.wait_for_function("() => window.pixels.took !== null", timeout=20_000)
            took.append(self.page.evaluate("() => window.pixels.took"))
        took.sort()
        return Timing(took[len(took) // 2], took[int(len(took) * 0.9)])
