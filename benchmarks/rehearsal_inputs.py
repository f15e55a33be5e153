"""Inputs of `rehearsal.py`: a genome and an annotation as large as the human ones, and a network. SYNTHETIC.

The genome is bgzip with its indices. It is put together from a pool of blocks that are compressed once (random bases,
half of them soft-masked), so that 3.1 Gb are written at the speed of the disk: its bases repeat, but never within the
reach of a compressor. Each contig begins and ends with N and has a run of N in its middle, as human ones do.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.inputs.bgzip import index_of
from pipeline.inputs.fasta_index import Contig, fai_text
from pipeline.simulation.annotation_only import CONTIGS, EXONS, GENES, TRANSCRIPTS, write_annotation
from sptx_core.demo import demo_checkpoint

LINE_BASES = 60
BLOCK_LINES = 1_070  # of 61 bytes: 65,270 of the 65,280 that bgzip itself puts into a block
BLOCK_BASES = LINE_BASES * BLOCK_LINES
POOL_BLOCKS = 1_024  # 66 Mb of bases
END_BLOCKS = 1  # of N at each end of a contig
MIDDLE_SHARE = 0.05  # of a contig's blocks, in its middle, are N
MASKED_RUN = 300  # bases of a run of one case, in the mean
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")  # the empty block that ends a file


@dataclass(frozen=True)
class Size:
    """How large the rehearsal is: bases of each contig, counts of the annotation, windows in a shard, actors."""

    contigs: Mapping[str, int]
    genes: int
    transcripts: int
    exons: int
    windows_per_shard: int
    workers: int
    region: str
    """What is written to an object store, too."""
    published: bool
    """Whether the network is of the published size, or the small one that sptx brings along."""


WHOLE = Size(CONTIGS, GENES, TRANSCRIPTS, EXONS, 2_000, 2, "chr21", published=True)
SMALL = Size({"chr1": 3_000_000, "chr2": 1_500_000, "chrM": 16_569}, 60, 240, 1_500, 200, 1, "chr2", published=False)


class Inputs(NamedTuple):
    """Paths of the inputs; `checkpoint` is a folder."""

    genome: Path
    annotation: Path
    checkpoint: Path


def inputs_in(folder: Path) -> Inputs:
    """Where the inputs lie."""
    return Inputs(folder / "genome.fa.gz", folder / "annotation.gtf.gz", folder / "checkpoint")


def write_inputs(folder: Path, size: Size) -> Inputs:
    """Write all inputs."""
    inputs = inputs_in(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_genome(inputs.genome, size.contigs)
    counts = {"genes": size.genes, "transcripts": size.transcripts, "exons": size.exons}
    write_annotation(inputs.annotation, contigs=size.contigs, **counts)
    if size.published:
        from sptx_core.config import SpTransformerConfig  # late: PyTorch takes seconds to load
        from sptx_core.engine.bench import seeded_model

        seeded_model(SpTransformerConfig(), 0).save_pretrained(inputs.checkpoint)
    else:
        shutil.copytree(demo_checkpoint(), inputs.checkpoint, dirs_exist_ok=True)
    return inputs


def write_genome(path: Path, contigs: Mapping[str, int], seed: int = 0) -> None:
    """Write a genome of contigs of these lengths, and its `.fai` and `.gzi`."""
    random = np.random.default_rng(seed)
    total = sum(-(-length // BLOCK_BASES) for length in contigs.values())
    pool = [compressed(text_of_block(random)) for _ in range(min(POOL_BLOCKS, total))]
    unknown = compressed(lines_of(np.full(BLOCK_BASES, ord("N"), np.uint8)))
    blocks: list[tuple[int, int]] = []  # offset in the file, and bytes of text
    index: dict[str, Contig] = {}
    offset = text = 0
    with path.open("wb") as file:

        def put(block: bytes, size: int) -> None:
            nonlocal offset, text
            blocks.append((offset, size))
            file.write(block)
            offset, text = offset + len(block), text + size

        for name, length in contigs.items():
            header = f">{name} synthetic\n".encode()
            put(compressed(header), len(header))
            index[name] = Contig(length, text, LINE_BASES, LINE_BASES + 1)
            count, rest = divmod(length, BLOCK_BASES)
            for number in range(count):
                is_n = min(number, count - 1 - number) < END_BLOCKS or abs(number / count - 0.5) < MIDDLE_SHARE / 2
                put(unknown if is_n else pool[int(random.integers(len(pool)))], BLOCK_LINES * (LINE_BASES + 1))
            if rest:
                lines = lines_of(np.full(rest, ord("N"), np.uint8))
                put(compressed(lines), len(lines))
        file.write(END)
    Path(f"{path}.gzi").write_bytes(index_of(blocks).to_gzi())
    Path(f"{path}.fai").write_text(fai_text(index))


def text_of_block(random: np.random.Generator) -> bytes:
    """Lines of random bases, runs of them in lower case."""
    letters = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, BLOCK_BASES)]
    runs = random.geometric(1 / MASKED_RUN, 4 * BLOCK_BASES // MASKED_RUN)
    lower = np.repeat(np.arange(len(runs)) % 2, runs)[:BLOCK_BASES]
    return lines_of(letters + np.where(lower, ord("a") - ord("A"), 0).astype(np.uint8))


def lines_of(letters: np.ndarray) -> bytes:
    """Letters (uint8) as lines of `LINE_BASES`."""
    whole = letters[: len(letters) // LINE_BASES * LINE_BASES].reshape(-1, LINE_BASES)
    rest = letters[whole.size :].tobytes()
    return np.pad(whole, ((0, 0), (0, 1)), constant_values=ord("\n")).tobytes() + (rest + b"\n" if rest else b"")


def compressed(text: bytes) -> bytes:
    """A block of bgzip (the SAM specification, section 4.1)."""
    packer = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    body = packer.compress(text) + packer.flush()
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", 6) + b"BC\x02\x00"
    return head + struct.pack("<H", len(body) + 25) + body + struct.pack("<II", zlib.crc32(text), len(text))
