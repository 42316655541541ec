"""The checker that `conftest.py` puts over every function of mmlib: beartype, which reads jaxtyping's shapes."""

from collections.abc import Callable

from beartype import beartype


def check(function: Callable) -> Callable:
    """Check the arguments and the result of a function in each call.

    A function inside another is made anew in every call of that one, and to wrap it takes a hundred times as long as
    to run it: it is wrapped only where it names shapes.
    """
    inside = "<locals>" in getattr(function, "__qualname__", "")
    if inside and "jaxtyping." not in str(getattr(function, "__annotations__", "")):
        return function
    return beartype(function)
