"""Transcripts of one strand of a contig -> their splice sites with names, and what lies around any position.

In: transcripts with transcript_id, gene_id, gene_name, strand (str), exon_starts and exon_ends (0-based half-open), as
`pipeline.inputs.annotation` has them, all of one strand of one contig. Out: a `KnownSites`; its positions are 1-based.

Names come as four lists a site: `transcripts` and, element for element, `within`, the exon or intron of each that
holds the position ("exon 3", "intron 2"); `gene_ids` and, element for element, `gene_names`, each gene once. Exons and
introns are numbered from 1 in transcription order: intron 2 follows exon 2.

Which base is a donor or an acceptor: `pipeline.inputs.splice_sites`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.inputs.splice_sites import KINDS, introns

SITE = ["pos", "kind"]
NAMES: dict[str, pl.DataType] = dict.fromkeys(("gene_ids", "gene_names", "transcripts", "within"), pl.List(pl.String()))
_GENE = ["gene_id", "gene_name"]


@dataclass(frozen=True)
class KnownSites:
    """The annotated sites of one strand of a contig.

    Attributes
    ----------
    strand : str
        "+" or "-".
    sites : polars.DataFrame
        pos (int32), kind, gene_ids, gene_names, transcripts, within: a row for each site; the names are those of the
        transcripts that use it. Sorted by position and kind.
    introns : polars.DataFrame
        donor and acceptor (int32), the positions of the sites at the ends of each intron, once.
    stretches : polars.DataFrame
        first, last (int32, inclusive), transcript_id, gene_id, gene_name and within of every exon and intron.
    """

    strand: str
    sites: pl.DataFrame
    introns: pl.DataFrame
    stretches: pl.DataFrame

    def around(self, positions: pl.Series) -> pl.DataFrame:
        """Name the transcripts that hold positions.

        Parameters
        ----------
        positions : polars.Series
            int32, 1-based.

        Returns
        -------
        polars.DataFrame
            pos, gene_ids, gene_names, transcripts, within: a row for each position that a transcript holds.
        """
        wanted = positions.unique().alias("pos").to_frame()
        near = self.stretches.clear()
        if not wanted.is_empty():
            touching = (pl.col("first") <= positions.max()) & (pl.col("last") >= positions.min())
            near = self.stretches.filter(touching)
        held = wanted.join_where(
            near.with_row_index("order"),
            pl.col("pos") >= pl.col("first"),
            pl.col("pos") <= pl.col("last"),
        )
        return _named(held.sort("pos", "order"), ["pos"])

    def nearest(self, sites: pl.DataFrame) -> pl.Series:
        """Find the nearest annotated site of the same kind.

        Parameters
        ----------
        sites : polars.DataFrame
            pos and kind.

        Returns
        -------
        polars.Series
            Positions, int32; of two sites equally near the 5' one; null where the strand has none of that kind.
        """
        found = np.full(sites.height, -1, np.int32)
        kinds, pos = sites["kind"].to_numpy(), sites["pos"].to_numpy()
        for kind, known in self._pos_by_kind.items():
            rows = kinds == kind
            if len(known):
                found[rows] = _nearest(known, pos[rows], left_first=self.strand == "+")
        return pl.Series("nearest_pos", found).replace(-1, None)

    @cached_property
    def _pos_by_kind(self) -> dict[str, npt.NDArray[np.int32]]:
        return {kind: self.sites.filter(kind=kind)["pos"].to_numpy() for kind in KINDS}


def known_sites(transcripts: pl.DataFrame, strand: str) -> KnownSites:
    """Gather the annotated sites of one strand of a contig.

    Parameters
    ----------
    transcripts : polars.DataFrame
        As the module's docstring says.
    strand : {"+", "-"}
        Their strand.

    Returns
    -------
    KnownSites
    """
    keys = ["transcript_id", *_GENE]
    found = introns(transcripts.select(*keys, "strand", "exon_starts", "exon_ends"))
    left, right = pl.col("first") - 1, pl.col("last") + 1
    donor, acceptor = (left, right) if strand == "+" else (right, left)
    donor_exon, acceptor_exon = ("left_exon", "right_exon") if strand == "+" else ("right_exon", "left_exon")
    ends = [
        found.select(*keys, pos.alias("pos"), pl.lit(kind).alias("kind"), _label("exon", pl.col(exon)))
        for kind, pos, exon in (("acceptor", acceptor, acceptor_exon), ("donor", donor, donor_exon))
    ]
    return KnownSites(
        strand,
        _named(pl.concat(ends), SITE).sort(SITE),
        found.select(donor.alias("donor"), acceptor.alias("acceptor")).unique().sort("donor", "acceptor"),
        pl.concat(
            [
                _exons(transcripts, keys),
                found.select("first", "last", *keys, _label("intron", pl.min_horizontal("left_exon", "right_exon"))),
            ]
        ),
    )


def _exons(transcripts: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Every exon as a stretch."""
    count = pl.col("exon_starts").list.len()
    exons = (
        transcripts.filter(count > 0)
        .with_columns(count.cast(pl.Int32).alias("exons"), pl.int_ranges(count, dtype=pl.Int32).alias("index"))
        .explode("exon_starts", "exon_ends", "index")
    )
    number = pl.when(pl.col("strand") == "+").then(pl.col("index") + 1).otherwise(pl.col("exons") - pl.col("index"))
    first, last = (pl.col("exon_starts") + 1).cast(pl.Int32), pl.col("exon_ends").cast(pl.Int32)
    return exons.select(first.alias("first"), last.alias("last"), *keys, _label("exon", number))


def _label(what: str, number: pl.Expr) -> pl.Expr:
    return pl.format(what + " {}", number).alias("within")


def _named(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of transcripts -> one row for each of `keys`, with the four lists of names."""
    grouped = rows.group_by(keys, maintain_order=True).agg(
        pl.struct(_GENE).unique(maintain_order=True).alias("genes"),
        pl.col("transcript_id").alias("transcripts"),
        "within",
    )
    names = [pl.col("genes").list.eval(pl.element().struct.field(name)).alias(f"{name}s") for name in _GENE]
    return grouped.with_columns(names).select(*keys, *NAMES)


def _nearest(known: npt.NDArray[np.int32], pos: npt.NDArray[np.int32], *, left_first: bool) -> npt.NDArray[np.int32]:
    """The nearest of `known` (ascending, at least one) to each of `pos`; of two the left or the right one."""
    at = np.searchsorted(known, pos)
    left, right = known[np.maximum(at - 1, 0)], known[np.minimum(at, len(known) - 1)]
    to_left, to_right = np.abs(pos - left), np.abs(right - pos)
    is_left = to_left <= to_right if left_first else to_left < to_right
    return np.where(is_left, left, right)
