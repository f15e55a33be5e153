"""The plan: the order of entries, shards of bounded work and rows, and units that carry all that is needed."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from pipeline.variants.entries import ENTRY_COLUMNS
from pipeline.variants.genes import GENE_COLUMNS
from pipeline.variants.plan import MAX_ROWS, make_plan, shard_of
from sptx_core.errors import InputError

CONTIGS = ["chr2", "chr10", "chr1"]
GENES = pl.DataFrame(
    {
        "gene": [0, 1, 2],
        "gene_id": ["A", "B", "C"],
        "contig": "chr1",
        "strand": "+",
        "start": [0, 50, 90],
        "end": [60, 99, 150],
    }
).with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in GENE_COLUMNS.items() if name in ("gene_name",))
GENES = GENES.with_columns(
    pl.lit([], dtype=kind).alias(name)
    for name, kind in GENE_COLUMNS.items()
    if name in ("transcripts", "acceptors", "donors")
)
GENES = GENES.select(pl.col(name).cast(kind) for name, kind in GENE_COLUMNS.items())


def entries(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"alt_index": 1, "id": ".", "ref": "A", "alt": "C", "status": "scored", "genes": [], "joint": False}
    base |= {"both_strands": False, "norm_ref": "A", "norm_alt": "C", "shift": 0, "before": "", "after": ""}
    filled = [{"record": n, **base, **row} for n, row in enumerate(rows)]
    return pl.DataFrame(filled, schema=dict(ENTRY_COLUMNS))


def at(chrom: str, pos: int, contig: str | None = None, **others: Any) -> dict[str, Any]:
    return {"chrom": chrom, "pos": pos, "contig": contig or chrom, "start": pos - 1, **others}


def test_entries_stand_as_the_contigs_of_the_fasta_do_then_by_their_normal_form() -> None:
    some = entries(
        at("chr1", 5),
        at("chrUn", 1, status="unknown_contig") | {"contig": None, "start": None},
        at("10", 3, "chr10"),
        at("chr1", 9) | {"start": 1},  # written far to the right of where it is
        at("chr2", 7, status="malformed") | {"start": None, "pos": 0},
        at("chr2", 1),
        at("1", 2, "chr1"),
    )
    plan = make_plan(some, GENES, CONTIGS, 100)
    found = plan.entries.select("chrom", "pos", "shard").rows()
    assert found == [
        *[("chr2", 0, 0), ("chr2", 1, 0), ("10", 3, 1), ("1", 2, 2), ("chr1", 9, 3), ("chr1", 5, 3), ("chrUn", 1, 4)]
    ]
    assert plan.contigs == ["chr2", "chr10", "chr1"]
    assert (plan.units, dict(plan.statuses)) == (5, {"scored": 5, "unknown_contig": 1, "malformed": 1})


def test_a_shard_has_so_many_alleles_to_score_on_one_contig() -> None:
    rows = [at("chr1", pos, status="scored" if pos % 3 else "no_alt") for pos in range(1, 30)]
    rows += [at("chr2", pos) for pos in range(1, 8)]
    plan = make_plan(entries(*rows), GENES, CONTIGS, 4)
    shards = plan.entries.group_by("shard", maintain_order=True).agg(
        pl.col("chrom").n_unique().alias("contigs"), (pl.col("status") == "scored").sum().alias("scored")
    )
    assert shards["contigs"].to_list() == [1] * plan.units
    assert shards["scored"].to_list() == [4, 3, 4, 4, 4, 4, 4]
    sizes = [unit.size for unit in plan.iter_units(range(plan.units))]
    assert sum(sizes) == 36
    assert sizes[:2] == [4, 3]


@pytest.mark.slow
def test_a_shard_has_a_bounded_number_of_rows_without_work() -> None:
    one = entries(at("chr1", 1, status="outside_genes"))
    many = pl.concat([one] * (2 * MAX_ROWS + 1)).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("record"))
    plan = make_plan(many, GENES, CONTIGS, 1)
    assert [unit.size for unit in plan.iter_units(range(plan.units))] == [MAX_ROWS, MAX_ROWS, 1]
    assert plan.contigs == []


def test_a_unit_carries_its_entries_and_the_genes_that_they_touch() -> None:
    plan = make_plan(entries(at("1", 1, "chr1", genes=[0]), at("1", 60, "chr1", genes=[0, 2])), GENES, CONTIGS, 1)
    first, second = plan.iter_units([0, 1])
    assert (first.place, first.label, second.label) == ("chrom=1", "1-1", "60-60")
    contig, held, genes = shard_of(second)
    assert (contig, [one["pos"] for one in held], {n: gene["gene_id"] for n, gene in genes.items()}) == (
        *("chr1", [60]),
        {0: "A", 2: "C"},
    )
    (alone,) = plan.iter_units([0])
    assert alone == first


def test_entries_that_are_alike_but_for_their_phase_set_have_one_order() -> None:
    rows = [at("chr1", 1, record=0, joint=True, haplotype=1, phase_set=name) for name in "cab"]
    plans = [make_plan(entries(*some), GENES, CONTIGS, 9) for some in (rows, rows[::-1])]
    assert plans[0].digest == plans[1].digest
    assert plans[0].entries["phase_set"].to_list() == ["a", "b", "c"]


def test_the_digest_covers_entries_and_their_genes_alone() -> None:
    def digest(*, pos: int = 1, genes: pl.DataFrame = GENES, per_shard: int = 9) -> str:
        return make_plan(entries(at("chr1", pos, genes=[1])), genes, CONTIGS, per_shard).digest

    assert digest() == digest(per_shard=1)
    assert digest() == digest(genes=GENES.with_columns(pl.col("end") + (pl.col("gene") == 2)))
    assert digest() != digest(pos=2)
    assert digest() != digest(genes=GENES.with_columns(pl.col("end") + (pl.col("gene") == 1)))


def test_a_contig_that_cannot_be_a_folder_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        make_plan(entries(at("x" * 300, 1)), GENES, CONTIGS, 1)
