"""Plots of genes: what is drawn lies where it should on both strands, and heat maps hold the values of the table."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import gene, tables
from material.genomes import Transcript
from material.tables import Part
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from pipeline.tracks.reader import Tracks
from pipeline.views import gene_view
from pipeline.views.gene_plot import SHORTENED_BASES, Scale, draw_view
from pipeline.views.gene_view import gene_view as view_of
from pipeline.views.pictures import COLOURS
from sptx_core.channels import TISSUES


def panels(figure: Figure) -> list[Axes]:
    """Transcripts, scores, heat maps."""
    return [axes for axes in figure.axes if axes.get_ylabel() != "usage"]  # which is the colour bar


def drawn_lines(axes: Axes, marker: str) -> dict[str, list[tuple[float, float, str]]]:
    """Markers by colour: x, y, fill."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for line in axes.lines:
        if line.get_marker() == marker:
            fill = to_hex(line.get_markerfacecolor())
            found.setdefault(to_hex(line.get_color()), []).extend(
                (x, y, fill) for x, y in zip(*line.get_data(), strict=True)
            )
    return found


def test_exons_lie_at_their_bases(tracks: Tracks) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[0]
    boxes = {
        (round(box.get_y() + 0.32), box.get_x(), box.get_width()) for box in axes.patches if type(box) is Rectangle
    }
    rows = [(0, gene.EXONS), (1, gene.SKIPPED)]
    assert boxes == {(row, first - 0.5, last - first + 1) for row, exons in rows for first, last in exons}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["T1", "T2"]  # the representative one first
    assert axes.get_xlim() == (1_000.5, 3_200.5)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_arrows_lie_in_introns_and_show_the_direction(tracks: Tracks, strand: str) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[0]
    arrows = [line for line in axes.lines if not isinstance(line.get_marker(), str)]
    assert len(arrows) == 3
    for line in arrows:
        back, tip, _ = line.get_marker().vertices[:, 0]
        assert (tip > back) == (strand == "+")
        exons = gene.EXONS if line.get_ydata()[0] == 0 else gene.SKIPPED
        assert not any(first - 0.5 <= x <= last + 0.5 for x in line.get_xdata() for first, last in exons)
    direction = "left to right" if strand == "+" else "right to left"
    assert direction in axes.get_xlabel()
    assert "chr1" in axes.get_xlabel()


def test_peaks_are_the_scores_of_the_table(tracks: Tracks, strand: str) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[1]
    peaks = {to_hex(lines.get_colors()[0]): lines for lines in axes.collections if isinstance(lines, LineCollection)}
    for kind, expected in gene.sites(strand).items():
        segments = peaks[COLOURS[kind]].get_segments()
        assert {low[0]: high[1] for low, high in segments} == pytest.approx(expected, abs=1e-6)
        assert all(low[0] == high[0] and low[1] == 0 for low, high in segments)


def test_called_annotated_and_missed_sites_differ(tracks: Tracks, strand: str) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[1]
    donors, acceptors = (gene.ENDS, gene.STARTS) if strand == "+" else (gene.STARTS, gene.ENDS)
    blue, orange, hollow = COLOURS["acceptor"], COLOURS["donor"], "#ffffff"
    dots = {colour: {(x, fill) for x, _, fill in found} for colour, found in drawn_lines(axes, "o").items()}
    assert dots[orange] == {(donors[0], orange), (donors[1], orange), (2_000, hollow)}
    assert dots[blue] == {(acceptors[0], blue)}
    assert [point[:2] for found in drawn_lines(axes, "x").values() for point in found] == [(acceptors[1], 0)]


def test_heat_maps_hold_the_values_of_the_table_and_of_the_measurement(
    tracks: Tracks, measured: pl.DataFrame, strand: str
) -> None:
    view = view_of(tracks, "GENE", usage=measured)
    figure = draw_view(view)
    predicted, given = (
        next(mesh for mesh in axes.collections if isinstance(mesh, QuadMesh)) for axes in panels(figure)[2:]
    )
    positions = view.called["pos"].to_list()
    assert positions == sorted({1_100, 1_401, 1_500, 2_000, 3_001} - {3_001 if strand == "+" else 1_500})
    table = tracks.region("chr1", columns=list(TISSUES)).filter(pl.col("pos").is_in(positions))
    np.testing.assert_array_equal(predicted.get_array(), table.select(TISSUES).to_numpy().T)
    known = {(pos, tissue): value for pos, tissue, value in [(1_100, "liver", 0.25), (1_100, "brain", 0.75)]}
    if 1_500 in positions:
        known[1_500, "brain"] = 0.5
    values = np.ma.filled(given.get_array(), np.nan)
    for column, pos in enumerate(positions):
        for row, tissue in enumerate(TISSUES):
            np.testing.assert_equal(values[row, column], known.get((pos, tissue), np.nan))
    assert predicted.get_clim() == given.get_clim() == (0, 1)
    assert predicted.get_cmap() == given.get_cmap()
    assert [label.get_text() for label in panels(figure)[2].get_yticklabels()][:2] == ["adipose tissue", "blood"]
    assert panels(figure)[2].yaxis_inverted()


@pytest.mark.slow
def test_columns_are_joined_to_their_positions(tracks: Tracks) -> None:
    view = view_of(tracks, "GENE")
    figure = draw_view(view)
    joined = [patch for patch in figure.artists if isinstance(patch, ConnectionPatch)]
    assert [patch.xy1[0] for patch in joined] == view.called["pos"].to_list()
    assert [patch.xy2[0] for patch in joined] == [column + 0.5 for column in range(len(view.called))]
    assert [to_hex(patch.get_edgecolor()) for patch in joined] == [COLOURS[kind] for kind in view.called["kind"]]
    labels = panels(figure)[-1].get_xticklabels()
    assert [label.get_text() for label in labels] == [f"{pos:,}" for pos in view.called["pos"]]


def test_a_table_without_tissues_has_labels_and_no_heat_map(tracks: Tracks) -> None:
    view = view_of(tracks, "GENE")
    figure = draw_view(dataclasses.replace(view, tissues=(), called=view.called.drop(TISSUES)))
    assert len(figure.axes) == 3  # no colour bar
    assert not any(isinstance(drawn, QuadMesh) for axes in figure.axes for drawn in axes.collections)
    joined = [patch for patch in figure.artists if isinstance(patch, ConnectionPatch)]
    assert [patch.xy1[0] for patch in joined] == view.called["pos"].to_list()
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == [
        f"{pos:,}" for pos in view.called["pos"]
    ]
    assert figure.axes[2].get_xlim() == (0, len(view.called))


@pytest.mark.slow
def test_the_title_says_where_and_how_many(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    def title(**options: Any) -> str:
        return str(draw_view(view_of(tracks, "GENE", **options)).texts[0].get_text())

    assert title() == "GENE   chr1:1,001–3,200   4 sites at or above 0.1"
    assert "no sites at or above 0.95" in title(threshold=0.95)
    monkeypatch.setattr(gene_view, "MAX_SITES", 3)
    assert "the strongest 3 of 4 sites" in title()


@pytest.mark.slow
def test_short_introns_keep_exons_and_positions(tracks: Tracks, strand: str) -> None:
    view = view_of(tracks, "GENE")
    scale = Scale(view, short_introns=True)
    assert scale.shortened == [(1_130.5, 1_370.5), (1_530.5, 1_969.5), (2_030.5, 2_970.5)]
    assert np.diff(scale.place(scale.shortened)).ravel().tolist() == [SHORTENED_BASES] * 3
    for first, last in gene.EXONS:
        assert scale.place(last + 0.5) - scale.place(first - 0.5) == last - first + 1
    every = np.arange(view.first, view.last + 1)
    np.testing.assert_allclose(scale.position(scale.place(every)), every)
    assert np.all(np.diff(scale.place(every)) > 0)
    long, short = (panels(draw_view(view, short_introns=flag))[0] for flag in (False, True))
    assert [box.get_x() for box in long.patches] == [box.get_x() for box in short.patches]
    assert "introns shortened" in short.get_xlabel()
    at = short.transData.transform([(1_100.5, 0), (1_400.5, 0), (1_500.5, 0)])[:, 0]
    assert (at[1] - at[0]) / (at[2] - at[1]) == pytest.approx((30 + SHORTENED_BASES + 30) / 100)


def test_stretches_without_rows_are_shown(tmp_path: Path) -> None:
    view = view_of(gene.write(tmp_path / "table", pos=[*range(1_051, 1_600), *range(1_700, 3_201)]), "GENE")
    figure = draw_view(view)
    shaded = [(box.get_x(), box.get_width()) for box in panels(figure)[1].patches]
    assert shaded == [(1_000.5, 50), (1_599.5, 100)]
    assert "not in the table" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_called_leaves_transcripts_and_scores(tracks: Tracks) -> None:
    assert len(panels(draw_view(view_of(tracks, "GENE", threshold=0.95)))) == 2


def test_labels_name_the_gene_where_there_are_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [
        Transcript("B1", "chr1", "+", [(2_001, 2_100)], gene="B"),
        Transcript("B2", "chr1", "+", [(2_001, 2_050), (2_081, 2_100)], gene="B"),
    ]
    parts = [Part("chr1", "+", gene.SPAN, **gene.sites("+"))]
    tracks = tables.write(tmp_path / "table", parts, [*gene.transcripts("+"), *others])
    labels = panels(draw_view(view_of(tracks, "chr1:1,200-2,500")))[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["GENE T1", "GENE T2", "B B2", "B B1"]
    monkeypatch.setattr(gene_view, "MAX_TRANSCRIPTS", 2)
    assert panels(draw_view(view_of(tracks, "B")))[0].get_yticklabels()[-1].get_text() == "and 2 more"


@pytest.mark.slow
def test_labels_lie_inside_the_figure_and_apart(tmp_path: Path) -> None:
    positions = range(900_001, 940_001)
    donors = dict.fromkeys(positions[100::600], 0.9)
    parts = [Part("chr1", "-", positions, donor=donors)]
    exons = [(positions[at], positions[at] + 120) for at in range(0, 39_000, 3_000)]
    named = [Transcript(f"ENST0000038284{at}.7", "chr1", "-", exons, gene=f"HLA-DRB{at}") for at in range(9)]
    tracks = tables.write(tmp_path / "table", parts, named)
    view = view_of(tracks, "chr1:900,001-940,000")
    assert len(view.called) == gene_view.MAX_SITES
    for short in (False, True):
        figure = draw_view(view, short_introns=short)
        figure.draw_without_rendering()
        ticks = panels(figure)[0].xaxis.get_major_ticks()
        for labels in (
            [tick.label2 for tick in ticks if view.first - 1 < tick.get_loc() < view.last + 1],
            panels(figure)[0].get_yticklabels(),
            panels(figure)[-1].get_xticklabels(),
            panels(figure)[-1].get_yticklabels(),
            figure.legends[0].get_texts(),
        ):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)
            assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])


@pytest.mark.slow
def test_the_command_draws_a_gene(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    gene.write(tmp_path / "table", "-")
    for name, magic in (("gene.png", b"\x89PNG\r\n"), ("gene.svg", b"<?xml")):
        code, _, err = sptx_here(
            "plot", tmp_path / "table", "GENE", "--to", tmp_path / name, "--short-introns", code=None
        )
        assert code == 0
        assert "chr1:1,001-3,200 (-), 4 called sites: drawn in" in err
        assert (tmp_path / name).read_bytes().startswith(magic)


def test_targets_are_checked_before_any_work(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    code, _, err = sptx_here("plot", tmp_path / "no table", "GENE", "--to", tmp_path / "gene.pdf", code=None)
    assert code == 2
    assert "it must end in .png or .svg" in err


def test_a_missing_matplotlib_is_named_before_any_work(
    tmp_path: Path, sptx_here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "pipeline.views.gene_plot"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = sptx_here("plot", tmp_path / "no table", "GENE", "--to", tmp_path / "gene.png", code=None)
    assert code == 2
    assert "install sptx[plots]" in err
