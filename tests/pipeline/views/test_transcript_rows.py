"""Rows of transcripts: boxes stay at their bases, arrows are even in what is drawn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.views.transcript_rows import ARROWS, draw_transcripts

ONE = pl.DataFrame({"exon_starts": [[1, 901]], "exon_ends": [[100, 1_000]]})


@pytest.mark.parametrize("strand", ["+", "-"])
def test_boxes_lines_and_arrows(strand: str) -> None:
    axes = Figure().add_subplot()
    draw_transcripts(axes, ONE, ["T", "and 1 more"], strand, (1, 1_000))
    boxes = [(box.get_x(), box.get_width()) for box in axes.patches if isinstance(box, Rectangle)]
    assert boxes == [(0.5, 100), (900.5, 100)]
    line, arrows = axes.lines
    assert list(line.get_xdata()) == [100.5, 900.5]
    assert len(arrows.get_xdata()) == int(0.8 * ARROWS)
    back, tip, _ = arrows.get_marker().vertices[:, 0]
    assert (tip > back) == (strand == "+")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["T", "and 1 more"]


def test_arrows_are_even_in_what_is_drawn() -> None:
    axes = Figure().add_subplot()
    style = {"place": lambda x: np.sqrt(np.asarray(x)), "position": lambda x: np.asarray(x) ** 2}
    draw_transcripts(axes, ONE, ["T"], "+", (1, 1_000), **style, shortened=[(200, 300)])  # type: ignore[arg-type]
    _, dashes, arrows = axes.lines
    assert list(dashes.get_xdata()) == [200, 300]
    steps = np.diff(np.sqrt(arrows.get_xdata()))
    np.testing.assert_allclose(steps, steps[0])


def test_an_intron_outside_the_view_has_no_arrows() -> None:
    axes = Figure().add_subplot()
    draw_transcripts(axes, ONE, ["T"], "+", (10, 90))
    assert len(axes.lines) == 1
