"""Commands that look at a table: what they print, write and refuse."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import tables
from material.fault_proxy import BROKEN, NO_BUCKET, REFUSED, faulty_bucket
from s3fs import S3FileSystem


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
    assert told["problems"] == [f"{part.relative_to(damaged)}: not committed"]


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table without a genome, of 950 rows on chr9."""
    root = tmp_path_factory.mktemp("small") / "table"
    tables.write_example(root)
    return root


def test_query_writes_all_rows_in_the_form_that_the_name_says(
    small_table: Path, sptx_here: Any, tmp_path: Path
) -> None:
    for name, read in (("rows.csv", pl.read_csv), ("rows.parquet", pl.read_parquet)):
        assert sptx_here("query", small_table, "chr9", "--to", tmp_path / name).out == ""
        assert read(tmp_path / name).height == 950
    sptx_here("query", small_table, "chr9", "--to", tmp_path / "rows.tsv")
    assert (tmp_path / "rows.tsv").read_text().startswith("chrom\tstrand\tpos\tref\tacceptor\t")
    sptx_here("query", small_table, "chr9", "--format", "table", "--to", tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_text().count("chr9") == 950


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        ("rows.txt", (), "does not tell its form: end its name in .csv, .tsv, .parquet, or give --format"),
        ("rows.csv", ("--format", "parquet"), "is the name of a csv file, but --format is parquet"),
        ("no/rows.csv", (), "cannot be written: there is no folder"),
        (".", ("--format", "csv"), "cannot be written: it is a folder"),
    ],
)
def test_places_that_query_cannot_write_are_told_before_the_table_is_opened(
    sptx_here: Any, tmp_path: Path, name: str, flags: tuple[str, ...], told: str
) -> None:
    done = sptx_here("query", tmp_path / "nothing", "chr9", "--to", tmp_path / name, *flags, code=2)
    assert told in done.err


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("", "nothing is asked for: name a region, a contig, a gene or a transcript"),
        ("chr9:x", "region 'chr9:x' cannot be read"),
        ("chr9:0-100", "region 'chr9:0-100' is empty"),
        ("chr9:3200-3100", "region 'chr9:3200-3100' is empty"),
    ],
)
def test_query_and_plot_tell_what_they_cannot_read(
    small_table: Path, sptx_here: Any, tmp_path: Path, what: str, told: str
) -> None:
    assert told in sptx_here("query", small_table, what, code=2).err
    assert told in sptx_here("plot", small_table, what, "--to", tmp_path / "x.png", code=2).err


def test_query_and_plot_take_open_regions(small_table: Path, sptx_here: Any, tmp_path: Path) -> None:
    for region, rows in (("chr9:991", 10), ("chr9:991-", 10), ("chr9:-110", 10)):
        assert len(sptx_here("query", small_table, region, "--format", "csv").out.splitlines()) == 1 + rows
    assert sptx_here("plot", small_table, "chr9:901-", "--to", tmp_path / "x.png").code == 0


def test_evaluate_tells_a_place_that_it_cannot_write(
    small_table: Path, sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    done = sptx_here("evaluate", small_table, "--gtf", tmp_path / "x.gtf", "--to", tmp_path / "file", code=2)
    assert "file is no folder to write to" in done.err

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", full)  # root, who may run this, can write anywhere
    done = sptx_here("evaluate", small_table, "--gtf", tmp_path / "x.gtf", "--to", tmp_path, code=2)
    assert f"{tmp_path}/evaluation.json cannot be written: Read-only file system" in done.err


def test_storage_that_fails_is_one_sentence_and_no_damage(sptx_here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    with faulty_bucket("looked-at") as (uri, proxy):
        root = f"{uri}/table"
        tables.write_example(root)
        commands = (["status", root], ["verify", root], ["query", root, "chr9:101-200"])
        for fault, told in ((REFUSED, "check the credentials"), (BROKEN, "try again"), (NO_BUCKET, "make the bucket")):
            proxy.fault = lambda _, fault=fault: fault
            for command in commands:
                (line,) = sptx_here(*command, code=2).err.splitlines()
                assert line.startswith(f"sptx: {root} cannot be listed: {fault.code} by the proxy; {told}")
        proxy.fault = lambda asked: REFUSED if "/tracks/" in asked.path else None
        for command in commands[1:]:
            done = sptx_here(*command, code=None)
            assert done.code in (2, 3)
            assert any(word in done.out + done.err for word in ("AccessDenied", "Forbidden"))
            assert "delete" not in done.out + done.err
