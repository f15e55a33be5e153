"""Transcripts and settings in, loci and shards out: what will be computed, cut into units of work.

A locus is a maximal stretch of one strand covered by selected transcripts (overlapping *and bookended* ones
merge; with `flanks: transcript` every transcript is its own locus), clipped to the requested regions. Windows
lie on a fixed grid along an axis (`pipeline.tracks.axis`). A shard is `windows_per_shard` consecutive windows of one
contig and strand, with the pieces of loci that those windows own: a window belongs to one shard only, and is computed
once however many loci it serves.

Coordinates are 0-based, half-open and genomic. Frames:
  transcripts  columns of `pipeline.inputs.annotation`, contigs named as in the FASTA
  loci         locus int32, chrom, strand, start, end int64, transcripts int32, transcript_id, origin_start, origin_end
               (the last three: transcript mode; the whole transcript's span, which lays the windows)
  shards       shard int32, chrom, strand, first, last (least and largest position, 0-based), windows, rows, pieces
Errors: a plan without a base, with one beyond `MAX_POSITION`, or on a contig that cannot name a folder,
is an `InputError`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyranges as pr
from numpy.typing import NDArray

from pipeline.coordinates import Interval
from pipeline.tracks.axis import Axis, Origin
from pipeline.tracks.layout import require_folder
from pipeline.tracks.settings import MAX_POSITION, MAX_SHARD_ROWS, Flanks
from pipeline.tracks.shards import Piece, Shard
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """Loci and shards of a run; see the module's contract for the frames."""

    spec: WindowSpec
    flanks: Flanks
    windows_per_shard: int
    contigs: pl.DataFrame
    transcripts: pl.DataFrame
    loci: pl.DataFrame
    pieces: pl.DataFrame

    @property
    def bases(self) -> int:
        """Rows of the table: strand-specific bases."""
        return int((self.pieces["end"] - self.pieces["start"]).sum())

    @property
    def shards(self) -> pl.DataFrame:
        """One row a shard: shard, chrom, strand, first, last (0-based), windows, rows."""
        return (
            self.pieces.group_by("shard", maintain_order=True)
            .agg(
                pl.col("chrom", "strand").first(),
                pl.col("start").min().alias("first"),
                (pl.col("end").max() - 1).alias("last"),
                pl.col("shard_windows").first().alias("windows"),
                (pl.col("end") - pl.col("start")).sum().alias("rows"),
            )
            .sort("shard")
        )

    @property
    def windows(self) -> int:
        """Windows computed."""
        return int(self.pieces.group_by("shard").agg(pl.col("shard_windows").first())["shard_windows"].sum())

    def iter_shards(self, wanted: Sequence[int] | None = None) -> Iterator[Shard]:
        """The shards in order, or those of `wanted` only."""
        pieces = self.pieces if wanted is None else self.pieces.filter(pl.col("shard").is_in(list(wanted)))
        own = ("shard", "chrom", "strand", "shard_windows")
        rows = pieces.select(*own, *Piece._fields).iter_rows()
        # The pieces of a shard stand together, in the order of its rows.
        for (shard, chrom, strand, windows), group in groupby(rows, key=itemgetter(*range(len(own)))):
            yield Shard(shard, chrom, strand, tuple(Piece(*row[len(own) :]) for row in group), windows)


def make_plan(
    transcripts: pl.DataFrame,
    lengths: Mapping[str, int],
    *,
    spec: WindowSpec,
    flanks: Flanks,
    windows_per_shard: int,
    regions: Sequence[Interval] = (),
    annotation_names: Mapping[str, str] | None = None,
) -> Plan:
    """Merge `transcripts` into loci and cut these into shards.

    `transcripts` has contigs named as in `lengths` (name -> bases, in FASTA order); `regions` clip the loci.
    `annotation_names` maps FASTA names to those of the annotation, for the record.
    """
    if windows_per_shard * spec.stride > MAX_SHARD_ROWS:
        raise InputError(
            f"windows_per_shard = {windows_per_shard} would put up to {windows_per_shard * spec.stride:,} rows into a "
            f"part, which holds {MAX_SHARD_ROWS:,} at most; set it to {MAX_SHARD_ROWS // spec.stride:,} or less"
        )
    _require_positions_fit(transcripts)
    order = {name: rank for rank, name in enumerate(lengths)}
    loci = _merged_loci(transcripts) if flanks is Flanks.GENOMIC else _transcript_loci(transcripts)
    if regions:
        loci = _clip(loci, regions)
    if loci.is_empty():
        raise InputError("no base is left to predict: the regions touch none of the selected transcripts")
    sort_keys = ["start"] if flanks is Flanks.GENOMIC else ["transcript_id", "start"]
    loci = (
        loci.with_columns(pl.col("chrom").replace_strict(order, return_dtype=pl.Int64).alias("_order"))
        .sort(["_order", "strand", *sort_keys])
        .drop("_order")
        .with_row_index("locus")
        .with_columns(pl.col("locus").cast(pl.Int32))
    )
    used = loci["chrom"].unique(maintain_order=True).to_list()
    for name in used:
        require_folder(name)
    names = annotation_names or {}
    contigs = pl.DataFrame(
        {
            "chrom": used,
            "length": [lengths[name] for name in used],
            "annotation_name": [names.get(name, name) for name in used],
        }
    )
    frames: list[pl.DataFrame] = []
    shard = 0
    for _, group in loci.group_by("chrom", "strand", maintain_order=True):
        frame = _cut(group, spec, flanks, windows_per_shard).with_columns(
            (pl.col("shard") + shard).cast(pl.Int32),
        )
        shard = int(frame["shard"].item(-1)) + 1
        frames.append(frame)
    return Plan(spec, flanks, windows_per_shard, contigs, transcripts, loci, pl.concat(frames))


def _require_positions_fit(transcripts: pl.DataFrame) -> None:
    """Refuse transcripts that reach beyond the largest position that the table can hold."""
    beyond = transcripts.filter(pl.col("end") > MAX_POSITION)
    if not beyond.is_empty():
        first = beyond.row(0, named=True)
        raise InputError(
            f"transcript {first['transcript_id']} ends at base {first['end']:,} of contig {first['contig']}, but "
            f"positions in the table are 32-bit and end at {MAX_POSITION:,}; select others, on this contig those of "
            f"--regions {first['contig']}:-{MAX_POSITION}"
        )


def _merged_loci(transcripts: pl.DataFrame) -> pl.DataFrame:
    """One row a maximal covered stretch of a strand; pyranges merges overlapping and bookended spans."""
    frame = transcripts.select(
        pl.col("contig").alias("Chromosome"),
        pl.col("start").alias("Start"),
        pl.col("end").alias("End"),
        pl.col("strand").alias("Strand"),
    )
    with _pyranges() as ranges:
        merged = _to_polars(ranges(_to_pandas(frame)).merge(strand=True, count=True))
    return merged.select(
        pl.col("Chromosome").alias("chrom"),
        pl.col("Strand").alias("strand"),
        pl.col("Start").alias("start"),
        pl.col("End").alias("end"),
        pl.col("Count").cast(pl.Int32).alias("transcripts"),
        pl.lit("").alias("transcript_id"),
        pl.lit(0, pl.Int64).alias("origin_start"),
        pl.lit(0, pl.Int64).alias("origin_end"),
    )


def _transcript_loci(transcripts: pl.DataFrame) -> pl.DataFrame:
    return transcripts.select(
        pl.col("contig").alias("chrom"),
        pl.col("strand"),
        pl.col("start"),
        pl.col("end"),
        pl.lit(1, pl.Int32).alias("transcripts"),
        pl.col("transcript_id"),
        pl.col("start").alias("origin_start"),
        pl.col("end").alias("origin_end"),
    )


def _clip(loci: pl.DataFrame, regions: Sequence[Interval]) -> pl.DataFrame:
    """`loci` intersected with the union of `regions`, each remaining stretch a locus."""
    frame = loci.rename({"chrom": "Chromosome", "strand": "Strand", "start": "Start", "end": "End"})
    wanted = pd.DataFrame(
        {
            "Chromosome": [region.contig for region in regions],
            "Start": [region.start for region in regions],
            "End": [region.end for region in regions],
        }
    )
    with _pyranges() as ranges:
        clipped = ranges(_to_pandas(frame)).intersect(ranges(wanted).merge(strand=False))
        if clipped.empty:
            return loci.clear()
        table = _to_polars(clipped)
    renamed = table.rename({"Chromosome": "chrom", "Strand": "strand", "Start": "start", "End": "end"})
    return renamed.select(loci.columns)


def _cut(loci: pl.DataFrame, spec: WindowSpec, flanks: Flanks, windows_per_shard: int) -> pl.DataFrame:
    """Pieces of the loci of one contig and strand, shards numbered from 0.

    Every window gets a rank in the order of the rows; a shard is a range of `windows_per_shard` ranks. Loci that
    share a window share its rank, so the window is computed in one shard only.
    """
    axis = Axis(loci["strand"].item(0), flanks)
    start, end, origin_start, origin_end = (
        loci[name].to_numpy().astype(np.int64) for name in ("start", "end", "origin_start", "origin_end")
    )
    first, last = axis.owners(start, end, Origin(origin_start, origin_end), spec)
    rank, rank_last = _ranks(first, last, axis)

    shard_first, shard_last = rank // windows_per_shard, rank_last // windows_per_shard
    counts = shard_last - shard_first + 1
    locus = np.repeat(np.arange(len(loci)), counts)
    shard = np.repeat(shard_first, counts) + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    low = np.maximum(shard * windows_per_shard, rank[locus]) - rank[locus]
    high = np.minimum((shard + 1) * windows_per_shard - 1, rank_last[locus]) - rank[locus]
    if axis.ascending:
        k_low, k_high = first[locus] + low, first[locus] + high
    else:
        k_low, k_high = last[locus] - high, last[locus] - low
    piece_start, piece_end = axis.owned(k_low, k_high, Origin(origin_start[locus], origin_end[locus]), spec)
    piece_start, piece_end = np.maximum(piece_start, start[locus]), np.minimum(piece_end, end[locus])

    pieces = (
        loci[locus]
        .select("locus", "chrom", "strand", "transcript_id", "origin_start", "origin_end")
        .with_columns(pl.Series("shard", shard), pl.Series("start", piece_start), pl.Series("end", piece_end))
    )
    total = int(rank_last.max()) + 1
    windows = np.minimum(total - shard * windows_per_shard, windows_per_shard)
    # A locus inside a window's core but owned by its neighbour leaves no empty piece: ownership tiles the axis.
    assert bool((piece_end > piece_start).all())
    return pieces.with_columns(pl.Series("shard_windows", windows, dtype=pl.Int32))


def _ranks(first: Ints, last: Ints, axis: Axis) -> tuple[Ints, Ints]:
    """Rank of the first and of the last window of each locus; a window that two loci share has one rank."""
    if axis.genomic:
        reached = np.concatenate([[-1], np.maximum.accumulate(last)[:-1]])
        shared = np.where(first <= reached, 1, 0)
    else:
        shared = np.zeros_like(first)
    fresh = last - first + 1 - shared
    rank = np.concatenate([[0], np.cumsum(fresh)[:-1]]) - shared
    return rank, rank + last - first


def transcripts_digest(transcripts: pl.DataFrame) -> str:
    """SHA-256 over id, contig, strand and span of the selected transcripts, whatever their order in the file."""
    digest = hashlib.sha256()
    columns = ["transcript_id", "contig", "strand", "start", "end"]
    for row in transcripts.select(columns).sort(columns).iter_rows():
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def loci_digest(loci: pl.DataFrame) -> str:
    """SHA-256 over the stretches that are predicted; tells clipped runs apart."""
    digest = hashlib.sha256()
    for row in loci.select("chrom", "strand", "start", "end", "transcript_id").iter_rows():
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


@contextmanager
def _pyranges() -> Iterator[Any]:
    """The PyRanges class; its use of an option that pandas has deprecated is not the user's concern."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The 'mode.chained_assignment' option", category=Warning)
        yield pr.PyRanges


def _to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})


def _to_polars(ranges: Any) -> pl.DataFrame:
    frame: pd.DataFrame = ranges.df
    columns = {name: frame[name].astype(str) if name in ("Chromosome", "Strand") else frame[name] for name in frame}
    return pl.DataFrame({str(name): values.to_numpy() for name, values in columns.items()})
