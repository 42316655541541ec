"""Several processes that train one model: which one am I, how many are we, and what if one of us fails."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from mmlib.check import check_positive
from mmlib.device import CPU, pick_device


def is_distributed() -> bool:
    """Whether this process belongs to a group, as those that torchrun starts do."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """The number of all processes, on all machines."""
    return dist.get_world_size() if is_distributed() else 1


@contextmanager
def process_group(patience: float) -> Iterator[torch.device]:
    """Join the group that torchrun started, or stay alone without it; gives the device of this process.

    Args:
        patience: seconds that this process waits for the others, at the start and in each step, before it gives up.

    Raises:
        ValueError: a patience that is not above 0.
        ConnectionError: the others did not come, failed, or hung for longer than that.
    """
    check_positive("process_group", "patience", patience, "It is in seconds: try 120.")
    local = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        torch.cuda.set_device(local)  # before it is tried, or every process would try the first
    device = torch.device("cuda", local) if pick_device().type == "cuda" else CPU
    _share_cores(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if "RANK" not in os.environ:  # nobody but me
        yield device
        return
    _stay_on_loopback()
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=patience))
        yield device
        dist.destroy_process_group()  # not after a failure: it would wait for the others again
    except RuntimeError as error:
        if not _is_of_the_others(error):
            raise
        who = f"process {os.environ['RANK']} of {os.environ.get('WORLD_SIZE', '?')}"
        raise ConnectionError(
            f"{who}: expected an answer of the others within {patience:g} s, got {_first_line(error)}. One of them "
            "failed, hangs or never came: read what it printed, then start all again; they go on from the last "
            "checkpoint."
        ) from error


def _share_cores(processes: int) -> None:
    """Let each process of this machine have its part of the cores, so that they do not wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // processes))


def _stay_on_loopback() -> None:
    """On one machine talk over its loopback: the name of the machine may lead nowhere."""
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if os.environ.get("MASTER_ADDR") in ("127.0.0.1", "localhost") and loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])


def _is_of_the_others(error: RuntimeError) -> bool:
    """Whether an error came from talking to the other processes, and not from this one's own work."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "nccl" in str(error).lower()


def _first_line(error: RuntimeError) -> str:
    line = str(error).strip().splitlines()[0].rstrip(".")
    return re.sub(r"^\[[^]]*\.\w+:\d+\] ", "", line)  # without the place in the library's source
