"""A table of variants as the page sees it: those in view, and the scores about one of them.

Contigs go by the names that the tables of tracks have. Positions are 1-based, as in the table; `start` and `end` are
0-based and half-open. What the scores of a variant are read of is there only if it was scored with `--sites`.

Errors: `InputError` where a part cannot be read, or there is no such variant.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.browsing.cache import ByteCache
from pipeline.coordinates import Interval, reconcile_contigs
from pipeline.inputs.splice_sites import KINDS
from pipeline.variants.reader import Variants
from pipeline.variants.schema import SITES
from sptx_core.errors import InputError

LEAST = 0.001
"""Bases are sent that have a score of this in the reference or the alternative."""
DIGITS, USAGE_DIGITS = 4, 3


class _Contig(NamedTuple):
    """Scored alleles of a contig by position: the rows, POS and d_splice of each."""

    rows: pl.DataFrame
    pos: npt.NDArray[np.int64]
    d_splice: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return int(self.rows.estimated_size()) + self.pos.nbytes + self.d_splice.nbytes


class VariantView:
    """See the module.

    Parameters
    ----------
    table : Variants
        The table.
    contigs : iterable of str
        Names of the contigs of the page.
    cache : ByteCache
        Keeps what is read.
    """

    def __init__(self, table: Variants, contigs: list[str], cache: ByteCache) -> None:
        self.table, self._cache = table, cache
        self._own: dict[str, list[str]] = defaultdict(list)
        for name in table.contigs:
            held = reconcile_contigs([name], contigs).mapping.get(name)
            if held is not None:
                self._own[held].append(name)

    def within(self, chrom: str, start: int, end: int, most: int) -> dict[str, Any]:
        """Variants in view, in order of position; of more than `most` those with the greatest d_splice."""
        held = self._cache.get((self.table.store.root, chrom), lambda: self._read(chrom))
        some = np.arange(*np.searchsorted(held.pos, [start + 1, end + 1]))
        more = max(len(some) - most, 0)
        if more:
            some = np.sort(some[np.argsort(-np.nan_to_num(held.d_splice[some]), kind="stable")[:most]])
        rows = held.rows[some]
        return {"more": more, "variants": [self._shown(row) for row in rows.iter_rows(named=True)]}

    def scores(self, key: str) -> dict[str, Any]:
        """Scores about a variant, in the gene in which it changes most; without any if they were not stored."""
        told = self.table.variant(key).sort("d_splice", descending=True, nulls_last=True)
        strand = told["strand"][0]
        empty: dict[str, list[float]] = {kind: [] for kind in KINDS}
        if SITES not in self.table.header.tables:
            return {"pos": [], "ins_offset": [], "strand": strand, "ref": empty, "alt": empty, "tissues": {}}
        about = self.table.variant(key, sites=True).filter(~pl.col("joint").fill_null(value=False))
        own = about.filter(pl.col("gene_id").eq_missing(pl.lit(told["gene_id"][0])))
        rows = own.filter(pl.max_horizontal(f"{side}_{kind}" for side in ("ref", "alt") for kind in KINDS) >= LEAST)

        def values(column: str, digits: int) -> list[float | None]:
            return rows[column].cast(pl.Float64).round(digits).to_list()

        def sides(names: tuple[str, ...], digits: int) -> dict[str, dict[str, list[float | None]]]:
            return {side: {name: values(f"{side}_{name}", digits) for name in names} for side in ("ref", "alt")}

        usage = {
            tissue: {side: values(f"{side}_{tissue}", USAGE_DIGITS) for side in ("ref", "alt")}
            for tissue in self.table.tissues
        }
        places = {"pos": rows["pos"].to_list(), "ins_offset": rows["ins_offset"].to_list()}
        return {**places, "strand": strand, **sides(KINDS, DIGITS), "tissues": usage}

    def place(self, key: str) -> tuple[str, int, int] | None:
        """Contig, start and end of a variant, None if the text is none; `InputError` if there is none such."""
        if not self.table.names_variant(key):
            return None
        row = self.table.variant(key).row(0, named=True)
        chrom = next((held for held, names in self._own.items() if row["chrom"] in names), None)
        return None if chrom is None else (chrom, row["pos"] - 1, row["pos"] - 1 + len(row["ref"]))

    def is_one(self, key: str) -> bool:
        """Whether the table has a variant of this name."""
        try:
            return self.place(key) is not None
        except InputError:
            return False

    def _read(self, chrom: str) -> _Contig:
        wanted = ["chrom", "pos", "ref", "alt", "gene_name", "strand", "d_splice"]
        wanted += ["tissues"] if self.table.header.schema.has_z else []
        frames = [self.table.region(Interval(name, 0, None)).select(wanted) for name in self._own.get(chrom, ())]
        if not frames:
            return _Contig(pl.DataFrame(), np.zeros(0, np.int64), np.zeros(0, np.float32))
        rows = pl.concat(frames).sort("pos", maintain_order=True)
        return _Contig(rows, rows["pos"].to_numpy(), rows["d_splice"].fill_null(float("nan")).to_numpy())

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        score = row["d_splice"]
        return {
            "key": f"{row['chrom']}-{row['pos']}-{row['ref']}-{row['alt']}",
            "pos": row["pos"],
            "ref": row["ref"],
            "alt": row["alt"],
            "gene": row["gene_name"],
            "strand": row["strand"],
            "d_splice": None if score is None else round(score, DIGITS),
            "calls": row.get("tissues") or [],
        }
