"""Tables and legends as HTML; every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

MAX_NAME = 60  # letters of a text in a table; the whole text is its tip
_SQUARE = '<svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" fill="{}"/></svg>'


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(head: Sequence[str], lines: Iterable[Sequence[Any]], *, left: int, total: Sequence[Any] = ()) -> str:
    """Make a table.

    Parameters
    ----------
    head
        Names of the columns; none is shown where all are empty.
    lines
        Its rows: texts, numbers and `Html`.
    left
        How many of the first columns are text, which stands on the left.
    total
        A last row that adds the others up.

    Returns
    -------
    str
        HTML.
    """
    made = []
    if any(head):
        cells = [f'<th scope="col"{_side(at, left)}>{escape(name)}</th>' for at, name in enumerate(head)]
        made.append(f"<tr>{''.join(cells)}</tr>")
    made += [f"<tr>{_cells(line, left)}</tr>" for line in lines]
    if total:
        made.append(f'<tr class="sum">{_cells(total, left)}</tr>')
    return f"<table>{''.join(made)}</table>"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Names of colours, each with a square of it."""
    made = (f"<span>{_SQUARE.format(colour)} {escape(name)}</span>" for name, colour in entries)
    return f'<div class="legend">{"".join(made)}</div>'


def _cells(line: Sequence[Any], left: int) -> str:
    return "".join(f"<td{_side(at, left)}{_content(value)}</td>" for at, value in enumerate(line))


def _content(value: Any) -> str:
    """The end of a cell's tag, and what is in the cell."""
    text = str(value)
    if isinstance(value, Html):
        return f">{text}"
    if len(text) <= MAX_NAME:
        return f">{escape(text)}"
    return f' title="{escape(text)}">{escape(text[: MAX_NAME - 1])}…'


def _side(at: int, left: int) -> str:
    return ' class="l"' if at < left else ""
