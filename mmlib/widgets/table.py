"""Tables in the page itself, for texts in scripts that the figures' font does not have."""

import html
from collections.abc import Sequence

from mmlib.plots import PALETTE

CELL = "padding:3px 18px 3px 0;text-align:left;vertical-align:top;line-height:1.4"


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Rows of texts, and of numbers from 0 to 1 that are shown with a bar; what is no markup is shown as it stands.

    >>> table_of(["name"], [["<b>"]]).count("&lt;b&gt;")
    1
    """
    top = "".join(f'<th scope="col" style="{CELL};white-space:nowrap">{html.escape(head)}</th>' for head in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<td dir="auto" style="{CELL}">{html.escape(value)}</td>'
    width = round(90 * min(max(value, 0), 1))
    bar = f"display:inline-block;height:11px;width:{width}px;margin-right:7px;background:{PALETTE['blue']}"
    return f'<td style="{CELL};white-space:nowrap"><span style="{bar}"></span>{value:.2f}</td>'
