"""Flags made from settings: names, types, and what a command is called with."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.flags import with_flags
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.settings import EXECUTION, INPUTS, Location, Names, Settings, setting
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import InputError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Paint(Settings):
    """Settings of every kind."""

    picture: Location = setting(..., INPUTS, "picture to paint")
    names: Names = setting((), INPUTS, "names")
    colour: Colour = setting(Colour.RED, INPUTS, "colour")
    layers_of_paint: int = setting(2, EXECUTION, "layers", ge=1)
    share: float | None = setting(None, EXECUTION, "share")
    fast: bool = setting(False, EXECUTION, "fast")
    secret: dict[str, Any] | None = setting(None, None, "only in YAML files")


def painted(
    *arguments: str, chosen: dict[str, str] | None = None, told: list[str] | None = None
) -> tuple[int, Paint | None, str | None]:
    """Exit code, and what the command was called with; what is printed is added to `told`, without lines and boxes."""
    seen: list[Any] = []
    app = typer.Typer()

    @app.command()
    @with_flags(Paint, chosen)
    def paint(settings: Paint, own: str | None = None) -> None:
        """Paint."""
        seen.extend((settings, own))

    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if told is not None:
        told.append(" ".join(re.sub("[╭╮╰╯│─]", " ", result.output).split()))
    return (result.exit_code, *(seen or (None, None)))


def test_each_kind_of_setting_has_its_flag(tmp_path: Path) -> None:
    code, settings, own = painted(
        *("--picture", "/a.png", "--names", "A,B", "--names", "C", "--colour", "blue", "--layers-of-paint", "3"),
        *("--share", "0.5", "--fast", "--own", "mine"),
    )
    assert (code, own) == (0, "mine")
    assert settings == Paint(
        picture="/a.png", names=("A", "B", "C"), colour=Colour.BLUE, layers_of_paint=3, share=0.5, fast=True
    )


def test_flags_win_over_yaml_and_what_neither_says_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("picture: /a.png\nlayers_of_paint: 5\nfast: true\nsecret: {a: 1}\n")
    _, settings, _ = painted("--config", str(path), "--layers-of-paint", "7")
    assert settings == Paint(picture="/a.png", layers_of_paint=7, fast=True, secret={"a": 1})


def test_chosen_settings_alone_are_flags_and_those_given_are_known() -> None:
    chosen = {"picture": "what to paint", "layers_of_paint": "coats (default: as many as it takes)", "fast": "in haste"}
    _, settings, own = painted("--picture", "/a.png", "--fast", "--own", "mine", chosen=chosen)
    assert (settings, own) == (Paint(picture="/a.png", fast=True), "mine")
    assert settings is not None
    assert settings.model_fields_set == {"picture", "fast"}
    assert painted("--picture", "/a.png", "--share", "0.5", chosen=chosen)[0] == 2
    assert painted("--picture", "/a.png", "--config", "a.yaml", chosen=chosen)[0] == 2
    told: list[str] = []
    painted("--help", chosen=chosen, told=told)
    assert "Coats (default: as many as it takes)" in told[0]
    assert not any(text in told[0] for text in ("Picture to paint", "--share", "--config"))
    with pytest.raises(InputError, match="`layers_of_paint` = 0"):
        painted("--picture", "/a.png", "--layers-of-paint", "0", chosen=chosen)


@pytest.mark.parametrize("wrong", [("--secret", "x"), ("--colour", "green"), ("--layers-of-paint", "many")])
def test_what_is_no_flag_or_no_value_is_refused(wrong: tuple[str, str]) -> None:
    code, settings, _ = painted("--picture", "/a.png", *wrong)
    assert code == 2
    assert settings is None


# The flags of 0.1.0, which stay.
RUN_FLAGS = """config fasta gtf checkpoint output genes transcripts regions contigs biotypes tags flanks precision core
overlap windows-per-shard exact sites-threshold workers threads gpus-per-worker batch engine address shared-output"""
FINETUNE_FLAGS = """config fasta gtf usage junctions checkpoint output validation test contigs genes biotypes tags
flanks core empty-windows freeze epochs batch learning-rate site-weight usage-weight precision
gradient-checkpointing seed validate-every patience workers threads gpus-per-worker address"""


@pytest.mark.parametrize(
    ("name", "settings", "flags"),
    [("run", RunConfig, RUN_FLAGS), ("plan", RunConfig, RUN_FLAGS), ("finetune", FinetuneConfig, FINETUNE_FLAGS)],
)
def test_no_flag_has_gone(name: str, settings: type[Settings], flags: str) -> None:
    from pipeline.cli.app import app

    command = typer.main.get_command(app).commands[name]
    found = {option for parameter in command.params for option in parameter.opts}
    assert {f"--{flag}" for flag in flags.split()} <= found
    assert {parameter.name for parameter in command.params} - {"config", "rate", "devices", "quiet", "as_json"} <= set(
        settings.model_fields
    )
