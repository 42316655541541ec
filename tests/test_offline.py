"""`tools/offline.py`, behind which `make test` runs the notebooks and the browser: nothing leaves."""

import importlib.util
import os
import subprocess
import sys

import pytest

OUTSIDE = "192.0.2.1"  # kept for documents: nobody answers there
LOOPBACK = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    print("connected", socket.getaddrinfo("localhost", 80)[0][4][1])
"""
LOOKS_UP = "import socket; socket.gethostbyname('example.org')"
# A library that tries, and hides that it failed.
TRIES = {
    "connect": f"socket.socket().connect(('{OUTSIDE}', 80))",
    "name": "socket.getaddrinfo('example.org', 80)",
    "datagram": f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{OUTSIDE}', 53))",
    "url": "import urllib.request; urllib.request.urlopen('http://example.org', timeout=5)",
    "child": f"import subprocess; subprocess.run([sys.executable, '-c', {LOOKS_UP!r}])",
}
HIDDEN = "import socket, sys\ntry:\n    {}\nexcept OSError as error:\n    print('hidden:', error)\n"


def offline(root, code, **other):
    command = [sys.executable, "tools/offline.py", sys.executable, "-c", code]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, **other)


def test_loopback_works_and_exit_codes_come_through(root):
    done = offline(root, LOOPBACK)
    assert (done.returncode, done.stderr) == (0, "") and "connected 80" in done.stdout
    assert offline(root, "raise SystemExit(3)").returncode == 3


@pytest.mark.parametrize("way", TRIES)
def test_whoever_tries_to_leave_is_named_even_if_the_error_is_hidden(root, way):
    done = offline(root, HIDDEN.format(TRIES[way]))
    assert done.returncode == 1 and "Something tried to leave this machine" in done.stderr
    assert way == "child" or "[Errno 101] offline: no way to" in done.stdout


def test_kernels_are_behind_the_fence(root, tmp_path):
    code = (
        "from jupyter_client.manager import run_kernel\n"
        "with run_kernel(kernel_name='python3') as client:\n"
        f"    client.execute_interactive('import socket\\n' + {TRIES['connect']!r}, timeout=60)\n"
    )
    done = offline(root, code)
    assert done.returncode == 1 and "no way to '192.0.2.1'" in done.stderr and "socket.connect to" in done.stderr


def has_namespaces(root):
    return "only loopback" in offline(root, "pass").stdout


def test_other_languages_are_stopped_too(root):
    if not has_namespaces(root):
        pytest.skip("this system gives no network namespace, so only Python is fenced in")
    code = "print(open('/proc/self/net/dev').read(), open('/proc/self/net/route').read().count(chr(10)))"
    done = offline(root, code)
    devices = [line.split(":")[0].strip() for line in done.stdout.splitlines() if ":" in line and "Offline" not in line]
    assert "lo" in devices and not [name for name in devices if name.startswith(("eth", "en", "wl"))]
    assert done.stdout.rstrip().endswith(" 1")  # the routes: a header, and nothing under it


def test_a_try_in_another_language_is_counted(root):
    if not has_namespaces(root):
        pytest.skip("this system gives no network namespace, so only Python is fenced in")
    bash = ["bash", "-c", f"echo > /dev/tcp/{OUTSIDE}/80 || true"]
    command = [sys.executable, "tools/offline.py", *bash]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Programs that are no Python asked 1 times for a way out" in done.stderr


def test_without_namespaces_sockets_are_refused_all_the_same(root, monkeypatch):
    spec = importlib.util.spec_from_file_location("offline", root / "tools/offline.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "can_cut_off", lambda: False)
    assert tool.run([sys.executable, "-c", HIDDEN.format(TRIES["connect"])]) == 1
    assert tool.run([sys.executable, "-c", LOOPBACK]) == 0


def test_a_user_who_is_not_root_is_cut_off_too_and_stays_who_he_is(root):
    python = "/usr/bin/python3"  # one that everybody may run
    if os.getuid() != 0 or not has_namespaces(root) or not os.access(python, os.X_OK):
        pytest.skip("only root can become somebody else to try this")
    tool = (root / "tools/offline.py").read_text().replace("__file__", "'/nowhere/offline.py'")
    code = f"{LOOPBACK}\nimport os; print('user', os.getuid(), os.getgid())"
    nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
    done = subprocess.run(
        [python, "-c", tool, python, "-c", code], capture_output=True, text=True, timeout=60, **nobody
    )
    if "no network namespace" in done.stdout:
        pytest.skip("here only root may have a namespace")
    assert done.returncode == 0 and "connected 80" in done.stdout and "user 65534 65534" in done.stdout, done.stderr


def test_make_test_runs_the_notebooks_and_the_browser_offline(root):
    steps = [line for line in (root / "Makefile").read_text().splitlines() if "tools/offline.py" in line]
    assert len(steps) == 2 and all("tools/offline.py $(PYTHON) -m pytest" in step for step in steps)
    assert "--nbval-lax" in steps[0] and '"browser and not bench"' in steps[1]
