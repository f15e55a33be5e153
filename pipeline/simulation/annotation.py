"""A GENCODE-style GTF of whole-genome size without a sequence, made from a seed: input for benchmarks of the plan.

By default as large as GENCODE's comprehensive set: 63,000 genes, 250,000 transcripts, 1.6 million exons and about as
many lines of CDS, UTR and codons, on the 25 assembled contigs of GRCh38. Lengths of genes and exons are log-normal
with the human medians. SYNTHETIC: genes and names are of no organism. The same arguments give the same bytes.

Errors: `InputError` for numbers that do not fit each other.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sptx_core.errors import InputError

Ints = NDArray[np.int64]

GENES, TRANSCRIPTS, EXONS = 63_000, 250_000, 1_600_000
NAMES = [f"chr{name}" for name in [*range(1, 23), "X", "Y", "M"]]
LENGTHS = [  # bases, GRCh38
    *(248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973, 145_138_636),
    *(138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718, 101_991_189, 90_338_345),
    *(83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983, 50_818_468, 156_040_895, 57_227_415, 16_569),
]
CONTIGS = dict(zip(NAMES, LENGTHS, strict=True))
CONTIG_GENES = 37  # at least, as on the mitochondrial one
GENE_MEDIAN, GENE_SIGMA, GENE_LONGEST = 6_500, 1.8, 2_300_000  # bases; the mean comes to some 30 kb
EXON_MEDIAN, EXON_SIGMA = 130, 0.7
SHORTEST_SLOT = 60  # bases of a transcript for each exon and the intron after it
CODING_GENES, CODING_TRANSCRIPTS = 0.9, 0.75  # shares: of the genes with many transcripts, and of their transcripts
MANY_TRANSCRIPTS = 4
TAGS = ("basic", "CCDS", "MANE_Select", "appris_principal_1", "alternative_5_UTR", "mRNA_start_NF", "exp_conf")


class Transcripts(NamedTuple):
    """Columns, a row a transcript, in the order of the file; spans are 1-based inclusive."""

    gene: Ints
    start: Ints
    end: Ints
    exons: Ints


def write_annotation(
    path: Path, *, seed: int = 0, genes: int = GENES, transcripts: int = TRANSCRIPTS, exons: int = EXONS
) -> None:
    """Write the GTF (gzip) with exactly these numbers of genes, transcripts and exons."""
    if not 1 <= genes <= transcripts <= exons:
        raise InputError(
            f"{genes:,} genes, {transcripts:,} transcripts and {exons:,} exons: each gene needs a transcript, "
            "each transcript an exon"
        )
    random = np.random.default_rng(seed)
    weight = np.maximum(np.array(LENGTHS) / sum(LENGTHS), CONTIG_GENES / GENES)
    contig = np.sort(random.choice(len(LENGTHS), genes, p=weight / weight.sum()))
    contig_length = np.array(LENGTHS)[contig]
    length = random.lognormal(np.log(GENE_MEDIAN), GENE_SIGMA, genes).clip(SHORTEST_SLOT, GENE_LONGEST)
    length = np.minimum(length, contig_length // 4).astype(np.int64)
    start = 1 + (random.random(genes) * (contig_length - length)).astype(np.int64)
    order = np.lexsort((start, contig))
    rows = _transcripts(random, start[order], length[order], transcripts, exons)
    names = [NAMES[index] for index in contig]
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file:
        file.write(b"##description: synthetic annotation, not of any organism\n##provider: sptx\n##format: gtf\n")
        for block in _blocks(random, names, start[order], length[order], rows):
            file.write(block.encode())


def _transcripts(random: np.random.Generator, start: Ints, length: Ints, total: int, exons: int) -> Transcripts:
    """Spans of transcripts within their genes (the first one fills it) and how many exons each has."""
    count = 1 + _spread(random, length**0.5, total - len(length), np.full(len(length), 200))
    gene = np.repeat(np.arange(len(length)), count)
    is_first = np.diff(gene, prepend=-1) > 0
    keep = np.where(is_first, 1.0, random.uniform(0.3, 1.0, total))
    span = np.maximum((length[gene] * keep).astype(np.int64), SHORTEST_SLOT)
    first = start[gene] + (random.random(total) * (length[gene] - span + 1)).astype(np.int64)
    room = np.minimum(span // SHORTEST_SLOT - 1, 120)
    return Transcripts(gene, first, first + span - 1, 1 + _spread(random, span**0.35, exons - total, room))


def _spread(random: np.random.Generator, weight: NDArray[np.floating[Any]], total: int, room: Ints) -> Ints:
    """Whole numbers of about these weights, none above its room, that sum to the total."""
    if total > room.sum():
        raise InputError(f"{len(weight):,} genes or transcripts have no room for {total:,} more; give more of them")
    given = np.zeros(len(weight), np.int64)
    while (left := total - given.sum()) > 0:
        open_weight = np.where(given < room, weight * random.exponential(size=len(weight)), 0.0)
        draw = random.multinomial(left, open_weight / open_weight.sum())
        given = np.minimum(given + draw, room)
    return given


def _blocks(
    random: np.random.Generator, contig: list[str], start: Ints, length: Ints, rows: Transcripts
) -> Iterator[str]:
    """Text of the genes, one at a time."""
    bounds = np.searchsorted(rows.gene, np.arange(len(start) + 1))
    for gene, (low, high) in enumerate(pairwise(bounds)):
        strand = "+-"[int(random.integers(2))]
        coding = high - low >= MANY_TRANSCRIPTS and bool(random.random() < CODING_GENES)
        biotype = "protein_coding" if coding else ("lncRNA", "miRNA", "processed_pseudogene")[int(random.integers(3))]
        place = f"{contig[gene]}\tHAVANA"
        head = f'gene_id "ENSG{gene + 1:011d}.{gene % 19 + 1}"; '
        about_gene = f'gene_type "{biotype}"; gene_name "GENE{gene + 1}"; '
        end = start[gene] + length[gene] - 1
        lines = [f"{place}\tgene\t{start[gene]}\t{end}\t.\t{strand}\t.\t{head}{about_gene}level 2;"]
        for index in range(low, high):
            kind = (
                biotype
                if random.random() < CODING_TRANSCRIPTS or not coding
                else ("retained_intron", "nonsense_mediated_decay")[index % 2]
            )
            tags = "".join(f' tag "{tag}";' for tag in TAGS[: int(random.integers(1, 5))])
            about = (
                f'{head}transcript_id "ENST{index + 1:011d}.{index % 7 + 1}"; {about_gene}transcript_type "{kind}"; '
                f'transcript_name "GENE{gene + 1}-{index - low + 201}";'
            )
            tail = f' level 2; transcript_support_level "{index % 5 + 1}"; hgnc_id "HGNC:{gene + 1}";{tags}'
            span = f"{rows.start[index]}\t{rows.end[index]}"
            lines.append(f"{place}\ttranscript\t{span}\t.\t{strand}\t.\t{about}{tail}")
            exons = _exons(random, int(rows.start[index]), int(rows.end[index]), int(rows.exons[index]))
            lines += _pieces(
                exons if strand == "+" else exons[::-1], place, strand, about, tail, coding=kind == "protein_coding"
            )
        yield "\n".join(lines) + "\n"


def _exons(random: np.random.Generator, start: int, end: int, count: int) -> list[tuple[int, int]]:
    """Exons of a transcript, ascending: one in each of `count` equal slots, the outer ones at its ends."""
    slot = (end - start + 1) // count
    lengths = random.lognormal(np.log(EXON_MEDIAN), EXON_SIGMA, count).clip(1, slot - 1).astype(np.int64)
    first = start + slot * np.arange(count) + (random.random(count) * (slot - lengths)).astype(np.int64)
    first[0], first[-1] = start, end - lengths[-1] + 1
    if count == 1:
        return [(start, end)]
    return list(zip(first.tolist(), (first + lengths - 1).tolist(), strict=True))


def _pieces(
    exons: list[tuple[int, int]], place: str, strand: str, about: str, tail: str, *, coding: bool
) -> Iterator[str]:
    """Lines of the exons in transcription order; a coding transcript's inner ones are CDS, its outer ones UTR."""
    for number, (first, last) in enumerate(exons, 1):
        rest = f'{about} exon_number {number}; exon_id "ENSE{first:011d}.1";{tail}'
        yield f"{place}\texon\t{first}\t{last}\t.\t{strand}\t.\t{rest}"
        if coding:
            outer = number in (1, len(exons))
            yield f"{place}\t{'UTR' if outer else 'CDS'}\t{first}\t{last}\t.\t{strand}\t{'.' if outer else 0}\t{rest}"
            if number in (2, len(exons) - 1) and last - first > 1:
                codon = "start_codon" if number == 2 else "stop_codon"
                yield f"{place}\t{codon}\t{first}\t{first + 2}\t.\t{strand}\t0\t{rest}"
