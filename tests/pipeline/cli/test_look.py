"""Commands that look at a table: what they print, write and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest


def test_query_prints_tables_csv_and_parquet(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    region = sptx_here("query", table, "chr1:2,001-2,005", "--strand", "+", "--columns", "acceptor,brain")
    assert "shape: (5," in region.out
    rows = sptx_here("query", table, "ALPHA1", "--columns", "donor", "--format", "csv").out.splitlines()
    assert rows[0] == "chrom,strand,pos,ref,donor"
    assert len(rows) == 1 + 6_200
    target = tmp_path / "rows.parquet"
    sptx_here("query", table, "EXT00000021.1", "--format", "parquet", "--to", target)
    assert pl.read_parquet(target).height == 6_500
    sites = sptx_here("query", table, "ALPHA1", "--sites", "--columns", "donor", "--format", "csv").out.splitlines()
    assert len(sites) > 1


@pytest.mark.parametrize(
    ("what", "flags", "told"),
    [
        ("chr1:9-3", (), "chr1:9-3"),
        ("chr7:1-10", (), "chr7"),
        ("ALPHA1", ("--columns", "dono"), "donor"),
        ("ALPHA9", (), "ALPHA1"),
        ("ALPHA1", ("--strand", "x"), "strand"),
    ],
)
def test_query_refuses_clearly(table: Path, sptx_here: Any, what: str, flags: tuple[str, ...], told: str) -> None:
    done = sptx_here("query", table, what, *flags, code=None)
    assert told in done.err
    assert done.code == 2


def test_looking_at_nothing_is_refused(sptx_here: Any, tmp_path: Path) -> None:
    for command in ("status", "verify"):
        done = sptx_here(command, tmp_path / "nothing", code=None)
        assert "nothing" in done.err
        assert done.code == 2


def test_verify_and_status_of_a_whole_table(table: Path, sptx_here: Any) -> None:
    verified, status = sptx_here("verify", table), sptx_here("status", table)
    assert (verified.code, status.code) == (0, 0)
    assert verified.out.startswith("sound: ")
    assert " 0 missing, 0 failed" in status.out


def test_a_script_gets_json(table: Path, tmp_path: Path, sptx_here: Any) -> None:
    status = json.loads(sptx_here("status", table, "--json").out)
    assert status == {"shards": status["done"], "done": 37, "missing": [], "failed": []}
    verified = json.loads(sptx_here("verify", table, "--json").out)
    assert (verified["sound"], verified["problems"], verified["rows"]) == (True, [], 34_740)

    damaged = shutil.copytree(table, tmp_path / "damaged")
    part = next(damaged.glob("tracks/**/*.parquet"))
    part.unlink()
    assert len(json.loads(sptx_here("status", damaged, "--json", code=3).out)["missing"]) == 1
    told = json.loads(sptx_here("verify", damaged, "--json", code=3).out)
    assert not told["sound"]
    assert any(part.name.split("-")[0] in problem or "missing" in problem for problem in told["problems"])
