"""Code that reads a published table where it lies: with sptx, Polars, DuckDB and R's arrow.

Where a store can be listed one pattern stands for all parts. Over https nothing can, and the names come from the
manifest; R's arrow reads a single file over https and no table, so its code copies the parts.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.batch import web
from pipeline.publishing.contents import Contents, Table
from pipeline.tracks.layout import TRACKS

LISTED_BY_R = frozenset({"file", "s3", "gs", "gcs"})  # "Unrecognized filesystem type in URI" is its word for others
_R_PACKAGES = "library(arrow)\nlibrary(dplyr)\n\n"


class Snippet(NamedTuple):
    """A piece of code: the program or library it is for, its language, and the text."""

    name: str
    language: str
    text: str


def snippets(contents: Contents, where: str) -> list[Snippet]:
    """The code for a table at `where`, a URI or a path."""
    of_tracks = contents.job == TRACKS
    table = contents.tables[-1] if of_tracks else contents.tables[0]  # sites, or variants
    column, least = ("acceptor", 0.5) if of_tracks else ("d_splice", 0.2)
    folders = [one.name for one in table.columns if one.folder]
    asked = _Question(where, table, folders, "sites_path" if of_tracks else "path", column, least)
    protocol = where.partition("://")[0] if "://" in where else "file"
    if protocol in web.WEB:
        return [*_sptx(contents, where), asked.to_polars_by_name(), asked.to_duckdb_by_name(), asked.to_r_by_name()]
    found = [*_sptx(contents, where), asked.to_polars(), asked.to_duckdb()]
    return [*found, asked.to_r()] if protocol in LISTED_BY_R else found


class _Question(NamedTuple):
    """Rows of a table whose `column` is `least` or more; `path` is the column of the manifest with its parts."""

    where: str
    table: Table
    folders: list[str]
    path: str
    column: str
    least: float

    @property
    def _pattern(self) -> str:
        return f"{self.where}/{self.table.name}/{'*/' * self.table.depth}*.parquet"

    @property
    def _polars_types(self) -> str:
        return "{" + ", ".join(f'"{name}": pl.String' for name in self.folders) + "}"

    @property
    def _polars_rows(self) -> str:
        return f'print(rows.filter(pl.col("{self.column}") >= {self.least}).head(10).collect())\n'

    @property
    def _duckdb_types(self) -> str:
        return (
            "hive_partitioning = true, hive_types = {" + ", ".join(f"'{name}': VARCHAR" for name in self.folders) + "}"
        )

    @property
    def _duckdb_rows(self) -> str:
        return f"WHERE {self.column} >= {self.least} LIMIT 10;\n"

    def to_polars(self) -> Snippet:
        scan = f'pl.scan_parquet("{self._pattern}", hive_schema={self._polars_types})'
        return Snippet("Polars", "python", f"import polars as pl\n\nrows = {scan}\n{self._polars_rows}")

    def to_polars_by_name(self) -> Snippet:
        text = (
            "from urllib.parse import quote\n\nimport polars as pl\n\n"
            f'where = "{self.where}"\n'
            'parts = pl.read_parquet(f"{where}/manifest.parquet")  # .filter(chrom="chr9") reads one contig\n'
            f'urls = [where + "/" + quote(path, safe="/=") for path in parts["{self.path}"]]\n'
            f"rows = pl.scan_parquet(urls, hive_partitioning=True, hive_schema={self._polars_types})\n"
        )
        return Snippet("Polars", "python", f"{text}{self._polars_rows}")

    def to_duckdb(self) -> Snippet:
        source = f"read_parquet('{self._pattern}', {self._duckdb_types})"
        return Snippet("DuckDB", "sql", f"SELECT * FROM {source}\n{self._duckdb_rows}")  # noqa: S608  # text for people

    def to_duckdb_by_name(self) -> Snippet:
        manifest = f"read_parquet('{self.where}/manifest.parquet') -- WHERE chrom = 'chr9' reads one contig"
        urls = f"list('{self.where}/' || replace({self.path}, '%', '%25'))"
        parts = f"SET VARIABLE parts = (\n    SELECT {urls}\n    FROM {manifest}\n);"  # noqa: S608  # text for people
        source = f"read_parquet(getvariable('parts'), {self._duckdb_types})"
        return Snippet("DuckDB", "sql", f"{parts}\nSELECT * FROM {source}\n{self._duckdb_rows}")

    @property
    def _r_types(self) -> str:
        return f"partitioning = hive_partition({', '.join(f'{name} = string()' for name in self.folders)})"

    @property
    def _r_rows(self) -> str:
        return f"table |> filter({self.column} >= {self.least}) |> head(10) |> collect()\n"

    def to_r(self) -> Snippet:
        table = f'table <- open_dataset("{self.where}/{self.table.name}", {self._r_types})'
        return Snippet("R", "r", f"{_R_PACKAGES}{table}\n{self._r_rows}")

    def to_r_by_name(self) -> Snippet:
        text = (
            f'where <- "{self.where}"\n'
            'copy <- "copy"  # a new folder for the parts: arrow opens no folder over https\n'
            'parts <- read_parquet(paste0(where, "/manifest.parquet"))  # |> filter(chrom == "chr9") takes one contig\n'
            f"for (path in parts${self.path}) {{\n"
            "  dir.create(file.path(copy, dirname(path)), recursive = TRUE, showWarnings = FALSE)\n"
            '  url <- paste0(where, "/", URLencode(path, repeated = TRUE))\n'
            '  download.file(url, file.path(copy, path), mode = "wb", quiet = TRUE)\n'
            "}\n"
            f'table <- open_dataset(file.path(copy, "{self.table.name}"), {self._r_types})\n'
        )
        return Snippet("R", "r", f"{_R_PACKAGES}{text}{self._r_rows}")


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
