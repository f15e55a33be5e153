"""FASTA and GTF text for tests, and the genome and annotation of the suite's example.

`fasta` and `gtf` are the suite's only writers of these formats. `gtf` takes `Transcript`s; `gtf_line` makes one line
with any attributes, for tests of the reader. Positions are 1-based and inclusive, as in the files. `plainly` reads a
FASTA by its lines, to compare with.

`write_example` writes two contigs of random bases (with a run of N and soft-masked stretches) and five genes on both
strands, whose introns run from GT to AG. The files are always the same. Nothing else about the sequence is gene-like.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sptx_core.alphabet import decode, encode, reverse_complement

LINE_BASES = 60


class Transcript(NamedTuple):
    """A transcript; `exons` are (first, last), ascending."""

    name: str
    contig: str
    strand: str
    exons: Sequence[tuple[int, int]]
    biotype: str = "protein_coding"
    gene: str | None = None
    tags: Sequence[str] = ()
    own_gene_id: str | None = None

    @property
    def gene_name(self) -> str:
        """Name of the gene; without one, the transcript's."""
        return self.gene or self.name

    @property
    def gene_id(self) -> str:
        """Id of the gene; without one, derived from its name."""
        return self.own_gene_id or f"G_{self.gene_name}"

    @property
    def start(self) -> int:
        """First base."""
        return self.exons[0][0]

    @property
    def end(self) -> int:
        """Last base."""
        return self.exons[-1][1]


def fasta(
    sequences: Mapping[str, str], *, line_bases: int = LINE_BASES, newline: str = "\n", description: str = "of a test"
) -> str:
    """Text of a FASTA with these contigs."""
    lines = []
    for name, sequence in sequences.items():
        lines.append(f">{name} {description}")
        lines += [sequence[start : start + line_bases] for start in range(0, len(sequence), line_bases)]
    return newline.join(lines) + newline


def plainly(text: bytes) -> dict[str, bytes]:
    """Contig -> bases of a FASTA, by no other rule than that a line with `>` begins a contig."""
    found: dict[str, bytes] = {}
    name = ""
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.startswith(b">"):
            name = line[1:].split()[0].decode()
            assert name not in found
            found[name] = b""
        elif line.strip():
            found[name] += line.removesuffix(b"\r")
    return found


def gtf_line(contig: str, feature: str, start: object, end: object, strand: str = "+", **attributes: object) -> str:
    """One line of a GTF, without its end; the values of an attribute that is a list are written one by one."""
    pairs = [
        (key, each) for key, value in attributes.items() for each in (value if isinstance(value, list) else [value])
    ]
    text = " ".join(f'{key} "{value}";' for key, value in pairs)
    return f"{contig}\ttest\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{text}"


def gff3_line(contig: str, feature: str, start: object, end: object, strand: str = "+", **attributes: object) -> str:
    """One line of a GFF3, without its end."""
    text = ";".join(f"{key}={value}" for key, value in attributes.items())
    return f"{contig}\ttest\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{text}"


def gtf(transcripts: Iterable[Transcript]) -> str:
    """Text of a GTF in GENCODE's style; consecutive transcripts of one gene share its line."""
    lines = ["##description: genes of a test"]
    for _, group in groupby(transcripts, lambda one: (one.gene_id, one.contig, one.strand)):
        of_gene = list(group)
        first = of_gene[0]
        gene = {"gene_id": first.gene_id, "gene_type": first.biotype, "gene_name": first.gene_name}
        span = min(one.start for one in of_gene), max(one.end for one in of_gene)
        lines.append(gtf_line(first.contig, "gene", *span, first.strand, **gene))
        for one in of_gene:
            attributes = gene | {"transcript_id": one.name, "transcript_type": one.biotype, "tag": list(one.tags)}
            lines.append(gtf_line(one.contig, "transcript", one.start, one.end, one.strand, **attributes))
            lines += [
                gtf_line(one.contig, "exon", *exon, one.strand, exon_number=rank, **attributes)
                for rank, exon in enumerate(one.exons if one.strand == "+" else one.exons[::-1], start=1)
            ]
    return "\n".join(lines) + "\n"


def write_gtf(path: Path, transcripts: Iterable[Transcript]) -> str:
    """Write `gtf` to a plain file and return its path as text."""
    path.write_text(gtf(transcripts))
    return str(path)


SEED = 7
CONTIGS = {"chr1": 60_000, "chr2": 24_000}
_BASIC, _MAIN = ("basic",), ("basic", "MANE_Select")
GENES = (
    Transcript(
        "EXT00000011.1", "chr1", "+", ((2_001, 2_300), (4_101, 4_260), (7_501, 8_200)), gene="ALPHA1", tags=_MAIN
    ),
    Transcript("EXT00000012.1", "chr1", "+", ((2_051, 2_300), (7_501, 8_200)), gene="ALPHA1", tags=_BASIC),
    Transcript(
        "EXT00000021.1", "chr1", "-", ((6_001, 6_400), (9_001, 9_150), (12_001, 12_500)), gene="BETA2", tags=_MAIN
    ),
    Transcript(
        "EXT00000031.1", "chr1", "+", ((30_001, 30_200), (33_001, 33_180), (41_001, 41_900)), gene="GAMMA3", tags=_MAIN
    ),
    Transcript("EXT00000041.1", "chr2", "-", ((151, 600), (2_501, 2_640), (5_801, 6_300)), gene="DELTA4", tags=_MAIN),
    Transcript("EXT00000051.1", "chr2", "+", ((20_001, 20_300), (23_001, 23_990)), gene="EPSILON5", tags=_MAIN),
)


def write_example(folder: Path) -> tuple[Path, Path]:
    """Write the example's `genome.fa` and `annotation.gtf.gz` into `folder`, which is created; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    genome, annotation = folder / "genome.fa", folder / "annotation.gtf.gz"
    genome.write_text(fasta(_example_sequences()))
    annotation.write_bytes(gzip.compress(gtf(GENES).encode(), mtime=0))
    return genome, annotation


def _example_sequences() -> dict[str, str]:
    """The contigs: N at the start of chr1, GT and AG at the ends of all introns, 2,000 bases in lower case."""
    random = np.random.default_rng(SEED)
    contigs = {name: random.integers(0, 4, length).astype(np.uint8) for name, length in CONTIGS.items()}
    contigs["chr1"][:1_000] = encode("N")
    for gene in GENES:
        codes = contigs[gene.contig]
        left, right = encode("GT"), encode("AG")
        if gene.strand == "-":
            left, right = reverse_complement(right), reverse_complement(left)
        for (_, before), (after, _) in pairwise(gene.exons):
            codes[before : before + 2], codes[after - 3 : after - 1] = left, right
    texts = {name: decode(codes) for name, codes in contigs.items()}
    middle = {name: len(text) // 2 for name, text in texts.items()}
    return {
        name: text[: middle[name]] + text[middle[name] : middle[name] + 2_000].lower() + text[middle[name] + 2_000 :]
        for name, text in texts.items()
    }
