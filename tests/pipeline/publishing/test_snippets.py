"""The code on the card runs and gives the table's rows, in its folder and over HTTP."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest
from fsspec.implementations.http import HTTPFileSystem
from material.r_arrow import run_r
from material.web_server import web_server
from polars.testing import assert_frame_equal

from pipeline.batch import web
from pipeline.batch.published import PublishedStore
from pipeline.publishing.contents import read_contents
from pipeline.publishing.snippets import Snippet, snippets

ROWS = {"tracks": 6, "variants": 1}  # with an acceptor of 0.5, with a d_splice of 0.2


class Web(HTTPFileSystem):
    """Fsspec's client with the dates that duckdb asks for."""

    def modified(self, path: str) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["here", "web"])
def where(request: pytest.FixtureRequest, either: PublishedStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = Path(either.path())
    monkeypatch.chdir(folder)
    if request.param == "here":
        yield "."
    else:
        with web_server(folder) as server:
            yield server.url


def of(language: str, either: PublishedStore, where: str) -> list[Snippet]:
    return [one for one in snippets(read_contents(either), where) if one.language == language]


@pytest.mark.slow
def test_python_and_the_shell(either: PublishedStore, where: str, sptx_here: Any) -> None:
    for snippet in of("python", either, where):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(snippet.text, {})
        if "open_tracks" not in snippet.text:  # which prints a gene
            assert f"shape: ({ROWS[read_contents(either).job]}," in printed.getvalue(), snippet
        assert "chrom" in printed.getvalue()
    for snippet in of("sh", either, where):
        assert "shape: (" in sptx_here(*shlex.split(snippet.text)[1:]).out


@pytest.mark.slow
def test_duckdb(either: PublishedStore, where: str) -> None:
    (snippet,) = of("sql", either, where)
    with duckdb.connect() as connection:
        connection.register_filesystem(Web(encoded=True))  # duckdb's own has to be downloaded
        for statement in snippet.text.rstrip().rstrip(";").split(";"):
            connection.execute(statement)
        rows = connection.fetchall()
        names = [column[0] for column in connection.description or ()]
    assert len(rows) == ROWS[read_contents(either).job]
    assert {row[names.index("chrom")] for row in rows} == {"chr9"}


def test_arrow_finds_the_columns_of_the_folders_as_r_does(either: PublishedStore) -> None:
    (snippet,) = of("r", either, "/data/table")
    contents = read_contents(either)
    found = contents.tables[-1] if contents.job == "tracks" else contents.tables[0]
    assert f'open_dataset("/data/table/{found.name}"' in snippet.text
    table = ds.dataset(f"{either.path()}/{found.name}", partitioning="hive").to_table()
    assert table.num_rows == found.rows
    assert {column.name for column in found.columns} == set(table.column_names)


def test_r(either: PublishedStore, where: str, tmp_path: Path) -> None:
    (snippet,) = of("r", either, where)
    folder = Path(either.path()) if where == "." else tmp_path  # over HTTP parts are copied
    found = tmp_path / "found.parquet"
    printed = run_r(f'{snippet.text}write_parquet(collect(table), "{found}")', folder)
    contents = read_contents(either)
    assert re.search(rf"# A tibble: {ROWS[contents.job]} \S ", printed)
    table = contents.tables[-1] if contents.job == "tracks" else contents.tables[0]
    types = {column.name: pl.String for column in table.columns if column.folder}
    rows = pl.scan_parquet(f"{either.path()}/{table.name}/**/*.parquet", hive_schema=types).collect()
    key = [*types, "pos"]
    assert_frame_equal(pl.read_parquet(found).cast(dict(rows.schema)).sort(key), rows.sort(key), check_exact=True)


@pytest.mark.parametrize(
    ("where", "languages"),
    [
        ("s3://bucket/t", ["sh", "python", "python", "sql", "r"]),
        ("hf://datasets/me/t", ["sh", "python", "python", "sql"]),
        ("gs://bucket/t", ["sh", "python", "python", "sql", "r"]),
        ("gcs://bucket/t", ["sh", "python", "python", "sql", "r"]),
        ("az://container/t", ["sh", "python", "python", "sql"]),
        ("/data/t", ["sh", "python", "python", "sql", "r"]),
        ("https://host/t", ["sh", "python", "python", "sql", "r"]),
    ],
)
def test_one_pattern_stands_for_all_parts_where_they_can_be_listed(
    table: Path, where: str, languages: list[str]
) -> None:
    found = snippets(read_contents(PublishedStore(table)), where)
    assert [one.language for one in found] == languages
    listed = where.partition("://")[0] not in web.WEB
    for one in found[2:4]:  # Polars and DuckDB
        assert (f"{where}/sites/*/*/*.parquet" in one.text) is listed
        assert ("manifest.parquet" in one.text) is not listed
    for one in found[4:]:  # R, which few machines have
        assert ("URLencode(path, repeated = TRUE)" in one.text) is not listed  # folders of contigs have a %
        assert ('mode = "wb"' in one.text) is not listed
        assert "hive_partition(chrom = string(), strand = string())" in one.text
