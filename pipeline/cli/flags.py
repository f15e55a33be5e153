"""Flags of commands, made from the fields of their settings: names, types, defaults and help stand there alone.

`@with_flags(RunConfig)` turns `command(settings, ...)` into a command that has `--config` (a YAML file of settings), a
flag for each setting with a panel, and the command's own parameters; it is called with the validated settings. A flag
that is not given is None, so that a YAML file's value or the setting's own default holds.

`@with_flags(JobSettings, {"workers": "actors of Ray (default: ...)"})` gives it the flags of these settings alone, in
words of its own, and no `--config`. `settings.model_fields_set` names the settings that were given.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from pipeline.settings import INPUTS, Settings

MAX_CHOICES_SHOWN = 18  # characters of "float32|bfloat16" and its like in a help
TableRoot = Annotated[str, typer.Argument(help="The table: its folder or URI.", show_default=False)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no messages and no progress; errors are still printed.")
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Score from which a site is called (default: 0.1).", show_default=False),
]
Verified = Annotated[
    bool, typer.Option("--verify", help="Compare each part that is read with its checksum, which reads it as a whole.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as a JSON object on standard output.")]


def with_flags(
    settings: type[Settings], chosen: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of its settings, or of the chosen ones (name -> its help here); see the module."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        fields = {name: settings.model_fields[name] for name in settings.setting_names()}
        if chosen is None:
            flags = {"config": _CONFIG} | {name: _flag(name, field) for name, field in fields.items() if _panel(field)}
        else:
            flags = {name: _option_of(name, fields[name], text) for name, text in chosen.items()}
        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in flags.items()
        ]
        parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(command)
        def called(*, config: str | None = None, **given: Any) -> None:
            others = {parameter.name: given.pop(parameter.name) for parameter in own}
            command(settings.load(config, given), **others)

        called.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorated


def _flag(name: str, field: FieldInfo) -> Any:
    """The annotation of a setting's flag."""
    kind, default = _plain_type(field.annotation), field.default
    without = field.is_required() or default is None or default is False or default in ((), "")
    shown = "" if without else f" (default: {default})"
    if isinstance(kind, type) and issubclass(kind, StrEnum) and len("|".join(kind)) > MAX_CHOICES_SHOWN:
        # They would push the names of flags out of a terminal of 80 columns.
        return _option_of(name, field, f"{field.description}; one of {', '.join(kind)}{shown}", "<choice>")
    return _option_of(name, field, f"{field.description}{shown}")


def _option_of(name: str, field: FieldInfo, text: str, metavar: str | None = None) -> Any:
    return _option(_plain_type(field.annotation) | None, text, _panel(field), f"--{name.replace('_', '-')}", metavar)


def _option(kind: Any, text: str, panel: str, name: str, metavar: str | None = None) -> Any:
    help_text = f"{text[0].upper()}{text[1:]}."
    return Annotated[
        kind, typer.Option(name, help=help_text, rich_help_panel=panel, show_default=False, metavar=metavar)
    ]


_CONFIG = _option(
    str | None,
    "YAML file with settings that are named like the flags; a flag wins over the file. `run`, `plan` and `finetune` "
    "also take a name that `sptx config` lists",
    INPUTS,
    "--config",
)


def _panel(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("panel") or "") if isinstance(extra, dict) else ""


def _plain_type(annotation: Any) -> Any:
    """What Typer reads of a field's type: without validators and None, a tuple of texts as a list."""
    if get_origin(annotation) is Annotated:
        return _plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        (kind,) = (kind for kind in get_args(annotation) if kind is not type(None))
        return _plain_type(kind)
    return list[str] if get_origin(annotation) is tuple else annotation
