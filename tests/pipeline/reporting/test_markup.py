"""Tables and legends hold every text as text."""

from __future__ import annotations

from xml.etree import ElementTree

from material.reported import MARKUP

from pipeline.reporting.markup import MAX_NAME, Html, legend, table


def test_a_table() -> None:
    long = f"{MARKUP}{'y' * 99}"
    made = table(["a", MARKUP], [[MARKUP, 1], [Html("<b>x</b>"), long]], left=1, total=["all", 3])
    head, first, second, total = ElementTree.fromstring(made)
    assert [cell.text for cell in head] == ["a", MARKUP]
    assert [cell.attrib.get("class") for cell in head] == ["l", None]
    assert [cell.text for cell in first] == [MARKUP, "1"]
    assert second[0][0].tag == "b"
    assert (second[1].attrib["title"], second[1].text) == (long, f"{long[: MAX_NAME - 1]}…")
    assert total.attrib == {"class": "sum"}
    assert len(ElementTree.fromstring(table(["", ""], [], left=0))) == 0


def test_a_legend() -> None:
    (entry,) = ElementTree.fromstring(legend([(MARKUP, "#fff")]))
    assert entry[0][0].attrib["fill"] == "#fff"
    assert (entry[0].tail or "").strip() == MARKUP
