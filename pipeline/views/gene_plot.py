"""The picture of a `GeneView`. Needs matplotlib (the extra `plots`); importing this without it is an `InputError`.

From above: transcripts (exons as boxes, introns as lines with arrows in the direction of transcription), scores along
the position (acceptors and donors in their colours, called sites with a dot), and usage by tissue, predicted and, if
given, measured: one column a called site, joined to its position and labelled with it. The x axis is the position on
the plus strand, 1-based, base p from p - 0.5 to p + 0.5, so a gene on the minus strand reads from right to left.
With `short_introns` stretches without exon or called site are drawn at most `SHORT` bases wide, dashed; positions
remain true. matplotlib's global state is left as it was.
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
from pipeline.views.pictures import COLOURS, MUTED, NO_MATPLOTLIB
from sptx_core.errors import InputError

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection, QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import ConnectionPatch, Patch, Rectangle
    from matplotlib.path import Path as Outline
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ModuleNotFoundError:
    raise InputError(NO_MATPLOTLIB) from None

WIDTH = 12.0  # inches, as all sizes here
ROW, SCORES, BETWEEN, CELL = 0.24, 1.8, 0.6, 0.165
HEAD, FOOT, RIGHT = 0.85, 1.05, 0.8
LETTER = 0.07  # width of a letter of the labels, on average
LEAST = 0.005  # score of a line that is drawn: a lower one is not a pixel high
SHORT = 150  # bases, of a shortened stretch
PAD = 30  # bases around exons and called sites that are never shortened
ARROWS = 40  # arrows along the whole width, if it were one intron
UNKNOWN = "#d9d9d9"
SMALL, USUAL = 8, 9  # points
Floats = npt.NDArray[np.float64]


class Scale:
    """Position <-> place on the drawn axis: the same, but for stretches that are drawn shorter."""

    def __init__(self, view: GeneView, *, short_introns: bool) -> None:
        gaps = pairwise(_kept(view)) if short_introns else ()
        self.shortened = [(left, right) for (_, left), (right, _) in gaps if right - left > SHORT]
        knots = [view.first - 0.5, *(end for gap in self.shortened for end in gap), view.last + 0.5]
        widths = np.diff(knots)
        widths[1::2] = SHORT
        far = float(1 << 32)  # beyond any contig, so that both ways are defined everywhere
        self.positions = np.array([knots[0] - far, *knots, knots[-1] + far])
        self.places = np.array([-far, *np.concatenate([[0], widths.cumsum()]), widths.sum() + far])

    def place(self, position: Any) -> Floats:
        """Place of a position; the first base begins at 0."""
        places: Floats = np.interp(position, self.positions, self.places)
        return places

    def position(self, place: Any) -> Floats:
        """The inverse of `place`."""
        positions: Floats = np.interp(place, self.places, self.positions)
        return positions


def draw_view(view: GeneView, *, short_introns: bool = False) -> Figure:
    """The picture; see the module's contract."""
    scale = Scale(view, short_introns=short_introns)
    maps = _maps(view)
    figure, (above, scores, *columns) = _panels(view, len(maps))
    for axes in (above, scores):
        axes.set_xscale("function", functions=(scale.place, scale.position))
        axes.set_xlim(view.first - 0.5, view.last + 0.5)
    transcripts(above, view, scale)
    peaks(scores, view)
    for axes, (title, values) in zip(columns, maps.items(), strict=True):
        mesh = usage(axes, view, title, values)
    if columns:
        _join(figure, scores, columns[0], view)
        _label_columns(columns[-1], view)
        _colour_bar(figure, columns, mesh)
    return figure


def _panels(view: GeneView, maps: int) -> tuple[Figure, list[Axes]]:
    """Axes below each other, of the same width: transcripts, scores, heat maps; with the title and the legend."""
    rows = len(view.transcripts) + bool(view.more_transcripts)
    panels = [(ROW * max(2, rows), 0.15), (SCORES, BETWEEN), *[(CELL * len(view.tissues), 0.15)] * maps]
    height = HEAD + sum(map(sum, panels)) + FOOT
    words = [*view.tissues, *_labels(view)]
    left = 0.45 + max(map(len, words)) * LETTER
    figure = Figure(figsize=(WIDTH, height))
    top, axes = height - HEAD, list[Axes]()
    for tall, gap in panels:
        place = left / WIDTH, (top - tall) / height, (WIDTH - left - RIGHT) / WIDTH, tall / height
        axes.append(figure.add_axes(place))
        top -= tall + gap
    figure.text(0.15 / WIDTH, 1 - 0.1 / height, _title(view), va="top", fontsize=12, fontweight="bold")
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


def _colour_bar(figure: Figure, columns: Sequence[Axes], mesh: QuadMesh) -> None:
    """Beside the heat maps, as high as all of them."""
    first, last = columns[0].get_position(), columns[-1].get_position()
    place = last.x1 + 0.15 / WIDTH, last.y0, 0.14 / WIDTH, first.y1 - last.y0
    bar = figure.colorbar(mesh, cax=figure.add_axes(place), label="usage")
    bar.ax.tick_params(labelsize=SMALL)


def transcripts(axes: Axes, view: GeneView, scale: Scale) -> None:
    """A row a transcript, the first at the top; positions along the upper edge."""
    labels = _labels(view)
    for row, (starts, ends) in enumerate(view.transcripts.select("exon_starts", "exon_ends").iter_rows()):
        for first, last in zip(starts, ends, strict=True):
            axes.add_patch(Rectangle((first - 0.5, row - 0.32), last - first + 1, 0.64, color="#404040", linewidth=0))
        for left, right in zip(ends, starts[1:], strict=False):
            _intron(axes, left + 0.5, right - 0.5, row, view, scale)
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", labelsize=SMALL)
    direction = "right to left" if view.strand == "-" else "left to right"
    short = ", introns shortened where dashed" if scale.shortened else ""
    sign = view.strand.replace("-", "\N{MINUS SIGN}")
    axes.set_xlabel(f"position on {view.chrom} ({sign} strand, 5′ to 3′ {direction}{short})", fontsize=USUAL)
    if scale.shortened:
        axes.set_xticks([view.first, view.last])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def peaks(axes: Axes, view: GeneView) -> None:
    """A line from 0 to each score from `LEAST`; called sites have a dot, hollow without an annotated site there."""
    for first, last in view.without_rows():
        axes.axvspan(first - 0.5, last + 0.5, facecolor="none", edgecolor=UNKNOWN, hatch="///", linewidth=0)
    for kind in KINDS:
        scored = view.scores.filter(pl.col(kind) >= LEAST).select("pos", kind).to_numpy().astype(float)
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
    axes.set_ylabel("score", fontsize=USUAL)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def usage(axes: Axes, view: GeneView, title: str, values: Floats) -> QuadMesh:
    """A heat map [tissues, called sites] from 0 to 1; unknown values are grey."""
    colours = colormaps["viridis"].with_extremes(bad=UNKNOWN)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.4
    )
    names = [name.replace("_", " ") for name in view.tissues]
    axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_ylabel(title, fontsize=USUAL)
    axes.spines[:].set_visible(False)
    return mesh


def _labels(view: GeneView) -> list[str]:
    """Of the rows of transcripts, with the genes' names when there are several."""
    several = view.transcripts["gene_name"].n_unique() > 1
    names = view.transcripts.select("transcript_id", "gene_name").iter_rows()
    labels = [f"{gene} {name}" if several and gene != name else name for name, gene in names]
    return [*labels, f"and {view.more_transcripts} more"] if view.more_transcripts else labels


def _maps(view: GeneView) -> dict[str, Floats]:
    """Heat maps by title; none without a called site."""
    if view.called.is_empty():
        return {}
    frames = {"predicted usage": view.called} | ({} if view.measured is None else {"measured usage": view.measured})
    return {title: frame.select(view.tissues).to_numpy().T.astype(float) for title, frame in frames.items()}


def _intron(axes: Axes, left: float, right: float, row: int, view: GeneView, scale: Scale) -> None:
    """A line with arrows, dashed where it is shortened."""
    axes.plot([left, right], [row, row], color=MUTED, linewidth=0.9, zorder=0)
    for first, last in scale.shortened:
        if left <= first and last <= right:
            axes.plot([first, last], [row, row], color="white", linewidth=1.2, linestyle=(0, (2, 2)), zorder=0.5)
    begin, end = scale.place([max(left, view.first), min(right, view.last)])
    arrows = int((end - begin) / scale.place(view.last + 0.5) * ARROWS)
    if begin < end and arrows:
        places = begin + (end - begin) * (np.arange(arrows) + 0.5) / arrows
        tip = 1 if view.strand == "+" else -1
        chevron = Outline([(-tip, 1), (tip, 0), (-tip, -1)])
        style: Any = {"markersize": 4, "markerfacecolor": "none", "markeredgecolor": MUTED, "linestyle": "none"}
        axes.plot(scale.position(places), np.full(arrows, row), marker=chevron, **style)


def _label_columns(axes: Axes, view: GeneView) -> None:
    """The position of each column's site, in its colour."""
    sites = view.called.select("pos", "kind").rows()
    axes.set_xticks(np.arange(len(sites)) + 0.5, [f"{pos:,}" for pos, _ in sites], rotation=90, fontsize=SMALL)
    for label, (_, kind) in zip(axes.get_xticklabels(), sites, strict=True):
        label.set_color(COLOURS[kind])


def _join(figure: Figure, scores: Axes, columns: Axes, view: GeneView) -> None:
    """A line from each called site's position to its column."""
    for column, (pos, kind) in enumerate(view.called.select("pos", "kind").rows()):
        line = ConnectionPatch(
            (pos, 0),
            (column + 0.5, 1),
            scores.get_xaxis_transform(),
            columns.get_xaxis_transform(),
            color=COLOURS[kind],
            alpha=0.7,
            linewidth=0.9,
        )
        line.set_in_layout(False)
        figure.add_artist(line)


def _title(view: GeneView) -> str:
    place = f"{view.chrom}:{view.first:,}–{view.last:,}"
    number = f"{len(view.called) or 'no'} sites"
    if view.more_called:
        number = f"the strongest {len(view.called)} of {len(view.called) + view.more_called} sites"
    return f"{view.name}   {place}   {number} at or above {view.threshold:g}".strip()


def _legend(view: GeneView) -> list[Any]:
    """One entry for each thing that is drawn."""
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


def _kept(view: GeneView) -> list[tuple[float, float]]:
    """Exons and called sites with `PAD` bases around them, merged, from edge to edge of the view."""
    starts, ends = (view.transcripts[name].explode().drop_nulls().to_list() for name in ("exon_starts", "exon_ends"))
    sites: Sequence[int] = view.called["pos"].to_list()
    spans = sorted([*zip(starts, ends, strict=True), *zip(sites, sites, strict=True)])
    low, high = view.first - 0.5, view.last + 0.5
    kept = [(low, low)]
    for first, last in [*spans, (view.last, view.last)]:
        left, right = (float(np.clip(edge, low, high)) for edge in (first - 0.5 - PAD, last + 0.5 + PAD))
        if left <= kept[-1][1]:
            kept[-1] = kept[-1][0], max(right, kept[-1][1])
        else:
            kept.append((left, right))
    return kept
