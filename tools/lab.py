"""Open the first notebook in JupyterLab, on the port that was asked for: `python tools/lab.py 8888`."""

import os
import socket
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "notebooks/01_clip.ipynb"


def taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def checked_port(text, command):
    """The port as a number, or an end with a reason. JupyterLab alone would take the next port in silence."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        sys.exit(f"PORT is {text!r}, expected a number from 1 to 65535. For example: {command} PORT=8889")
    port = int(text)
    if taken(port):
        free = next((p for p in range(port + 1, 65536) if not taken(p)), 8888)
        sys.exit(
            f"Port {port} is taken, perhaps by one that still runs. Stop that, or choose another port: "
            f"{command} PORT={free}"
        )
    return port


def with_a_home(environment):
    """The environment, with another home folder for this run where the reader's own cannot be written."""
    try:
        tempfile.TemporaryFile(dir=Path.home()).close()
    except OSError as error:
        home = tempfile.mkdtemp(prefix="mmlib-home-")
        print(
            f"Your home folder cannot be written ({error.strerror}). What Jupyter keeps goes to {home}, for this run."
        )
        return {**environment, "HOME": home}
    return dict(environment)


def main(port):
    print(f"Opening {NOTEBOOK} in JupyterLab on port {port}. Ctrl-C twice ends it.", flush=True)
    options = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{NOTEBOOK}",  # also in the address to copy where no browser opens
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.log_level=WARN",
        "--LabApp.log_level=WARN",
        # Nothing here asks the network for anything.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--ServerApp.kernel_websocket_connection_class=mmlib.server.PromptConnection",
    ]
    if hasattr(os, "getuid") and os.getuid() == 0:
        options.append("--allow-root")  # in a container there is nobody else; the server listens to this machine alone
    os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *options], with_a_home(os.environ))


if __name__ == "__main__":
    main(checked_port(sys.argv[1], "make lab"))
