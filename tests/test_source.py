"""Source as a notebook shows it."""

from mmlib import source


class Example:
    """A class of this file."""

    def method(self):
        """Say something.

        At length.
        """
        return "something"  # kept


def test_source_is_shown_with_one_sentence_of_its_docstring(monkeypatch):
    shown = []
    monkeypatch.setattr(source, "display", lambda markdown: shown.append(markdown.data))
    source.show_source(Example.method)
    assert shown == [
        f"**`{__name__}.Example.method`**\n\n```python\n"
        'def method(self):\n    """Say something."""\n    return "something"  # kept\n```'
    ]
