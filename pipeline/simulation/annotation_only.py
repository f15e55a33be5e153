"""A GENCODE-style GTF of whole-genome size, without a sequence: input for benchmarks of planning. SYNTHETIC.

By default it is as large as GENCODE's comprehensive set: 63,000 genes, 250,000 transcripts and 1.6 million exons, with
about as many lines of CDS, UTR and codons, on the 25 assembled contigs of GRCh38. The lengths of genes and exons are
log-normal with the medians of human ones. Genes and their names are of no organism. The same arguments give the same
bytes.

Lengths are in bases. Coordinates are 1-based and inclusive throughout this module, as in the file.

Errors: `InputError` for numbers of genes, transcripts and exons that contradict each other.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sptx_core.errors import InputError
from sptx_core.words import counted

Ints = NDArray[np.int64]

GENES, TRANSCRIPTS, EXONS = 63_000, 250_000, 1_600_000
_NAMES = [f"chr{name}" for name in [*range(1, 23), "X", "Y", "M"]]
_LENGTHS = [  # bases, GRCh38
    *(248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973, 145_138_636),
    *(138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718, 101_991_189, 90_338_345),
    *(83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983, 50_818_468, 156_040_895, 57_227_415, 16_569),
]
CONTIGS = dict(zip(_NAMES, _LENGTHS, strict=True))
"""Length in bases of each contig of a whole genome."""
_MIN_CONTIG_GENES = 37  # of the default total, as many as on the mitochondrial contig
_GENE_MEDIAN, _GENE_SIGMA, _MAX_GENE = 6_500, 1.8, 2_300_000  # the mean is about 30,000
_EXON_MEDIAN, _EXON_SIGMA = 130, 0.7
_MIN_SLOT = 60  # bases of a transcript for each exon and the intron after it
_MAX_TRANSCRIPTS = 201  # of a gene
_MAX_EXONS = 121  # of a transcript
_CODING_GENES = 0.9  # share of the genes with many transcripts
_CODING_TRANSCRIPTS = 0.75  # share of a coding gene's transcripts
_MANY_TRANSCRIPTS = 4  # genes with fewer are not coding
_TAGS = ("basic", "CCDS", "MANE_Select", "appris_principal_1", "alternative_5_UTR", "mRNA_start_NF", "exp_conf")


class _Transcripts(NamedTuple):
    """One row a transcript, in the order of the file: index of its gene, first and last base, number of exons."""

    gene: Ints
    start: Ints
    end: Ints
    exons: Ints


def write_annotation(
    path: Path,
    *,
    seed: int = 0,
    genes: int = GENES,
    transcripts: int = TRANSCRIPTS,
    exons: int = EXONS,
    contigs: Mapping[str, int] = CONTIGS,
) -> None:
    """Write the annotation.

    Parameters
    ----------
    path : Path
        The gzip file to write.
    seed : int
        Seed of the random numbers, 0 or more.
    genes, transcripts, exons : int
        How many the file holds, exactly.
    contigs : mapping
        Length in bases of each contig.

    Raises
    ------
    InputError
        If there are fewer transcripts than genes, fewer exons than transcripts, or more than fit.
    """
    if not 1 <= genes <= transcripts <= exons:
        raise InputError(
            f"{counted(genes, 'gene')}, {counted(transcripts, 'transcript')} and {counted(exons, 'exon')}: each gene "
            "needs a transcript, each transcript an exon"
        )
    random = np.random.default_rng(seed)
    lengths = np.array(list(contigs.values()))
    weight = np.maximum(lengths / lengths.sum(), _MIN_CONTIG_GENES / GENES)
    contig = np.sort(random.choice(len(lengths), genes, p=weight / weight.sum()))
    contig_length = lengths[contig]
    length = random.lognormal(np.log(_GENE_MEDIAN), _GENE_SIGMA, genes).clip(_MIN_SLOT, _MAX_GENE)
    length = np.minimum(length, contig_length // 4).astype(np.int64)
    start = 1 + (random.random(genes) * (contig_length - length)).astype(np.int64)
    order = np.lexsort((start, contig))
    placed = _transcripts(random, start[order], length[order], transcripts, exons)
    listed = list(contigs)
    names = [listed[index] for index in contig]
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file:
        file.write(b"##description: synthetic annotation, not of any organism\n##provider: sptx\n##format: gtf\n")
        for text in _gene_texts(random, names, start[order], length[order], placed):
            file.write(text.encode())


def _transcripts(random: np.random.Generator, start: Ints, length: Ints, total: int, exons: int) -> _Transcripts:
    """Place transcripts within their genes, the first over all of its gene, and choose how many exons each has."""
    count = 1 + _spread(random, length**0.5, total - len(length), np.full(len(length), _MAX_TRANSCRIPTS - 1))
    gene = np.repeat(np.arange(len(length)), count)
    is_first = np.diff(gene, prepend=-1) > 0
    keep = np.where(is_first, 1.0, random.uniform(0.3, 1.0, total))
    span = np.maximum((length[gene] * keep).astype(np.int64), _MIN_SLOT)
    first = start[gene] + (random.random(total) * (length[gene] - span + 1)).astype(np.int64)
    room = np.minimum(span // _MIN_SLOT, _MAX_EXONS) - 1
    return _Transcripts(gene, first, first + span - 1, 1 + _spread(random, span**0.35, exons - total, room))


def _spread(random: np.random.Generator, weight: NDArray[np.floating[Any]], total: int, room: Ints) -> Ints:
    """Distribute `total` at random: int64, about proportional to `weight`, at most `room` each."""
    if total > room.sum():
        held = counted(len(weight), "gene or transcript has", "genes or transcripts have")
        raise InputError(f"{held} no room for {total:,} more; give more of them")
    given = np.zeros(len(weight), np.int64)
    while (left := total - given.sum()) > 0:
        open_weight = np.where(given < room, weight * random.exponential(size=len(weight)), 0.0)
        draw = random.multinomial(left, open_weight / open_weight.sum())
        given = np.minimum(given + draw, room)
    return given


def _gene_texts(
    random: np.random.Generator, contig: list[str], start: Ints, length: Ints, transcripts: _Transcripts
) -> Iterator[str]:
    """The lines of the genes, one gene at a time."""
    bounds = np.searchsorted(transcripts.gene, np.arange(len(start) + 1))
    for gene, (low, high) in enumerate(pairwise(bounds)):
        strand = "+-"[int(random.integers(2))]
        coding = high - low >= _MANY_TRANSCRIPTS and bool(random.random() < _CODING_GENES)
        biotype = "protein_coding" if coding else ("lncRNA", "miRNA", "processed_pseudogene")[int(random.integers(3))]
        place = f"{contig[gene]}\tHAVANA"
        head = f'gene_id "ENSG{gene + 1:011d}.{gene % 19 + 1}"; '
        about_gene = f'gene_type "{biotype}"; gene_name "GENE{gene + 1}"; '
        end = start[gene] + length[gene] - 1
        lines = [f"{place}\tgene\t{start[gene]}\t{end}\t.\t{strand}\t.\t{head}{about_gene}level 2;"]
        for index in range(low, high):
            kind = (
                biotype
                if random.random() < _CODING_TRANSCRIPTS or not coding
                else ("retained_intron", "nonsense_mediated_decay")[index % 2]
            )
            tags = "".join(f' tag "{tag}";' for tag in _TAGS[: int(random.integers(1, 5))])
            about = (
                f'{head}transcript_id "ENST{index + 1:011d}.{index % 7 + 1}"; {about_gene}transcript_type "{kind}"; '
                f'transcript_name "GENE{gene + 1}-{index - low + 201}";'
            )
            tail = f' level 2; transcript_support_level "{index % 5 + 1}"; hgnc_id "HGNC:{gene + 1}";{tags}'
            span = f"{transcripts.start[index]}\t{transcripts.end[index]}"
            lines.append(f"{place}\ttranscript\t{span}\t.\t{strand}\t.\t{about}{tail}")
            exons = _exons(
                random, int(transcripts.start[index]), int(transcripts.end[index]), int(transcripts.exons[index])
            )
            lines += _exon_lines(
                exons if strand == "+" else exons[::-1], place, strand, about, tail, coding=kind == "protein_coding"
            )
        yield "\n".join(lines) + "\n"


def _exons(random: np.random.Generator, start: int, end: int, count: int) -> list[tuple[int, int]]:
    """Exons of a transcript, ascending: one in each of `count` equal slots, the first and the last at its ends."""
    slot = (end - start + 1) // count
    lengths = random.lognormal(np.log(_EXON_MEDIAN), _EXON_SIGMA, count).clip(1, slot - 1).astype(np.int64)
    first = start + slot * np.arange(count) + (random.random(count) * (slot - lengths)).astype(np.int64)
    first[0], first[-1] = start, end - lengths[-1] + 1
    if count == 1:
        return [(start, end)]
    return list(zip(first.tolist(), (first + lengths - 1).tolist(), strict=True))


def _exon_lines(
    exons: list[tuple[int, int]], place: str, strand: str, about: str, tail: str, *, coding: bool
) -> Iterator[str]:
    """Lines of the exons, in transcription order; in a coding transcript the first and last are UTR, the others CDS."""
    for number, (first, last) in enumerate(exons, 1):
        rest = f'{about} exon_number {number}; exon_id "ENSE{first:011d}.1";{tail}'
        yield f"{place}\texon\t{first}\t{last}\t.\t{strand}\t.\t{rest}"
        if coding:
            outer = number in (1, len(exons))
            yield f"{place}\t{'UTR' if outer else 'CDS'}\t{first}\t{last}\t.\t{strand}\t{'.' if outer else 0}\t{rest}"
            if number in (2, len(exons) - 1) and last - first > 1:
                codon = "start_codon" if number == 2 else "stop_codon"
                yield f"{place}\t{codon}\t{first}\t{first + 2}\t.\t{strand}\t0\t{rest}"
