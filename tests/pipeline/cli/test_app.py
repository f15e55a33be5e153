"""The program: its help, and how it ends."""

from __future__ import annotations

import re
import subprocess
from enum import StrEnum
from typing import Any

import pytest
import typer

from pipeline.cli.app import COMMANDS, app
from pipeline.cli.examples import EXAMPLES
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.tracks.settings import RunConfig

SETTINGS = {"run": RunConfig, "plan": RunConfig, "finetune": FinetuneConfig}
NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]


def words(text: str) -> str:
    """Text in one line, without the frames of the help."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_every_flag_with_its_text_and_default_and_two_examples(
    name: str, sptx_here: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")
    command = typer.main.get_command(app).commands[name]
    shown = sptx_here(name, "--help").out
    lines = [words(line) for line in shown.splitlines()]
    assert words(command.help.split("\n\n")[0]) in words(shown)
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


def test_bad_input_is_one_sentence_and_exit_code_2(sptx: Any, tmp_path: Any) -> None:
    done: subprocess.CompletedProcess[str] = sptx("status", tmp_path / "nothing", code=2)
    assert done.stderr.startswith("sptx: ")
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_unknown_flags_and_commands_end_with_2(sptx_here: Any) -> None:
    assert sptx_here("run", "--no-such-flag", code=None).code == 2
    assert sptx_here("no-such-command", code=None).code == 2
