"""Draw a `GeneView` as a matplotlib figure. Needs the extra `plots`; importing this without it is an `InputError`.

From top to bottom: the transcripts (exons as boxes, introns as lines with arrows in the direction of transcription);
the scores along the position, acceptors and donors in their colours, called sites with a dot; and usage by tissue,
predicted and, if given, measured, with one column for each called site, which a line joins to the site's position. Of
a table without tissues the columns have their labels alone.

The x axis is the position on the plus strand, 1-based; base p extends from p - 0.5 to p + 0.5. A gene on the minus
strand therefore reads from right to left. With `short_introns`, stretches without exon or called site are drawn at most
`SHORTENED_BASES` wide and dashed; tick labels remain true positions. matplotlib's global state is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.inputs.splice_sites import KINDS
from pipeline.views.gene_view import GeneView
from pipeline.views.pictures import COLOURS, MUTED, NO_MATPLOTLIB, UNKNOWN
from pipeline.views.transcript_rows import MEDIUM, SMALL, draw_transcripts
from sptx_core.errors import InputError
from sptx_core.words import counted

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection, QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import ConnectionPatch, Patch
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ModuleNotFoundError:
    raise InputError(NO_MATPLOTLIB) from None

SHORTENED_BASES = 150
"""Width of a shortened stretch."""
_PADDING = 30  # bases around exons and called sites that are never shortened
_MIN_SCORE = 0.005  # of a line that is drawn: lower ones are less than a pixel high
# Sizes in inches.
_WIDTH = 12.0
_ROW, _SCORES, _CELL = 0.24, 1.8, 0.165  # heights: a transcript, the scores, a tissue
_LABELS_ALONE = 0.01  # height of columns without tissues
_BELOW_SCORES = 0.6  # room for the lines from positions to columns
_TOP, _BOTTOM, _RIGHT = 0.85, 1.05, 0.8  # margins
_LETTER = 0.07  # mean width of a letter of the labels
_Floats = npt.NDArray[np.float64]


class Scale:
    """Maps positions to places on the drawn x axis and back; the two differ only by the shortened stretches.

    Parameters
    ----------
    view : GeneView
        What is drawn.
    short_introns : bool
        Whether stretches without exon or called site are shortened.

    Attributes
    ----------
    shortened : list of (float, float)
        First and last position of each shortened stretch.
    """

    def __init__(self, view: GeneView, *, short_introns: bool) -> None:
        gaps = pairwise(_unshortened(view)) if short_introns else ()
        self.shortened = [(left, right) for (_, left), (right, _) in gaps if right - left > SHORTENED_BASES]
        knots = [view.first - 0.5, *(end for gap in self.shortened for end in gap), view.last + 0.5]
        widths = np.diff(knots)
        widths[1::2] = SHORTENED_BASES
        far = float(1 << 32)  # beyond any contig, so that both directions are defined everywhere
        self.positions = np.array([knots[0] - far, *knots, knots[-1] + far])
        self.places = np.array([-far, *np.concatenate([[0], widths.cumsum()]), widths.sum() + far])

    def place(self, position: Any) -> _Floats:
        """Return the place of a position or array of positions, in bases; the left edge of the view is 0."""
        places: _Floats = np.interp(position, self.positions, self.places)
        return places

    def position(self, place: Any) -> _Floats:
        """Return the position of a place or array of places: the inverse of `place`."""
        positions: _Floats = np.interp(place, self.places, self.positions)
        return positions


def draw_view(view: GeneView, *, short_introns: bool = False) -> Figure:
    """Draw a view.

    Parameters
    ----------
    view : GeneView
        What to draw.
    short_introns : bool
        Whether to shorten stretches without exon or called site.

    Returns
    -------
    matplotlib.figure.Figure
        From top to bottom the axes of transcripts, scores, and one or two heat maps (none without a called site).
    """
    scale = Scale(view, short_introns=short_introns)
    usage = _usage_by_title(view)
    figure, (transcripts, scores, *heat_maps) = _panels(view, len(usage))
    meshes = list[QuadMesh]()
    for axes in (transcripts, scores):
        axes.set_xscale("function", functions=(scale.place, scale.position))
        axes.set_xlim(view.first - 0.5, view.last + 0.5)
    _draw_transcripts(transcripts, view, scale)
    _draw_scores(scores, view)
    for axes, (title, values) in zip(heat_maps, usage.items(), strict=True):
        _draw_columns(axes, view)
        if view.tissues:
            meshes.append(_draw_usage(axes, view, title, values))
    if heat_maps:
        _join_sites_to_columns(figure, scores, heat_maps[0], view)
        _label_columns(heat_maps[-1], view)
    if meshes:
        _draw_colour_bar(figure, heat_maps, meshes[0])
    return figure


def _panels(view: GeneView, heat_maps: int) -> tuple[Figure, list[Axes]]:
    """A figure with title and legend, and its axes from top to bottom: transcripts, scores, heat maps."""
    rows = len(view.transcripts) + bool(view.more_transcripts)
    usage = max(_CELL * len(view.tissues), _LABELS_ALONE), 0.15
    panels = [(_ROW * max(2, rows), 0.15), (_SCORES, _BELOW_SCORES), *[usage] * heat_maps]
    height = _TOP + sum(map(sum, panels)) + _BOTTOM
    words = [*view.tissues, *_labels(view)]
    left = 0.45 + max(map(len, words), default=0) * _LETTER
    figure = Figure(figsize=(_WIDTH, height))
    top, axes = height - _TOP, list[Axes]()
    for tall, gap in panels:
        place = left / _WIDTH, (top - tall) / height, (_WIDTH - left - _RIGHT) / _WIDTH, tall / height
        axes.append(figure.add_axes(place))
        top -= tall + gap
    figure.text(0.15 / _WIDTH, 1 - 0.1 / height, _title(view), va="top", fontsize=12, fontweight="bold")
    place_of_legend = (0.5, 0.05 / height)
    figure.legend(
        handles=_legend(view),
        loc="lower center",
        bbox_to_anchor=place_of_legend,
        ncols=7,
        frameon=False,
        fontsize=SMALL,
    )
    return figure, axes


def _draw_colour_bar(figure: Figure, heat_maps: Sequence[Axes], mesh: QuadMesh) -> None:
    """One colour bar beside all heat maps."""
    first, last = heat_maps[0].get_position(), heat_maps[-1].get_position()
    place = last.x1 + 0.15 / _WIDTH, last.y0, 0.14 / _WIDTH, first.y1 - last.y0
    bar = figure.colorbar(mesh, cax=figure.add_axes(place), label="usage")
    bar.ax.tick_params(labelsize=SMALL)


def _draw_transcripts(axes: Axes, view: GeneView, scale: Scale) -> None:
    """One row a transcript, the first at the top; the x axis is above."""
    draw_transcripts(
        axes,
        view.transcripts,
        _labels(view),
        view.strand,
        (view.first, view.last),
        place=scale.place,
        position=scale.position,
        shortened=scale.shortened,
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", labelsize=SMALL)
    direction = "right to left" if view.strand == "-" else "left to right"
    short = ", introns shortened where dashed" if scale.shortened else ""
    sign = view.strand.replace("-", "\N{MINUS SIGN}")
    axes.set_xlabel(f"position on {view.chrom} ({sign} strand, 5′ to 3′ {direction}{short})", fontsize=MEDIUM)
    if scale.shortened:
        axes.set_xticks([view.first, view.last])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _draw_scores(axes: Axes, view: GeneView) -> None:
    """A vertical line for each score; dots mark called sites (hollow: not annotated), crosses mark missed sites."""
    for first, last in view.without_rows():
        axes.axvspan(first - 0.5, last + 0.5, facecolor="none", edgecolor=UNKNOWN, hatch="///", linewidth=0)
    for kind in KINDS:
        scored = view.scores.filter(pl.col(kind) >= _MIN_SCORE).select("pos", kind).to_numpy().astype(float)
        lines = np.stack([np.column_stack([scored[:, 0], np.zeros(len(scored))]), scored], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=COLOURS[kind], linewidths=1.2, label=kind))
        for annotated, fill in ((True, COLOURS[kind]), (False, "white")):
            sites = view.called.filter((pl.col("kind") == kind) & (pl.col("annotated") == annotated))
            style: Any = {
                "color": COLOURS[kind],
                "markerfacecolor": fill,
                "markersize": 4.5,
                "zorder": 3,
                "clip_on": False,
            }
            axes.plot(sites["pos"], sites["score"], "o", **style)
        missed = view.missed.filter(pl.col("kind") == kind)["pos"]
        axes.plot(missed, np.zeros(len(missed)), "x", color=COLOURS[kind], markersize=6, zorder=4, clip_on=False)
    axes.axhline(view.threshold, color=MUTED, linestyle=":", linewidth=0.8)
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("score", fontsize=MEDIUM)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_columns(axes: Axes, view: GeneView) -> None:
    """Room for a column for each called site, without frame or ticks."""
    axes.set_xlim(0, len(view.called))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_usage(axes: Axes, view: GeneView, title: str, values: _Floats) -> QuadMesh:
    """A heat map of `values` [tissues, called sites], from 0 to 1; NaN is grey."""
    colours = colormaps["viridis"].with_extremes(bad=UNKNOWN)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.4
    )
    names = [name.replace("_", " ") for name in view.tissues]
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL)
    axes.set_ylim(len(names), 0)
    axes.set_ylabel(title, fontsize=MEDIUM)
    return mesh


def _labels(view: GeneView) -> list[str]:
    """Labels of the transcripts' rows; they name the genes if there are several."""
    several = view.transcripts["gene_name"].n_unique() > 1
    names = view.transcripts.select("transcript_id", "gene_name").iter_rows()
    labels = [f"{gene} {name}" if several and gene != name else name for name, gene in names]
    return [*labels, f"and {view.more_transcripts} more"] if view.more_transcripts else labels


def _usage_by_title(view: GeneView) -> dict[str, _Floats]:
    """Title of each heat map and its values [tissues, called sites]; nothing without a called site."""
    if view.called.is_empty():
        return {}
    frames = {"predicted usage": view.called} | ({} if view.measured is None else {"measured usage": view.measured})
    return {title: frame.select(view.tissues).to_numpy().T.astype(float) for title, frame in frames.items()}


def _label_columns(axes: Axes, view: GeneView) -> None:
    """Label each column with the position of its site, in the colour of its kind."""
    sites = view.called.select("pos", "kind").rows()
    axes.set_xticks(np.arange(len(sites)) + 0.5, [f"{pos:,}" for pos, _ in sites], rotation=90, fontsize=SMALL)
    for label, (_, kind) in zip(axes.get_xticklabels(), sites, strict=True):
        label.set_color(COLOURS[kind])


def _join_sites_to_columns(figure: Figure, scores: Axes, heat_map: Axes, view: GeneView) -> None:
    """Draw a line from the position of each called site to its column."""
    for column, (pos, kind) in enumerate(view.called.select("pos", "kind").rows()):
        line = ConnectionPatch(
            (pos, 0),
            (column + 0.5, 1),
            scores.get_xaxis_transform(),
            heat_map.get_xaxis_transform(),
            color=COLOURS[kind],
            alpha=0.7,
            linewidth=0.9,
        )
        line.set_in_layout(False)
        figure.add_artist(line)


def _title(view: GeneView) -> str:
    """What is shown, where it lies, and how many sites are called."""
    place = f"{view.chrom}:{view.first:,}–{view.last:,}"
    number = counted(len(view.called), "site") if len(view.called) else "no sites"
    if view.more_called:
        number = f"the strongest {len(view.called):,} of {counted(len(view.called) + view.more_called, 'site')}"
    return f"{view.name}   {place}   {number} at or above {view.threshold:g}".strip()


def _legend(view: GeneView) -> list[Any]:
    """A legend entry for each kind of mark in the figure."""
    dot: Any = {"linestyle": "none", "color": MUTED}
    entries: list[Any] = [Line2D([], [], color=COLOURS[kind], linewidth=2.5, label=kind) for kind in KINDS]
    if view.called["annotated"].any():
        entries.append(Line2D([], [], marker="o", label="called and annotated", **dot))
    if not view.called["annotated"].all():
        entries.append(Line2D([], [], marker="o", markerfacecolor="white", label="called, not annotated", **dot))
    if not view.missed.is_empty():
        entries.append(Line2D([], [], marker="x", label="annotated, not called", **dot))
    if view.without_rows():
        entries.append(Patch(facecolor="none", edgecolor=UNKNOWN, hatch="///", label="not in the table"))
    if view.measured is not None and np.isnan(view.measured.select(view.tissues).to_numpy()).any():
        entries.append(Patch(facecolor=UNKNOWN, label="no measurement"))
    return entries


def _unshortened(view: GeneView) -> list[tuple[float, float]]:
    """Stretches that are never shortened, ascending: exons and called sites with their padding, and the edges."""
    starts, ends = (view.transcripts[name].explode().drop_nulls().to_list() for name in ("exon_starts", "exon_ends"))
    sites: Sequence[int] = view.called["pos"].to_list()
    spans = sorted([*zip(starts, ends, strict=True), *zip(sites, sites, strict=True)])
    low, high = view.first - 0.5, view.last + 0.5
    kept = [(low, low)]
    for first, last in [*spans, (view.last, view.last)]:
        left, right = (float(np.clip(edge, low, high)) for edge in (first - 0.5 - _PADDING, last + 0.5 + _PADDING))
        if left <= kept[-1][1]:
            kept[-1] = kept[-1][0], max(right, kept[-1][1])
        else:
            kept.append((left, right))
    return kept
