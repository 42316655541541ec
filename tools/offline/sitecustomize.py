"""On the path of every Python under `tools/offline.py`: refuse to leave this machine, and write down who tried.

An audit hook sees every socket of Python, also in libraries that hide the error. Sockets of other languages are stopped
by the network namespace, where the system has one.
"""

import os
import socket
import sys
import traceback

HERE = {"", "0.0.0.0", "::", "::1", "localhost", "localhost.localdomain", "ip6-localhost", socket.gethostname()}
NAMES = {"socket.getaddrinfo", "socket.gethostbyname"}  # the first argument is a name
ADDRESSES = {"socket.connect", "socket.sendto", "socket.sendmsg"}  # the second one is an address


def is_here(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host is None or host in HERE or host.startswith(("127.", "::ffff:127."))


def refuse(event, args):
    if event in NAMES:
        host = args[0]
    elif event in ADDRESSES and isinstance(args[1], tuple):  # what is no tuple is a path or nothing
        host = args[1][0]
    else:
        return
    if not isinstance(host, str | bytes | None) or is_here(host):  # a number is an address of another family
        return
    with open(os.environ["MMLIB_OFFLINE_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{event} to {host!r}, from {sys.argv[:2]}:\n{''.join(traceback.format_stack(limit=8)[:-1])}\n")
    raise OSError(101, f"offline: no way to {host!r}")  # ENETUNREACH


if "MMLIB_OFFLINE_LOG" in os.environ:
    sys.addaudithook(refuse)
