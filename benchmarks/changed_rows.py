"""How far a change of one base spreads through the attention layers, and what comes of leaving small changes out.

    python benchmarks/changed_rows.py GENOME.fa.gz CHECKPOINT --contig chr9 --changes 12
    python benchmarks/changed_rows.py GENOME.fa.gz CHECKPOINT --sites ANNOTATION.gtf.gz --changes 1000

For random single-base changes in centred windows (core 201) the plain network predicts reference and alternative; with
`--sites` they lie within 10 bases of an annotated site of the plus strand, where most of them matter. Then
the alternative again, and after each layer every position whose features differ from the reference's by no more than
`limit` standard deviations (root mean square over the features) is set back to the reference's. What is left are the
positions that a computation which follows only what changes would have to compute. Printed are how many these are, and
by how much `d_splice` and the splice scores differ from the exact ones. Last, what a screen by such a computation would
miss that computes exactly whatever it finds to have a `d_splice` of at least `--screen`: the changes whose exact
`d_splice` is at least `--matters`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import load_network
from pipeline.inputs.splice_sites import splice_sites
from sptx_core.alphabet import Codes
from sptx_core.model import SpTransformerModel

CORE, LIMITS = 201, (1e-4, 1e-3, 1e-2, 1e-1)
NEAR_SITE = 10  # bases


class Spread:
    """Hooks on the layers of a network: keep the reference's features, or set small differences back to them."""

    def __init__(self, model: SpTransformerModel) -> None:
        self.limit: float | None = None
        self.keep = False
        self.reference: list[Tensor] = []
        self.rows: list[float] = []
        for number, layer in enumerate(model.layers):
            layer.register_forward_hook(self._hook(number))

    def _hook(self, number: int) -> Callable[..., Any]:
        def hook(_layer: Any, _inputs: Any, outputs: tuple[Tensor, ...]) -> Any:
            features, *others = outputs
            if self.keep:
                self.reference.append(features.clone())
            if self.limit is None:
                return None
            held = self.reference[number]
            near = (features - held).pow(2).mean(-1).sqrt() <= self.limit * held.std()
            self.rows.append(float((~near).sum()))
            return torch.where(near[..., None], held, features), *others

        return hook


def splice_scores(model: SpTransformerModel, codes: Codes) -> np.ndarray[Any, Any]:
    """Acceptor and donor, [core, 2]."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(codes[None].astype(np.int64)), flanked=True).logits
    scores: np.ndarray[Any, Any] = torch.softmax(logits[0, :, :3], -1)[:, 1:].numpy()
    return scores


def d_splice(reference: np.ndarray[Any, Any], alternative: np.ndarray[Any, Any]) -> float:
    """Largest change of max(acceptor, donor)."""
    return float(np.abs(alternative.max(axis=1) - reference.max(axis=1)).max())


def plus_sites(annotation: str) -> list[tuple[str, int]]:
    """Contig and 0-based position of the annotated sites of the plus strand, as the annotation names the contigs."""
    transcripts = read_annotation(annotation).transcripts.rename({"contig": "chrom", "transcript_type": "biotype"})
    sites = splice_sites(transcripts.filter(pl.col("strand") == "+"))
    return [(chrom, pos - 1) for chrom, pos in sites.select("chrom", "pos").unique().sort("chrom", "pos").iter_rows()]


def main() -> None:
    """Predict, and print a line for each limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genome")
    parser.add_argument("checkpoint")
    parser.add_argument("--contig", default="chr9")
    parser.add_argument("--changes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--sites", help="annotation: changes lie near its sites")
    parser.add_argument("--screen", type=float, default=0.05)
    parser.add_argument("--matters", type=float, default=0.2)
    given = parser.parse_args()
    genome, model = Genome(given.genome), load_network(given.checkpoint).model.eval()
    context, draw, spread = model.sizes.context, random.Random(given.seed), Spread(model)
    half = CORE // 2 + context
    sites = plus_sites(given.sites) if given.sites else []
    found: dict[float, list[tuple[float, float, float, float]]] = {limit: [] for limit in LIMITS}
    while len(found[LIMITS[0]]) < given.changes:
        if sites:
            contig, site = draw.choice(sites)
            centre = site + draw.randint(-NEAR_SITE, NEAR_SITE)
        else:
            contig, centre = given.contig, draw.randrange(half, genome.lengths[given.contig] - half)
        if not half <= centre < genome.lengths[contig] - half:
            continue
        codes = genome.fetch(contig, centre - half, centre + half + 1).copy()
        if codes[half] > 3:  # N
            continue
        changed = codes.copy()
        changed[half] = (changed[half] + draw.randrange(1, 4)) % 4
        spread.reference.clear()
        spread.keep, spread.limit = True, None
        reference = splice_scores(model, codes)
        spread.keep = False
        exact = splice_scores(model, changed)
        for limit in LIMITS:
            spread.limit = limit
            spread.rows.clear()
            nearly = splice_scores(model, changed)
            followed, true = d_splice(reference, nearly), d_splice(reference, exact)
            found[limit].append((float(np.mean(spread.rows)), followed, true, float(np.abs(nearly - exact).max())))
        spread.limit = None
    print(f"{given.changes} changes, {model.sizes.max_seq_len} positions a layer")
    for limit, lines in found.items():
        rows, followed_all, exact_all, scores = np.array(lines).T
        errors = np.abs(followed_all - exact_all)
        matter, kept = exact_all >= given.matters, followed_all >= given.screen
        print(
            f"limit {limit:g}: {rows.mean():.0f} positions a layer; d_splice off by {np.median(errors):.1e} in the "
            f"median, {errors.max():.1e} at most; scores by {np.median(scores):.1e}, {scores.max():.1e}; a screen at "
            f"{given.screen:g} computes {kept.sum()} exactly and misses {(matter & ~kept).sum()} of the {matter.sum()} "
            f"that reach {given.matters:g}"
        )


if __name__ == "__main__":
    main()
