"""The program: its help, and how it ends."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import typer

from pipeline.cli.app import COMMANDS, app

NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_of_every_command_is_explained(name: str) -> None:
    command = typer.main.get_command(app).commands[name]
    assert command.help
    for parameter in command.params:
        help_text = getattr(parameter, "help", None)
        assert help_text, f"{name}: {parameter.name} has no help"
        assert help_text.endswith("."), f"{name}: {parameter.name}"
        assert "[" not in help_text.replace("FILE[,FILE...]", ""), f"{name}: {parameter.name}: brackets are markup"


def test_help_is_printed_with_defaults(sptx_here: Any) -> None:
    run = sptx_here("run", "--help")
    assert run.code == 0
    for told in ("--windows-per-shard", "(default: 64)", "--sites-threshold", "(default: 0.01)", "Selection"):
        assert told in run.out


def test_bad_input_is_one_sentence_and_exit_code_2(sptx: Any, tmp_path: Any) -> None:
    done: subprocess.CompletedProcess[str] = sptx("status", tmp_path / "nothing", code=2)
    assert done.stderr.startswith("sptx: ")
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_unknown_flags_and_commands_end_with_2(sptx_here: Any) -> None:
    assert sptx_here("run", "--no-such-flag", code=None).code == 2
    assert sptx_here("no-such-command", code=None).code == 2
