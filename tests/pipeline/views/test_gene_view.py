"""What a plot of a gene shows: transcripts in order, called and missed sites, measured usage; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import gene, tables
from material.genomes import Transcript, gtf_line, write_gtf
from material.tables import Part

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage
from pipeline.tracks.reader import Tracks
from pipeline.views import gene_view
from pipeline.views.gene_view import gene_view as view_of
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError


def test_the_gene_as_the_table_has_it(tracks: Tracks, strand: str) -> None:
    view = view_of(tracks, "GENE")
    assert (view.name, view.chrom, view.strand, view.first, view.last) == ("GENE", "chr1", strand, 1_001, 3_200)
    assert view.tissues == TISSUES
    exons = [[first for first, _ in gene.EXONS], [last for _, last in gene.EXONS]]
    skipped = [[first for first, _ in gene.SKIPPED], [last for _, last in gene.SKIPPED]]
    assert view.transcripts.rows() == [("T1", "GENE", *exons), ("T2", "GENE", *skipped)]
    rows = tracks.region("chr1", columns=["acceptor", "donor"])
    assert view.scores.equals(rows.select("pos", "acceptor", "donor"))


def test_called_sites_are_those_at_or_above_the_threshold_on_both_strands(tracks: Tracks, strand: str) -> None:
    view = view_of(tracks, "GENE")
    donors, acceptors = (gene.ENDS, gene.STARTS) if strand == "+" else (gene.STARTS, gene.ENDS)
    expected = [(donors[0], "donor", 0.9, True), (donors[1], "donor", 0.6, True), (2_000, "donor", 0.1, False)]
    expected.append((acceptors[0], "acceptor", 0.8, True))
    found = view.called.select("pos", "kind", "score", "annotated").rows()
    assert found == [(pos, kind, pytest.approx(score), known) for pos, kind, score, known in sorted(expected)]
    usage = [gene.USAGE[pos] for pos in view.called["pos"]]
    np.testing.assert_allclose(view.called.select(TISSUES).to_numpy(), np.array(usage), atol=1e-6)
    assert view.missed.rows() == [(acceptors[1], "acceptor")]


def test_measured_usage_of_the_called_sites(tracks: Tracks, measured: pl.DataFrame, strand: str) -> None:
    view = view_of(tracks, "GENE", usage=measured)
    assert view.measured is not None
    assert view.measured.select("pos", "kind").equals(view.called.select("pos", "kind"))
    known = view.measured.select("pos", "brain", "liver").fill_nan(None).drop_nulls("brain").rows()
    assert known == ([(1_100, 0.75, 0.25), (1_500, 0.5, None)] if strand == "+" else [(1_100, 0.75, 0.25)])
    assert view.measured["heart"].is_nan().all()


def test_the_strongest_sites_are_kept_in_the_order_of_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gene_view, "MAX_SITES", 3)
    view = view_of(gene.write(tmp_path / "table"), "GENE")
    assert view.called["pos"].to_list() == [1_100, 1_401, 1_500]  # 0.9, 0.8, 0.6; 0.1 at 2,000 is the fourth
    assert view.more_called == 1
    assert view.missed["pos"].to_list() == [3_001]


def test_stretches_without_rows(tmp_path: Path) -> None:
    pos = [*range(1_051, 1_600), *range(1_700, 3_201)]
    assert view_of(gene.write(tmp_path / "table", pos=pos), "GENE").without_rows() == [(1_001, 1_050), (1_600, 1_699)]


def test_a_region_shows_the_genes_of_one_strand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Part("chr1", "+", gene.SPAN, **gene.sites("+")), Part("chr1", "-", range(1_001, 1_500))]
    named = [
        Transcript("B1", "chr1", "+", [(2_001, 2_100)], gene="B"),
        *gene.transcripts("+"),
        Transcript("B2", "chr1", "+", [(2_001, 2_050), (2_081, 2_100)], gene="B"),
        Transcript("MINUS", "chr1", "-", [(1_001, 1_499)]),
    ]
    tracks = tables.write(tmp_path / "table", parts, named)
    view = view_of(tracks, "1:1,200-2,500", strand="+")
    assert (view.chrom, view.first, view.last, view.name) == ("chr1", 1_200, 2_500, "")
    assert view.transcripts["transcript_id"].to_list() == ["T1", "T2", "B2", "B1"]
    assert view_of(tracks, "chr1:1,600-2,500").strand == "+"  # the only one with rows there
    with pytest.raises(InputError, match=r"both strands: choose one with --strand"):
        view_of(tracks, "chr1:1,200-2,500")
    monkeypatch.setattr(gene_view, "MAX_TRANSCRIPTS", 2)
    view = view_of(tracks, "B")
    assert view.transcripts["transcript_id"].to_list() == ["B2", "B1"]
    assert view.more_transcripts == 2


def test_on_the_minus_strand_a_donor_lies_at_the_larger_coordinate(tmp_path: Path) -> None:
    called = view_of(gene.write(tmp_path / "table", "-"), "T1", threshold=0.04).called.filter("annotated")
    assert called.select("pos", "kind").rows() == [
        (1_100, "acceptor"),
        (1_401, "donor"),
        (1_500, "acceptor"),
        (3_001, "donor"),
    ]


@pytest.mark.slow
def test_an_annotation_takes_the_place_of_the_tables_transcripts(tmp_path: Path, tracks: Tracks, strand: str) -> None:
    other = [Transcript("OTHER", "1", strand, [(1_001, 1_050), (1_990, 2_000), (3_101, 3_150)], gene="NEAR")]
    annotation = read_annotation(write_gtf(tmp_path / "other.gtf", other))
    view = view_of(tracks, "GENE", annotation=annotation)
    assert view.transcripts.rows() == [("OTHER", "NEAR", [1_001, 1_990, 3_101], [1_050, 2_000, 3_150])]
    assert view.called.filter("annotated")["pos"].to_list() == ([2_000] if strand == "+" else [])
    with open(annotation.uri, "a") as file:
        file.write(gtf_line("1", "transcript", 1, 9, ".", gene_id="G", transcript_id="ODD") + "\n")
    said: list[str] = []
    view_of(tracks, "GENE", annotation=read_annotation(annotation.uri), say=said.append)
    assert said[0] == f"left out of {annotation.uri}: 1 transcript without a strand (ODD)"
    gone = read_annotation(write_gtf(tmp_path / "gone.gtf", [other[0]._replace(contig="chr7")]))
    with pytest.raises(InputError, match=r"gone.gtf has no contig of"):
        view_of(tracks, "GENE", annotation=gone)


def test_rows_by_transcript_show_one_transcript(tmp_path: Path) -> None:
    usage = {1_100: [0.125] * len(TISSUES)}
    parts = [
        Part("chr1", "+", gene.SPAN, **gene.sites("+"), usage=gene.USAGE, transcripts=["T1"] * len(gene.SPAN)),
        Part("chr1", "+", gene.SPAN, donor={1_100: 0.7}, usage=usage, transcripts=["T2"] * len(gene.SPAN)),
    ]
    tracks = tables.write(tmp_path / "table", parts, gene.transcripts("+"))
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


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("GENF", {}, "has no contig, gene or transcript GENF; the nearest is GENE"),
        ("GENE", {"strand": "-"}, r"GENE does not lie on strand -"),
        ("GENE", {"threshold": 0.0}, "--threshold 0: give a score above 0"),
        ("TWICE", {}, "TWICE stands for ID8, ID9: give an id"),
        ("EMPTY", {}, r"holds no row of EMPTY on strand \+; see `sptx status`"),
        ("chr1:5,000-6,000", {}, "has no row in the table"),
        ("chr1", {"strand": "x"}, r"write \+ or -"),
    ],
)
def test_what_cannot_be_drawn(tmp_path: Path, what: str, options: dict[str, Any], message: str) -> None:
    others = [Transcript(f"T{at}", "chr1", "+", [(9_001, 9_100)], gene="TWICE", own_gene_id=f"ID{at}") for at in (8, 9)]
    others.append(Transcript("EMPTY", "chr1", "+", [(9_001, 9_100)]))
    parts = [Part("chr1", "+", gene.SPAN, **gene.sites("+"))]
    tracks = tables.write(tmp_path / "table", parts, [*gene.transcripts("+"), *others])
    with pytest.raises(InputError, match=message):
        view_of(tracks, what, **options)


def test_a_view_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_view, "MAX_BASES", 2_000)
    with pytest.raises(InputError, match=r"GENE has 2,200 bases, a plot at most 2,000: name a part of it"):
        view_of(gene.write(tmp_path / "table"), "GENE")


def test_usage_without_anything_in_common(tmp_path: Path) -> None:
    tracks = gene.write(tmp_path / "table")
    for contig, tissue, lacking in (("chr1", "antenna", "tissue"), ("chr7", "brain", "contig")):
        (tmp_path / "u.tsv").write_text(f"contig\tposition\tstrand\tkind\t{tissue}\n{contig}\t1100\t+\tdonor\t0.5\n")
        with pytest.raises(InputError, match=f"the usage table has no {lacking} of"):
            view_of(tracks, "GENE", usage=read_usage(str(tmp_path / "u.tsv")))
