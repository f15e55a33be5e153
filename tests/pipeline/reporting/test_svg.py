"""Drawings are well-formed and hold every text as text."""

from __future__ import annotations

from xml.etree import ElementTree

from material.reported import MARKUP

from pipeline.reporting.svg import MAX_LETTERS, Drawing


def test_shapes_and_texts() -> None:
    drawing = Drawing(100.04, 50, MARKUP)
    drawing.rect(1.26, 2, 3, 4, "#fff", MARKUP)
    drawing.rect(1, 2, 3, 4, "#000")
    drawing.line(0, 0, 10, 10.55, "#555")
    drawing.text(5, 6, MARKUP, anchor="end", fill="#111", style="s")
    drawing.turned(5, 6, "x" * 99, -90)
    root = ElementTree.fromstring(str(drawing))
    assert root.attrib == {"viewBox": "0 0 100 50", "width": "100", "role": "img", "aria-label": MARKUP}
    tipped, plain, line, text, turned = root
    assert (tipped.attrib["x"], tipped[0].tag, tipped[0].text) == ("1.3", "title", MARKUP)
    assert not list(plain)
    assert (line.attrib["x1"], line.attrib["stroke-width"]) == ("0", "1")
    assert text.text == MARKUP
    assert {text.attrib[name] for name in ("text-anchor", "fill", "class")} == {"end", "#111", "s"}
    assert turned.attrib["transform"] == "translate(5 6) rotate(-90)"
    assert turned[0].text == "x" * 99
    assert len(turned[0].tail or "") == MAX_LETTERS
