"""The settings of a command: one validated model behind its flags, their help, and its YAML files.

A command's settings are the fields of a `Settings` class; names, defaults, limits and help texts stand there alone.
`load(yaml, flags)` merges a YAML file (keys are the fields) with command-line flags, which win, and validates the
result. In place of a file it takes the name of a ready one, which sptx brings along (`ready_settings`). Paths are made
absolute, so that a worker elsewhere reads the same file. Errors: `InputError` that names the setting and its source.
"""

from __future__ import annotations

import os
import re
import textwrap
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import fsspec
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from sptx_core.errors import InputError
from sptx_core.files import reading, reason
from sptx_core.redaction import shown

_THOUSANDS = re.compile(r"[0-9]{3}(?:-[0-9]*)?")  # what follows a comma within a region


class Precision(StrEnum):
    """Arithmetic of the network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def as_text(value: object) -> object:
    """A whole number as YAML reads it becomes text again."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _split(value: object) -> object:
    """`a,b` and repeated flags alike become a tuple."""
    value = as_text(value)
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return tuple(part.strip() for item in value for part in str(item).split(",") if part.strip())
    return value


def _split_regions(value: object) -> object:
    """As `_split`, but a comma before three digits is a thousands separator, not the next region."""
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
            if fresh or ":" not in regions[-1] or not _THOUSANDS.fullmatch(text):
                regions.append(text)
            else:
                regions[-1] += "," + text
            fresh = False
    return tuple(regions)


def absolute(uri: str) -> str:
    """`uri` unchanged when it names a protocol, else the absolute local path (a trailing slash is dropped)."""
    if "://" in uri:
        return uri.rstrip("/")
    return str(Path(uri).expanduser().absolute())


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Regions = Annotated[tuple[str, ...], BeforeValidator(_split_regions)]
Location = Annotated[str, BeforeValidator(lambda value: absolute(value) if isinstance(value, str) else value)]


def checkpoint_location(value: object) -> object:
    """A local path becomes absolute; what does not exist locally may be a hub id (`owner/name`) and stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        is_here = Path(value).expanduser().exists()
    except OSError:  # a folder that may not be searched, or a name that is too long: the loader tells it
        is_here = True
    return absolute(value) if is_here else value


INPUTS, EXECUTION = "Inputs", "Execution"  # panels of the help


def setting(default: Any, panel: str | None, description: str, **limits: Any) -> Any:
    """A field of `Settings`: its default (`...` where it is required), the panel of the help, and its text there.

    A setting without a panel is no flag: it can only be given in a YAML file.
    """
    return Field(default, description=description, json_schema_extra={"panel": panel}, **limits)


class Settings(BaseModel):
    """What a command can be told, by flags and a YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=False)

    @classmethod
    def load(cls, yaml_uri: str | None, flags: dict[str, Any]) -> Self:
        """The validated union of a YAML file and of the flags that were given (those not None), which win."""
        values: dict[str, Any] = {}
        if yaml_uri is not None:
            values.update(_read_yaml(yaml_uri, ready_settings(cls)))
        values.update({name: value for name, value in flags.items() if value is not None and value != []})
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(_error_sentence(error, yaml_uri, cls)) from None

    def to_yaml(self) -> str:
        """The settings as YAML that `load` reads back to the same settings, but for the secrets of URIs."""
        values = self.model_dump(mode="json", exclude_none=True)
        ordered = {name: values[name] for name in self.setting_names() if name in values}
        return yaml.safe_dump(shown(ordered), sort_keys=False)

    @classmethod
    def template(cls) -> str:
        """Every setting as YAML, with its help as a comment, by panels of the help.

        A setting that has no default value is commented out.
        """
        by_panel: dict[str, list[str]] = {}
        for name in cls.setting_names():
            field = cls.model_fields[name]
            extra = field.json_schema_extra
            panel = (extra.get("panel") if isinstance(extra, dict) else None) or "Only in settings files"
            comments = textwrap.wrap(
                f"{field.description}", 116, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
            )
            by_panel.setdefault(str(panel), []).extend([*comments, _template_line(name, field), ""])
        return "\n".join(line for panel, lines in by_panel.items() for line in (f"## {panel}", "", *lines))

    @classmethod
    def setting_names(cls) -> list[str]:
        """Names of the settings: a class's own before those that it shares with other classes."""
        shared = {name for kind in cls.__mro__[1:] if issubclass(kind, Settings) for name in kind.model_fields}
        return sorted(cls.model_fields, key=shared.__contains__)  # which keeps the order of either kind


class JobSettings(Settings):
    """What every job on the workbench can be told: where its output goes and how it is executed."""

    output: Location | None = setting(None, INPUTS, "folder of the output, or an s3://, gs:// or az:// URI")
    workers: int | None = setting(
        None,
        EXECUTION,
        "largest number of actors, the processes that compute (default: one for each GPU, or without GPUs enough to "
        "use all cores)",
        ge=1,
    )
    threads: int | None = setting(
        None,
        EXECUTION,
        "CPU threads of each actor (default: 2 with a GPU, otherwise its share of the cores, at most 8)",
        ge=1,
    )
    gpus_per_worker: float | None = setting(
        None,
        EXECUTION,
        "share of a GPU for each actor; 0 computes on CPUs (default: 1 if there are GPUs)",
        ge=0,
        le=1,
    )
    cpu_workers: int = setting(
        0,
        EXECUTION,
        "largest number of actors on CPUs in addition to those on GPUs, on nodes of a cluster without a GPU",
        ge=0,
    )
    batch: int | None = setting(
        None, EXECUTION, "windows computed at once (default: chosen by the first run of an output)", ge=1
    )
    engine: str = setting("auto", EXECUTION, "engine path, one of those that `sptx --version` lists")
    address: str | None = setting(
        None,
        EXECUTION,
        "Ray cluster to join: auto or host:port; also set by RAY_ADDRESS (default: start a Ray on this machine)",
    )
    shared_output: bool = setting(False, EXECUTION, "confirm that all nodes of the cluster mount a local output path")
    object_store_mb: int = setting(
        200, EXECUTION, "memory in MiB for the object store of a Ray that is started here", ge=80
    )
    max_attempts: int = setting(3, EXECUTION, "number of tries before a shard is recorded as failed", ge=1)
    storage_patience: int = setting(
        900, EXECUTION, "seconds that the run waits when storage stops answering, before it ends", ge=0
    )


def ray_address(setting: str | None) -> str | None:
    """Address of the cluster to join: the setting, else `RAY_ADDRESS`, else None for an embedded Ray.

    Raises
    ------
    InputError
        It is that of a dashboard, which takes jobs, but cannot be joined.

    """
    address = setting or os.environ.get("RAY_ADDRESS") or None
    if address and address.startswith(("http://", "https://")):
        raise InputError(
            f"{address} is the address of a Ray dashboard: submit the run there (`ray job submit --address {address} "
            "-- sptx run --address auto ...`; here and on the head this needs ray[default]), or give --address "
            "host:port of the cluster itself"
        )
    return None if address == "local" else address


def ready_settings(settings: type[Settings]) -> dict[str, Path]:
    """Name -> file of the settings of this kind that sptx brings along."""
    package = Path(__file__).parent
    folders = [package / "configs"]  # of an installed package
    if (package.parent / "pyproject.toml").is_file():
        folders.append(package.parent / "configs")  # of a checkout
    files = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    known = settings.model_fields.keys()
    return {path.stem: path for path in files if yaml.safe_load(path.read_bytes()).keys() <= known}


def _template_line(name: str, field: FieldInfo) -> str:
    if field.is_required() or field.default in (None, ()):
        return f"# {name}:"
    value = field.default.value if isinstance(field.default, StrEnum) else field.default
    return yaml.safe_dump({name: value}).strip()


def _read_yaml(uri: str, ready: dict[str, Path]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(_content(uri, ready))
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # dates that are none, and nesting without end
        if isinstance(error, InputError):
            raise
        raise InputError(f"settings file {uri} is not valid YAML: {reason(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"settings file {uri} must hold `name: value` lines, not a {type(values).__name__}")
    return values


def _content(uri: str, ready: dict[str, Path]) -> bytes:
    with reading(f"settings file {uri}"):
        if "://" not in uri:  # a path is taken as it is, whatever `::` it may hold
            path = Path(uri).expanduser()
            if not path.exists():
                if uri not in ready:
                    names = ", ".join(ready) or "none here"
                    raise InputError(f"settings file {uri} does not exist; ready ones, by name: {names}")
                path = ready[uri]
            return path.read_bytes()
        with fsspec.open(uri, "rb") as stream:
            content: bytes = stream.read()
        return content


def _error_sentence(error: ValidationError, yaml_uri: str | None, settings: type[Settings]) -> str:
    """Pydantic's findings as one sentence."""
    source = f" (flags and {yaml_uri})" if yaml_uri else ""
    parts = []
    for finding in error.errors():
        name = ".".join(str(part) for part in finding["loc"])
        kind = finding["type"]
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
