"""Show a reader the package's own source, so that what a notebook explains is what runs."""

import inspect
import re
import textwrap
from collections.abc import Callable

from IPython.display import Markdown, display


def show_source(*things: Callable) -> None:
    """Display the source of functions, methods or classes, with the first sentence of each docstring.

    Args:
        things: shown one under the other, each under its full name.
    """
    for thing in things:
        code = textwrap.dedent(inspect.getsource(thing)).rstrip()
        code = re.sub(r'("{3}[^"\n]+)\n[^"]*("{3})', r"\1\2", code)  # of a long docstring, the first line
        display(Markdown(f"**`{thing.__module__}.{thing.__qualname__}`**\n\n```python\n{code}\n```"))
