"""What MkDocs does not do by itself: pages from files beside docs/, and the reference of the command line.

- Files that stand elsewhere in the repository (`BESIDE`) become pages. Links are written for readers of the repository
  (`../CONTRIBUTING.md`, `docs/table.md`); here they are turned to the pages of the site.
- `<!-- commands -->` on a page becomes a section for each command of `sptx`, made from the program itself, with the
  panels of its help. (mkdocs-click reads commands of the package click, which Typer no longer makes; mkdocs-typer2
  leaves out the panels.)
- `<!-- also exported: PACKAGE -->` becomes the names that a package exports and that the page does not hold yet, so
  that no public name is left out.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pipeline.cli.app import app
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.settings import Settings
from pipeline.tracks.settings import RunConfig

ROOT = Path(__file__).parents[1]
BESIDE = {  # file of the repository -> its place on the site
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "sptx_core/demo/network/README.md": "demo-network.md",
    "pipeline/example/data/checkpoint/README.md": "example-network.md",
    "configs/demo-network.yaml": "configs/demo-network.yaml",
}
SETTINGS: dict[str, type[Settings]] = {"run": RunConfig, "finetune": FinetuneConfig}  # those with keys for YAML alone
MAX_WIDTH = 100  # characters of a line of code
SHORT = 5  # lines of a table that is repeated, where a longer one is referred to
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
_PAGE = re.compile(r"docs/([\w-]+\.md)")
_COMMANDS = "<!-- commands -->"
_ALSO_EXPORTED = re.compile(r"<!-- also exported: (\w+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside docs/."""
    for source, place in BESIDE.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to the site's pages and fill in what is generated."""
    place = page.file.src_uri
    source = next((source for source, other in BESIDE.items() if other == place), f"docs/{place}")
    markdown = _LINK.sub(lambda found: _on_site(found[1], source, place), markdown)
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, "\n".join(_commands()))
    return _ALSO_EXPORTED.sub(lambda found: "\n".join(_also_exported(found[1], markdown)), markdown)


def _on_site(target: str, source: str, place: str) -> str:
    """Where a link from the page at `place`, a file of the repository, leads on the site."""
    named = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if named not in BESIDE and not named.startswith("docs/"):
        return target  # which the strict build refuses
    on_site = BESIDE.get(named) or named.removeprefix("docs/")
    return posixpath.relpath(on_site, posixpath.dirname(place) or ".")


def _commands() -> Iterator[str]:
    """Markdown of the program and of every command, in the order of the help."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="sptx")
    own = _panels(group, context)
    if own:
        yield from ("## `sptx`", "", *map(_table, own, own.values()))
    shown: dict[str, str] = {}  # long table -> the first command that has it
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        within = typer.Context(command, info_name=name, parent=context)
        usage = " ".join(["sptx", name, *command.collect_usage_pieces(within)])
        text = _PAGE.sub(r"[\1](../\1)", command.help or "")
        yield from (f"## `sptx {name}`", "", text, "", "```sh", usage, "```", "")
        panels = _panels(command, within) | _yaml_keys(name)
        tables = {title: _table(title, rows) for title, rows in panels.items()}
        told = [title for title, table in tables.items() if table in shown]
        if told:
            first = shown[tables[told[0]]]
            yield f"**{', '.join(told)}**: as for [`sptx {first}`](#sptx-{first}).\n"
        yield from (table for title, table in tables.items() if title not in told)
        shown |= {table: name for table in tables.values() if table.count("\n") > SHORT and table not in shown}
        yield from _examples(command.epilog or "")


def _panels(command: Any, context: typer.Context) -> dict[str, list[tuple[str, str]]]:
    """Flags and arguments of a command by the panels of its help, each with its text."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record is not None and option.name != "help":
            kind = "Arguments" if option.param_type_name == "argument" else "Options"
            panels.setdefault(option.rich_help_panel or kind, []).append(record)
    return panels


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {title} | | |", "| --- | --- | --- |"]
    for names, text in rows:
        flags, _, value = names.replace(", ", ",").partition(" ")
        lines.append(
            f"| `{flags.replace(',', ', ')}` | {_cell(value.strip('<>').replace('|', ' | '))} | {_cell(text)} |"
        )
    return "\n".join([*lines, ""])


def _examples(epilog: str) -> Iterator[str]:
    """What stands at the end of a help; command lines as code, in lines that fit."""
    for paragraph in filter(None, epilog.split("\n\n")):
        if paragraph.startswith("sptx "):
            kept = re.sub(r" (?!-)", "\0", paragraph)  # a flag and its value stay on one line
            lines = textwrap.wrap(kept, MAX_WIDTH, subsequent_indent="    ", break_on_hyphens=False)
            yield from ("```sh", " \\\n".join(lines).replace("\0", " "), "```", "")
        else:
            yield from (paragraph, "")


def _yaml_keys(command: str) -> dict[str, list[tuple[str, str]]]:
    """Settings of a command that are no flags: a panel with each key and what it says, with its default."""
    settings = SETTINGS.get(command)
    keys = []
    for name in settings.setting_names() if settings else ():
        field = settings.model_fields[name]
        if not (field.json_schema_extra or {}).get("panel"):
            text = field.description
            keys.append((name, f"{text[0].upper()}{text[1:]}. [default: {field.default}]"))
    return {"In a settings file alone": keys} if keys else {}


def _cell(text: str) -> str:
    """Text that stands for itself in a cell of a table."""
    return text.replace("\\[", "[").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("\n", " ")


def _also_exported(package: str, markdown: str) -> Iterator[str]:
    """Entries for the public names of a package that the page does not hold."""
    for name in getattr(importlib.import_module(package), "__all__", ()):
        if not name.startswith("__") and not re.search(rf"\b{name}\b", _entries(markdown)):
            yield from (f"::: {package}.{name}", "")


def _entries(markdown: str) -> str:
    """The lines of a page that name what it documents."""
    return "\n".join(re.findall(r"^::: .*\n(?:    .*\n)*", markdown, re.MULTILINE))
