"""What functions of notebook 4 return that others do not: several tensors with names, and plain numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from mmlib.exercises.core import name_of, not_yet, run


def call_for(parts: Sequence[str], function: Callable, *arguments: Any) -> list[Tensor]:
    """Run the reader's function, and refuse all but one tensor for each of these names, such as hidden and cell."""
    name, got, wanted = name_of(function), run(function, *arguments), f"return {', '.join(parts)}"
    if isinstance(got, Tensor):
        not_yet(f"{name} returned one tensor. It should return {len(parts)}, with commas between: {wanted}")
    if not isinstance(got, tuple | list):
        kind = f"a value of type {type(got).__name__}"
        not_yet(f"{name} returned {kind}. It should return {len(parts)} torch tensors: {wanted}")
    if len(got) != len(parts):
        not_yet(f"{name} returned {len(got)} things. It should return {len(parts)}: {wanted}")
    for part, value in zip(parts, got, strict=True):
        if not isinstance(value, Tensor):
            not_yet(f"{part} is a value of type {type(value).__name__}. It should be a torch tensor.")
    return list(got)


def call_number(function: Callable, *arguments: Any) -> Float64[Tensor, ""]:
    """Run the reader's function, and refuse all but a number."""
    name, got = name_of(function), run(function, *arguments)
    if not isinstance(got, int | float | Tensor):
        not_yet(f"{name} returned a value of type {type(got).__name__}. It should return a number.")
    if isinstance(got, Tensor) and got.dim():
        not_yet(f"{name} returned a tensor with axes, {tuple(got.shape)}. It should return one number.")
    return torch.as_tensor(got, dtype=torch.float64)
