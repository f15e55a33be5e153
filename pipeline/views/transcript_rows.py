"""Rows of transcripts on an axis: exons as boxes, introns as lines with arrows in the direction of transcription.

Used by all pictures that show transcripts, whatever their x axis: `place` maps a position (1-based, on the plus strand)
to an x coordinate. Base p extends from p - 0.5 to p + 0.5. Needs the extra `plots`; importing this without it is an
`InputError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.views.pictures import MUTED, NO_MATPLOTLIB
from sptx_core.errors import InputError

try:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle
    from matplotlib.path import Path as Outline
except ModuleNotFoundError:
    raise InputError(NO_MATPLOTLIB) from None

ARROWS = 40
"""Arrows of an intron as wide as the axis."""
SMALL, MEDIUM = 8, 9
"""Font sizes of labels and of titles of axes, in points."""
EXON = "#404040"
"""Colour of exons."""
_HALF = 0.32  # of the height of an exon's box

Places = Callable[[Any], Any]


def draw_transcripts(
    axes: Axes,
    transcripts: pl.DataFrame,
    labels: Sequence[str],
    strand: str,
    span: tuple[float, float],
    *,
    place: Places = np.asarray,
    position: Places = np.asarray,
    shortened: Sequence[tuple[float, float]] = (),
) -> None:
    """Draw a row for each transcript, the first at the top.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw; its x limits are set already.
    transcripts : polars.DataFrame
        exon_starts and exon_ends, 1-based and inclusive, ascending.
    labels : sequence of str
        Label of each row; may be more than the transcripts.
    strand : {"+", "-"}
        Direction of the arrows.
    span : (float, float)
        First and last position of the view.
    place, position : callable
        From positions to drawn places and back, both on arrays, where the axis shortens stretches.
    shortened : sequence of (float, float)
        The shortened stretches.
    """
    for row, (starts, ends) in enumerate(transcripts.select("exon_starts", "exon_ends").iter_rows()):
        for first, last in zip(starts, ends, strict=True):
            box = (first - 0.5, row - _HALF), last - first + 1, 2 * _HALF
            axes.add_patch(Rectangle(*box, color=EXON, linewidth=0))
        for left, right in zip(ends, starts[1:], strict=False):
            edges = left + 0.5, right - 0.5
            axes.plot(edges, [row, row], color=MUTED, linewidth=0.9, zorder=0)
            for first, last in shortened:
                if edges[0] <= first and last <= edges[1]:
                    dashes: Any = {"linewidth": 1.2, "linestyle": (0, (2, 2)), "zorder": 0.5}
                    axes.plot([first, last], [row, row], color="white", **dashes)
            visible = max(edges[0], span[0]), min(edges[1], span[1])
            _draw_arrows(axes, visible, row, strand, span, place, position)
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "right", "bottom"]].set_visible(False)


def _draw_arrows(
    axes: Axes,
    intron: tuple[float, float],
    row: int,
    strand: str,
    span: tuple[float, float],
    place: Places,
    position: Places,
) -> None:
    """Arrows along the visible part of an intron, evenly over the drawn width, that point from 5' to 3'."""
    begin, end = place(intron)
    left, right = place([span[0] - 0.5, span[1] + 0.5])
    arrows = int((end - begin) / (right - left) * ARROWS)
    if begin < end and arrows:
        places = begin + (end - begin) * (np.arange(arrows) + 0.5) / arrows
        tip = 1 if strand == "+" else -1
        chevron = Outline([(-tip, 1), (tip, 0), (-tip, -1)])
        style: Any = {"markersize": 4, "markerfacecolor": "none", "markeredgecolor": MUTED, "linestyle": "none"}
        axes.plot(position(places), np.full(arrows, row), marker=chevron, **style)
