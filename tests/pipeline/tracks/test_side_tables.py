"""The small tables beside the parts, against the plan that they are made from."""

from __future__ import annotations

import io

import polars as pl
import pytest

from pipeline.tracks.plan import Plan, make_plan
from pipeline.tracks.settings import Flanks
from pipeline.tracks.side_tables import SIDE_TABLES, same_table, tables_of
from sptx_core.windows import WindowSpec

COLUMNS = {"gene_id": "G", "gene_name": "N", "gene_type": "t", "transcript_type": "t"}
ROWS = [  # transcript, contig, strand, start, end, exons
    ("A", "chr2", "+", 0, 40, [(0, 10), (20, 40)]),
    ("B", "chr2", "+", 30, 60, [(30, 60)]),
    ("C", "chr1", "-", 5, 25, [(5, 25)]),
    ("D", "chr2", "+", 80, 90, []),
]


def planned(flanks: Flanks) -> Plan:
    frame = pl.DataFrame(
        [
            {"transcript_id": name, **COLUMNS, "tags": ["basic"], "contig": contig, "strand": strand}
            | {"start": start, "end": end, "exon_starts": [a for a, _ in exons], "exon_ends": [b for _, b in exons]}
            for name, contig, strand, start, end, exons in ROWS
        ],
        schema_overrides={"exon_starts": pl.List(pl.Int64), "exon_ends": pl.List(pl.Int64)},
    )
    lengths = {"chr1": 100, "chr2": 200}
    return make_plan(frame, lengths, spec=WindowSpec(10, 5), flanks=flanks, windows_per_shard=3)


def tables(flanks: Flanks) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(io.BytesIO(content)) for name, content in tables_of(planned(flanks)).items()}


def test_positions_are_one_based_and_inclusive() -> None:
    found = tables(Flanks.GENOMIC)
    assert set(found) == {"contigs.parquet", "loci.parquet", "transcripts.parquet", "plan.parquet"} == set(SIDE_TABLES)
    assert found["contigs.parquet"].rows() == [("chr1", 100, "chr1"), ("chr2", 200, "chr2")]
    assert found["loci.parquet"].select("chrom", "strand", "start", "end", "transcripts").rows() == [
        ("chr1", "-", 6, 25, 1),
        ("chr2", "+", 1, 60, 2),
        ("chr2", "+", 81, 90, 1),
    ]
    first = found["transcripts.parquet"].row(0, named=True)
    assert (first["chrom"], first["start"], first["end"]) == ("chr2", 1, 40)
    assert (first["exon_starts"], first["exon_ends"]) == ([1, 21], [10, 40])


@pytest.mark.parametrize("flanks", Flanks)
def test_transcripts_name_the_loci_that_hold_them(flanks: Flanks) -> None:
    found = tables(flanks)
    loci = found["loci.parquet"]
    for row in found["transcripts.parquet"].iter_rows(named=True):
        holding = loci.filter(
            (pl.col("chrom") == row["chrom"])
            & (pl.col("strand") == row["strand"])
            & (pl.col("start") <= row["end"])
            & (pl.col("end") >= row["start"])
        )
        if flanks is Flanks.TRANSCRIPT:
            holding = holding.filter(pl.col("transcript_id") == row["transcript_id"])
        assert row["locus"] == holding["locus"].to_list()
        assert row["locus"]


@pytest.mark.parametrize("flanks", Flanks)
def test_the_plan_has_a_row_a_shard_with_its_pieces(flanks: Flanks) -> None:
    plan, table = planned(flanks), tables(flanks)["plan.parquet"]
    assert table["shard"].to_list() == list(range(len(table)))
    for shard, row in zip(plan.iter_shards(), table.iter_rows(named=True), strict=True):
        assert (row["first"], row["last"]) == (shard.key.first, shard.key.last)
        assert (row["rows"], row["windows"]) == (shard.rows, shard.windows)
        pieces = [(piece["locus"], piece["start"], piece["end"]) for piece in row["pieces"]]
        assert pieces == [(piece.locus, piece.start + 1, piece.end) for piece in shard.pieces]


EDITS = {  # name of the table, what is changed, whether the fingerprint covers it
    "order of the annotation": ("transcripts", lambda frame: frame.reverse(), True),
    "names of genes": ("transcripts", lambda frame: frame.with_columns(gene_name=pl.lit("X")), True),
    "spans": ("transcripts", lambda frame: frame.with_columns(pl.col("start") + 1), False),
    "a transcript less": ("transcripts", lambda frame: frame.head(3), False),
    "names in the annotation": ("contigs", lambda frame: frame.with_columns(annotation_name=pl.lit("1")), True),
    "lengths": ("contigs", lambda frame: frame.with_columns(pl.col("length") + 1), False),
    "order of loci": ("loci", lambda frame: frame.reverse(), False),
    "rows of a shard": ("plan", lambda frame: frame.with_columns(pl.col("rows") + 1), False),
    "a column less": ("plan", lambda frame: frame.drop("windows"), False),
    "a column of another type": ("plan", lambda frame: frame.with_columns(rows=pl.lit("many")), False),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EDITS)
def test_tables_are_the_same_where_the_fingerprint_is(kind: str) -> None:
    table, edit, same = EDITS[kind]
    name = f"{table}.parquet"
    sound, buffer = tables_of(planned(Flanks.GENOMIC))[name], io.BytesIO()
    edit(pl.read_parquet(io.BytesIO(sound))).write_parquet(buffer)
    assert same_table(name, sound, sound)
    assert same_table(name, buffer.getvalue(), sound) is same
    assert not same_table(name, sound[:-9], sound)
    assert not same_table(name, b"", sound)
