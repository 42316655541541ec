"""A device that is not there: on a machine without a GPU it refuses what a GPU refuses."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

HERE, THERE = torch.device("cpu"), torch.device("mps", 0)
MOVES = {"to", "cpu"}
FOR_NUMPY = {"numpy", "__array__", "__dlpack__"}
JOINS = {"cat", "stack", "concat", "hstack", "vstack"}  # which take no number from another device
FREE = {"copy_", "tensor", "backward", "_has_compatible_shallow_copy_type"}  # which may meet tensors of several devices


class StandIn(TorchFunctionMode):
    """While it is on, a tensor sent to `mps` is marked, and so is all that comes of it.

    The numbers stay where they are. Marked tensors say that they are on `mps:0`. They refuse to meet tensors that
    are not, numbers (0-dimensional tensors) and indices excepted, to become numpy arrays, and to be float64.

    It also counts the calls of torch, and interrupts from number `interrupted` on, once, as Ctrl-C would.
    """

    calls, interrupted = 0, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        # Ctrl-C waits until a call of C has ended, and the end of `no_grad` is one: it cannot be left off.
        if self.interrupted and self.calls >= self.interrupted and func is not torch._C._set_grad_enabled:
            self.interrupted = None
            raise KeyboardInterrupt
        name, kwargs = _name(func), dict(kwargs or {})
        if name in ("device", "is_mps", "is_cpu") and func.__name__ == "__get__":
            there = is_there(args[0])
            return func(*args) if not there else THERE if name == "device" else name == "is_mps"
        if name in FOR_NUMPY and is_there(args[0]):
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if name in MOVES:
            return _moved(func, args, kwargs)
        if func.__name__ == "__set__":
            return _set(name, func, *args)
        there = _is_to_be_there(name, args, kwargs)
        result = func(*args, **kwargs)
        return _marked(result, there, name)


def is_there(x: Tensor) -> bool:
    """Whether a tensor is on the device that is not there."""
    return x.__dict__.get("_there", False)


def _name(func) -> str:
    return func.__self__.__name__ if func.__name__ in ("__get__", "__set__") else func.__name__


def _tensors(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _mark(x: Tensor, there: bool) -> None:
    if there and x.dtype in (torch.float64, torch.complex128):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    x._there = there


def _marked(result, there: bool, name: str):
    if name == "__iter__":
        return iter(_marked(list(result), there, ""))
    for x in _tensors(result):
        if is_there(x) != there:
            _mark(x, there)
    return result


def _moved(func, args, kwargs):
    """`x.to(...)` and `x.cpu()`: a copy where the device is another one."""
    x, *rest = args
    target = HERE if func.__name__ == "cpu" else None
    for value in (*rest, *kwargs.values()):
        if isinstance(value, (str, torch.device)):
            target = torch.device(value)
        elif isinstance(value, Tensor):
            target = THERE if is_there(value) else HERE
    if target is not None and target.type == THERE.type:
        rest = [HERE if isinstance(value, (str, torch.device)) else value for value in rest]
        kwargs = kwargs | ({"device": HERE} if "device" in kwargs else {})
    there = is_there(x) if target is None else target.type == THERE.type
    moved = func(x, *rest, **kwargs)
    if there != is_there(x) and moved is x:
        moved = x.clone()
    return _marked(moved, there, "")


def _set(name: str, func, x: Tensor, value):
    """`x.data = value` moves; `x.grad = value` must not."""
    if name == "grad" and value is not None and is_there(x) != is_there(value):
        raise RuntimeError("assigned grad has data located on a different device")
    func(x, value)
    if name == "data":
        _mark(x, is_there(value))


def _is_to_be_there(name: str, args, kwargs) -> bool:
    """Whether the result is on the device, or an error where tensors of two devices meet."""
    device = kwargs.get("device")
    if device is not None:
        wanted = torch.device(device).type == THERE.type
        if wanted:
            kwargs["device"] = HERE
        return wanted
    if name in ("__getitem__", "__setitem__"):
        return _is_indexed_there(*args)
    if name in FREE:
        return isinstance(args[0], Tensor) and is_there(args[0])
    found = list(_tensors([args, kwargs]))
    there = [x for x in found if is_there(x)]
    here = [x for x in found if not is_there(x) and (x.ndim or name in JOINS)]
    if there and here:
        shapes = f"{[tuple(x.shape) for x in there]} on mps:0 and {[tuple(x.shape) for x in here]} on cpu"
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found {shapes}")
    return bool(there)


def _is_indexed_there(x: Tensor, index, value=None) -> bool:
    there, indices = is_there(x), [each for each in _tensors(index) if each.ndim]
    if not there and any(map(is_there, indices)):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if indices and isinstance(value, Tensor) and value.ndim and is_there(value) != there:
        raise RuntimeError("Expected all tensors to be on the same device, but found mps:0 and cpu")
    return there
