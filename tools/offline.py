"""Run a command with the network cut off: `python tools/offline.py python -m pytest`.

Two fences. On Linux the command gets a network namespace with nothing in it but loopback, where the system allows that:
whatever it starts, a browser too, cannot leave. Everywhere, each Python process refuses to leave and writes down who
tried. The command fails when anybody did, even if the error went unseen.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

FENCE = Path(__file__).resolve().parent / "offline"
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # flags of unshare(2)
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # of a network interface, ioctl(2)


def can_cut_off():
    """Whether `cut_off` works here, tried in a child: half-way there is no way back."""
    if sys.platform != "linux":
        return False
    child = os.fork()
    if child == 0:
        try:
            cut_off()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def cut_off():
    """Move this process into a network namespace of its own, as the same user."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NET if user == 0 else NEW_NET | NEW_USER) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    raise_loopback()


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, GET_FLAGS, struct.pack("16sh22x", b"lo", 0)))[1]
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh22x", b"lo", flags | UP))


def ways_asked_for():
    """How often a program of any language asked for a way out and was told that there is none.

    Only for IPv4: Chromium asks once for IPv6, to learn whether there is any.
    """
    names, numbers = (
        line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines() if line[:3] == "Ip:"
    )
    return int(numbers[names.index("OutNoRoutes")])


def run(command):
    """Run the command behind both fences; its exit code, or 1 when somebody tried to leave."""
    fenced = can_cut_off()
    if fenced:
        cut_off()
        print("Offline: there is only loopback.", flush=True)
    else:
        print("Offline: sockets of Python are refused. This system gives no network namespace.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "tried"
        path = os.pathsep.join(filter(None, [str(FENCE), os.environ.get("PYTHONPATH")]))
        code = subprocess.call(command, env=os.environ | {"PYTHONPATH": path, "MMLIB_OFFLINE_LOG": str(log)})
        tried = log.read_text(encoding="utf-8") if log.exists() else ""
    if fenced and ways_asked_for():
        tried += f"Programs that are no Python asked {ways_asked_for()} times for a way out.\n"
    if tried:
        print(f"Something tried to leave this machine:\n{tried}", file=sys.stderr)
    return code or int(bool(tried))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
