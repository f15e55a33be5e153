"""A small made-up genome, its annotation and an untrained network: enough to run the whole job in seconds.

`write(folder)` makes, always the same, `genome.fa` (two contigs, random bases, a stretch of N, soft-masked parts),
`annotation.gtf.gz` (GENCODE style; genes on both strands, several transcripts, introns from GT to AG) and
`checkpoint/` (our own layout, small sizes, random weights). The scores mean nothing: the network is untrained.
"""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sptx_core.alphabet import reverse_complement
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.model import SpTransformerModel

SEED = 7
CONTIGS = {"chr1": 60_000, "chr2": 24_000}
LINE = 60
LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
GT, AG = np.array([2, 3], dtype=np.uint8), np.array([0, 2], dtype=np.uint8)

SMALL = SpTransformerConfig(
    context=400,
    max_seq_len=2048,
    encoders=(
        SpTransformerFeatureEncoderConfig(16, (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))),
        SpTransformerFeatureEncoderConfig(8, (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))),
    ),
    input_path_channels=16,
    hidden_size=32,
    layers=2,
    heads=4,
    local_heads=1,
    feed_forward_size=64,
)


class ExampleGene(NamedTuple):
    """A gene of the example; exons are 0-based half-open, one list a transcript."""

    name: str
    contig: str
    strand: str
    transcripts: tuple[tuple[tuple[int, int], ...], ...]


GENES = (
    ExampleGene(
        "ALPHA1",
        "chr1",
        "+",
        (
            ((2_000, 2_300), (4_100, 4_260), (7_500, 8_200)),
            ((2_050, 2_300), (7_500, 8_200)),
        ),
    ),
    ExampleGene("BETA2", "chr1", "-", (((6_000, 6_400), (9_000, 9_150), (12_000, 12_500)),)),
    ExampleGene("GAMMA3", "chr1", "+", (((30_000, 30_200), (33_000, 33_180), (41_000, 41_900)),)),
    ExampleGene("DELTA4", "chr2", "-", (((150, 600), (2_500, 2_640), (5_800, 6_300)),)),
    ExampleGene("EPSILON5", "chr2", "+", (((20_000, 20_300), (23_000, 23_990)),)),
)


def write(folder: Path) -> tuple[Path, Path, Path]:
    """Write all into `folder` and return the paths of genome, annotation and checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    genome, annotation, checkpoint = folder / "genome.fa", folder / "annotation.gtf.gz", folder / "checkpoint"
    genome.write_text("".join(_fasta(name, codes) for name, codes in _contigs().items()))
    for index in folder.glob("genome.fa.*"):
        index.unlink()  # of an earlier genome of the same name
    with annotation.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as stream:
        stream.write(_gtf().encode())
    untrained_network(SMALL, SEED).save_pretrained(checkpoint)
    return genome, annotation, checkpoint


def untrained_network(config: SpTransformerConfig, seed: int) -> SpTransformerModel:
    """A network with random weights whose scores vary along the sequence."""
    generator = torch.Generator().manual_seed(seed)
    model = SpTransformerModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or name.endswith(("running_mean", "running_var")):
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
            gains = tensor.dim() == 1 and name.endswith("weight")
            tensor.copy_(1 + 0.1 * noise if gains else noise * (1.5 / fan_in**0.5 if tensor.dim() > 1 else 0.1))
    return model


def _contigs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(SEED)
    contigs = {name: random.integers(0, 4, length).astype(np.uint8) for name, length in CONTIGS.items()}
    contigs["chr1"][:1_000] = 4
    for gene in GENES:
        codes = contigs[gene.contig]
        for exons in gene.transcripts:
            for (_, intron_start), (intron_end, _) in pairwise(exons):
                five, three = (GT, AG) if gene.strand == "+" else (reverse_complement(AG), reverse_complement(GT))
                codes[intron_start : intron_start + 2] = five
                codes[intron_end - 2 : intron_end] = three
    return contigs


def _fasta(name: str, codes: np.ndarray) -> str:
    text = LETTERS[codes].tobytes().decode()
    half = len(text) // 2
    text = text[:half] + text[half : half + 2_000].lower() + text[half + 2_000 :]
    lines = (text[at : at + LINE] for at in range(0, len(text), LINE))
    return f">{name} made up\n" + "\n".join(lines) + "\n"


def _gtf() -> str:
    lines = ["##description: made-up genes on a made-up genome"]
    for number, gene in enumerate(GENES, start=1):
        ids = f'gene_id "EX{number:08d}.1"; '
        named = f'gene_type "protein_coding"; gene_name "{gene.name}"; '
        spans = [(exons[0][0], exons[-1][1]) for exons in gene.transcripts]
        lines.append(_line(gene, "gene", min(s for s, _ in spans), max(e for _, e in spans), ids + named))
        for order, exons in enumerate(gene.transcripts, start=1):
            own = f'transcript_id "EXT{number:07d}{order}.1"; '
            rest = f'{named}transcript_type "protein_coding"; tag "basic"; ' + ('tag "MANE_Select"; ' * (order == 1))
            lines.append(_line(gene, "transcript", exons[0][0], exons[-1][1], ids + own + rest))
            in_order = exons if gene.strand == "+" else exons[::-1]
            lines += [
                _line(gene, "exon", start, end, f"{ids}{own}{rest}exon_number {rank}; ")
                for rank, (start, end) in enumerate(in_order, start=1)
            ]
    return "\n".join(lines) + "\n"


def _line(gene: ExampleGene, feature: str, start: int, end: int, attributes: str) -> str:
    columns = (gene.contig, "example", feature, str(start + 1), str(end), ".", gene.strand, ".", attributes.strip())
    return "\t".join(columns)
