"""What a trained network says of changes whose effect is known: broken splice sites and synonymous changes.

    python benchmarks/real_variants.py FOLDER GENOME.fa.gz GENES.gtf.gz CHECKPOINT --genes DOCK8,CBWD1

Of each gene the CCDS transcript with the most exonic bases is taken. Two kinds of single-base changes are written to
FOLDER/changes.vcf and scored with `sptx variants` (a second time it goes on):

- the first base (of GT) and the last base (of AG) of each intron are changed to their complements. Of the sites that
  the network scores at least 0.8 in the reference, 9 in 10 must lose at least 0.5 at exactly the site that was broken;
- in each coding exon the synonymous change of a codon's third base that is nearest to the exon's middle, at least 30
  bases from either end. Their median `d_splice` must be below 0.01.

Prints a table and ends with 1 if either is not so.
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import polars as pl
from Bio.Seq import translate

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from pipeline.variants.reader import open_variants
from sptx_core.alphabet import decode

CONFIDENT, LOSS, SHARE, SYNONYMOUS = 0.8, 0.5, 0.9, 0.01
FROM_EXON_ENDS = 30
COMPLEMENT = str.maketrans("ACGT", "TGCA")
BASES = "ACGT"


class Known(NamedTuple):
    """A change whose effect is known; `pos` and `site` (the exon base beside a broken intron end) are 1-based."""

    pos: int
    ref: str
    alt: str
    kind: str
    site: int | None = None


def main() -> None:
    """Write the changes, score them, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("fasta")
    parser.add_argument("gtf")
    parser.add_argument("checkpoint")
    parser.add_argument("--genes", required=True)
    given = parser.parse_args()
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    changes: list[Known] = []
    for gene in given.genes.split(","):
        transcript = longest_ccds(given.gtf, gene)
        contig, genome = transcript["contig"], Genome(given.fasta)
        changes += [*broken_sites(transcript, genome), *synonymous(given.gtf, transcript, genome)]
    write_vcf(folder / "changes.vcf", contig, changes)
    inputs = ["--vcf", folder / "changes.vcf", "--fasta", given.fasta, "--gtf", given.gtf, "--genes", given.genes]
    command = ["sptx", "variants", *inputs, "--checkpoint", given.checkpoint, "--output", folder / "scores", "--sites"]
    subprocess.run([str(word) for word in command], check=True)
    raise SystemExit(not judged(folder / "scores", given.genes.split(",")))


def longest_ccds(gtf: str, gene: str) -> dict[str, object]:
    """The CCDS transcript of a gene with the most exonic bases, as a row of the annotation."""
    length = pl.col("exon_ends").list.sum() - pl.col("exon_starts").list.sum()
    rows = read_annotation(gtf).transcripts.filter(pl.col("gene_name") == gene, pl.col("tags").list.contains("CCDS"))
    return rows.sort(length, "transcript_id", descending=[True, False]).row(0, named=True)


def broken_sites(transcript: dict[str, object], genome: Genome) -> Iterator[Known]:
    """Both ends of each intron, changed."""
    contig, minus = str(transcript["contig"]), transcript["strand"] == "-"
    exons = list(zip(transcript["exon_starts"], transcript["exon_ends"], strict=True))  # type: ignore[call-overload]
    for (_, left), (right, _) in pairwise(exons):
        ends = [
            ("acceptor" if minus else "donor", left + 1, left),
            ("donor" if minus else "acceptor", right, right + 1),
        ]
        for kind, pos, site in ends:
            ref = decode(genome.fetch(contig, pos - 1, pos))
            yield Known(pos, ref, ref.translate(COMPLEMENT), kind, site)


def synonymous(gtf: str, transcript: dict[str, object], genome: Genome) -> Iterator[Known]:
    """In each coding exon the synonymous change nearest to its middle, if there is one."""
    contig, minus = str(transcript["contig"]), transcript["strand"] == "-"
    for first, last, phase in coding_exons(gtf, str(transcript["transcript_id"])):
        text = decode(genome.fetch(contig, first - 1, last))
        text = text.translate(COMPLEMENT)[::-1] if minus else text
        middle = len(text) / 2
        thirds = [at for at in range(phase + 2, len(text), 3) if FROM_EXON_ENDS <= at < len(text) - FROM_EXON_ENDS]
        for at in sorted(thirds, key=lambda at: abs(at - middle)):
            codon = text[at - 2 : at + 1]
            same = [base for base in BASES if base != codon[2] and translate(codon[:2] + base) == translate(codon)]
            if same:
                pos, ref, alt = (
                    (last - at, *(b.translate(COMPLEMENT) for b in (codon[2], same[0])))
                    if minus
                    else (first + at, codon[2], same[0])
                )
                yield Known(pos, ref, alt, "synonymous")
                break


def coding_exons(gtf: str, transcript: str) -> Iterator[tuple[int, int, int]]:
    """First base, last base (1-based) and phase (GTF: bases before the first whole codon) of each CDS line."""
    with (gzip.open if gtf.endswith(".gz") else open)(gtf, "rt") as lines:
        for line in lines:
            words = line.split("\t")
            if len(words) > 8 and words[2] == "CDS" and re.search(rf'transcript_id "{re.escape(transcript)}"', line):
                yield int(words[3]), int(words[4]), int(words[7])


def write_vcf(path: Path, contig: str, changes: Sequence[Known]) -> None:
    """The changes in order; what is known of one is its ID."""
    lines = ["##fileformat=VCFv4.3", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for one in sorted(changes):
        name = one.kind if one.site is None else f"{one.kind}_{one.site}"
        lines.append(f"{contig}\t{one.pos}\t{name}\t{one.ref}\t{one.alt}\t.\t.\t.")
    path.write_text("\n".join(lines) + "\n")


def judged(scores: Path, genes: Sequence[str]) -> bool:
    """Print what came out, gene by gene, and say whether it is as it must be."""
    table = open_variants(scores)
    rows = table.scan().collect()
    sound = True
    for gene in [*genes, "all"]:
        own = rows if gene == "all" else rows.filter(pl.col("gene_name") == gene)
        for kind, loss in (("donor", "dl"), ("acceptor", "al")):
            broken = own.filter(pl.col("id").str.starts_with(f"{kind}_")).with_columns(
                pl.col("id").str.extract(r"_(\d+)$").cast(pl.Int64).alias("site")
            )
            at_site = table.scan(sites=True).select("record", "gene_id", pl.col("pos").alias("site"), f"ref_{kind}")
            broken = broken.join(at_site.collect(), on=["record", "gene_id", "site"], how="left")
            held = broken.filter(pl.col(f"ref_{kind}") >= CONFIDENT)
            lost = held.filter((pl.col(f"ds_{loss}") >= LOSS) & (pl.col(f"{loss}_pos") == pl.col("site")))
            sound &= len(lost) >= SHARE * len(held) > 0
            median = held[f"ds_{loss}"].median()
            print(
                f"{gene:<8} {kind:<10} {len(broken):>3} broken, {len(held):>3} of them at {CONFIDENT} or above: "
                f"{len(lost):>3} lose {LOSS} or more at the site itself, median loss {median:.3f}"
            )
        silent = own.filter(pl.col("id") == "synonymous")["d_splice"]
        median, high = silent.median(), silent.quantile(0.9)
        sound &= median < SYNONYMOUS  # type: ignore[operator]  # of floats
        print(
            f"{gene:<8} synonymous {len(silent):>3} changes, median d_splice {median:.4f}, nine in ten below {high:.3f}"
        )
    return sound


if __name__ == "__main__":
    sys.exit(main())
