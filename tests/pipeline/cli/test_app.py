"""The program: its help, and how it ends."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
from material import tables
from material.genomes import Transcript, write_gtf
from material.processes import SPTX

from pipeline.cli import main
from pipeline.cli.app import COMMANDS, app
from pipeline.cli.examples import EXAMPLES
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import UnfinishedError

SETTINGS = {"run": RunConfig, "plan": RunConfig, "finetune": FinetuneConfig}
NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]


def words(text: str) -> str:
    """Text in one line, without the frames of the help."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_help_shows_every_flag_with_its_text_and_default_and_two_examples(
    name: str, sptx_here: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("TERMINAL_WIDTH", "1000")
    command = typer.main.get_command(app).commands[name]
    shown = sptx_here(name, "--help").out
    lines = [words(line) for line in shown.splitlines()]
    assert all(paragraph in lines for paragraph in command.help.split("\n\n"))  # each in one line, so wide is it
    for parameter in command.params:
        text = parameter.help
        assert text, f"{name}: {parameter.name} has no help"
        assert text.endswith("."), f"{name}: {parameter.name}"
        (line,) = (line for line in lines if words(text) in line)
        if name in SETTINGS and (field := SETTINGS[name].model_fields.get(parameter.name)):
            default = None if field.is_required() else field.default
            assert default in (None, False, ()) or f"(default: {default})" in line
            continue
        default = parameter.default() if callable(parameter.default) else parameter.default
        shown = not (parameter.required or default is None or default is False or default in ((), [], ...))
        if shown:
            assert f"default: {getattr(default, 'value', default)}" in line or f"[default: {parameter.name}]" in line
    at = lines.index("Examples:")
    assert tuple(line for line in lines[at + 1 :] if line) == EXAMPLES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_flags_are_whole_in_a_terminal_of_80_columns(name: str, sptx_here: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    shown = sptx_here(name, "--help").out
    for parameter in typer.main.get_command(app).commands[name].params:
        assert all(re.search(rf"{re.escape(option)}\b", shown) for option in parameter.opts), parameter.name
    fields = SETTINGS[name].model_fields.values() if name in SETTINGS else ()
    choices = [choice.value for field in fields if isinstance(field.default, StrEnum) for choice in type(field.default)]
    assert all(choice in words(shown) for choice in choices)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "example"), [(name, example) for name in NAMES for example in EXAMPLES[name]])
def test_examples_are_commands_that_parse(name: str, example: str) -> None:
    program, command, *arguments = example.split()
    assert (program, command) == ("sptx", name)
    typer.main.get_command(app).commands[name].make_context(name, arguments)  # raises where a flag is unknown


def test_commands_stand_in_the_order_of_the_work(sptx_here: Any) -> None:
    shown = sptx_here("--help").out
    places = [re.search(rf"^│ {name} ", shown, re.MULTILINE) for name in NAMES]
    assert all(places)
    assert [place.start() for place in places] == sorted(place.start() for place in places)
    assert NAMES[:7] == ["run", "plan", "status", "verify", "query", "plot", "evaluate"]


def test_plan_has_the_flags_of_run() -> None:
    commands = typer.main.get_command(app).commands
    run, plan = ({x.name: x.help for x in commands[name].params} for name in ("run", "plan"))
    assert run.items() <= plan.items()
    assert set(plan) - set(run) == {"rate", "devices"}


def test_completion_is_offered(sptx_here: Any) -> None:
    assert "--install-completion" in sptx_here("--help").out


@pytest.mark.slow
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
    ("sites",),
    ("sites", "--format", "bed"),
    ("sites", "--format", "parquet"),
    ("status",),
    ("verify",),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS_THAT_PRINT)
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(
    command: tuple[str, ...], small_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    assert ending(monkeypatch, write, command[0], small_table, *command[1:]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS_THAT_PRINT)
def test_an_output_that_is_full_is_one_sentence(
    command: tuple[str, ...], small_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    assert ending(monkeypatch, full, command[0], small_table, *command[1:]) == 2
    assert capsys.readouterr().err == "sptx: standard output cannot be written: No space left on device\n"


def test_a_run_that_cannot_go_on_is_one_sentence_and_exit_code_3(
    example: Any, sptx_here: Any, monkeypatch: Any
) -> None:
    def cut_off(*_: object, **__: object) -> None:
        raise UnfinishedError("the cluster is gone; the same command goes on")

    monkeypatch.setattr("pipeline.tracks.run.run", cut_off)
    assert sptx_here("run", *example.inputs, code=3).err == "sptx: the cluster is gone; the same command goes on\n"


def test_a_bug_shows_its_traceback(small_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "a bug that looks like a file")

    monkeypatch.setattr("pipeline.tracks.reader.status_of", broken)
    monkeypatch.setattr("sys.argv", ["sptx", "status", str(small_table)])
    with pytest.raises(OSError, match="a bug that"):
        main()


@pytest.mark.slow
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


CLOSED = "closed/x"
TOO_LONG = "a" * 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--fasta", CLOSED, "--gtf", "a.gtf", "--checkpoint", "c"),
        ("plan", "--fasta", TOO_LONG, "--gtf", "a.gtf", "--checkpoint", "c"),
        ("plan", "--fasta", "g.fa", "--gtf", CLOSED, "--checkpoint", "c"),
        ("query", "{table}", "chr9", "--to", f"{CLOSED}.csv"),
        ("query", "{table}", "chr9", "--to", f"{TOO_LONG}.csv"),
        ("plot", "{table}", "chr9", "--to", f"{CLOSED}.png"),
        ("evaluate", "{table}", "--gtf", CLOSED),
        ("usage", "--junctions", f"brain={CLOSED}", "--to", "u.tsv"),
        ("config", "--to", f"{CLOSED}.yaml"),
        ("convert", CLOSED, "out"),
    ],
)
def test_places_that_may_not_be_searched_and_names_too_long_are_one_sentence(
    arguments: tuple[str, ...], sptx_here: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """A folder is closed here by hand: root, who may run this, can search any."""
    tables.write_example(tmp_path / "table")
    write_gtf(tmp_path / "a.gtf", [Transcript("A", "chr1", "+", [(1, 9)])])
    (tmp_path / "g.fa").write_text(">chr1\nACGTACGTA\n")
    monkeypatch.chdir(tmp_path)
    stat, opened = os.stat, io.open

    def closed_stat(path: Any, *rest: Any, **others: Any) -> Any:
        if "closed/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *rest, **others)

    def closed_open(path: Any, *rest: Any, **others: Any) -> Any:
        if "closed/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *rest, **others)

    monkeypatch.setattr(os, "stat", closed_stat)
    monkeypatch.setattr(io, "open", closed_open)
    told = sptx_here(*(word.replace("{table}", str(tmp_path / "table")) for word in arguments), code=2).err
    assert told.startswith("sptx: ")
    assert "Permission denied" in told or "File name too long" in told


@pytest.mark.slow
def test_a_full_output_without_a_buffer_is_told_too(small_table: Path, clean_environment: dict[str, str]) -> None:
    """Typer first writes nothing, and passes over what that raises."""
    with open("/dev/full", "wb") as full:  # as a shell opens it
        done = subprocess.run(
            [*SPTX, "status", str(small_table)],
            env={**clean_environment, "PYTHONUNBUFFERED": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "sptx: standard output cannot be written: No space left on device\n"


def test_a_run_that_cannot_go_on_ends_with_one_sentence(sptx_here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object, **__: object) -> None:
        raise UnfinishedError("https://me:pass@host/x cannot be written; the run has ended early")

    monkeypatch.setattr("pipeline.tracks.run.run", ends)
    done = sptx_here("run", "--fasta", "f", "--gtf", "g", "--checkpoint", "c", "--output", "o", code=3)
    assert done.err.splitlines() == ["sptx: https://***@host/x cannot be written; the run has ended early"]


def test_secrets_of_a_uri_are_not_shown(sptx_here: Any) -> None:
    done = sptx_here("status", "http://me:pass@127.0.0.1:9/table?X-Amz-Signature=0a1b", code=2)
    assert "http://***@127.0.0.1:9/table" in done.err
    assert "pass" not in done.err
    assert "0a1b" not in done.err
