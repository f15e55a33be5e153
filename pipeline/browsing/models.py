"""Transcripts of the page: those in view, their introns, and genes and transcripts by name.

In: transcripts as `pipeline.tracks.named_sites.transcripts_of` gives them, 0-based and half-open. Out: plain values for
JSON. Names may be anything; the page shows them as text.

Searching needs an index of all names, made when it is first asked for: 0.6 s for 250,000 transcripts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.inputs.selection import without_version
from pipeline.inputs.splice_sites import introns
from pipeline.tracks.known_sites import KnownSites, known_sites

MANE, CANONICAL = "MANE", "Ensembl_canonical"  # tags of GENCODE and Ensembl; MANE_Select and MANE_Plus_Clinical

MAX_KNOWN = 4  # strands whose annotated sites are kept; those of 3,200 transcripts take 6 MB

Ints = npt.NDArray[np.int64]


class Place(NamedTuple):
    """What a name stands for, 0-based half-open; `kind` is region, contig, site, gene, transcript or variant."""

    name: str
    kind: str
    chrom: str
    start: int
    end: int
    strand: str | None


class Introns(NamedTuple):
    """Annotated introns of one strand of a contig, each once, by `start`: bases [start, end), int64 [n].

    `transcripts` is how many have each.
    """

    start: Ints
    end: Ints
    transcripts: Ints


class _Spans(NamedTuple):
    """Transcripts of a contig, the first to be shown first."""

    frame: pl.DataFrame
    start: Ints
    end: Ints


class Models:
    """See the module."""

    def __init__(self, transcripts: pl.DataFrame) -> None:
        self.transcripts = transcripts
        self._lock, self._known_lock = threading.Lock(), threading.Lock()  # the sites of a contig may take a second
        self._spans: dict[str, _Spans] = {}
        self._introns: dict[tuple[str, str], Introns] = {}
        self._known: OrderedDict[tuple[str, str], KnownSites] = OrderedDict()

    def within(self, chrom: str, start: int, end: int, most: int) -> list[dict[str, Any]]:
        """At most `most` transcripts that touch a stretch: MANE first, then canonical ones, then the longest."""
        with self._lock:
            if chrom not in self._spans:
                self._spans[chrom] = self._spans_of(chrom)
        spans = self._spans[chrom]
        found = np.flatnonzero((spans.end > start) & (spans.start < end))[:most]
        return [
            {
                "id": row["transcript_id"],
                "gene_id": row["gene_id"],
                "gene": row["gene_name"],
                "biotype": row["biotype"],
                "strand": row["strand"],
                "start": row["start"],
                "end": row["end"],
                "exons": [list(exon) for exon in zip(row["exon_starts"], row["exon_ends"], strict=True)],
                "mane": row["mane"],
                "canonical": row["canonical"],
            }
            for row in spans.frame[found].iter_rows(named=True)
        ]

    def introns(self, chrom: str, strand: str) -> Introns:
        """All introns of a strand."""
        with self._lock:
            if (chrom, strand) not in self._introns:
                found = introns(self._of(chrom, strand).select("transcript_id", "strand", "exon_starts", "exon_ends"))
                once = found.group_by("first", "last").len().sort("first", "last")
                columns = [once[name].to_numpy().astype(np.int64) for name in ("first", "last", "len")]
                self._introns[chrom, strand] = Introns(columns[0] - 1, columns[1], columns[2])
            return self._introns[chrom, strand]

    def known(self, chrom: str, strand: str) -> KnownSites:
        """The annotated sites of a strand, with names."""
        with self._known_lock:
            if (chrom, strand) not in self._known:
                self._known[chrom, strand] = known_sites(self._of(chrom, strand), strand)
            self._known.move_to_end((chrom, strand))
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            return self._known[chrom, strand]

    def called(self, name: str) -> list[Place]:
        """Genes of a name or id, or transcripts of an id; case and versions do not matter."""
        text = name.lower()
        return [self._place(at) for at in self._index.called(text) or self._index.called(text.rpartition(".")[0])]

    def beginning(self, prefix: str, most: int) -> list[Place]:
        """Genes and transcripts whose names or ids begin with a text, in the order of their names."""
        return [self._place(at) for at in self._index.beginning(prefix.lower(), most)]

    def gene_at(self, chrom: str, strand: str, start: int, end: int) -> Place | None:
        """The gene of the first transcript on a strand that touches a stretch."""
        here = (pl.col("chrom") == chrom) & (pl.col("strand") == strand)
        touching = self.transcripts.filter(here & (pl.col("end") > start) & (pl.col("start") < end))
        if touching.is_empty():
            return None
        gene = self.transcripts.filter(here & (pl.col("gene_id") == touching["gene_id"][0]))
        first, last = int(gene["start"].to_numpy().min()), int(gene["end"].to_numpy().max())
        return Place(gene["gene_name"][0], "gene", chrom, first, last, strand)

    @cached_property
    def _index(self) -> _Index:
        genes = self.transcripts.group_by("gene_id", "chrom", "strand", maintain_order=True).agg(
            pl.col("gene_name").first().alias("name"),
            pl.col("gene_id").first().alias("id"),
            pl.lit("gene").alias("kind"),
            pl.col("start").min(),
            pl.col("end").max(),
        )
        ids = pl.col("transcript_id")
        others = self.transcripts.select(
            ids.alias("name"), ids.alias("id"), pl.lit("transcript").alias("kind"), "chrom", "start", "end", "strand"
        )
        columns = ["name", "id", "kind", "chrom", "start", "end", "strand"]
        entries = pl.concat([genes.select(columns), others.select(columns)], how="vertical_relaxed")
        texts = pl.concat(
            [
                entries.select(text.str.to_lowercase().alias("text"), pl.int_range(pl.len()).alias("at"))
                for text in (pl.col("name"), pl.col("id"), without_version(pl.col("id")))
            ]
        )
        held = texts.unique(maintain_order=True).sort("text", maintain_order=True)
        return _Index(entries, held["text"], held["at"])

    def _place(self, at: int) -> Place:
        name, _, kind, chrom, start, end, strand = self._index.entries.row(at)
        return Place(name, kind, chrom, start, end, strand)

    def _of(self, chrom: str, strand: str) -> pl.DataFrame:
        return self.transcripts.filter((pl.col("chrom") == chrom) & (pl.col("strand") == strand))

    def _spans_of(self, chrom: str) -> _Spans:
        tagged = self.transcripts.filter(pl.col("chrom") == chrom).with_columns(
            pl.col("tags")
            .list.eval(pl.element().str.starts_with(MANE))
            .list.any()
            .fill_null(value=False)
            .alias("mane"),
            pl.col("tags").list.contains(CANONICAL).fill_null(value=False).alias("canonical"),
        )
        length = pl.col("end") - pl.col("start")
        frame = tagged.sort("mane", "canonical", length, descending=True, maintain_order=True)
        return _Spans(frame, *(frame[name].to_numpy().astype(np.int64) for name in ("start", "end")))


class _Index(NamedTuple):
    """What a name stands for.

    `entries` are name, id, kind, chrom, start, end and strand; `texts` are all names and ids in lower case, sorted, and
    `at` is the entry of each.
    """

    entries: pl.DataFrame
    texts: pl.Series
    at: pl.Series

    def called(self, text: str) -> list[int]:
        """Entries of this name."""
        first, last = (self.texts.search_sorted(text, side) for side in ("left", "right"))
        found: list[int] = self.at[first:last].to_list()
        return found

    def beginning(self, text: str, most: int) -> list[int]:
        """At most `most` entries whose names begin so, in the order of the names."""
        found: dict[int, None] = {}
        for at in range(self.texts.search_sorted(text, "left"), len(self.texts)):
            if len(found) >= most or not self.texts[at].startswith(text):
                break
            found[self.at[at]] = None
        return list(found)
