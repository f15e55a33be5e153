"""Named sites against a base-by-base reading of a hand-made gene, their mirror image, and tables on a disk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import gene, tables
from material.genomes import Transcript, write_gtf
from material.named_table import CHROM, MemoryTable, Scene
from material.tables import Part

from pipeline.batch.storage import Store
from pipeline.coordinates import Interval
from pipeline.inputs.annotation import read_annotation
from pipeline.tracks import named_sites as module
from pipeline.tracks.header import Header
from pipeline.tracks.named_sites import Batch, called_from, frame_schema, named_sites, transcripts_of
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.settings import Flanks, TableSpec
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

# Exons 11-20, 31-40, 61-70: intron 1 is GT-AG, intron 2 GC-AG; what T2 skips the second exon over is GT-AG.
SEQUENCE = "C" * 20 + "GT" + "C" * 6 + "AG" + "C" * 10 + "GC" + "T" * 16 + "AG" + "C" * 40
TRANSCRIPTS = [("T1", "G1", [(10, 20), (30, 40), (60, 70)]), ("T2", "G1", [(10, 20), (60, 70)])]
SCORES = {
    20: {"donor": 0.9, "brain": 0.5, "liver": 0.5},
    31: {"acceptor": 0.8, "brain": 0.6},
    40: {"donor": 0.004},  # below the table of sites
    50: {"acceptor": 0.3, "donor": 0.2, "liver": 0.4, "brain": 0.1},  # novel, of both kinds
    61: {"acceptor": 0.05, "brain": 0.1, "liver": 0.2},  # in the table of sites, below the threshold
    90: {"donor": 0.1},  # of no gene
}
SCENE = Scene(SEQUENCE, "+", TRANSCRIPTS, SCORES)
EXPECTED = [  # pos, kind, bases, motif, score, called, annotated, within, nearest, its distance and score, top, tau
    (20, "donor", "GT", "GT-AG", 0.9, True, True, "exon 1;exon 1", 20, 0, 0.9, "brain", 0.0),
    (31, "acceptor", "AG", "GT-AG", 0.8, True, True, "exon 2", 31, 0, 0.8, "brain", 1.0),
    (40, "donor", "GC", "GC-AG", 0.004, False, True, "exon 2", 40, 0, 0.004, None, None),
    (50, "acceptor", "TT", "other", 0.3, True, False, "intron 2;intron 1", 61, -11, 0.05, "liver", 0.75),
    (50, "donor", "TT", "other", 0.2, True, False, "intron 2;intron 1", 40, 10, 0.004, "liver", 0.75),
    (61, "acceptor", "AG", "GT-AG", 0.05, False, True, "exon 3;exon 2", 61, 0, 0.05, "liver", 0.5),
    (90, "donor", "CC", "other", 0.1, True, False, "", 40, 50, 0.004, None, None),
]


def named(scene: Scene, **options: Any) -> pl.DataFrame:
    """All named sites of a scene."""
    table = MemoryTable(scene)
    return together(named_sites(table, table.keys, scene.frame(), **options))


def together(batches: Any) -> pl.DataFrame:
    return pl.concat([batch.sites for batch in batches])


def shown(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    """What `EXPECTED` lists."""
    names = ["pos", "kind", "bases", "motif", "score", "called", "annotated", "within"]
    names += ["nearest_pos", "nearest_distance", "nearest_score", "top_tissue", "tau"]
    return [
        tuple(pytest.approx(value, abs=1e-6) if isinstance(value, float) else value for value in row)
        for row in found.select(names).with_columns(pl.col("within").list.join(";")).rows()
    ]


def test_each_site_of_a_gene_one_base_at_a_time() -> None:
    found = named(SCENE)
    assert shown(found) == EXPECTED
    assert found["transcripts"].to_list() == [["T1", "T2"], ["T1"], ["T1"], *[["T1", "T2"]] * 3, []]
    assert found["gene_ids"].to_list() == [*[["G1"]] * 6, []]
    assert found["gene_names"].to_list() == [*[["name of G1"]] * 6, []]
    assert found.columns == list(frame_schema(MemoryTable(SCENE).header.schema))
    for row in found.rows(named=True):
        assert row["bases"] == SCENE.after(row["pos"], row["kind"])
        scores = SCORES[row["pos"]]
        for name in ("acceptor", "donor", "brain", "liver"):
            assert row[name] == pytest.approx(scores.get(name, 0))


def mirrored(found: pl.DataFrame, length: int) -> pl.DataFrame:
    """The sites as they stand on the mirrored contig."""
    turn = [(length + 1 - pl.col(name)).cast(pl.Int32).alias(name) for name in ("pos", "nearest_pos")]
    swap = pl.when(pl.col("strand") == "+").then(pl.lit("-")).otherwise(pl.lit("+")).alias("strand")
    return found.with_columns(*turn, swap).sort("pos", "kind")


spans = st.lists(st.integers(2, 94), min_size=4, max_size=10, unique=True).map(sorted)
exons = spans.map(lambda cuts: [*zip(cuts[::2], cuts[1::2], strict=False)])
scored = st.fixed_dictionaries(
    {name: st.sampled_from([0.0, 0.05, 0.1, 0.9]) for name in ("acceptor", "donor", "brain")}
)
scenes = st.builds(
    Scene,
    st.text("ACGTN", min_size=100, max_size=100),
    st.sampled_from("+-"),
    st.lists(exons, min_size=0, max_size=3).map(
        lambda many: [(f"T{at}", f"G{at % 2}", each) for at, each in enumerate(many)]
    ),
    st.dictionaries(st.integers(10, 90), scored, max_size=6),
    first=st.integers(1, 8),
    last=st.integers(92, 100),
    shard=st.sampled_from([40, 100]),
)


@pytest.mark.slow
@given(scenes)
@settings(max_examples=15)
def test_a_mirrored_genome_has_mirrored_sites(scene: Scene) -> None:
    here, there = named(scene), named(scene.mirrored())
    # Which of two nearest and the order of lists do not depend on the side from which positions count.
    assert mirrored(here, len(scene.sequence)).equals(there)
    for row in here.rows(named=True):
        bases = scene.after(row["pos"], row["kind"])
        assert row["bases"] == (bases if len(bases) == 2 else None)
        assert row["called"] or row["annotated"]
        assert row["called"] == (row["score"] > 0.09)
        assert len(row["within"]) == len(row["transcripts"])
        for name, within in zip(row["transcripts"], row["within"], strict=True):
            assert within in places_of(scene, name, row["pos"])


def places_of(scene: Scene, name: str, pos: int) -> set[str]:
    """Exons and introns of a transcript that hold a position; exons that touch have no intron between them."""
    (own,) = (exons for one, _, exons in scene.transcripts if one == name)
    ordered = own if scene.strand == "+" else own[::-1]
    found = {f"exon {at}" for at, (start, end) in enumerate(ordered, 1) if start < pos <= end}
    for at, (one, other) in enumerate(pairwise(ordered), 1):
        first, last = min(one[1], other[1]), max(one[0], other[0])
        found |= {f"intron {at}"} if first < pos <= last else set()
    return found


@pytest.mark.parametrize("bases", [1, 60, 10_000])
def test_stretches_do_not_show(bases: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BASES", bases)
    scene = Scene(SEQUENCE, "+", TRANSCRIPTS, SCORES, shard=20)
    assert shown(named(scene)) == EXPECTED


def test_regions_choose_sites_and_shards() -> None:
    table = MemoryTable(Scene(SEQUENCE, "+", TRANSCRIPTS, SCORES, shard=10))
    places = {(CHROM, "+"): [Interval(CHROM, 30, 40), Interval(CHROM, 61, None)]}
    found = together(named_sites(table, table.keys, table.transcripts, places=places))
    assert shown(found) == [row for row in EXPECTED if row[0] in (31, 40, 90)]
    assert table.asked[0] == (3, *range(6, 10))
    for pos in SCORES:  # of which some are the first of their shard and others the last
        base = {(CHROM, "+"): [Interval(CHROM, pos - 1, pos)]}
        found = together(named_sites(table, table.keys, table.transcripts, places=base))
        assert shown(found) == [row for row in EXPECTED if row[0] == pos]
    asked = len(table.asked)
    elsewhere = {(CHROM, "-"): [Interval(CHROM, 0, 99)]}
    assert not list(named_sites(table, table.keys, table.transcripts, places=elsewhere))
    assert len(table.asked) == asked


def test_annotated_sites_without_a_row_are_counted() -> None:
    clipped = Scene(SEQUENCE, "+", TRANSCRIPTS, SCORES, first=1, last=45)
    table = MemoryTable(clipped)
    batches = list(named_sites(table, table.keys, table.transcripts))
    assert sum(batch.without_row for batch in batches) == 1
    found = together(batches)
    assert found["pos"].to_list() == [20, 31, 40]
    assert found["motif"].to_list() == ["GT-AG", "GT-AG", "GC-AG"]  # the partner of 40 is unknown, its own bases tell
    beside = MemoryTable(Scene(SEQUENCE, "+", TRANSCRIPTS, SCORES, first=1, last=41))
    assert together(named_sites(beside, beside.keys, beside.transcripts))["bases"].to_list() == ["GT", "AG", None]
    nothing: list[Batch] = list(named_sites(table, [], table.transcripts))
    assert not nothing


@pytest.mark.parametrize("tissues", [(), ("testis",), ("a", "b", "c", "d")])
def test_networks_with_other_tissues(tissues: tuple[str, ...]) -> None:
    scores = {20: {"donor": 0.9} | dict.fromkeys(tissues[:1], 0.5)}
    (row,) = named(Scene(SEQUENCE, "+", TRANSCRIPTS, scores, tissues)).filter("called").rows(named=True)
    assert [name for name in row if name in tissues] == [*tissues]
    assert row["top_tissue"] == (tissues[0] if tissues else None)
    assert row["tau"] == (1.0 if len(tissues) > 1 else None)


@pytest.mark.parametrize("threshold", [0.009, 1.1, float("nan")])
def test_a_threshold_that_the_table_of_sites_cannot_answer_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match=r"give a score from 0\.01 to 1; the table of sites holds none below 0\.01"):
        named(SCENE, threshold=threshold)


def test_without_a_threshold_sites_are_called_from_a_tenth_or_from_where_the_tables_hold_them() -> None:
    def header(held: float) -> Header:
        spec = TableSpec(("no_splice", "acceptor", "donor"), Flanks.GENOMIC, False, held, WindowSpec())
        return Header("", TrackSchema(spec), 1, 1)

    assert called_from(None, header(0.01)) == 0.1
    assert called_from(None, header(0.01), header(0.3)) == 0.3
    assert called_from(0.3, header(0.3)) == 0.3


def test_a_channel_with_the_name_of_a_column_is_refused() -> None:
    spec = TableSpec(("no_splice", "acceptor", "donor", "tau"), Flanks.GENOMIC, False, 0.01, WindowSpec())
    with pytest.raises(InputError, match="the channel tau has the name of a column of named sites"):
        frame_schema(TrackSchema(spec))


# Tables on a disk


@pytest.fixture(scope="module", params=["+", "-"])
def strand(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory, strand: str) -> Tracks:
    return gene.write(tmp_path_factory.mktemp("named") / "table", strand)


def test_a_table_names_its_sites_by_its_own_transcripts(tracks: Tracks, strand: str) -> None:
    found = tracks.sites(named=True).collect()
    acceptors, donors = (gene.sites(strand)[kind] for kind in ("acceptor", "donor"))
    called = [(pos, "donor") for pos, score in donors.items() if score >= 0.1]
    called += [(pos, "acceptor") for pos, score in acceptors.items() if score >= 0.1]
    assert sorted(found.filter("called").select("pos", "kind").rows()) == sorted(called)
    below = found.filter(~pl.col("called"))
    assert below.select("pos", "kind").rows() == [(min(acceptors, key=acceptors.__getitem__), "acceptor")]
    assert found.filter(~pl.col("annotated"))["pos"].to_list() == [2_000]
    assert found["gene_names"].to_list() == [["GENE"]] * 5
    assert found.filter(pos=2_000)["nearest_distance"].item() == (500 if strand == "+" else -599)  # 5' to 3'
    usage = found.select(TISSUES).to_numpy()
    assert usage.tolist() == [pytest.approx(list(gene.USAGE[pos])) for pos in found["pos"]]
    assert found.schema == pl.Schema(frame_schema(tracks.header.schema))
    assert found["pos"].is_sorted()


@pytest.mark.slow
def test_the_frame_is_lazy_and_keeps_what_is_asked_for(tracks: Tracks) -> None:
    whole = tracks.sites(named=True).collect()
    few = tracks.sites(["brain"], named=True, threshold=0.5)
    assert [name for name in few.collect_schema() if name in tracks.channels] == ["brain"]
    strong = whole.filter((pl.col("score") >= 0.5) | pl.col("annotated"))
    assert few.select("pos", "brain").collect().equals(strong.select("pos", "brain"))
    assert (
        tracks.sites(named=True)
        .filter(pl.col("kind") == "donor")
        .head(2)
        .collect()
        .equals(whole.filter(pl.col("kind") == "donor").head(2))
    )
    assert tracks.sites(named=True).head(2).collect().equals(whole.head(2))
    assert tracks.sites(named=True, chrom="1", strand=whole["strand"][0]).collect().equals(whole)
    with pytest.raises(InputError, match="no column brian; the nearest is brain"):
        tracks.sites(["brian"], named=True)
    with pytest.raises(InputError, match="annotation and threshold are for named=True"):
        tracks.sites(threshold=0.5)


def test_an_annotation_by_another_name_of_the_contig(tracks: Tracks, strand: str, tmp_path: Path) -> None:
    other = Transcript("NEW.1", "1", strand, [(1_950, 2_000), (2_400, 2_500)], gene="OTHER")
    write_gtf(tmp_path / "genes.gtf.gz", [other, Transcript("FAR.1", "7", strand, [(1, 9), (20, 30)])])
    annotation = read_annotation(str(tmp_path / "genes.gtf.gz"))
    found = tracks.sites(named=True, annotation=annotation).collect()
    kind = "donor" if strand == "+" else "acceptor"
    (known,) = found.filter(pl.col("annotated") & (pl.col("pos") == 2_000)).rows(named=True)
    assert (known["kind"], known["called"], known["gene_names"]) == (kind, kind == "donor", ["OTHER"])
    assert found.filter("annotated").height == 2
    assert set(found.filter(pl.col("pos").is_in([1_100, 1_500]))["gene_names"].list.len()) == {0}
    write_gtf(tmp_path / "far.gtf.gz", [Transcript("FAR.1", "7", strand, [(1, 9), (20, 30)])])
    with pytest.raises(InputError, match=r"far\.gtf\.gz has no contig of"):
        tracks.sites(named=True, annotation=read_annotation(str(tmp_path / "far.gtf.gz")))


def test_rows_that_belong_to_transcripts(tmp_path: Path) -> None:
    exons: Sequence[tuple[int, int]] = [(11, 20), (31, 40), (61, 70)]
    both = [Transcript("T1", CHROM, "+", exons), Transcript("T2", CHROM, "+", [exons[0], exons[2]])]
    pos = [*range(11, 71)] * 2
    names = ["T1"] * 60 + ["T2"] * 60
    bases = SEQUENCE[10:70] * 2
    part = Part(CHROM, "+", pos, {31: 0.8}, {20: 0.9, 40: 0.05003}, transcripts=names, bases=bases)
    tracks = tables.write(tmp_path / "table", [part], both)
    found = tracks.sites(named=True).collect()
    rows = found.select("transcript_id", "pos", "kind", "called", "annotated", "motif").rows()
    assert rows == [
        ("T1", 20, "donor", True, True, "GT-AG"),
        ("T1", 31, "acceptor", True, True, "GT-AG"),
        ("T1", 40, "donor", False, True, "GC-AG"),
        ("T1", 61, "acceptor", False, True, "GT-AG"),
        ("T2", 20, "donor", True, True, "GT-AG"),
        ("T2", 31, "acceptor", True, True, "GT-AG"),  # called in T2's rows too; T1 has it
        ("T2", 61, "acceptor", False, True, "GT-AG"),
    ]
    assert found.filter(pos=40)["score"].item() == pytest.approx(0.05003)  # unrounded, as in the table of sites
    assert found.filter(pos=61)["transcripts"].to_list() == [["T1", "T2"]] * 2


@pytest.mark.slow
def test_parts_elsewhere_and_parts_that_are_checked(tracks: Tracks) -> None:
    whole = tracks.sites(named=True).collect()
    there = Store(f"memory://named{whole['strand'][0]}")
    for name in tracks.store.list():
        there.write_atomic(name, tracks.store.read_bytes(name))
    for other in (Tracks(there), Tracks(tracks.store, verify=True)):
        assert other.sites(named=True).collect().equals(whole)


def test_transcripts_have_the_contigs_of_the_table(tracks: Tracks) -> None:
    own = transcripts_of(tracks, None)
    assert own["exon_starts"].to_list()[1] == [first - 1 for first, _ in gene.EXONS]
    assert {"biotype", "chrom"} <= set(own.columns)
    assert own["start"].to_list() == own["exon_starts"].list.min().to_list()
    assert own["end"].to_list() == own["exon_ends"].list.max().to_list()


def test_a_damaged_part_is_named_as_by_every_reader(tmp_path: Path) -> None:
    tracks = gene.write(tmp_path / "table")
    part = next((tmp_path / "table" / "sites").rglob("*.parquet"))
    part.write_bytes(b"no Parquet")
    with pytest.raises(InputError, match=r"cannot be read .*`sptx verify"):
        tracks.sites(named=True).collect()
