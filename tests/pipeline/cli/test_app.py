"""The program: its help, and how it ends."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from material import tables
from material.processes import SPTX

from pipeline.cli import main
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


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table without a genome."""
    root = tmp_path_factory.mktemp("small") / "table"
    tables.write_example(root)
    return root


def ending(monkeypatch: pytest.MonkeyPatch, descriptor: int, *arguments: object) -> int:
    """Exit code of a command in this process whose standard output is an open file."""
    with open(descriptor, "w") as output, monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["sptx", *map(str, arguments)])
        patch.setattr("sys.stdout", output)
        patch.setattr("sys.stderr", sys.stderr)  # typer exchanges both
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


COMMANDS_THAT_PRINT = [
    ("query", "chr9", "--format", "csv"),
    ("query", "chr9", "--format", "parquet"),
    ("query", "chr9"),
    ("status",),
    ("verify",),
]


@pytest.mark.parametrize("command", COMMANDS_THAT_PRINT)
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(
    command: tuple[str, ...], small_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    assert ending(monkeypatch, write, command[0], small_table, *command[1:]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", COMMANDS_THAT_PRINT)
def test_an_output_that_is_full_is_one_sentence(
    command: tuple[str, ...], small_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    assert ending(monkeypatch, full, command[0], small_table, *command[1:]) == 2
    assert capsys.readouterr().err == "sptx: standard output cannot be written: No space left on device\n"


def test_a_bug_shows_its_traceback(small_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "a bug that looks like a file")

    monkeypatch.setattr("pipeline.tracks.reader.open_tracks", broken)
    monkeypatch.setattr("sys.argv", ["sptx", "status", str(small_table)])
    with pytest.raises(OSError, match="a bug that"):
        main()


def test_head_in_a_shell(small_table: Path, clean_environment: dict[str, str]) -> None:
    query = shlex.join([*SPTX, "query", str(small_table), "chr9", "--format", "csv"])
    done = subprocess.run(
        ["bash", "-c", f"{query} | head -n 0; echo ${{PIPESTATUS[0]}}"],
        env=clean_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
