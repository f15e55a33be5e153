"""Transcripts, their sites and measured usage -> windows with their labels, as a training sees them.

Every gene is an axis x = 0 .. length - 1 in transcription order, the span of its selected transcripts. Windows lie on
it side by side: window k predicts the core [k * core - shift, (k + 1) * core - shift) and reads `context` bases on each
side. Validation and test centre the windows on the gene; training draws a new shift for each gene and epoch, so that
no site is always seen in the same place of a window. Beyond the gene's ends a window shows N, as the network was
trained, or the genome, or one or the other by chance (`Beyond`).

Labels of a base: 1 acceptor and 2 donor for a site of a selected transcript, whichever gene of the strand it belongs
to; `UNLABELLED`, which the loss leaves out, beyond the gene's ends, at sites that only unselected transcripts have, and
where a base is both; else 0. Usage is given at labelled sites that the usage table holds, NaN where unknown.

Coordinates are 0-based genomic here; `Sites.place` and `Genes.place` put all strands of all contigs on one line, so
that one sorted array is searched. The same seed and epoch give the same windows in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.finetuning.settings import Beyond
from pipeline.inputs.genome import Genome
from pipeline.inputs.splice_sites import splice_sites
from sptx_core.alphabet import N_CODE, Codes, reverse_complement
from sptx_core.channels import SPLICE
from sptx_core.losses import UNLABELLED

Ints = NDArray[np.int64]
STRANDS = ("+", "-")


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of all strands: place on the line [n], ascending; label int64 [n]; usage float32 [n, tissues]."""

    place: Ints
    label: Ints
    usage: NDArray[np.float32]

    def within(self, genes: Genes) -> Sites:
        """Those that lie in one of the genes."""
        change = np.zeros(len(self.place) + 1, dtype=np.int64)
        np.add.at(change, np.searchsorted(self.place, genes.place), 1)
        np.add.at(change, np.searchsorted(self.place, genes.place + genes.end - genes.start), -1)
        inside = np.cumsum(change)[:-1] > 0
        return Sites(self.place[inside], self.label[inside], self.usage[inside])


@dataclass(frozen=True, eq=False)
class Genes:
    """Genes of one part of the split: contig, whether on the minus strand, span, and place of its first base."""

    contig: tuple[str, ...]
    minus: NDArray[np.bool_]
    start: Ints
    end: Ints
    place: Ints
    """Place on the line of the base at `start`, the least position."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def bases(self) -> int:
        """Sum of their spans."""
        return int((self.end - self.start).sum())


class Windows(NamedTuple):
    """Windows [n]: gene (its index), first core base on its axis (may be negative), whether the genome shows beyond."""

    gene: Ints
    x: Ints
    genomic: NDArray[np.bool_]

    def take(self, rows: Ints | slice) -> Windows:
        """Some of them."""
        return Windows(self.gene[rows], self.x[rows], self.genomic[rows])

    @property
    def size(self) -> int:
        """How many."""
        return len(self.gene)


class Batch(NamedTuple):
    """What the network reads and what it should say; see `sptx_core.losses.splice_loss`."""

    codes: Tensor
    """uint8 [B, core + 2 * context]."""
    classes: Tensor
    """int64 [B, core]."""
    sites: Tensor
    """int64 [n]: row * core + position of labelled sites."""
    usage: Tensor
    """float32 [n, tissues]."""

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class Line:
    """Where each strand of each contig begins on the line."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        names = [(contig, strand) for contig in lengths for strand in STRANDS]
        ends = np.cumsum([lengths[contig] for contig, _ in names])
        self.begin = dict(zip(names, (ends - [lengths[contig] for contig, _ in names]).tolist(), strict=True))

    def place(self, frame: pl.DataFrame, position: str) -> Ints:
        """Places of the 0-based column `position` of a frame with chrom and strand."""
        first = pl.DataFrame(
            [(*name, begin) for name, begin in self.begin.items()],
            schema={"chrom": pl.String, "strand": pl.String, "begin": pl.Int64},
            orient="row",
        )
        joined = frame.join(first, on=["chrom", "strand"], how="left", maintain_order="left")
        return (joined["begin"] + joined[position].cast(pl.Int64)).to_numpy()


def make_sites(
    annotated: pl.DataFrame, selected: pl.DataFrame, usage: pl.DataFrame | None, tissues: tuple[str, ...], line: Line
) -> Sites:
    """Sites of the transcripts `annotated`, those of `selected` labelled; frames have chrom, named as in the FASTA.

    `usage`: chrom, strand, kind, pos and columns of tissues, those of `tissues` that it lacks unknown.
    """
    is_selected = pl.col("transcript_id").is_in(selected["transcript_id"].implode())
    kinds = pl.col("kind").filter("selected").unique()
    sites = (
        splice_sites(annotated.with_columns(pl.lit("").alias("biotype")))
        .with_columns(is_selected.alias("selected"))
        .group_by("chrom", "strand", "pos")
        .agg(kinds.alias("kinds"))
        .with_columns(
            pl.when(pl.col("kinds").list.len() == 1).then(pl.col("kinds").list.first()).alias("kind"),
            (pl.col("pos") - 1).alias("position"),
        )
    )
    sites = sites.with_columns(pl.Series("place", line.place(sites, "position"))).sort("place")
    values = np.full((len(sites), len(tissues)), np.nan, dtype=np.float32)
    if usage is not None:
        keys = ["chrom", "strand", "kind", "pos"]
        joined = sites.select(keys).join(usage, on=keys, how="left", maintain_order="left")
        for column, tissue in enumerate(tissues):
            if tissue in usage.columns:
                values[:, column] = joined[tissue].to_numpy()
    labels = {kind: SPLICE.index(kind) for kind in SPLICE[1:]}
    label = sites["kind"].replace_strict(labels, default=UNLABELLED, return_dtype=pl.Int64)
    return Sites(sites["place"].to_numpy(), label.to_numpy(), values)


def make_genes(selected: pl.DataFrame, line: Line) -> Genes:
    """Spans of genes, by contig, position and strand; `selected` has chrom, strand, gene_id, start and end."""
    spans = (
        selected.group_by("chrom", "strand", "gene_id", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("chrom", "start", "end", "strand", "gene_id")
    )
    minus = (spans["strand"] == "-").to_numpy()
    bounds = [spans[name].to_numpy().astype(np.int64) for name in ("start", "end")]
    return Genes(tuple(spans["chrom"]), minus, bounds[0], bounds[1], line.place(spans, "start"))


@dataclass(frozen=True, eq=False)
class Examples:
    """Genes with their sites in the genome: windows of them, and batches of windows."""

    genome: Genome
    genes: Genes
    sites: Sites
    core: int
    context: int
    beyond: Beyond

    def epoch(self, seed: int, number: int, empty_windows: float) -> Windows:
        """An epoch's windows in their order: all with a labelled site, and `empty_windows` times as many others."""
        random = np.random.default_rng([seed, number])
        windows = self._lay(random.integers(0, self.core, len(self.genes)))
        held = self._holds_site(windows)
        others = np.flatnonzero(~held)
        drawn = random.choice(others, min(len(others), round(empty_windows * int(held.sum()))), replace=False)
        chosen = windows.take(random.permutation(np.concatenate([np.flatnonzero(held), drawn])))
        shown = random.random(chosen.size) < 0.5 if self.beyond is Beyond.BOTH else self._shown(chosen.size)
        return chosen._replace(genomic=shown)

    def centred(self, most: int | None = None) -> Windows:
        """Windows centred on their genes: all of them, or at most so many, evenly spread."""
        lengths = self.genes.end - self.genes.start
        windows = self._lay((-lengths % self.core) // 2)
        if most is not None and windows.size > most:
            windows = windows.take(np.arange(most, dtype=np.int64) * windows.size // most)
        return windows

    def batch(self, windows: Windows) -> Batch:
        """The batch of some windows, on the CPU."""
        classes = np.zeros((windows.size, self.core), dtype=np.int64)
        codes = np.empty((windows.size, self.core + 2 * self.context), dtype=np.uint8)
        places: list[Ints] = []
        rows: list[Ints] = []
        for at, (gene, x, genomic) in enumerate(zip(*windows, strict=True)):
            length = int(self.genes.end[gene] - self.genes.start[gene])
            codes[at] = self._codes(gene, int(x), length, genomic=bool(genomic))
            classes[at, : max(0, -x)] = UNLABELLED
            classes[at, max(0, length - x) :] = UNLABELLED
            first, end = self._sites_of(gene, x)
            offset = self.sites.place[first:end] - self.genes.place[gene]
            position = (length - 1 - offset if self.genes.minus[gene] else offset) - x
            label = self.sites.label[first:end]
            classes[at, position] = label
            labelled = label != UNLABELLED
            places.append(at * self.core + position[labelled])
            rows.append(np.arange(first, end)[labelled])
        usage = self.sites.usage[np.concatenate(rows)]
        given = (codes, classes, np.concatenate(places), usage)
        return Batch(*(torch.from_numpy(np.ascontiguousarray(x)) for x in given))

    def _lay(self, shift: Ints) -> Windows:
        """Windows over every gene, the first of which begins `shift` bases before it."""
        counts = -(-(self.genes.end - self.genes.start + shift) // self.core)
        gene = np.repeat(np.arange(len(self.genes)), counts)
        k = np.arange(len(gene)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Windows(gene, k * self.core - shift[gene], self._shown(len(gene)))

    def _shown(self, windows: int) -> NDArray[np.bool_]:
        return np.full(windows, self.beyond is Beyond.GENOME)

    def _span(self, gene: Ints, x: Ints) -> tuple[Ints, Ints]:
        """Places [first, end) of the part of each window's core that lies in its gene."""
        start, end, place = (part[gene] for part in (self.genes.start, self.genes.end, self.genes.place))
        length = end - start
        low, high = np.maximum(x, 0), np.minimum(x + self.core, length)
        minus = self.genes.minus[gene]
        return place + np.where(minus, length - high, low), place + np.where(minus, length - low, high)

    def _holds_site(self, windows: Windows) -> NDArray[np.bool_]:
        labelled = self.sites.place[self.sites.label != UNLABELLED]
        first, end = (np.searchsorted(labelled, place) for place in self._span(windows.gene, windows.x))
        return first < end

    def _sites_of(self, gene: np.int64, x: np.int64) -> tuple[int, int]:
        span = self._span(np.array([gene]), np.array([x]))
        first, end = (int(np.searchsorted(self.sites.place, place)[0]) for place in span)
        return first, end

    def _codes(self, gene: np.int64, x: int, length: int, *, genomic: bool) -> Codes:
        """What a window reads, 5' to 3'."""
        first, end = x - self.context, x + self.core + self.context
        start, stop = int(self.genes.start[gene]), int(self.genes.end[gene])
        contig = self.genes.contig[gene]
        if self.genes.minus[gene]:
            codes = reverse_complement(self.genome.fetch(contig, stop - end, stop - first))
        else:
            codes = self.genome.fetch(contig, start + first, start + end)
        if not genomic:
            codes[: max(0, -first)] = N_CODE
            codes[max(0, length - first) :] = N_CODE
        return codes
