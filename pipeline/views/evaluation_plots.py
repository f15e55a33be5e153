"""An `Evaluation` -> plots as PNG or SVG files.

`draw_evaluation` writes `precision_recall`, `calibration`, `logo` (if there is a called site) and `usage` (if it was
compared). Each plot has a function of its own that returns a matplotlib figure. Nothing is computed here but the
logo's counts, and matplotlib's global state stays as it was.

Errors: importing this module without matplotlib (the extra `plots`) raises `InputError`, as does a file that cannot be
written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pipeline.evaluation.correlation import Correlation
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.logo import LETTERS, Logo, count_bases
from pipeline.evaluation.ranking import Reliability
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.reader import Tracks
from pipeline.views.pictures import COLOURS, MUTED, NO_MATPLOTLIB, write_picture
from sptx_core.errors import InputError
from sptx_core.words import counted

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D
except ModuleNotFoundError:
    raise InputError(f"{NO_MATPLOTLIB}, or leave the plots out with --no-plots") from None

Form = Literal["png", "svg"]

BASE_COLOURS = {"A": "#109648", "C": "#255c99", "G": "#e08e0b", "T": "#d62839"}


def draw_evaluation(tracks: Tracks, evaluation: Evaluation, folder: Path, form: Form = "png") -> list[Path]:
    """Draw all plots of an evaluation.

    Parameters
    ----------
    tracks : Tracks
        The evaluated table, which is read once more for the logo.
    evaluation : Evaluation
        Its metrics.
    folder : Path
        An existing folder to write to.
    form : "png" or "svg"
        Format of the files.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        A part of the table cannot be read, or a file cannot be written.

    """
    thresholds = {kind: evaluation.of(kind).threshold for kind in KINDS}
    logos = count_bases(tracks, {kind: score for kind, score in thresholds.items() if score is not None})
    figures: dict[str, Figure] = {
        "precision_recall": precision_recall(evaluation),
        "calibration": calibration(evaluation.calibration()),
    }
    if logos:
        figures["logo"] = logo(logos)
    if evaluation.usage is not None:
        figures["usage"] = usage(evaluation.usage.by_tissue)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.{form}")
        write_picture(figure, paths[-1])
    return paths


def precision_recall(evaluation: Evaluation) -> Figure:
    """Draw the precision-recall curve of both kinds, with the point of top-k accuracy marked.

    Parameters
    ----------
    evaluation : Evaluation
        The metrics.

    Returns
    -------
    Figure
        Recall on the x axis, precision on the y axis.

    """
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    for kind in KINDS:
        curve, metrics = evaluation.rankings[kind].curve(), evaluation.of(kind)
        top_k = metrics.top_k[1.0]
        if metrics.auprc is None or top_k is None:
            continue
        label = f"{kind}: AUPRC {metrics.auprc:.3f}, top-k {top_k:.3f} ({counted(metrics.sites, 'site')})"
        axes.step([0, *curve.recall], [curve.precision[0], *curve.precision], color=COLOURS[kind], label=label)
        axes.plot(top_k, top_k, "o", color=COLOURS[kind])
    axes.plot([0, 1], [0, 1], ":", color=MUTED, linewidth=0.8)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision", title="Called splice sites")
    _legend(axes, "lower center")
    return figure


def calibration(reliability: Mapping[str, tuple[Reliability, ...]]) -> Figure:
    """Draw the share of true sites by score, and below it the number of positions by score.

    Parameters
    ----------
    reliability : mapping of kind to tuple of Reliability
        Ranges of score, ascending.

    Returns
    -------
    Figure
        Two axes with the score on the x axis.

    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], ":", color=MUTED, linewidth=0.8)
    for kind, groups in reliability.items():
        scores = [group.mean_score for group in groups]
        above.plot(scores, [group.true_share for group in groups], "o-", color=COLOURS[kind], label=kind, markersize=4)
        below.stairs(*_histogram(groups), color=COLOURS[kind])
    above.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="share of true sites", title="Calibration")
    below.set(yscale="log", xlabel="score", ylabel="positions")
    _legend(above, "upper left")
    return figure


def usage(by_tissue: tuple[Correlation, ...]) -> Figure:
    """Draw the correlations of usage, and of its tissue-specific part, as bars by tissue.

    Parameters
    ----------
    by_tissue : tuple of Correlation
        Tissues from top to bottom; a correlation of None has no bar.

    Returns
    -------
    Figure
        One axes for Spearman's, one for Pearson's correlation.

    """
    figure = Figure(figsize=(8.4, 0.32 * len(by_tissue) + 1.6), layout="constrained")
    measures: list[tuple[str, Callable[[Correlation], float | None], Callable[[Correlation], float | None]]] = [
        ("Spearman", lambda line: line.spearman, lambda line: line.specific_spearman),
        ("Pearson", lambda line: line.pearson, lambda line: line.specific_pearson),
    ]
    for axes, (title, whole, part) in zip(figure.subplots(1, 2, sharey=True), measures, strict=True):
        for shift, value, colour, label in (
            (-0.2, whole, "#56b4e9", "usage"),
            (0.2, part, "#cc79a7", "tissue-specific"),
        ):
            bars = [(row, found) for row, line in enumerate(by_tissue) if (found := value(line)) is not None]
            axes.barh([row + shift for row, _ in bars], [found for _, found in bars], 0.38, color=colour, label=label)
        least = min([0.0, *(found for line in by_tissue for found in (whole(line), part(line)) if found is not None)])
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(xlim=(least * 1.05, 1), title=title, xlabel="correlation")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_yticks(range(len(by_tissue)), [line.tissue.replace("_", " ") for line in by_tissue])
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def logo(logos: Mapping[str, Logo]) -> Figure:
    """Draw sequence logos: letters as high as their information in bits, the exon shaded.

    Parameters
    ----------
    logos : mapping of kind to Logo
        At least one logo.

    Returns
    -------
    Figure
        One axes for each kind, with the offset from the site on the x axis.

    """
    figure = Figure(figsize=(9, 2.4 * len(logos)), layout="constrained")
    for axes, (kind, shown) in zip(figure.subplots(len(logos), 1, squeeze=False)[:, 0], logos.items(), strict=True):
        for offset, heights in zip(shown.offsets(), shown.heights(), strict=True):
            bottom = 0.0
            for height, letter in sorted(zip(heights.tolist(), LETTERS, strict=True)):
                if height > 0:
                    axes.add_patch(_letter(letter, offset - 0.48, bottom, 0.96, height))
                    bottom += height
        first, last = -shown.window.before - 0.5, shown.window.after + 0.5
        exon = (-0.5, last) if kind == "acceptor" else (first, 0.5)
        axes.axvspan(*exon, color="#eeeeee", zorder=0)
        title = f"{counted(shown.called - shown.partial, f'called {kind}')} (exon shaded)"
        axes.set(xlim=(first, last), ylim=(0, 2), ylabel="bits", title=title)
        axes.set_xticks([offset for offset in shown.offsets() if offset % 5 == 0])
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("offset from the site, in transcription order")
    return figure


def _letter(letter: str, left: float, bottom: float, width: float, height: float) -> PathPatch:
    """The outline of a letter, stretched to fill a box in coordinates of the axes."""
    outline = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = outline.get_extents()
    fill = Affine2D().translate(-box.x0, -box.y0).scale(width / box.width, height / box.height).translate(left, bottom)
    return PathPatch(fill.transform_path(outline), facecolor=BASE_COLOURS[letter], linewidth=0)


def _histogram(groups: tuple[Reliability, ...]) -> tuple[list[float], list[float]]:
    """Counts and edges for `Axes.stairs`; a range without positions counts 0."""
    edges = sorted({edge for group in groups for edge in (group.low, group.high)})
    counts = {group.low: float(group.positions) for group in groups}
    return [counts.get(low, 0.0) for low in edges[:-1]], edges


def _legend(axes: Axes, place: Literal["lower center", "upper left"]) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
