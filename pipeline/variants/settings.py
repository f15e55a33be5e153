"""The settings of `sptx variants` and `sptx saturate`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from pipeline.settings import (
    INPUTS,
    JobSettings,
    Location,
    Names,
    Precision,
    Regions,
    as_text,
    checkpoint_location,
    setting,
)
from sptx_core.windows import TRAINED_CORE

SELECTION, SCORES = "Selection", "What is computed"  # panels of the help
MAX_DISTANCE = 100_000
MAX_ALLELES_PER_SHARD = 20_000
MAX_DELETION = 1000  # of a saturation
MAX_SHARD_BASES = 10_000_000  # that a shard's changes are judged by: about 200 bytes each, for 15 tissues
_LENGTHS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


class Windows(StrEnum):
    """How windows lie: about each change, or where those of the tracks lie."""

    CENTRED = "centred"
    GRID = "grid"


class Beyond(StrEnum):
    """What lies beyond a gene's ends: the genome, or N as SpliceAI has it."""

    GENOMIC = "genomic"
    GENE = "gene"


class Outside(StrEnum):
    """What is done with changes that touch no gene: nothing, or both strands are scored."""

    SKIP = "skip"
    BOTH = "both"


class ScoringConfig(JobSettings):
    """What `variants` and `saturate` can both be told. Lengths are in bases."""

    fasta: Location = setting(..., INPUTS, "genome FASTA, plain or bgzip; path or URI")
    gtf: Location = setting(..., INPUTS, "GENCODE, Ensembl or other GTF or GFF3, plain or gzip; path or URI")
    checkpoint: Annotated[str, BeforeValidator(checkpoint_location)] = setting(
        ..., INPUTS, "official .ckpt, safetensors file or folder, or hub id (owner/name, or owner/name@revision)"
    )
    genes: Names = setting((), SELECTION, "gene names or ids, separated by commas")
    biotypes: Names = setting((), SELECTION, "transcript types, such as protein_coding,lncRNA")

    distance: int = setting(
        100, SCORES, "bases on either side of a change in which effects are sought", ge=0, le=MAX_DISTANCE
    )
    windows: Windows = setting(
        Windows.CENTRED, SCORES, "windows centred on each change, or the fixed windows of `sptx run`"
    )
    core: int = setting(TRAINED_CORE, SCORES, "predicted bases of a window, with --windows grid", ge=1)
    tracks: Location | None = setting(
        None, SCORES, "table of `sptx run --exact` with the scores of the reference, for --windows grid"
    )
    flanks: Beyond = setting(
        Beyond.GENOMIC, SCORES, "what the network reads beyond a gene's ends: the genome, or N as in SpliceAI"
    )
    precision: Precision = setting(Precision.FLOAT32, SCORES, "arithmetic of the network")
    sites: bool = setting(
        False, SCORES, "also store the scores of every base around each change; needed to draw variants"
    )
    alleles_per_shard: int = setting(
        100,
        SCORES,
        "alleles in a shard, the unit of work that becomes one file; 2000 suits a GPU",
        ge=1,
        le=MAX_ALLELES_PER_SHARD,
    )

    @model_validator(mode="after")
    def _in_memory(self) -> Self:
        bases = 2 * self.distance + 1
        if self.alleles_per_shard * bases > MAX_SHARD_BASES:
            raise ValueError(
                f"{self.alleles_per_shard:,} alleles a shard of {bases:,} bases each take too much memory: give "
                f"--alleles-per-shard {MAX_SHARD_BASES // bases} or less"
            )
        return self

    @model_validator(mode="after")
    def _of_tracks(self) -> Self:
        if self.tracks is not None and (self.windows is not Windows.GRID or self.flanks is not Beyond.GENOMIC):
            raise ValueError("a table of tracks has windows of its own: give --windows grid and --flanks genomic")
        if self.tracks is not None and self.precision is not Precision.FLOAT32:
            raise ValueError("scores of the reference from --tracks are float32, and alternatives must be, too")
        return self


class VariantsConfig(ScoringConfig):
    """Everything that `sptx variants` can be told."""

    vcf: Location = setting(..., INPUTS, "VCF, plain or gzip, or BCF (needs the extra vcf); path or URI")
    outside_genes: Outside = setting(
        Outside.SKIP, SELECTION, "variants that touch no gene: leave out, or score on both strands"
    )
    max_length: int = setting(1000, SELECTION, "longest change that is scored, in bases", ge=1, le=100_000)
    sample: str | None = setting(
        None, SELECTION, "sample of the VCF; rows then say which of its haplotypes has the allele"
    )
    haplotypes: bool = setting(
        False, SELECTION, "also score phased variants of --sample together if their windows overlap"
    )

    @model_validator(mode="after")
    def _of_a_sample(self) -> Self:
        if self.haplotypes and self.sample is None:
            raise ValueError("haplotypes are those of a sample: give --sample")
        return self


class SaturateConfig(ScoringConfig):
    """Everything that `sptx saturate` can be told; regions are 1-based inclusive text (`chr9:214,900-215,100`)."""

    regions: Regions = setting((), SELECTION, "regions, 1-based inclusive (chr9:214,900-215,100)")
    deletions: Annotated[str, BeforeValidator(as_text)] = setting(
        "", SELECTION, "lengths of deletions to score as well, such as 1 or 1-4; at most 1000"
    )
    insertions: int = setting(0, SELECTION, "also score all insertions of up to this many bases, at most 3", ge=0, le=3)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.genes or self.regions):
            raise ValueError("choose genes or regions")
        self.deletion_lengths()
        return self

    def deletion_lengths(self) -> range:
        """Lengths of the deletions."""
        if not self.deletions:
            return range(0)
        given = _LENGTHS.fullmatch(self.deletions.strip())
        first, last = (int(given[1]), int(given[2] or given[1])) if given else (0, 0)
        if not 1 <= first <= last <= MAX_DELETION:
            raise ValueError(
                f"deletions = {self.deletions!r}: give a length or a range, as in 1-4, of up to {MAX_DELETION} bases"
            )
        return range(first, last + 1)
