"""Drawings show what the findings have: lengths of bars, places of quantiles, the span of colours."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from pipeline.reporting import charts
from pipeline.reporting.findings import Findings


def shapes(drawing: object, tag: str) -> list[dict[str, str]]:
    return [
        dict(found.attrib, tip=found.findtext("title") or "")
        for found in ElementTree.fromstring(str(drawing)).iter(tag)
    ]


def texts(drawing: object) -> list[str]:
    return ["".join(found.itertext()) for found in ElementTree.fromstring(str(drawing)).iter("text")]


def test_the_histogram_has_a_bar_for_each_bin_with_rows(found: Findings) -> None:
    bars = shapes(charts.histogram(found.scores), "rect")
    filled = found.scores.filter(pl.col("rows") > 0)
    assert len(bars) == filled.height
    assert {bar["tip"] for bar in bars} == {
        f"{kind} {low:g} to {high:g}: {'1 row' if rows == 1 else f'{rows:,} rows'}"
        for kind, low, high, rows in filled.rows()
    }
    by_tip = {bar["tip"]: float(bar["height"]) for bar in bars}
    by_rows = sorted((int(tip.split(": ")[1].split()[0].replace(",", "")), height) for tip, height in by_tip.items())
    assert [height for _, height in by_rows] == sorted(height for _, height in by_rows)
    assert by_rows[0][1] > 5  # a single row is seen


def test_a_bar_is_a_share() -> None:
    behind, front = shapes(charts.bar(1, 4, "a quarter", width=100), "rect")
    assert (float(behind["width"]), float(front["width"])) == (100, 25)
    assert len(shapes(charts.bar(0, 4, "none"), "rect")) == len(shapes(charts.bar(0, 0, "nothing"), "rect")) == 1


def test_stacked_bars_have_one_scale() -> None:
    drawing = charts.stacked([("a", (30, 0, 10)), ("b", (10, 10, 0))], ("#1", "#2", "#3"), ("x", "y", "z"))
    widths = {bar["tip"]: float(bar["width"]) for bar in shapes(drawing, "rect")}
    assert widths.keys() == {"a, x: 30", "a, z: 10", "b, x: 10", "b, y: 10"}
    assert widths["a, x: 30"] == pytest.approx(3 * widths["b, y: 10"], abs=0.2)
    assert ElementTree.fromstring(str(drawing)).attrib["aria-label"] == "a: 30 x, 0 y, 10 z; b: 10 x, 10 y, 0 z"


def test_strips_stand_at_their_quantiles() -> None:
    drawing = charts.strips(["small_intestine", "x" * 80], np.array([[0, 0.25, 0.5, 0.75, 1], [np.nan] * 5]))
    box, median = shapes(drawing, "rect")
    left, right = float(box["x"]), float(box["x"]) + float(box["width"])
    assert float(median["x"]) + 1.5 == pytest.approx((left + right) / 2, abs=0.2)
    assert "small intestine" in texts(drawing)
    assert f"{'x' * 21}…" in texts(drawing)
    assert "0.500" in texts(drawing)


def test_colours_of_the_heat_map_span_what_there_is() -> None:
    values = np.array([[1, 0.99, 0.95], [0.99, 1, 0.96], [0.95, 0.96, 1]])
    drawing = charts.heat_map(["a", "b", "c"], values)
    cells = {cell["tip"]: cell["fill"] for cell in shapes(drawing, "rect") if cell["tip"]}
    assert cells == {
        "b and c: 0.960": charts.shade(0.25),
        "a and c: 0.950": charts.shade(0.0),
        "a and b: 0.990": charts.shade(1.0),
    }
    assert {"0.990", "0.960", "0.950", "0.970"} <= {*texts(drawing)}
    assert charts.shade(0) == "#f7fbff"
    assert charts.shade(1) == charts.shade(7) == "#08306b"


def test_alike_tissues_stand_side_by_side() -> None:
    likeness = np.eye(4)
    for one, other, value in ((0, 2, 0.9), (1, 3, 0.8), (0, 1, 0.2), (2, 1, 0.3), (0, 3, 0.1), (2, 3, 0.1)):
        likeness[one, other] = likeness[other, one] = value
    assert charts.by_likeness(likeness) == [3, 1, 2, 0]
    assert charts.by_likeness(np.full((3, 3), np.nan)) == [0, 1, 2]


def test_a_correlation_that_is_not_defined_is_grey() -> None:
    drawing = charts.heat_map(["a", "b"], np.array([[1, np.nan], [np.nan, np.nan]]))
    assert {cell["fill"] for cell in shapes(drawing, "rect") if cell["tip"] == "not defined"} == {charts.GRID}
    assert charts.span(np.full((2, 2), np.nan)) == (0, 1)
    charts.heat_map(["a"], np.ones((1, 1)))


def test_tau_and_tissues() -> None:
    tau = np.zeros(20, np.int64)
    tau[[0, 19]] = 40, 10
    high, low = (float(bar["height"]) for bar in shapes(charts.tau_histogram(tau, 0.8), "rect"))
    assert high == pytest.approx(4 * low, abs=0.3)
    assert not shapes(charts.tau_histogram(np.zeros(20, np.int64), 0.8), "rect")
    assert "small intestine" in texts(charts.bars({"small_intestine": 3, "x": 0}, "sites"))
