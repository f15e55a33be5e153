"""A table in memory for tests of named sites, its mirror image, and what each site is, read one base at a time.

A `Scene` is one contig's strand: its sequence (plus strand), transcripts (exons 0-based half-open, ascending), and the
scores of some positions (1-based). `mirrored` turns all of it around: the same molecules, read from the other end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.batch.storage import Store
from pipeline.tracks.header import Header
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.settings import Flanks, TableSpec
from sptx_core.windows import WindowSpec

Exons = Sequence[tuple[int, int]]
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
CHROM = "chr1"
SITES_THRESHOLD = 0.01


@dataclass(frozen=True)
class Scene:
    """See the module; `transcripts` are (id, gene id, exons), `scores` are {pos: {channel: score}}, other scores are 0.

    The table has a row at every base from `first` to `last`, in shards of `shard` bases.
    """

    sequence: str
    strand: str
    transcripts: Sequence[tuple[str, str, Exons]]
    scores: dict[int, dict[str, float]] = field(default_factory=dict)
    tissues: tuple[str, ...] = ("brain", "liver")
    first: int = 1
    last: int | None = None
    shard: int = 50

    def mirrored(self) -> Scene:
        """The same, counted from the other end of the contig."""
        length = len(self.sequence)
        return Scene(
            self.sequence.translate(COMPLEMENT)[::-1],
            "-" if self.strand == "+" else "+",
            [
                (name, gene, sorted((length - end, length - start) for start, end in exons))
                for name, gene, exons in self.transcripts
            ],
            {length + 1 - pos: scores for pos, scores in self.scores.items()},
            self.tissues,
            length + 1 - (self.last or length),
            length + 1 - self.first,
            self.shard,
        )

    def frame(self) -> pl.DataFrame:
        """The transcripts as readers of annotations give them, for the contig of the table."""
        rows = [
            (
                name,
                gene,
                f"name of {gene}",
                CHROM,
                self.strand,
                [start for start, _ in exons],
                [end for _, end in exons],
            )
            for name, gene, exons in self.transcripts
        ]
        kinds = {name: pl.String() for name in ("transcript_id", "gene_id", "gene_name", "chrom", "strand")}
        lists = {name: pl.List(pl.Int64()) for name in ("exon_starts", "exon_ends")}
        return pl.DataFrame(rows, {**kinds, **lists}, orient="row")

    def after(self, pos: int, kind: str) -> str:
        """The two intron bases beside a site, one base at a time in transcription order; fewer where rows end."""
        step = 1 if self.strand == "+" else -1
        steps = (1, 2) if kind == "donor" else (-2, -1)
        held = range(self.first, (self.last or len(self.sequence)) + 1)
        bases = [self.sequence[at - 1] for at in (pos + step * each for each in steps) if at in held]
        return "".join(bases).translate(COMPLEMENT) if self.strand == "-" else "".join(bases)


class MemoryTable:
    """What named sites ask of a table, of a scene."""

    def __init__(self, scene: Scene) -> None:
        channels = ("no_splice", "acceptor", "donor", *scene.tissues)
        schema = TrackSchema(TableSpec(channels, Flanks.GENOMIC, True, SITES_THRESHOLD, WindowSpec()))
        last = scene.last or len(scene.sequence)
        self.store, self.header = Store("memory://named"), Header("0" * 64, schema, 1, 1)
        self.scene, self.transcripts = scene, scene.frame()
        starts = range(scene.first, last + 1, scene.shard)
        self.keys = [
            ShardKey(at, CHROM, scene.strand, first, min(first + scene.shard - 1, last))
            for at, first in enumerate(starts)
        ]
        self.asked: list[tuple[int, ...]] = []
        kinds: dict[str, Any] = {"chrom": pl.String, "strand": pl.String, "pos": pl.Int32, "ref": pl.String}
        kinds |= {column.name: pl.Float32 for column in schema.scores}
        rows = [
            {"chrom": CHROM, "strand": scene.strand, "pos": pos, "ref": scene.sequence[pos - 1]}
            | dict.fromkeys(channels, 0.0)
            | scene.scores.get(pos, {})
            for pos in range(scene.first, last + 1)
        ]
        self.rows = pl.DataFrame(rows, kinds)

    def contigs_of(self, names: Sequence[str]) -> dict[str, str]:
        """No alias."""
        return {name: name for name in names if name == CHROM}

    def rows_where(
        self, keys: Sequence[ShardKey], holds: pl.Expr, *, columns: Sequence[str] | None = None, sites: bool
    ) -> pl.DataFrame:
        """Rows of the shards; of the sites table those that it would hold."""
        self.asked.append(tuple(key.index for key in keys))
        inside = [pl.col("pos").is_between(key.first, key.last) for key in keys]
        rows = self.rows.filter(pl.any_horizontal(inside) if inside else pl.lit(value=False))
        if sites:
            rows = rows.filter(pl.max_horizontal("acceptor", "donor") >= SITES_THRESHOLD)
        found = rows.filter(holds)
        return found if columns is None else found.select("chrom", "strand", "pos", "ref", *columns)
