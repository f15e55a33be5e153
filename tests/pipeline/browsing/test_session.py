"""What the page asks, of one or two tables, against Polars on the raw rows; and which tables fit together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import browsed, tables, variant_tables
from material.genomes import Transcript, fasta, write_gtf

from pipeline.browsing import session as sessions
from pipeline.browsing.session import BadQuestionError, Session, UnknownPlaceError
from pipeline.coordinates import Interval
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

CHROM, LENGTH = browsed.CHROM, browsed.LENGTH


def test_config_tells_what_is_shown(session: Session, tracks: Tracks) -> None:
    config = session.config()
    assert config["contigs"] == [[CHROM, LENGTH]]
    assert config["aliases"] == {"1": CHROM}
    assert (config["variants"], config["fasta"], config["annotation"]) == (None, False, "the 5 transcripts of one")
    first, second = config["tables"]
    assert (first["name"], first["place"], second["name"]) == ("one", tracks.store.uri(), "two")
    assert first["fingerprint"] == tracks.fingerprint[:12]
    assert first["tissues"] == list(TISSUES)
    assert (first["sites_threshold"], first["exact"], first["flanks"]) == (0.01, False, "genomic")
    assert (first["unfinished"], first["checkpoint"]) == (None, "model.ckpt")


def test_it_begins_at_the_gene_of_the_strongest_site_of_the_first_part(session: Session) -> None:
    assert session.locus == Interval(CHROM, 1_100, 3_050)
    assert session.config()["locus"] == "chr1:1101-3050"


def test_a_damaged_first_part_does_not_keep_the_page_away(tmp_path: Path) -> None:
    tracks = browsed.write(tmp_path / "t")
    key = tracks.parts[0].key
    Path(tracks.store.path(key.part_name("sites", tracks.fingerprint))).write_bytes(b"PAR1 nothing")
    session = Session([tracks])
    assert session.locus == Interval(CHROM, 1_000, 3_000)
    with pytest.raises(InputError, match="cannot be read"):
        session.usage(0, CHROM, "+", 1_000, 3_000)


@pytest.mark.parametrize(
    ("locus", "start", "end"),
    [("DOCK8", 1_100, 3_050), ("1:5-10", 4, 10), ("chr1", 0, LENGTH), ("ENST03", 261_100, 700_200)],
)
def test_it_begins_where_it_is_told(tracks: Tracks, locus: str, start: int, end: int) -> None:
    assert Session([tracks], locus=locus).locus == Interval(CHROM, start, end)


def test_an_unknown_beginning_tells_what_is_near(tracks: Tracks) -> None:
    with pytest.raises(InputError, match=r"no contig, gene or transcript DOCK9; the nearest is DOCK8"):
        Session([tracks], locus="DOCK9")
    with pytest.raises(InputError, match="has no contig chr3"):
        Session([tracks], locus="chr3:1-10")
    with pytest.raises(InputError, match="there is no such place"):
        Session([tracks], locus="chr1:2,000,000-2,000,100")


def test_each_table_answers_for_itself(session: Session, tracks: Tracks, other: Tracks) -> None:
    for table, own in enumerate((tracks, other)):
        found = session.scores(table, CHROM, "+", 1_500, 1_600, 100)
        rows = own.region("chr1:1,501-1,600", strand="+").filter(pl.max_horizontal("acceptor", "donor") > 0)
        assert (found["start"], found["size"], found["source"]) == (1_500, 1, "tracks")
        assert [found["start"] + at + 1 for at in found["bin"]] == rows["pos"].to_list()
        assert found["acceptor"] == [round(score, 4) for score in rows["acceptor"].to_list()]
        assert found["loci"] == [[1_500, 1_600]]


def test_a_view_beyond_the_end_is_cut_there(session: Session) -> None:
    found = session.scores(0, CHROM, "-", 899_000, LENGTH + 500_000, 1_000)
    assert found["size"] == 128
    assert found["loci"] == [[899_000, 900_000]]


@pytest.mark.parametrize(("least", "most"), [(0.0, 10_000), (0.3, 10_000), (0.1, 7), (0.1, 0)])
def test_usage_is_that_of_the_strongest_sites(session: Session, tracks: Tracks, least: float, most: int) -> None:
    found = session.usage(0, CHROM, "+", 1_000, 3_000, least, most)
    sites = tracks.region("chr1:1,001-3,000", strand="+", sites=True)
    strength = pl.max_horizontal("acceptor", "donor")
    called = sites.filter(strength >= pl.lit(least, pl.Float32))
    kept = called.sort(strength, descending=True, maintain_order=True).head(most).sort("pos")
    assert found["more"] == called.height - kept.height
    assert found["pos"] == kept["pos"].to_list()
    assert found["donor"] == [round(score, 4) for score in kept["donor"].to_list()]
    assert len(found["usage"]) == len(TISSUES)
    for tissue, values in zip(TISSUES, found["usage"], strict=True):
        assert values == [round(value, 3) for value in kept[tissue].to_list()]


def test_a_table_without_usage_shows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHANNELS", ("no_splice", "acceptor", "donor"))
    monkeypatch.setattr(tables, "TISSUES", ())
    session = Session([tables.write(tmp_path / "t", [tables.Part(CHROM, "+", range(1, 50), {9: 0.8}, {20: 0.4})])])
    assert session.config()["tables"][0]["tissues"] == []
    found = session.usage(0, CHROM, "+", 0, 50)
    assert (found["pos"], found["donor"], found["usage"]) == ([9, 20], [0.0, 0.4], [])
    assert [row[1] for row in session.sites(0, CHROM, 0, 50)["rows"]] == [9, 20]
    assert session.scores(0, CHROM, "+", 0, 50, 50)["bin"] == [8, 19]


def test_introns_have_the_score_of_their_weaker_site(session: Session, tracks: Tracks) -> None:
    rows = {(row["strand"], row["pos"]): row for row in tracks.scan().collect().iter_rows(named=True)}
    for strand, start, end in (("+", 0, 400_000), ("-", 2_000, 3_000)):
        found = session.introns(0, CHROM, strand, start, end)
        assert (found["source"], found["more"]) == ("tracks", 0)
        assert found["introns"]
        for first, last, score, _ in found["introns"]:
            left, right = rows[strand, first], rows[strand, last + 1]
            donor, acceptor = (left, right) if strand == "+" else (right, left)
            assert score == round(min(donor["donor"], acceptor["acceptor"]), 4)
    wide = session.introns(0, CHROM, "-", 0, LENGTH)
    assert wide["source"] == "sites"
    assert wide["introns"][1] == [899_600, 950_000, None, 1]  # the table has no row at its other end
    assert session.introns(0, CHROM, "+", 0, 4_000, most=1)["more"] == 2


def test_the_sequence_is_bounded(session: Session) -> None:
    assert session.sequence(0, CHROM, 0, 20)["sequence"] == "-" * 20
    with pytest.raises(BadQuestionError, match="at most 20,000"):
        session.sequence(0, CHROM, 0, 20_001)


def test_a_genome_gives_the_sequence_everywhere(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "t")
    tracks = open_tracks(tmp_path / "t")
    bases = {"9": "ACGTN" * 400, "HLA-A*01:01": "A" * 100}
    (tmp_path / "g.fa").write_text(fasta(bases))
    session = Session([tracks], genome=Genome(str(tmp_path / "g.fa")))
    assert session.config()["fasta"] is True
    assert session.sequence(0, "chr9", 3, 12)["sequence"] == "TNACGTNAC"
    (tmp_path / "short.fa").write_text(fasta({"9": "ACGT"}))
    with pytest.raises(InputError, match="is of another genome: 9 has 4 bases there and 2,000 in the table"):
        Session([tracks], genome=Genome(str(tmp_path / "short.fa")))
    (tmp_path / "none.fa").write_text(fasta({"8": "ACGT"}))
    with pytest.raises(InputError, match="has no contig of the table"):
        Session([tracks], genome=Genome(str(tmp_path / "none.fa")))


def test_an_annotation_names_genes_and_sites(tracks: Tracks, tmp_path: Path) -> None:
    whole = write_gtf(
        tmp_path / "genes.gtf", [Transcript("T9", "1", "+", [(1_501, 1_600), (1_701, 1_800)], gene="NEW")]
    )
    session = Session([tracks], annotation=read_annotation(whole))
    assert session.config()["annotation"] == "1 transcript of genes.gtf"
    assert [one["id"] for one in session.transcripts(CHROM, 0, LENGTH)] == ["T9"]
    assert session.find("new")["loci"][0]["start"] == 1_500
    assert session.find("DOCK8") == {"loci": []}
    found = session.sites(0, CHROM, 1_599, 1_600, least=0)
    assert [row[found["columns"].index("gene_names")] for row in found["rows"]] == [["NEW"]]
    assert session.introns(0, CHROM, "+", 0, 5_000)["introns"][0][:2] == [1_600, 1_700]


def test_variants_are_shown_beside_a_table(tracks: Tracks, tmp_path: Path) -> None:
    row = variant_tables.scored("1", 1_500, "A", "C", gene="DOCK8", d_splice=0.5)
    variants = variant_tables.write(tmp_path / "v", [row], variant_tables.around(row, {("donor", 1_510): 0.9}, {}))
    session = Session([tracks], variants=variants, locus="1-1500-A-C")
    with pytest.raises(InputError, match=r"/v has no variant 1-1500-A-G$"):
        Session([tracks], variants=variants, locus="1-1500-A-G")
    assert session.locus == Interval(CHROM, 1_499, 1_500)
    assert session.config()["variants"] == {"name": "v", "place": variants.store.uri()}
    assert session.variants(CHROM, 0, LENGTH)["variants"][0]["key"] == "1-1500-A-C"
    assert session.variant("1-1500-A-C")["pos"] == [1_510]
    for key in ("1-1500-A-G", "DOCK8", ""):
        with pytest.raises(UnknownPlaceError):
            session.variant(key)


def test_without_variants_there_are_none(session: Session) -> None:
    assert session.variants(CHROM, 0, LENGTH) == {"more": 0, "variants": []}
    with pytest.raises(UnknownPlaceError, match="no variants are shown"):
        session.variant("1-1500-A-C")


def test_tables_of_two_genomes_are_refused(tracks: Tracks, tmp_path: Path) -> None:
    tables.write_example(tmp_path / "t")
    with pytest.raises(InputError, match="contig chr1 has none in the one and 1,000,000 bases in the other"):
        Session([tracks, open_tracks(tmp_path / "t")])
    with pytest.raises(InputError, match="one or two tables"):
        Session([])


@pytest.mark.slow
def test_an_unfinished_table_says_so_and_shows_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = browsed.write(tmp_path / "t")
    session = Session([browsed.open_done(whole, 2)])
    assert session.config()["tables"][0]["unfinished"] == "2 of 6 shards"
    view: dict[str, Any] = {"table": 0, "chrom": CHROM, "strand": "+", "start": 261_000, "end": 262_000, "bins": 10}
    assert session.scores(**view)["loci"] == []
    browsed.commit_rest(whole)
    assert session.scores(**view)["loci"] == []  # looked at a moment ago
    monkeypatch.setattr(sessions, "RENEWED_AFTER", 0.0)
    deadline = time.monotonic() + 10
    while not session.scores(**view)["loci"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert session.config()["tables"][0]["unfinished"] is None


@pytest.mark.slow
def test_a_reload_sees_new_parts_at_once(tmp_path: Path) -> None:
    whole = browsed.write(tmp_path / "t")
    session = Session([browsed.open_done(whole, 2)])
    browsed.commit_rest(whole)
    assert session.config()["tables"][0]["unfinished"] is None


def test_a_table_without_parts_begins_with_a_contig(tmp_path: Path) -> None:
    session = Session([browsed.open_done(browsed.write(tmp_path / "t"), 0)])
    assert session.locus == Interval(CHROM, 0, LENGTH)
    assert session.scores(0, CHROM, "+", 0, LENGTH, 100)["bin"] == []
    assert session.sites(0, CHROM, 0, 10_000)["rows"] == []
