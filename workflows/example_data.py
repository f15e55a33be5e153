"""Make the files that `sptx example` brings along: `python workflows/example_data.py GENOME ANNOTATION NETWORK`.

GENOME is a FASTA of GRCh38 (or of the start of its chromosome 9), ANNOTATION a GTF of GENCODE 27 with contigs as in the
genome, NETWORK what `sptx convert CI-SpliceAI.pb NETWORK` made: CI-SpliceAI's five networks, of which the first is
taken. Written are the files of `pipeline/example/data` but NOTICE.txt, variants.vcf and the network's README.md, which
people wrote.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterable
from pathlib import Path

from Bio.bgzf import BgzfWriter
from pyfaidx import Fasta

from pipeline.example.human import ANNOTATION, CHECKPOINT, DATA, GENOME
from pipeline.inputs.genome import Genome
from sptx_core.checkpoint import load_checkpoint
from sptx_core.model import SpTransformerModel

CONTIG, END = "chr9", 500_000
LINE_BASES = 60
HEADER = (
    "##description: evidence-based annotation of the human genome (GRCh38), version 27 (Ensembl 91), genes within "
    f"{CONTIG}:1-{END}\n##provider: GENCODE\n##format: gtf\n"
)


def main() -> None:
    """Cut the genome and its annotation, copy the network."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("genome", "annotation", "network"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    with BgzfWriter(str(DATA / GENOME), compresslevel=9) as fasta:
        fasta.write(fasta_text(str(Fasta(str(given.genome))[CONTIG][:END])))
    for ending in (".fai", ".gzi"):
        (DATA / f"{GENOME}{ending}").unlink(missing_ok=True)
    Genome(str(DATA / GENOME))  # builds the indexes beside it
    with gzip.open(given.annotation, "rt") as lines:
        text = HEADER + "".join(lines_within(lines))
    (DATA / ANNOTATION).write_bytes(gzip.compress(text.encode(), mtime=0))
    first = load_checkpoint(given.network).of_member(0)
    SpTransformerModel.from_checkpoint(first).save_pretrained(DATA / CHECKPOINT)


def fasta_text(sequence: str) -> str:
    """The contig as text of a FASTA; soft-masked bases stay in lower case."""
    rows = (sequence[at : at + LINE_BASES] for at in range(0, len(sequence), LINE_BASES))
    return f">{CONTIG}\n" + "\n".join(rows) + "\n"


def lines_within(lines: Iterable[str]) -> list[str]:
    """The lines of genes that lie in the stretch as a whole."""
    kept, within = [], set()
    for line in lines:
        columns = line.split("\t")
        if len(columns) < 9 or columns[0] != CONTIG:
            continue
        gene = re.search(r'gene_id "([^"]+)"', columns[8])
        if gene and columns[2] == "gene" and int(columns[4]) <= END:
            within.add(gene[1])
        if gene and gene[1] in within:  # a gene's line comes before those of its transcripts
            kept.append(line)
    return kept


if __name__ == "__main__":
    main()
