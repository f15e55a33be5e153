"""Draw a `SaturationView` as a matplotlib figure.

The stretch is set in lines of at most `LINE_BASES` bases, as a sequence is in a book, left to right as in the genome.
Each line has the exons of the gene and its annotated splice sites, where there is an annotation; the letters of the
reference; and a row for each base that it is changed to. A cell has the colour of the larger of gain and loss: blue is
a gain of a site, red a loss of one, white neither. Where both are at least `BOTH`, the cell is split. A dot marks the
reference's own base, grey what the table does not hold. The colours go from -1 to 1 in every picture (RdBu of
ColorBrewer, which colour-blind people can tell apart).

Needs the extra `plots`; importing this without it is an `InputError`. matplotlib's global state is not changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.inputs.splice_sites import KINDS
from pipeline.views.pictures import COLOURS, MUTED, NO_MATPLOTLIB, UNKNOWN
from pipeline.views.saturation_view import BASES, SaturationView
from pipeline.views.transcript_rows import EXON, MEDIUM, SMALL
from sptx_core.errors import InputError
from sptx_core.words import counted

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection, QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle
except ModuleNotFoundError:
    raise InputError(NO_MATPLOTLIB) from None

LINE_BASES = 100
"""Most bases of a line: as many as have letters that can be read."""
BOTH = 0.2
"""Gain and loss from which a cell shows both: the least that SpliceAI's authors call."""
COLOUR_MAP = "RdBu"
_EVERY = 10  # bases between ticks; lines have a multiple of them
_LETTERS = 5.5  # font size of the reference, points
_SPLIT: Any = {"markersize": 7, "color": "#053061", "markerfacecoloralt": "#67001f", "markeredgecolor": "none"}
# Sizes in inches.
_WIDTH, _LEFT, _RIGHT = 8.5, 0.55, 0.2
_MODELS, _CELL, _GAP = 0.24, 0.13, 0.36  # heights: exons and letters, a row, what lies between lines
_TOP, _BOTTOM = 0.7, 0.85
_LABEL = 0.95  # width of a position with room beside it
_MAX_CELL = 0.25  # width of a cell of a short stretch


def draw_saturation(view: SaturationView) -> Figure:
    """Draw a map.

    Parameters
    ----------
    view : SaturationView
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
        The axes of the lines from top to bottom, then that of the colour bar.
    """
    bases = len(view.reference)
    lines = -(-bases // LINE_BASES)
    longest = -(-bases // (lines * _EVERY)) * _EVERY if lines > 1 else bases
    starts = range(0, bases, longest)
    tall = _MODELS + _CELL * len(BASES)
    height = _TOP + len(starts) * (tall + _GAP) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    cell = min(_MAX_CELL, (_WIDTH - _LEFT - _RIGHT) / longest)
    for line, start in enumerate(starts):
        width = min(longest, bases - start)
        top = height - _TOP - line * (tall + _GAP)
        axes = figure.add_axes((_LEFT / _WIDTH, (top - tall) / height, width * cell / _WIDTH, tall / height))
        mesh = _draw_line(axes, view, start, start + width)
    style: Any = {"va": "top", "ha": "left"}
    figure.text(0.15 / _WIDTH, 1 - 0.1 / height, _title(view), fontsize=12, fontweight="bold", **style)
    strand = "right to left" if view.strand == "-" else "left to right"
    sign = view.strand.replace("-", "\N{MINUS SIGN}")
    told = (
        f"{counted(view.changes, 'single-base change')}, bases of the plus strand; gene on the {sign} strand, "
        f"5′ to 3′ {strand}"
    )
    figure.text(0.15 / _WIDTH, 1 - 0.36 / height, told, fontsize=MEDIUM, **style)
    _draw_colour_bar(figure, mesh, height)
    figure.legend(
        handles=_legend(view),
        loc="lower right",
        bbox_to_anchor=(1 - 0.1 / _WIDTH, 0.08 / height),
        ncols=2,
        frameon=False,
        fontsize=SMALL,
        handlelength=1.2,
    )
    return figure


def _draw_line(axes: Axes, view: SaturationView, start: int, end: int) -> QuadMesh:
    """Bases [start, end) of the view: exons, letters, changes. The x axis is the position."""
    first = view.first + start
    edges, rows = np.arange(first - 0.5, view.first + end), np.arange(len(BASES) + 1)
    gains, losses = view.gains[:, start:end], view.losses[:, start:end]
    own = np.array([[letter == base for letter in view.reference[start:end]] for base in BASES])
    effects = np.where(own, 0.0, np.where(gains > losses, gains, -losses))  # the reference's own base changes nothing
    style: Any = {"cmap": colormaps[COLOUR_MAP].with_extremes(bad=UNKNOWN), "edgecolors": "white"}
    mesh = axes.pcolormesh(edges, rows, np.ma.masked_invalid(effects), linewidth=0.2, **style)
    both = np.argwhere((gains >= BOTH) & (losses >= BOTH))
    halves = [_half(edges[column], row) for row, column in both]
    lesser = [
        -losses[row, column] if gains[row, column] > losses[row, column] else gains[row, column] for row, column in both
    ]
    split = PolyCollection(halves, array=lesser, linewidth=0.2, label="gain and loss", **style)
    axes.add_collection(split)
    for drawn in (mesh, split):
        drawn.set_clim(-1, 1)
    at = np.argwhere(own)
    axes.plot(first + at[:, 1], at[:, 0] + 0.5, ".", color="black", markersize=2, label="reference")
    for offset, letter in enumerate(view.reference[start:end]):
        axes.text(first + offset, -0.38, letter, fontsize=_LETTERS, ha="center", va="center", family="monospace")
    axes.set_ylim(len(BASES), -_MODELS / _CELL)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_yticks(np.arange(len(BASES)) + 0.5, list(BASES), fontsize=SMALL)
    ticks = [pos for pos in range(first, view.first + end) if pos % _EVERY == 0]
    wide = axes.get_position().width * _WIDTH / (end - start) * _EVERY > _LABEL
    labelled = [f"{pos:,}" if wide or pos % (2 * _EVERY) == 0 else "" for pos in ticks]
    axes.set_xticks(ticks, labelled, fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=2.5)
    axes.spines[:].set_visible(False)
    _draw_models(axes, view, first, view.first + end - 1)
    return mesh


def _half(left: float, top: float) -> list[tuple[float, float]]:
    """The lower right half of a cell."""
    return [(left + 1, top), (left + 1, top + 1), (left, top + 1)]


def _draw_models(axes: Axes, view: SaturationView, first: int, last: int) -> None:
    """The exons of all transcripts as one bar, and the annotated splice sites, above the letters."""
    if view.models is None:
        return
    place, tall = -_MODELS / _CELL + 0.15, 0.45
    axes.plot([first - 0.5, last + 0.5], [place + tall / 2] * 2, color=MUTED, linewidth=0.8, zorder=0)
    for starts, ends in view.models.transcripts.select("exon_starts", "exon_ends").iter_rows():
        for start, end in zip(starts, ends, strict=True):
            left, right = max(start, first), min(end, last)
            if left <= right:
                axes.add_patch(Rectangle((left - 0.5, place), right - left + 1, tall, color=EXON, linewidth=0))
    for pos, kind in view.models.sites.rows():
        if first <= pos <= last:
            axes.add_patch(Rectangle((pos - 0.5, place - 0.1), 1, tall + 0.2, color=COLOURS[kind], linewidth=0))


def _draw_colour_bar(figure: Figure, mesh: QuadMesh, height: float) -> None:
    """One colour bar for all lines, below them."""
    axes = figure.add_axes((_LEFT / _WIDTH, 0.5 / height, 2.6 / _WIDTH, 0.12 / height))
    bar = figure.colorbar(mesh, cax=axes, orientation="horizontal", ticks=[-1, -0.5, 0, 0.5, 1])
    bar.ax.set_xticklabels(["loss 1", "0.5", "0", "0.5", "gain 1"])
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("largest gain or loss of a splice site", fontsize=SMALL)


def _legend(view: SaturationView) -> list[Any]:
    """A legend entry for each kind of mark."""
    entries: list[Any] = [Line2D([], [], marker=".", linestyle="none", color="black", label="reference")]
    lacking = np.isnan(view.gains).sum() > sum(letter != " " for letter in view.reference)
    entries += [Patch(color=UNKNOWN, label="not in the table")] if lacking else []
    if ((view.gains >= BOTH) & (view.losses >= BOTH)).any():
        entries.append(
            Line2D([], [], marker="s", fillstyle="top", linestyle="none", label="split: gain and loss", **_SPLIT)
        )
    if view.models is not None:
        entries.append(Patch(color=EXON, label="exon"))
        entries += [Patch(color=COLOURS[kind], label=f"annotated {kind}") for kind in KINDS]
    return entries


def _title(view: SaturationView) -> str:
    """The gene and the place."""
    return f"{view.gene}   {view.chrom}:{view.first:,}–{view.last:,}".strip()
