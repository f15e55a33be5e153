"""Stored scores against the plain network called on sequence cut by hand, ten windows of a finished table.

    python benchmarks/check_by_hand.py TABLE GENOME.fa.gz CHECKPOINT

Five windows a strand: those that hold the first and the last base of a locus, and others spread between. The sequence
is read by pyfaidx and reversed here, so that nothing of the pipeline's own reading, cutting and stitching is used.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pyfaidx
import torch

from pipeline.tracks.reader import open_tracks
from sptx_core.channels import CHANNELS
from sptx_core.model import SpTransformerModel

CORE = 1000
CODES = {letter: code for code, letter in enumerate("ACGTN")}
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def by_hand(model: SpTransformerModel, contig: pyfaidx.FastaRecord, strand: str, window: int) -> np.ndarray:
    """Scores [CORE, 18] of a grid window, ascending by position."""
    flank = model.config.context
    low, high = window * CORE - flank, (window + 1) * CORE + flank
    text = "N" * max(0, -low) + str(contig[max(0, low) : min(high, len(contig))]).upper()
    text += "N" * (high - low - len(text))
    if strand == "-":
        text = text.translate(COMPLEMENT)[::-1]
    codes = torch.tensor([[CODES[letter] for letter in text]])
    with torch.inference_mode():
        scores = model(codes, flanked=True).scores()[0].numpy()
    return scores[::-1] if strand == "-" else scores


def main() -> None:
    """Compare, print a row a window, and fail when a difference exceeds the stored precision."""
    table, fasta, checkpoint = sys.argv[1:]
    tracks, genome = open_tracks(table), pyfaidx.Fasta(fasta)
    model = SpTransformerModel.from_pretrained(checkpoint)
    bound = np.array([5e-5] * 3 + [5e-4] * 15) + 2e-5
    worst = 0.0
    for strand in "+-":
        loci = tracks.loci.filter(pl.col("strand") == strand).sort("start")
        longest = loci.sort("end").row(-1, named=True)
        first, last = loci.row(0, named=True), longest
        middle = np.linspace(longest["start"], longest["end"], 5)[1:4].astype(int)
        chosen = [(first["chrom"], first["start"]), (last["chrom"], last["end"])]
        chosen += [(longest["chrom"], int(pos)) for pos in middle]
        for chrom, pos in chosen:
            window = (pos - 1) // CORE
            rows = tracks.region(f"{chrom}:{window * CORE + 1}-{(window + 1) * CORE}", strand=strand)
            expected = by_hand(model, genome[chrom], strand, window)[rows["pos"].to_numpy() - 1 - window * CORE]
            difference = np.abs(rows.select(CHANNELS).to_numpy() - expected)
            worst = max(worst, float((difference / bound).max()))
            print(
                f"{chrom} {strand} window {window:6d} {len(rows):5d} rows  splice {difference[:, :3].max():.1e}  "
                f"usage {difference[:, 3:].max():.1e}"
            )
    print(f"largest difference: {worst:.2f} of what rounding (half a step) and float32 logits allow")
    raise SystemExit(worst > 1)


if __name__ == "__main__":
    main()
