"""The settings of `sptx run` and `sptx plan`, and what of them defines the table.

Settings fall in three classes: what selects and defines the table (part of the fingerprint), how it is executed (not
part of it), and where things are. `TableSpec` is the second half of the first class: how the table is laid out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from pipeline.settings import INPUTS, JobSettings, Location, Names, Precision, Regions, checkpoint_location, setting
from sptx_core.windows import TRAINED_CORE, WindowSpec

SELECTION, TABLE = "Selection", "What is computed"  # panels of the help

# The limits of a shard: rows of its windows, of which one Parquet part is made (about 100 MB rounded, 900 MB exact).
MAX_SHARD_ROWS = 16_000_000
MAX_PART_ROWS = 64 * 262_144  # 64 row groups; windows may own more than their stride where cores overlap
MAX_POSITION = 2**31 - 1  # of the int32 column pos, and of the tables beside the parts
MAX_WINDOWS_PER_SHARD = MAX_SHARD_ROWS // TRAINED_CORE


class Flanks(StrEnum):
    """What lies beyond a transcript's ends: the genome, or N as in training."""

    GENOMIC = "genomic"
    TRANSCRIPT = "transcript"


class RunConfig(JobSettings):
    """Everything that `sptx run` and `sptx plan` can be told.

    Lengths are in bases; regions are 1-based inclusive text (`chr9:200,000-500,000`).
    """

    fasta: Location = setting(..., INPUTS, "genome FASTA, plain or bgzip; path or URI")
    gtf: Location = setting(..., INPUTS, "GENCODE, Ensembl or other GTF or GFF3, plain or gzip; path or URI")
    checkpoint: Annotated[str, BeforeValidator(checkpoint_location)] = setting(
        ..., INPUTS, "official .ckpt, safetensors file or folder, or hub id (owner/name, or owner/name@revision)"
    )
    genes: Names = setting((), SELECTION, "gene names or ids, separated by commas")
    transcripts: Names = setting((), SELECTION, "transcript ids")
    regions: Regions = setting(
        (), SELECTION, "regions, 1-based inclusive (chr9:200,000-500,000): transcripts that overlap them, cut to them"
    )
    contigs: Names = setting((), SELECTION, "contigs")
    biotypes: Names = setting((), SELECTION, "transcript types, such as protein_coding,lncRNA")
    tags: Names = setting((), SELECTION, "transcripts with any of these tags: basic,MANE_Select")

    flanks: Flanks = setting(
        Flanks.GENOMIC,
        TABLE,
        "what the network reads beyond a transcript's ends: the genome, or N as in training (gives rows by transcript)",
    )
    precision: Precision = setting(Precision.FLOAT32, TABLE, "arithmetic of the network")
    core: int = setting(TRAINED_CORE, TABLE, "predicted bases of a window; SpTransformer was trained with 1000", ge=1)
    overlap: int = setting(0, TABLE, "predicted bases that neighbouring windows share", ge=0)
    windows_per_shard: int = setting(
        64,
        TABLE,
        "windows in a shard, the unit of work that becomes one file; 2000 suits a GPU",
        ge=1,
        le=MAX_WINDOWS_PER_SHARD,
    )
    exact: bool = setting(False, TABLE, "store unrounded float32 values; the table is about nine times larger")
    sites_threshold: float = setting(
        0.01, TABLE, "lowest max(acceptor, donor) of rows in the table of likely sites", ge=0, le=1
    )

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.overlap >= self.core:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than core ({self.core})")
        return self


@dataclass(frozen=True)
class TableSpec:
    """How a table is laid out: what settings, plan, record, reader and worker all hold.

    Parameters
    ----------
    channels
        Names of the score columns in the network's order.
    flanks
        What lies beyond a transcript's ends; decides whether rows carry a transcript.
    exact
        Whether tracks are stored unrounded.
    sites_threshold
        Least max(acceptor, donor) of a row of the sites table.
    windows
        How windows lie.

    """

    channels: tuple[str, ...]
    flanks: Flanks
    exact: bool
    sites_threshold: float
    windows: WindowSpec

    @classmethod
    def of(cls, config: RunConfig, channels: tuple[str, ...], context: int) -> Self:
        """The layout that the settings ask for, with a network of these channels and `context` flanking bases."""
        windows = WindowSpec(core=config.core, context=context, overlap=config.overlap)
        return cls(channels, config.flanks, config.exact, config.sites_threshold, windows)

    def about(self) -> dict[str, Any]:
        """What `run.json` says of the table besides its fields."""
        return {
            "flanks": self.flanks.value,
            "channels": self.channels,
            "exact": self.exact,
            "sites_threshold": self.sites_threshold,
        }

    @classmethod
    def from_record(cls, fields: Mapping[str, Any], about: Mapping[str, Any]) -> Self:
        """The layout that `run.json` records; `KeyError`, `TypeError` or `ValueError` where it does not."""
        windows = WindowSpec(core=fields["core"], context=fields["context"], overlap=fields["overlap"])
        channels, flanks = tuple(about["channels"]), Flanks(about["flanks"])
        return cls(channels, flanks, about["exact"], about["sites_threshold"], windows)


def differing_settings(settings: RunConfig, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are among the fields of a run, and say something else than these; by name."""
    values = settings.model_dump(mode="json")
    names = sorted(values.keys() & fields.keys() - {"checkpoint", "transcripts"})  # of which the fields have digests
    return {name: values[name] for name in names if values[name] != fields[name]}
