"""Code that reads a published table where it lies: with sptx, Polars, DuckDB and R's arrow.

Where a store can be listed one pattern stands for all parts. Over https nothing can, and the names come from the
manifest; R's arrow reads no https.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.batch import web
from pipeline.publishing.contents import Contents
from pipeline.tracks.layout import TRACKS


class Snippet(NamedTuple):
    """A piece of code: the program or library it is for, its language, and the text."""

    name: str
    language: str
    text: str


def snippets(contents: Contents, where: str) -> list[Snippet]:
    """The code for a table at `where`, a URI or a path."""
    table = contents.tables[-1] if contents.job == TRACKS else contents.tables[0]  # sites, or variants
    column, kept = ("acceptor", 0.5) if contents.job == TRACKS else ("d_splice", 0.2)
    folders = [column.name for column in table.columns if column.folder]
    path = "sites_path" if contents.job == TRACKS else "path"
    far = where.partition("://")[0] in web.WEB
    if far:
        polars, duckdb = _polars_listed(where, path, folders), _duckdb_listed(where, path, folders)
    else:
        pattern = f"{where}/{table.name}/{'*/' * table.depth}*.parquet"
        polars, duckdb = _polars(pattern, folders), _duckdb(pattern, folders)
    found = [
        *_sptx(contents, where),
        Snippet("Polars", "python", polars.replace("COLUMN", column).replace("KEPT", str(kept))),
        Snippet("DuckDB", "sql", duckdb.replace("COLUMN", column).replace("KEPT", str(kept))),
    ]
    if not far and where.partition("://")[0] != web.HUB:
        types = ", ".join(f"{name} = string()" for name in folders)
        found.append(
            Snippet(
                "R",
                "r",
                "library(arrow)\nlibrary(dplyr)\n\n"
                f'table <- open_dataset("{where}/{table.name}", partitioning = hive_partition({types}))\n'
                f"table |> filter({column} >= {kept}) |> head(10) |> collect()\n",
            )
        )
    return found


def _sptx(contents: Contents, where: str) -> list[Snippet]:
    if contents.job != TRACKS:
        python = (
            "import polars as pl\nfrom pipeline import open_variants\n\n"
            f'table = open_variants("{where}")\n'
            'print(table.scan().filter(pl.col("d_splice") >= 0.2).head().collect())\n'
        )
        return [
            Snippet("sptx", "sh", f"sptx query {where} --min-splice 0.2\n"),
            Snippet("sptx in Python", "python", python),
        ]
    gene = contents.example or "GENE"
    python = (
        "from pipeline import open_tracks\n\n"
        f'tracks = open_tracks("{where}")\n'
        f'print(tracks.gene("{gene}", columns=["acceptor", "donor"]))\n'
    )
    return [
        Snippet("sptx", "sh", f"sptx query {where} '{gene}' --columns acceptor,donor\n"),
        Snippet("sptx in Python", "python", python),
    ]


def _polars(pattern: str, folders: list[str]) -> str:
    return (
        f'import polars as pl\n\nrows = pl.scan_parquet("{pattern}", hive_schema={_polars_types(folders)})\n'
        'print(rows.filter(pl.col("COLUMN") >= KEPT).head(10).collect())\n'
    )


def _polars_listed(where: str, path: str, folders: list[str]) -> str:
    return (
        "from urllib.parse import quote\n\nimport polars as pl\n\n"
        f'where = "{where}"\n'
        'parts = pl.read_parquet(f"{where}/manifest.parquet")  # .filter(chrom="chr9") reads one contig\n'
        f'urls = [where + "/" + quote(path, safe="/=") for path in parts["{path}"]]\n'
        f"rows = pl.scan_parquet(urls, hive_partitioning=True, hive_schema={_polars_types(folders)})\n"
        'print(rows.filter(pl.col("COLUMN") >= KEPT).head(10).collect())\n'
    )


def _polars_types(folders: list[str]) -> str:
    return "{" + ", ".join(f'"{name}": pl.String' for name in folders) + "}"


def _duckdb(pattern: str, folders: list[str]) -> str:
    source = f"read_parquet('{pattern}', {_duckdb_types(folders)})"
    return f"SELECT * FROM {source}\nWHERE COLUMN >= KEPT LIMIT 10;\n"  # noqa: S608  # text for people


def _duckdb_listed(where: str, path: str, folders: list[str]) -> str:
    manifest = f"read_parquet('{where}/manifest.parquet') -- WHERE chrom = 'chr9' reads one contig"
    urls = f"SELECT list('{where}/' || replace({path}, '%', '%25'))\n    FROM {manifest}"  # noqa: S608  # text for people
    rows = f"SELECT * FROM read_parquet(getvariable('parts'), {_duckdb_types(folders)})"  # noqa: S608  # text for people
    return f"SET VARIABLE parts = (\n    {urls}\n);\n{rows}\nWHERE COLUMN >= KEPT LIMIT 10;\n"


def _duckdb_types(folders: list[str]) -> str:
    return "hive_partitioning = true, hive_types = {" + ", ".join(f"'{name}': VARCHAR" for name in folders) + "}"
