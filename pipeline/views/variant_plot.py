"""Draw a `VariantView` as a matplotlib figure. Needs the extra `plots`; importing this without it is an `InputError`.

From top to bottom: the transcripts, where there is an annotation; the scores of the reference; the gains and losses,
each joined to its place in both sequences; the scores of the alternative, hollow dots where the reference's stood; and
the largest change of usage by tissue, where the network has tissues. A band marks the variant.

Both score panels share one x axis, from left to right as in the genome: a column a base, see `variant_view`. Scores go
from 0 to 1, changes of usage from -1 to 1, in every picture. matplotlib's global state is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.inputs.splice_sites import KINDS
from pipeline.views.pictures import COLOURS, MUTED, NO_MATPLOTLIB, UNKNOWN
from pipeline.views.transcript_rows import MEDIUM, SMALL, draw_transcripts
from pipeline.views.variant_view import Event, VariantView
from sptx_core.errors import InputError

try:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError:
    raise InputError(NO_MATPLOTLIB) from None

VARIANT = "#f0e442"
"""Colour of the variant's band (yellow of Okabe & Ito 2008)."""
CALLED = "#009e73"
"""Colour of tissues that are called (green of Okabe & Ito 2008)."""
MAX_LETTERS = 12  # of an allele in the title
_MIN_SCORE = 0.005  # of a line that is drawn: lower ones are less than a pixel high
_MINUS = "\N{MINUS SIGN}"
# Sizes in inches.
_WIDTH, _RIGHT = 8.5, 0.35
_ROW, _SCORES, _STRIP, _BAR = 0.22, 1.25, 0.62, 0.18  # heights: a transcript, scores, labels of events, a tissue
_TOP, _AXIS, _BOTTOM = 0.7, 0.75, 0.75  # heights: title, position axis, what stands below the bars
_LEGEND = 0.3  # height of the legend, where there are no bars
_LETTER = 0.068  # mean width of a letter of the labels
_LABEL = 1.3  # width that the label of an event takes


def draw_variant(view: VariantView) -> Figure:
    """Draw a view.

    Parameters
    ----------
    view : VariantView
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
        From top to bottom the axes of transcripts (only with an annotation), reference, events, alternative, and usage
        (only with tissues).
    """
    figure, (transcripts, reference, strip, alternative, usage) = _panels(view)
    along = [axes for axes in (transcripts, reference, strip, alternative) if axes is not None]
    for axes in along:
        axes.set_xlim(-0.5, len(view.columns) - 0.5)
        if axes is not strip:
            # With an outline, so that it is seen where a base is narrower than a pixel.
            band: Any = {"color": VARIANT, "alpha": 0.6, "linewidth": 1, "zorder": -1}
            axes.axvspan(view.changed[0] - 0.5, view.changed[1] + 0.5, **band)
    if transcripts is not None:
        _draw_models(transcripts, view)
    _draw_scores(reference, view, "ref")
    _draw_scores(alternative, view, "alt")
    _draw_lost_heights(alternative, view)
    _draw_events(strip, (reference, alternative), view)
    _draw_positions(alternative, view)
    if usage is not None:
        _draw_usage(usage, view)
    return figure


def _panels(view: VariantView) -> tuple[Figure, tuple[Axes | None, Axes, Axes, Axes, Axes | None]]:
    """A figure with title and legend, and its axes from top to bottom."""
    rows = len(_labels(view))
    heights = [(_ROW * max(2, rows), 0.1)] if view.models else []
    heights += [(_SCORES, 0.0), (_STRIP, 0.0), (_SCORES, _AXIS)]
    heights += [(_BAR * max(3, len(view.tissues)), 0.0)] if view.tissues else []
    height = _TOP + sum(map(sum, heights)) + (_BOTTOM if view.tissues else _LEGEND)
    left = max(0.75, 0.3 + max(map(len, [*view.tissues, *_labels(view)]), default=0) * _LETTER)
    figure = Figure(figsize=(_WIDTH, height))
    top, axes = height - _TOP, list[Axes]()
    for tall, gap in heights:
        place = left / _WIDTH, (top - tall) / height, (_WIDTH - left - _RIGHT) / _WIDTH, tall / height
        axes.append(figure.add_axes(place))
        top -= tall + gap
    style: Any = {"va": "top", "ha": "left"}
    figure.text(0.15 / _WIDTH, 1 - 0.1 / height, _title(view), fontsize=12, fontweight="bold", **style)
    figure.text(0.15 / _WIDTH, 1 - 0.36 / height, _summary(view), fontsize=MEDIUM, **style)
    figure.legend(
        handles=_legend(view),
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=7,
        frameon=False,
        fontsize=SMALL,
        handlelength=1.4,
        columnspacing=1.3,
    )
    models = axes.pop(0) if view.models else None
    usage = axes.pop() if view.tissues else None
    reference, strip, alternative = axes
    return figure, (models, reference, strip, alternative, usage)


def _draw_models(axes: Axes, view: VariantView) -> None:
    """The transcripts, with their exons at the columns of their bases."""
    assert view.models is not None  # or there were no axes
    first, last = int(view.columns["pos"][0]), int(view.columns["pos"][-1])

    def columns(positions: list[int]) -> list[int]:
        # A base beyond the view has no column: it stands as far outside.
        return [view.column_of(pos) + min(0, pos - first) + max(0, pos - last) for pos in positions]

    exons = view.models.transcripts.select("exon_starts", "exon_ends").iter_rows()
    rows = [(columns(starts), columns(ends)) for starts, ends in exons]
    placed = pl.DataFrame(rows, {"exon_starts": pl.List(pl.Int64), "exon_ends": pl.List(pl.Int64)}, orient="row")
    draw_transcripts(axes, placed, _labels(view), view.strand, (0, len(view.columns) - 1))
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.spines["top"].set_visible(False)


def _draw_scores(axes: Axes, view: VariantView, side: str) -> None:
    """A line for each score, a dot on those that reach the threshold; hatched where the sequence has no base."""
    for first, last in _stretches(view.columns[f"{side}_acceptor"].is_null()):
        axes.axvspan(first - 0.5, last + 0.5, facecolor="none", edgecolor=UNKNOWN, hatch="////", linewidth=0)
    annotated = set() if view.models is None else set(view.models.sites.rows())
    for kind in KINDS:
        values = view.columns[f"{side}_{kind}"].fill_null(0.0).to_numpy()
        at = np.flatnonzero(values >= _MIN_SCORE)
        lines = [[(column, 0.0), (column, values[column])] for column in at]
        axes.add_collection(LineCollection(lines, colors=COLOURS[kind], linewidths=1.4, label=kind))
        for column in np.flatnonzero(values >= view.threshold):
            pos, offset = view.columns.select("pos", "ins_offset").row(int(column))
            known = view.models is None or (offset is None and (pos, kind) in annotated)
            fill = COLOURS[kind] if known else "white"
            style: Any = {"color": COLOURS[kind], "markerfacecolor": fill, "markersize": 5, "zorder": 3}
            axes.plot([column], [values[column]], "o", clip_on=False, **style)
    axes.set_ylim(0, 1.04)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel({"ref": "reference", "alt": "alternative"}[side], fontsize=MEDIUM)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_lost_heights(axes: Axes, view: VariantView) -> None:
    """In the alternative, where the lost sites stood in the reference: a dotted line."""
    for event in view.events:
        if not event.is_gain:
            before, after = (view.columns[f"{side}_{event.kind}"][event.column] or 0.0 for side in ("ref", "alt"))
            axes.plot([event.column] * 2, [after, before], color=COLOURS[event.kind], linestyle=":", linewidth=1.4)
            axes.plot([event.column], [before], "_", color=COLOURS[event.kind], markersize=7)


def _draw_events(strip: Axes, panels: tuple[Axes, Axes], view: VariantView) -> None:
    """A label for each gain and loss, apart from each other, joined to its column in both sequences."""
    strip.set_ylim(0, 1)
    strip.set_axis_off()
    width = strip.get_position().width * _WIDTH
    columns = len(view.columns)
    places = _apart([(event.column + 0.5) / columns for event in view.events], _LABEL / width)
    for event, place in zip(view.events, places, strict=True):
        middle = place * columns - 0.5
        for end in (0.0, 1.0):
            lines = [event.column, middle], [end, 0.5 + (end - 0.5) * 0.56]
            strip.plot(*lines, color=COLOURS[event.kind], linewidth=0.9, alpha=0.7)
        style: Any = {"color": COLOURS[event.kind], "fontsize": SMALL, "ha": "center", "va": "center"}
        strip.text(middle, 0.5, _label(event), **style)
        for axes in panels:
            axes.axvline(event.column, color=COLOURS[event.kind], linewidth=0.8, alpha=0.25, zorder=0)
    if not view.events:
        text = f"no gain or loss of {view.threshold:g} or more"
        strip.text((columns - 1) / 2, 0.5, text, color=MUTED, fontsize=SMALL, ha="center", va="center")


def _draw_positions(axes: Axes, view: VariantView) -> None:
    """The positions below the alternative."""
    bases = view.columns.filter(pl.col("ins_offset").is_null())["pos"]
    first, last = int(bases[0]), int(bases[-1])
    low = max(1, first)  # what is looked at may begin before the contig does
    ticks = [int(pos) for pos in MaxNLocator(6, integer=True).tick_values(first, last) if low <= pos <= last]
    axes.set_xticks([view.column_of(pos) for pos in ticks], [f"{pos:,}" for pos in ticks], fontsize=SMALL)
    axes.tick_params(axis="x", bottom=True, labelbottom=True)
    direction = "right to left" if view.strand == "-" else "left to right"
    sign = view.strand.replace("-", _MINUS)
    axes.set_xlabel(f"position on {view.chrom} (gene on the {sign} strand, 5′ to 3′ {direction})", fontsize=MEDIUM)


def _draw_usage(axes: Axes, view: VariantView) -> None:
    """A bar for each tissue: the change where it is largest; called tissues in green, with their z."""
    for place, name in enumerate(view.tissues):
        change, is_called = view.row[f"signed_{name}"], name in view.called
        axes.barh(place, change, height=0.72, color=CALLED if is_called else MUTED, label=name)
        text = _signed(change) + (f"  called, z {view.row[f'z_{name}']:.1f}" if is_called else "")
        side = -1 if change > 0 else 1  # beyond the zero line, where no bar is
        style: Any = {"fontsize": SMALL, "va": "center", "ha": "left" if side > 0 else "right"}
        axes.text(side * 0.02, place, text, color=CALLED if is_called else "black", **style)
    names = [name.replace("_", " ") for name in view.tissues]
    axes.set_yticks(range(len(names)), names, fontsize=SMALL)
    for label, name in zip(axes.get_yticklabels(), view.tissues, strict=True):
        label.set_fontweight("bold" if name in view.called else "normal")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1], [f"{_MINUS}1", f"{_MINUS}0.5", "0", "0.5", "1"], fontsize=SMALL)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"largest change of usage, alternative {_MINUS} reference{_remark(view)}", fontsize=MEDIUM)


def _remark(view: VariantView) -> str:
    """What a reader must know of the calls."""
    if "calibrated" not in view.row:
        return ""
    if not view.tissues_mean_something:
        return " (no tissue is called: d_splice is below 0.27)"
    return "" if view.row["calibrated"] else " (z is not calibrated for this run)"


def _title(view: VariantView) -> str:
    """The variant as it is written, and its gene."""
    row = view.row
    change = f"{view.chrom}:{row['pos']:,} {_short(row['ref'])}>{_short(row['alt'])}"
    gene = f"{row['gene_name'] or row['gene_id']} ({view.strand.replace('-', _MINUS)})" if row["gene_id"] else ""
    joint = f"haplotype {row['haplotype']}, joint" if row["joint"] else ""
    return "   ".join(filter(None, (change, gene, joint)))


def _summary(view: VariantView) -> str:
    """The scores of the row."""
    row = view.row
    by_kind = [f"{kind} gain {row[f'ds_{kind[0]}g']:.2f}, loss {row[f'ds_{kind[0]}l']:.2f}" for kind in KINDS]
    tie = "tie: two attention buckets nearly equal" if row["tie"] else ""
    return "   ".join(filter(None, [f"d_splice {row['d_splice']:.2f}", *by_kind, tie]))


def _label(event: Event) -> str:
    """What happens to a site, and where."""
    change = "gain" if event.is_gain else "loss"
    distance = "0" if not event.distance else f"{event.distance:+d}".replace("-", _MINUS)
    return f"{event.kind} {change} {event.value:.2f}\n{event.pos:,} ({distance})"


def _labels(view: VariantView) -> list[str]:
    return view.models.labels if view.models else []


def _legend(view: VariantView) -> list[Any]:
    """A legend entry for each kind of mark in the figure."""
    dot: Any = {"linestyle": "none", "color": MUTED, "markersize": 5}
    entries: list[Any] = [Line2D([], [], color=COLOURS[kind], linewidth=2.5, label=kind) for kind in KINDS]
    entries.append(Patch(color=VARIANT, alpha=0.6, label="variant"))
    if view.models:
        entries.append(Line2D([], [], marker="o", label="annotated", **dot))
        entries.append(Line2D([], [], marker="o", markerfacecolor="white", label="not annotated", **dot))
    if view.columns.select(pl.any_horizontal(pl.col("ref_acceptor", "alt_acceptor").is_null().any())).item():
        entries.append(Patch(facecolor="none", edgecolor=UNKNOWN, hatch="////", label="no such base"))
    if any(not event.is_gain for event in view.events):
        entries.append(Line2D([], [], color=MUTED, linestyle=":", label="lost"))
    return entries


def _short(allele: str) -> str:
    """An allele as it is written, or its length if it is long."""
    return allele if len(allele) <= MAX_LETTERS else f"{allele[:4]}…{allele[-4:]} ({len(allele):,} bases)"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", _MINUS) if abs(value) >= 0.005 else "0.00"


def _apart(places: Sequence[float], width: float) -> list[float]:
    """Ascending places in [0, 1], moved as little as needed to be `width` apart and half of it from either end."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + width if found else width / 2))
    limit = 1 - width / 2
    for n in range(len(found) - 1, -1, -1):
        found[n] = min(found[n], limit)
        limit = found[n] - width
    return found


def _stretches(flags: pl.Series) -> list[tuple[int, int]]:
    """First and last index of each run of true values."""
    at = flags.arg_true().to_numpy().astype(int)
    breaks = np.flatnonzero(np.diff(at) > 1)
    starts, ends = [0, *(breaks + 1)], [*breaks, len(at) - 1]
    return [(int(at[a]), int(at[b])) for a, b in zip(starts, ends, strict=True)] if len(at) else []
