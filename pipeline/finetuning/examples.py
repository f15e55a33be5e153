"""Genes with labelled sites -> windows with the label of every base, in batches for the network.

In: `Genes` and `Sites` (`pipeline.finetuning.labelled_sites`) and a genome. Out: `Examples`, which lays `Windows` over
the genes and makes a `Batch` of them.

Windows. Every gene has an axis x = 0 .. length - 1 in transcription order over the span of its selected transcripts.
Windows lie side by side on it: window k predicts the core [k * core - shift, (k + 1) * core - shift) and reads
`context` more bases on each side. For validation and test the windows are centred on the gene. For training each epoch
draws a new shift for each gene, so that a site is not always seen at the same place of a window. Beyond the gene's
ends a window shows N or the genome (`TrainingFlanks`). The same seed and epoch give the same windows in the same order.

Labels of a base: that of its site, whichever gene of the strand the site belongs to; `UNLABELLED` beyond the gene's
ends; 0 for every other base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.finetuning.labelled_sites import Genes, Ints, Sites
from pipeline.finetuning.settings import TrainingFlanks
from pipeline.inputs.genome import Genome
from sptx_core.alphabet import N_CODE, Codes, reverse_complement
from sptx_core.losses import UNLABELLED


class Windows(NamedTuple):
    """Windows on the axes of genes.

    Attributes
    ----------
    gene : int64 [n]
        Index of the gene.
    x : int64 [n]
        First core base on the gene's axis; may be negative.
    genomic : bool [n]
        Whether the window shows the genome beyond the gene's ends, and not N.

    """

    gene: Ints
    x: Ints
    genomic: NDArray[np.bool_]

    def take(self, rows: Ints | slice) -> Windows:
        """Select some of the windows."""
        return Windows(self.gene[rows], self.x[rows], self.genomic[rows])

    @property
    def size(self) -> int:
        """Number of windows."""
        return len(self.gene)


class Batch(NamedTuple):
    """Input of the network and its labels, as `sptx_core.losses.splice_loss` takes them.

    Attributes
    ----------
    codes : uint8 [B, core + 2 * context]
        Bases in transcription order.
    classes : int64 [B, core]
        Label of each core base.
    sites : int64 [n]
        Places of the labelled sites in `classes`, as row * core + column.
    usage : float32 [n, tissues]
        Their measured usage, NaN where unknown.

    """

    codes: Tensor
    classes: Tensor
    sites: Tensor
    usage: Tensor

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


@dataclass(frozen=True, eq=False)
class Examples:
    """Genes with their sites and the genome; makes windows, and batches of windows.

    Attributes
    ----------
    genome : Genome
        The sequence.
    genes : Genes
        The genes.
    sites : Sites
        Sites within the genes.
    core, context : int
        Predicted bases of a window, and further bases that it reads on each side.
    flanks : TrainingFlanks
        What windows show beyond a gene's ends.

    """

    genome: Genome
    genes: Genes
    sites: Sites
    core: int
    context: int
    flanks: TrainingFlanks

    def epoch(self, seed: int, number: int, empty_windows: float) -> Windows:
        """Draw the windows of an epoch.

        Parameters
        ----------
        seed : int
            Seed of the training.
        number : int
            Number of the epoch, from 0.
        empty_windows : float
            Windows without a labelled site for each window with one; if there are fewer, all of them.

        Returns
        -------
        Windows
            Every window with a labelled site once, and the drawn others, in random order.

        """
        random = np.random.default_rng([seed, number])
        windows = self._lay(random.integers(0, self.core, len(self.genes)))
        with_site = self._holds_site(windows)
        others = np.flatnonzero(~with_site)
        drawn = random.choice(others, min(len(others), round(empty_windows * int(with_site.sum()))), replace=False)
        chosen = windows.take(random.permutation(np.concatenate([np.flatnonzero(with_site), drawn])))
        both = self.flanks is TrainingFlanks.BOTH
        genomic = random.random(chosen.size) < 0.5 if both else self._genomic(chosen.size)
        return chosen._replace(genomic=genomic)

    def centred(self, limit: int | None = None) -> Windows:
        """Lay windows centred on their genes, as validation and test use them.

        Parameters
        ----------
        limit : int, optional
            Most windows to return, evenly spread over all; without it all.

        Returns
        -------
        Windows
            The windows, gene by gene.

        """
        lengths = self.genes.end - self.genes.start
        windows = self._lay((-lengths % self.core) // 2)
        if limit is not None and windows.size > limit:
            windows = windows.take(np.arange(limit, dtype=np.int64) * windows.size // limit)
        return windows

    def batch(self, windows: Windows) -> Batch:
        """Read the bases and labels of some windows, at least one; the batch is on the CPU."""
        classes = np.zeros((windows.size, self.core), dtype=np.int64)
        codes = np.empty((windows.size, self.core + 2 * self.context), dtype=np.uint8)
        places: list[Ints] = []
        rows: list[Ints] = []
        for at, (gene, x, genomic) in enumerate(zip(*windows, strict=True)):
            length = int(self.genes.end[gene] - self.genes.start[gene])
            codes[at] = self._codes(gene, int(x), length, genomic=bool(genomic))
            classes[at, : max(0, -x)] = UNLABELLED
            classes[at, max(0, length - x) :] = UNLABELLED
            first, end = self._sites_in_core(gene, x)
            offset = self.sites.absolute[first:end] - self.genes.absolute[gene]
            column = (length - 1 - offset if self.genes.minus[gene] else offset) - x
            label = self.sites.label[first:end]
            classes[at, column] = label
            labelled = label != UNLABELLED
            places.append(at * self.core + column[labelled])
            rows.append(np.arange(first, end)[labelled])
        usage = self.sites.usage[np.concatenate(rows)]
        arrays = (codes, classes, np.concatenate(places), usage)
        return Batch(*(torch.from_numpy(np.ascontiguousarray(x)) for x in arrays))

    def _lay(self, shift: Ints) -> Windows:
        """Windows over every gene; the first core of a gene begins `shift` bases before it."""
        counts = -(-(self.genes.end - self.genes.start + shift) // self.core)
        gene = np.repeat(np.arange(len(self.genes)), counts)
        k = np.arange(len(gene)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Windows(gene, k * self.core - shift[gene], self._genomic(len(gene)))

    def _genomic(self, windows: int) -> NDArray[np.bool_]:
        return np.full(windows, self.flanks is TrainingFlanks.GENOMIC)

    def _core_span(self, gene: Ints, x: Ints) -> tuple[Ints, Ints]:
        """Absolute positions [first, end) of the part of each window's core that lies in its gene."""
        start, end, absolute = (part[gene] for part in (self.genes.start, self.genes.end, self.genes.absolute))
        length = end - start
        low, high = np.maximum(x, 0), np.minimum(x + self.core, length)
        minus = self.genes.minus[gene]
        return absolute + np.where(minus, length - high, low), absolute + np.where(minus, length - low, high)

    def _holds_site(self, windows: Windows) -> NDArray[np.bool_]:
        """Whether a labelled site lies in the core of each window."""
        labelled = self.sites.absolute[self.sites.label != UNLABELLED]
        first, end = (np.searchsorted(labelled, bound) for bound in self._core_span(windows.gene, windows.x))
        return first < end

    def _sites_in_core(self, gene: np.int64, x: np.int64) -> tuple[int, int]:
        """Range [first, end) of the indices of sites in the core of one window."""
        span = self._core_span(np.array([gene]), np.array([x]))
        first, end = (int(np.searchsorted(self.sites.absolute, bound)[0]) for bound in span)
        return first, end

    def _codes(self, gene: np.int64, x: int, length: int, *, genomic: bool) -> Codes:
        """Bases that a window reads, in transcription order."""
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
