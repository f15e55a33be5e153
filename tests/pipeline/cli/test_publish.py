"""The command `publish`: what it writes, says and refuses; and the other commands on what it wrote, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from material import tables
from material.genomes import Transcript, write_gtf
from material.web_server import Fault, WebServer, web_server


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("publish") / "table"
    tables.write_example(root)
    return root


@pytest.mark.slow
def test_publish_tells_what_it_wrote(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("publish", table, "--to", tmp_path / "out", code=0)
    assert done.out == f"18 files written: {tmp_path / 'out'}\n"
    assert "the card has no licence yet: give --licence, such as CC-BY-4.0" in done.err
    flags = ("--licence", "CC0-1.0", "--at", "https://host/t", "--quiet")
    again = sptx_here("publish", table, "--to", tmp_path / "other", *flags, code=0)
    assert again.err == ""
    card = (tmp_path / "other" / "README.md").read_text()
    assert "Licence of this table: CC0-1.0." in card
    assert "sptx query https://host/t " in card
    assert sptx_here("publish", table, "--to", tmp_path / "other", *flags).out.startswith("0 files written, 18 kept: ")


def test_an_unfinished_table_ends_with_3_and_an_unsound_one_with_2(sptx_here: Any, tmp_path: Path) -> None:
    store = tables.write_example(tmp_path / "table")
    part = next(iter(store.list("tracks/")))
    content = store.read_bytes(part)
    store.write_atomic(part, content[:-1] + b"x")
    done = sptx_here("publish", tmp_path / "table", "--to", tmp_path / "out", "--quiet", code=2)
    assert f"{part} is damaged: its bytes are not those that manifest.parquet recorded" in done.err
    store.delete(part)
    done = sptx_here("publish", tmp_path / "table", "--to", tmp_path / "out", code=3)
    assert "is unfinished: 3 of 4 shards; finish it with the same command" in done.err


@pytest.mark.parametrize("to", ["", "hf://datasets/me", "nowhere://host/x"])
def test_where_nothing_can_be_published_is_refused(table: Path, sptx_here: Any, to: str) -> None:
    sptx_here("publish", table, "--to", to, code=2)


@pytest.fixture
def server(table: Path) -> Iterator[WebServer]:
    with web_server(table) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("verify", "--json"),
        ("query", "GENE1", "--columns", "donor", "--format", "csv"),
        ("query", "GENE1", "--sites", "--verify", "--format", "csv"),
        ("sites", "--format", "bed"),
    ],
)
def test_commands_say_of_a_table_on_a_web_server_what_they_say_of_it_here(
    table: Path, server: WebServer, sptx_here: Any, command: tuple[str, ...]
) -> None:
    name, *flags = command
    here, there = (sptx_here(name, place, *flags, code=0) for place in (table, server.url))
    assert there.out == here.out
    assert here.out


@pytest.mark.slow
def test_a_picture_and_an_evaluation_of_it(server: WebServer, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("plot", server.url, "GENE3", "--to", tmp_path / "gene.svg", code=0)
    write_gtf(tmp_path / "genes.gtf", [Transcript("T", "chr9", "+", [(101, 200), (300, 400)], gene="G")])
    sptx_here("evaluate", server.url, "--gtf", tmp_path / "genes.gtf", "--to", tmp_path / "e", "--no-plots", code=0)
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())
    sptx_here("export", server.url, "--to", tmp_path / "out", "--quiet", code=0)


def test_verify_names_what_a_web_server_lacks(server: WebServer, sptx_here: Any) -> None:
    server.fault = lambda asked: Fault(404) if "sites/chrom=chr9/strand=minus" in asked.path else None
    done = sptx_here("verify", server.url, code=3)
    assert (
        "sites/chrom=chr9/strand=minus/000002-401-650-a72ac0c53de2.parquet: missing, though manifest.parquet"
        in done.out
    )
    assert "unsound" in done.out


def test_an_unfinished_table_on_a_web_server_is_one_sentence(sptx_here: Any, tmp_path: Path) -> None:
    tables.write_example(tmp_path, manifest=False)
    with web_server(tmp_path) as server:
        for command in (("status",), ("query", "GENE1"), ("verify",)):
            done = sptx_here(command[0], f"{server.url}/?sig=SECRET", *command[1:], code=2)
            assert "is unfinished, or was copied in part: there is no manifest.parquet" in done.err
            assert "SECRET" not in done.err
