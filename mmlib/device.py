"""Where to compute: the best device that works here, where a model is, and data brought there."""

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from mmlib.check import refuse

CPU = torch.device("cpu")


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device that is asked for, or the first that works: CUDA, Apple's GPU, the CPU.

    A device that is said to be available may still fail: hosted Macs list a GPU that can allocate nothing. So a small
    computation is tried first, and a device that fails it is named in one line.

    Args:
        device: what to use; by default what the environment variable MMLIB_DEVICE says (cpu, cuda, mps).

    Raises:
        ValueError: the device that is asked for cannot compute.
    """
    asked = device or os.environ.get("MMLIB_DEVICE")
    if not asked:
        return _first_that_works()
    if failure := _failure(asked):
        where = "pick_device" if device else "MMLIB_DEVICE"
        refuse(where, "a device that can compute", f"{str(asked)!r} ({failure})", "Leave it out for the best one here.")
    return torch.device(asked)


@cache  # so that a failure is said once
def _first_that_works() -> torch.device:
    for name, is_available in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)):
        if is_available():
            if not (failure := _failure(name)):
                return torch.device(name)
            print(f"The device {name} is there but cannot compute ({failure}), so another one is used.")
    return CPU


def _failure(device: str | torch.device) -> str:
    """Why a device cannot compute; empty when it can."""
    try:
        x = torch.ones(2, 2, device=device, requires_grad=True)
        (x @ x).sum().backward()
        x.grad.sum().item()
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without it
        return str(error).partition("\n")[0]
    return ""


def device_of(model: Any) -> torch.device:
    """Where the parameters of a model are; the CPU for a model that has none."""
    parameters = getattr(model, "parameters", tuple)
    return next((p.device for p in parameters()), CPU)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a batch; leave what is no tensor alone."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
