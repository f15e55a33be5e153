"""The settings of a command: one validated model behind the flags and the YAML files.

`RunConfig.load(yaml, flags)` merges a YAML file (keys are the fields below) with command-line flags, which win,
and validates the result. Paths are made absolute, so that a worker elsewhere reads the same file. Settings fall
in three classes: what selects and defines the table (part of the fingerprint), how it is executed (not part of
it), and where things are. Errors: `InputError` naming the setting and its source.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import fsspec
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sptx_core.errors import InputError


class Flanks(StrEnum):
    """What lies beyond a transcript's ends: the genome, or N as in training."""

    GENOMIC = "genomic"
    TRANSCRIPT = "transcript"


class Precision(StrEnum):
    """Arithmetic of the network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def _split(value: object) -> object:
    """`a,b` and repeated flags alike become a tuple."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return tuple(part.strip() for item in value for part in str(item).split(",") if part.strip())
    return value


def _split_regions(value: object) -> object:
    """As `_split`, but a comma followed by digits is a thousands separator, not the next region."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    regions: list[str] = []
    for item in value:
        fresh = True  # a flag's first part always begins a region
        for part in str(item).split(","):
            text = part.strip()
            if not text:
                continue
            if fresh or ":" in text or not text.replace("-", "").isdigit():
                regions.append(text)
            else:
                regions[-1] += "," + text
            fresh = False
    return tuple(regions)


def absolute(uri: str) -> str:
    """`uri` unchanged when it names a protocol, else the absolute local path (a trailing slash is dropped)."""
    if "://" in uri or "::" in uri:
        return uri.rstrip("/")
    return str(Path(uri).expanduser().absolute())


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Regions = Annotated[tuple[str, ...], BeforeValidator(_split_regions)]
Location = Annotated[str, BeforeValidator(lambda value: absolute(value) if isinstance(value, str) else value)]


def checkpoint_location(value: object) -> object:
    """A local path becomes absolute; what does not exist locally may be a hub id (`owner/name`) and stays as it is."""
    if isinstance(value, str) and Path(value).expanduser().exists():
        return absolute(value)
    return value


class Settings(BaseModel):
    """What a command can be told, by flags and a YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=False)

    @classmethod
    def load(cls, yaml_uri: str | None, flags: dict[str, Any]) -> Self:
        """The validated union of a YAML file and of the flags that were given (those not None), which win."""
        values: dict[str, Any] = {}
        if yaml_uri is not None:
            values.update(_read_yaml(yaml_uri))
        values.update({name: value for name, value in flags.items() if value is not None and value != []})
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(_sentence(error, yaml_uri, cls)) from None

    def to_yaml(self) -> str:
        """The settings as YAML that `load` reads back to the same settings."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False)


class RunConfig(Settings):
    """Everything that `sptx run` and `sptx plan` can be told.

    Lengths are in bases; regions are 1-based inclusive text (`chr9:200,000-500,000`).
    """

    # Inputs and output
    fasta: Location = Field(description="genome FASTA, plain or bgzip, path or URI")
    gtf: Location = Field(description="annotation: GTF or GFF3, plain or gzip, path or URI")
    checkpoint: Annotated[str, BeforeValidator(checkpoint_location)] = Field(
        description="official .ckpt, safetensors file or folder, or a hub id"
    )
    output: Location | None = Field(None, description="root of the table, a folder or a URI")

    # Selection
    genes: Names = Field((), description="gene names or ids")
    transcripts: Names = Field((), description="transcript ids")
    regions: Regions = Field((), description="regions that transcripts must overlap; the output is clipped to them")
    contigs: Names = Field((), description="contigs")
    biotypes: Names = Field((), description="transcript types")
    tags: Names = Field((), description="annotation tags, any of which suffices")

    # What is computed
    flanks: Flanks = Field(Flanks.GENOMIC, description="sequence beyond a transcript's ends")
    precision: Precision = Field(Precision.FLOAT32, description="arithmetic of the network")
    core: int = Field(1000, ge=1, description="predicted bases a window")
    overlap: int = Field(0, ge=0, description="core bases that neighbouring windows share")
    windows_per_shard: int = Field(64, ge=1, le=16_000, description="windows in a shard: the unit of work and file")
    exact: bool = Field(False, description="store unrounded float32")
    sites_threshold: float = Field(0.01, ge=0, le=1, description="least max(acceptor, donor) of a sites row")

    # How it is executed
    workers: int | None = Field(None, ge=1, description="actors (default: one a GPU, else the cores once over)")
    threads: int | None = Field(None, ge=1, description="CPU threads an actor (default: cores / workers)")
    gpus_per_worker: float | None = Field(None, ge=0, le=1, description="share of a GPU an actor; 0: use CPUs")
    batch: int | None = Field(None, ge=1, description="windows in a micro-batch (default: chosen once)")
    engine: str = Field("auto", description="engine path, see `sptx bench`")
    address: str | None = Field(None, description="Ray cluster to join; without it an embedded Ray is started")
    shared_output: bool = Field(False, description="a local output path is one file system for all nodes")
    object_store_mb: int = Field(200, ge=80, description="memory of the embedded Ray's object store")
    max_attempts: int = Field(3, ge=1, description="tries a shard gets in one run before it is recorded as failed")

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.overlap >= self.core:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than core ({self.core})")
        return self


def ray_address(setting: str | None) -> str | None:
    """Address of the cluster to join: the setting, else `RAY_ADDRESS`, else None for an embedded Ray."""
    address = setting or os.environ.get("RAY_ADDRESS") or None
    return None if address == "local" else address


def _read_yaml(uri: str) -> dict[str, Any]:
    try:
        with fsspec.open(uri, "rt") as stream:
            values = yaml.safe_load(stream)
    except FileNotFoundError:
        raise InputError(f"settings file {uri} does not exist") from None
    except yaml.YAMLError as error:
        raise InputError(f"settings file {uri} is not valid YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"settings file {uri} cannot be read: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"settings file {uri} must hold `name: value` lines, not a {type(values).__name__}")
    return values


def _sentence(error: ValidationError, yaml_uri: str | None, settings: type[Settings]) -> str:
    """Pydantic's findings as one sentence."""
    source = f" (flags and {yaml_uri})" if yaml_uri else ""
    parts = []
    for finding in error.errors():
        name = ".".join(str(part) for part in finding["loc"])
        kind: Literal["missing", "extra_forbidden"] | str = finding["type"]
        if kind == "missing":
            parts.append(f"setting `{name}` is required (--{name.replace('_', '-')})")
        elif kind == "extra_forbidden":
            known = ", ".join(settings.model_fields)
            parts.append(f"unknown setting `{name}`; known are {known}")
        elif name:
            parts.append(f"setting `{name}` = {finding['input']!r}: {finding['msg'].lower()}")
        else:
            parts.append(finding["msg"].removeprefix("Value error, "))
    return f"bad settings{source}: " + "; ".join(parts)
