"""The command `browse`: the address it prints, how it ends, the file it writes, and what it refuses."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from material import browsed
from material.processes import PATIENCE, SPTX

from pipeline.browsing import one_file
from pipeline.browsing.session import Session
from pipeline.coordinates import Interval


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browse") / "table"
    browsed.write(root)
    return root


@pytest.mark.slow
def test_it_prints_the_address_first_and_ends_quietly(root: Path, clean_environment: dict[str, str]) -> None:
    command = [*SPTX, "browse", str(root), "DOCK8", "--no-open"]
    with subprocess.Popen(
        command, env=clean_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urlopen(f"{url}api/config") as reply:
            assert b'"locus":"chr1:1101-3050"' in reply.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "Ctrl-C ends it\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{root}", "DOCK9"), "the nearest is DOCK8"),
        (("nothing", "DOCK8"), "holds no table"),
        (("{root}", "--to", "page.html"), "--to page.html needs a locus"),
        (("{root}", "DOCK8", "--to", "/nowhere/page.html"), "/nowhere"),
        (("{root}", "--fasta", "/nowhere/genome.fa"), "/nowhere/genome.fa"),
        (("{root}", "--host", "192.0.2.1", "--no-open"), "192.0.2.1:0 cannot be listened on"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(root: Path, sptx_here: Any, arguments: Any, told: str) -> None:
    done = sptx_here("browse", *(text.format(root=root) for text in arguments), code=2)
    assert told in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_the_page_of_a_locus_is_written(
    root: Path, sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Session, Interval, Path]] = []
    monkeypatch.setattr(one_file, "write_page", lambda *given: asked.append(given))
    done = sptx_here("browse", root, "DOCK8", "--to", tmp_path / "page.html")
    ((session, locus, path),) = asked
    assert (locus, path) == (Interval("chr1", 1_100, 3_050), tmp_path / "page.html")
    assert session.locus == locus
    assert done.err == f"chr1:1101-3050: written to {tmp_path / 'page.html'}\n"


def test_the_page_of_an_unfinished_table_is_written_and_said(root: Path, sptx_here: Any, tmp_path: Path) -> None:
    table = shutil.copytree(root, tmp_path / "table")
    sorted((table / "tracks").rglob("*.parquet"))[-1].unlink()
    done = sptx_here("browse", table, "DOCK8", "--to", tmp_path / "page.html", code=3)
    assert "shards so far; what is missing is grey on the page" in done.err
    assert (tmp_path / "page.html").exists()
