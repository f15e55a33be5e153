"""Pictures of genes: what is drawn lies where it should on both strands, heat maps hold the table's values, errors."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import genomes, tables
from material.genomes import Transcript
from material.tables import Part
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from pipeline.cli import main as cli
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage
from pipeline.tracks.reader import Tracks
from pipeline.views import gene_view
from pipeline.views.gene_plot import SHORT, Scale, draw_view
from pipeline.views.gene_view import gene_view as view_of
from pipeline.views.pictures import COLOURS
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

EXONS = [(1_001, 1_100), (1_401, 1_500), (3_001, 3_200)]
SKIPPED = [EXONS[0], EXONS[2]]
SPAN = range(1_001, 3_201)
ENDS, STARTS = (1_100, 1_500), (1_401, 3_001)  # the bases beside introns
DICE = np.random.default_rng(4)
USAGE = {pos: DICE.random(len(TISSUES)).round(3) for pos in (*ENDS, *STARTS, 2_000)}


def sites(strand: str) -> dict[str, dict[int, float]]:
    """Scores of the sites of EXONS but the last acceptor, and of a donor that is not annotated."""
    donors, acceptors = (ENDS, STARTS) if strand == "+" else (STARTS, ENDS)
    donor = {donors[0]: 0.9, donors[1]: 0.6, 2_000: 0.1, 2_500: 0.0999}
    return {"donor": donor, "acceptor": {acceptors[0]: 0.8, acceptors[1]: 0.05}}


def genes(strand: str) -> list[Transcript]:
    return [
        Transcript("T2", "chr1", strand, SKIPPED, gene="GENE"),
        Transcript("T1", "chr1", strand, EXONS, gene="GENE", tags=["basic", "MANE_Select"]),
    ]


def made(root: Path, strand: str = "+", pos: Any = SPAN) -> Tracks:
    parts = [Part("chr1", strand, pos, **sites(strand), usage=USAGE)]
    return tables.write(root, parts, genes(strand))


@pytest.fixture(params=["+", "-"])
def strand(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tracks(tmp_path: Path, strand: str) -> Tracks:
    return made(tmp_path / "table", strand)


@pytest.fixture
def measured(tmp_path: Path, strand: str) -> pl.DataFrame:
    kind = "donor" if strand == "+" else "acceptor"
    lines = ["contig\tposition\tstrand\tkind\tliver\tbrain", f"1\t1100\t{strand}\t{kind}\t0.25\t0.75"]
    (tmp_path / "usage.tsv").write_text("\n".join([*lines, f"1\t1500\t{strand}\t{kind}\t\t0.5"]) + "\n")
    return read_usage(str(tmp_path / "usage.tsv"))


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
    rows = [(0, EXONS), (1, SKIPPED)]
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
        exons = EXONS if line.get_ydata()[0] == 0 else SKIPPED
        assert not any(first - 0.5 <= x <= last + 0.5 for x in line.get_xdata() for first, last in exons)
    direction = "left to right" if strand == "+" else "right to left"
    assert direction in axes.get_xlabel()
    assert "chr1" in axes.get_xlabel()


def test_peaks_are_the_scores_of_the_table(tracks: Tracks, strand: str) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[1]
    peaks = {to_hex(lines.get_colors()[0]): lines for lines in axes.collections if isinstance(lines, LineCollection)}
    for kind, expected in sites(strand).items():
        segments = peaks[COLOURS[kind]].get_segments()
        assert {low[0]: high[1] for low, high in segments} == pytest.approx(expected, abs=1e-6)
        assert all(low[0] == high[0] and low[1] == 0 for low, high in segments)


def test_called_annotated_and_missed_sites_differ(tracks: Tracks, strand: str) -> None:
    axes = panels(draw_view(view_of(tracks, "GENE")))[1]
    donors, acceptors = (ENDS, STARTS) if strand == "+" else (STARTS, ENDS)
    blue, orange, hollow = COLOURS["acceptor"], COLOURS["donor"], "#ffffff"
    dots = {colour: {(x, fill) for x, _, fill in found} for colour, found in drawn_lines(axes, "o").items()}
    assert dots[orange] == {(donors[0], orange), (donors[1], orange), (2_000, hollow)}
    assert dots[blue] == {(acceptors[0], blue)}
    assert [point[:2] for found in drawn_lines(axes, "x").values() for point in found] == [(acceptors[1], 0)]


def test_on_the_minus_strand_a_donor_lies_at_the_larger_coordinate(tmp_path: Path) -> None:
    called = view_of(made(tmp_path / "table", "-"), "T1", threshold=0.04).called.filter("annotated")
    assert called.select("pos", "kind").rows() == [
        (1_100, "acceptor"),
        (1_401, "donor"),
        (1_500, "acceptor"),
        (3_001, "donor"),
    ]


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


def test_columns_are_joined_to_their_positions(tracks: Tracks) -> None:
    view = view_of(tracks, "GENE")
    figure = draw_view(view)
    joined = [patch for patch in figure.artists if isinstance(patch, ConnectionPatch)]
    assert [patch.xy1[0] for patch in joined] == view.called["pos"].to_list()
    assert [patch.xy2[0] for patch in joined] == [column + 0.5 for column in range(len(view.called))]
    assert [to_hex(patch.get_edgecolor()) for patch in joined] == [COLOURS[kind] for kind in view.called["kind"]]
    labels = panels(figure)[-1].get_xticklabels()
    assert [label.get_text() for label in labels] == [f"{pos:,}" for pos in view.called["pos"]]


def test_the_strongest_sites_are_kept_in_the_order_of_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gene_view, "MOST_SITES", 3)
    view = view_of(made(tmp_path / "table"), "GENE")
    assert view.called["pos"].to_list() == [1_100, 1_401, 1_500]  # 0.9, 0.8, 0.6; 0.1 at 2,000 is the fourth
    assert view.more_called == 1
    assert view.missed["pos"].to_list() == [3_001]
    assert "the strongest 3 of 4 sites" in draw_view(view).texts[0].get_text()


def test_short_introns_keep_exons_and_positions(tracks: Tracks, strand: str) -> None:
    view = view_of(tracks, "GENE")
    scale = Scale(view, short_introns=True)
    assert scale.shortened == [(1_130.5, 1_370.5), (1_530.5, 1_969.5), (2_030.5, 2_970.5)]
    assert np.diff(scale.place(scale.shortened)).ravel().tolist() == [SHORT] * 3
    for first, last in EXONS:
        assert scale.place(last + 0.5) - scale.place(first - 0.5) == last - first + 1
    every = np.arange(view.first, view.last + 1)
    np.testing.assert_allclose(scale.position(scale.place(every)), every)
    assert np.all(np.diff(scale.place(every)) > 0)
    long, short = (panels(draw_view(view, short_introns=flag))[0] for flag in (False, True))
    assert [box.get_x() for box in long.patches] == [box.get_x() for box in short.patches]
    assert "introns shortened" in short.get_xlabel()
    at = short.transData.transform([(1_100.5, 0), (1_400.5, 0), (1_500.5, 0)])[:, 0]
    assert (at[1] - at[0]) / (at[2] - at[1]) == pytest.approx((30 + SHORT + 30) / 100)


def test_stretches_without_rows_are_shown(tmp_path: Path) -> None:
    view = view_of(made(tmp_path / "table", pos=[*range(1_051, 1_600), *range(1_700, 3_201)]), "GENE")
    assert view.without_rows() == [(1_001, 1_050), (1_600, 1_699)]
    figure = draw_view(view)
    shaded = [(box.get_x(), box.get_width()) for box in panels(figure)[1].patches]
    assert shaded == [(1_000.5, 50), (1_599.5, 100)]
    assert "not in the table" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_called_leaves_transcripts_and_scores(tmp_path: Path) -> None:
    figure = draw_view(view_of(made(tmp_path / "table"), "GENE", threshold=0.95))
    assert len(panels(figure)) == 2
    assert "no sites at or above 0.95" in figure.texts[0].get_text()


def test_an_annotation_takes_the_place_of_the_tables_transcripts(tmp_path: Path, tracks: Tracks, strand: str) -> None:
    other = [Transcript("OTHER", "1", strand, [(1_001, 1_050), (1_990, 2_000), (3_101, 3_150)], gene="NEAR")]
    annotation = read_annotation(genomes.write_gtf(tmp_path / "other.gtf", other))
    view = view_of(tracks, "GENE", annotation=annotation)
    assert view.transcripts.rows() == [("OTHER", "G_NEAR", [1_001, 1_990, 3_101], [1_050, 2_000, 3_150])]
    assert view.called.filter("annotated")["pos"].to_list() == ([2_000] if strand == "+" else [])
    gone = read_annotation(genomes.write_gtf(tmp_path / "gone.gtf", [other[0]._replace(contig="chr7")]))
    with pytest.raises(InputError, match=r"gone.gtf has no contig of"):
        view_of(tracks, "GENE", annotation=gone)


def test_a_region_shows_genes_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Part("chr1", "+", SPAN, **sites("+")), Part("chr1", "-", range(1_001, 1_500))]
    named = [
        Transcript("B1", "chr1", "+", [(2_001, 2_100)], gene="B"),
        *genes("+"),
        Transcript("B2", "chr1", "+", [(2_001, 2_050), (2_081, 2_100)], gene="B"),
        Transcript("MINUS", "chr1", "-", [(1_001, 1_499)]),
    ]
    tracks = tables.write(tmp_path / "table", parts, named)
    view = view_of(tracks, "1:1,200-2,500", strand="+")
    assert (view.chrom, view.first, view.last, view.name) == ("chr1", 1_200, 2_500, "")
    assert view.transcripts["transcript_id"].to_list() == ["T1", "T2", "B2", "B1"]
    labels = [label.get_text() for label in panels(draw_view(view))[0].get_yticklabels()]
    assert labels == ["GENE T1", "GENE T2", "B B2", "B B1"]
    assert view_of(tracks, "chr1:1,600-2,500").strand == "+"  # the only one with rows there
    with pytest.raises(InputError, match=r"both strands: choose one with --strand"):
        view_of(tracks, "chr1:1,200-2,500")
    monkeypatch.setattr(gene_view, "MOST_TRANSCRIPTS", 2)
    view = view_of(tracks, "B")
    assert view.transcripts["transcript_id"].to_list() == ["B2", "B1"]
    assert view.more_transcripts == 2
    assert panels(draw_view(view))[0].get_yticklabels()[-1].get_text() == "and 2 more"


def test_rows_by_transcript_show_one_transcript(tmp_path: Path) -> None:
    usage = {1_100: [0.125] * len(TISSUES)}
    parts = [
        Part("chr1", "+", SPAN, **sites("+"), usage=USAGE, transcripts=["T1"] * len(SPAN)),
        Part("chr1", "+", SPAN, donor={1_100: 0.7}, usage=usage, transcripts=["T2"] * len(SPAN)),
    ]
    tracks = tables.write(tmp_path / "table", parts, genes("+"))
    said: list[str] = []
    view = view_of(tracks, "GENE", say=said.append)
    assert view.transcripts["transcript_id"].to_list() == ["T1"]
    assert said == ["rows of this table belong to transcripts: T1 is drawn; name another of 2 to see it"]
    view = view_of(tracks, "T2")
    assert view.transcripts["transcript_id"].to_list() == ["T2"]
    assert view.called.select("pos", "brain").rows() == [(1_100, 0.125)]
    assert view.missed.select("pos", "kind").rows() == [(3_001, "acceptor")]
    view = view_of(tracks, "chr1:1,050-1,450")
    assert (view.first, view.last) == (1_050, 1_450)


def test_labels_lie_inside_the_figure_and_apart(tmp_path: Path) -> None:
    positions = range(900_001, 940_001)
    donors = dict.fromkeys(positions[100::600], 0.9)
    parts = [Part("chr1", "-", positions, donor=donors)]
    exons = [(positions[at], positions[at] + 120) for at in range(0, 39_000, 3_000)]
    named = [Transcript(f"ENST0000038284{at}.7", "chr1", "-", exons, gene=f"HLA-DRB{at}") for at in range(9)]
    tracks = tables.write(tmp_path / "table", parts, named)
    view = view_of(tracks, "chr1:900,001-940,000")
    assert len(view.called) == gene_view.MOST_SITES
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


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("GENF", {}, "has no contig, gene or transcript GENF; the nearest is GENE"),
        ("GENE", {"strand": "-"}, r"GENE does not lie on strand -"),
        ("GENE", {"threshold": 0.0}, "--threshold 0: give a score above 0"),
        ("TWICE", {}, r"TWICE stands for G_TWICE, G_OTHER: give an id"),
        ("EMPTY", {}, r"holds no row of EMPTY on strand \+; see `sptx status`"),
        ("chr1:5,000-6,000", {}, "has no row in the table"),
        ("chr1", {"strand": "x"}, r"write \+ or -"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, what: str, options: dict[str, Any], message: str) -> None:
    parts = [Part("chr1", "+", SPAN, **sites("+"))]
    others = [Transcript(name, "chr1", "+", [(9_001, 9_100)]) for name in ("TWICE", "EMPTY")]
    tracks = tables.write(tmp_path / "table", parts, [*genes("+"), *others])
    twin = tracks.transcripts.filter(pl.col("gene_name") == "TWICE").with_columns(gene_id=pl.lit("G_OTHER"))
    twin.vstack(tracks.transcripts).sort("gene_id", descending=True).write_parquet(
        tmp_path / "table" / "transcripts.parquet"
    )
    with pytest.raises(InputError, match=message):
        view_of(type(tracks)(tracks.store), what, **options)


def test_a_view_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_view, "MOST_BASES", 2_000)
    with pytest.raises(InputError, match=r"GENE has 2,200 bases, a picture at most 2,000: name a part of it"):
        view_of(made(tmp_path / "table"), "GENE")


def test_usage_without_anything_in_common(tmp_path: Path) -> None:
    tracks = made(tmp_path / "table")
    for contig, tissue, lacking in (("chr1", "antenna", "tissue"), ("chr7", "brain", "contig")):
        (tmp_path / "u.tsv").write_text(f"contig\tposition\tstrand\tkind\t{tissue}\n{contig}\t1100\t+\tdonor\t0.5\n")
        with pytest.raises(InputError, match=f"the usage table has no {lacking} of"):
            view_of(tracks, "GENE", usage=read_usage(str(tmp_path / "u.tsv")))


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call `sptx plot` in this process: its exit code and what it says."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["sptx", "plot", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


def test_the_command_writes_png_and_the_same_svg_twice(tmp_path: Path, called: Any) -> None:
    made(tmp_path / "table", "-")
    code, said = called(tmp_path / "table", "GENE", "--to", tmp_path / "gene.png")
    assert code == 0
    assert "chr1:1,001-3,200 (-), 4 called sites: drawn in" in said
    assert (tmp_path / "gene.png").read_bytes().startswith(b"\x89PNG\r\n")
    contents = []
    for _ in range(2):
        assert called(tmp_path / "table", "GENE", "--to", tmp_path / "gene.svg", "--short-introns")[0] == 0
        contents.append((tmp_path / "gene.svg").read_bytes())
    assert contents[0] == contents[1]
    assert ElementTree.fromstring(contents[0]).tag.endswith("svg")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gene.pdf", "it must end in .png or .svg"),
        ("no/gene.png", "lies in a folder that does not exist"),
        ("folder.png", "is a folder"),
        ("/proc/gene.png", "cannot be written"),
    ],
)
def test_targets_that_cannot_be_written(tmp_path: Path, called: Any, target: str, message: str) -> None:
    made(tmp_path / "table")
    (tmp_path / "folder.png").mkdir()
    code, said = called(tmp_path / "table", "GENE", "--to", tmp_path / target)
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_a_missing_matplotlib_is_named_before_any_work(
    tmp_path: Path, called: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "pipeline.views.gene_plot"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, said = called(tmp_path / "no table", "GENE", "--to", tmp_path / "gene.png")
    assert code == 2
    assert "install sptx[plots]" in said
    assert "Traceback" not in said
