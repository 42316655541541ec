"""The checker over all of mmlib sees shapes in every function, also in those that are made anew in each call."""

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from shapes import check
from torch import Tensor

import mmlib.record


def test_shapes_of_mmlib_are_checked():
    q = torch.ones(2, 1, 3, 4)
    with pytest.raises(TypeCheckError):
        mmlib.record.attention_weights(q, q[0], q)


def test_a_function_inside_another_is_checked_where_it_names_shapes():
    def plain(x: Tensor) -> Tensor:
        return x

    def shaped(x: Float[Tensor, "b 3"]) -> tuple[Tensor, int]:  # noqa: F722
        return x, 1

    assert check(plain) is plain
    with pytest.raises(TypeCheckError):
        jaxtyped(shaped, typechecker=check)(torch.ones(2, 4))
