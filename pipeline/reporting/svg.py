"""Drawings as inline SVG: a handful of shapes, every text in them escaped.

Coordinates are pixels from the upper left corner. The same calls give the same text. Shapes may carry a tip, which a
browser shows under the pointer and a screen reader reads. Sizes and families of letters are those of the page's style
sheet (`pipeline.reporting.page`): the class `s` is for small ones.
"""

from __future__ import annotations

from html import escape

MAX_LETTERS = 40  # of a text in a drawing; the whole text is its tip


class Drawing:
    """An SVG in the making.

    Parameters
    ----------
    width, height
        In pixels.
    label
        What it shows, for those who do not see it.

    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height, self.label = width, height, label
        self._shapes: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, tip: str = "") -> None:
        """Draw a filled rectangle."""
        shape = f'<rect x="{_short(x)}" y="{_short(y)}" width="{_short(width)}" height="{_short(height)}" fill="{fill}"'
        self._shapes.append(f"{shape}><title>{escape(tip)}</title></rect>" if tip else f"{shape}/>")

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> None:
        """Draw a line."""
        ends = " ".join(f'{name}="{_short(value)}"' for name, value in zip(_ENDS, (x1, y1, x2, y2), strict=True))
        self._shapes.append(f'<line {ends} stroke="{colour}" stroke-width="{_short(width)}"/>')

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", fill: str = "", style: str = "") -> None:
        """Write text; `y` is that of its base line."""
        extra = "".join(
            f' {name}="{value}"' for name, value in (("text-anchor", anchor), ("fill", fill), ("class", style)) if value
        ).replace(' text-anchor="start"', "")
        self._shapes.append(f'<text x="{_short(x)}" y="{_short(y)}"{extra}>{_content(text)}</text>')

    def turned(self, x: float, y: float, text: str, degrees: float, *, anchor: str = "middle") -> None:
        """Write text that is turned around its anchor."""
        place = f'transform="translate({_short(x)} {_short(y)}) rotate({_short(degrees)})"'
        self._shapes.append(f'<text {place} text-anchor="{anchor}">{_content(text)}</text>')

    def __str__(self) -> str:
        size = f'viewBox="0 0 {_short(self.width)} {_short(self.height)}" width="{_short(self.width)}"'
        return f'<svg {size} role="img" aria-label="{escape(self.label)}">{"".join(self._shapes)}</svg>'


_ENDS = ("x1", "y1", "x2", "y2")


def _content(text: str) -> str:
    """A text that is not too long, with the whole of it as its tip."""
    if len(text) <= MAX_LETTERS:
        return escape(text)
    return f"<title>{escape(text)}</title>{escape(text[: MAX_LETTERS - 1])}…"


def _short(value: float) -> str:
    """A number with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
