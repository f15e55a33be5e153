"""Tables of variants made from rows that a test gives, without plan or network, to test readers and pictures on.

`write(root, rows, sites)` makes a table of one shard a contig; columns that a row lacks are null. `scored(...)` and
`around(...)` make the row of a scored change and the rows of the bases about it, whose scores are 0 but where they are
given. Positions are 1-based.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from material.tables import EXECUTION

from pipeline.batch.layout import part_name
from pipeline.batch.record import Execution, RunRecord
from pipeline.batch.storage import Store
from pipeline.variants.layout import ShardKey
from pipeline.variants.reader import Variants, open_variants
from pipeline.variants.schema import FORMAT_VERSION, JOB, SITES, VARIANTS, VariantSchema, to_parquet, to_table
from sptx_core.channels import TISSUES

Row = dict[str, Any]
Scores = Mapping[tuple[str, int], float]
"""(kind, position) -> score."""


def scored(
    chrom: str, pos: int, ref: str, alt: str, *, strand: str = "+", gene: str | None = "GENE", **values: Any
) -> Row:
    """The row of a scored change in its normal form; deltas are 0 but where `values` say otherwise."""
    row: Row = {"chrom": chrom, "record": 0, "alt_index": 1, "pos": pos, "id": ".", "ref": ref, "alt": alt}
    row |= {"norm_pos": pos, "norm_ref": ref, "norm_alt": alt, "strand": strand, "status": "scored", "joint": False}
    row |= {"gene_id": gene and f"G_{gene}", "gene_name": gene, "d_splice": 0.0, "tie": False}
    row |= {f"ds_{event}": 0.0 for event in ("ag", "al", "dg", "dl")}
    return row | values


def around(row: Row, reference: Scores, alternative: Scores, distance: int = 100) -> list[Row]:
    """The bases about a change, left to right; the inserted or deleted ones stand behind the base that VCF puts before.

    An inserted base's score is named by its offset from 1, as a negative number.
    """
    pos, ref, alt = row["norm_pos"], row["norm_ref"], row["norm_alt"]
    pure = ref[0] == alt[0]
    deleted = range(pos + 1, pos + len(ref)) if pure else range(0)
    inserted = len(alt) - 1 if pure else 0
    names = ("record", "alt_index", "haplotype", "joint", "strand", "gene_id")
    shared = {name: row.get(name) for name in names} | {"chrom": row["chrom"]}
    rows: list[Row] = []

    def scores(side: str, given: Scores, at: int) -> Row:
        return {f"{side}_{kind}": given.get((kind, at), 0.0) for kind in ("acceptor", "donor")}

    for at in range(pos - distance, pos + len(ref) + distance):
        before = scores("ref", reference, at)
        rows.append(shared | {"pos": at} | before | ({} if at in deleted else scores("alt", alternative, at)))
        if at == pos:
            rows += [
                shared | {"pos": at, "ins_offset": offset} | scores("alt", alternative, -offset)
                for offset in range(1, inserted + 1)
            ]
    return rows


def write(
    root: Path | str, rows: Sequence[Row], sites: Sequence[Row] | None = None, tissues: Sequence[str] = TISSUES
) -> Variants:
    """Write the table and open it; with the table of sites, if there is one."""
    schema, store = VariantSchema(tuple(tissues)), Store(root)
    statuses = {status: sum(row["status"] == status for row in rows) for status in {row["status"] for row in rows}}
    fields = {"job": JOB, "sites": sites is not None, "rows": len(rows)}
    chroms = list(dict.fromkeys(row["chrom"] for row in rows))
    about = {"tissues": list(tissues), "statuses": statuses}
    record = RunRecord(FORMAT_VERSION, fields, Execution(**EXECUTION), about, len(chroms), len(rows))
    store.write_atomic("run.json", record.to_json())
    for index, chrom in enumerate(chroms):
        own = [row for row in rows if row["chrom"] == chrom]
        key = ShardKey(index, chrom, min(row["pos"] for row in own), max(row["pos"] for row in own))
        for table, held, columns in ((SITES, sites, schema.sites()), (VARIANTS, rows, schema.variants())):
            if held is not None:
                part = to_table([row for row in held if row["chrom"] == chrom], columns)
                name = part_name(table, key.place, index, key.label, record.fingerprint)
                store.write_atomic(name, to_parquet(part, {"sptx.fingerprint": record.fingerprint}))
    return open_variants(root)
