"""What a finished table holds, and what is not published: unfinished and unsound tables, paths of a machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml
from material import tables

from pipeline.batch.layout import MANIFEST
from pipeline.batch.published import PublishedStore
from pipeline.batch.storage import Store
from pipeline.publishing.contents import public_settings, read_contents
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import InputError, UnfinishedError


@pytest.fixture
def copy(table: Path, tmp_path: Path) -> Store:
    return Store(shutil.copytree(table, tmp_path / "copy"))


def test_tracks_have_two_tables_with_their_parts_and_rows(table: Path) -> None:
    contents = read_contents(PublishedStore(table))
    assert [(found.name, len(found.parts), found.depth) for found in contents.tables] == [
        ("tracks", 4, 2),
        ("sites", 4, 2),
    ]
    files = {path.relative_to(table).as_posix(): path.stat().st_size for path in table.rglob("*.parquet")}
    assert {part.name: part.bytes for part in contents.parts} == {
        name: size for name, size in files.items() if "/" in name
    }
    assert [found.rows for found in contents.tables] == [1000, 10]
    assert set(contents.beside) == {"run.json", "settings.yaml", *(name for name in files if "/" not in name)} - {
        MANIFEST
    }
    assert contents.example in ("GENE1", "GENE3", "GENE4")


def test_variants_too(scores: Path) -> None:
    contents = read_contents(PublishedStore(scores))
    assert [(found.name, found.rows, found.depth) for found in contents.tables] == [
        ("variants", 1, 1),
        ("sites", 201, 1),
    ]
    assert set(contents.beside) == {"run.json", "settings.yaml"}


def test_of_the_settings_no_path_and_nothing_of_the_machine_is_left(table: Path) -> None:
    settings = yaml.safe_load(read_contents(PublishedStore(table)).beside["settings.yaml"])
    assert settings == {
        "fasta": "GRCh38.fa.gz",
        "gtf": "gencode.gtf.gz",
        "checkpoint": "model",
        "regions": ["chr9:101-1,000"],
    }
    RunConfig.model_validate(settings)
    assert public_settings(b"checkpoint: owner/name@v1\n", "x") == {"checkpoint": "owner/name@v1"}
    with pytest.raises(InputError, match="does not hold the settings"):
        public_settings(b"- 1", "settings.yaml")


@pytest.mark.parametrize("lost", [MANIFEST, "tracks", "sites"])
def test_what_lacks_a_part_is_unfinished(copy: Store, lost: str) -> None:
    copy.delete(next(iter(copy.list(lost))))
    with pytest.raises(UnfinishedError, match=r"finish it with the same command, then publish it again"):
        read_contents(PublishedStore(copy.root))


def test_what_others_put_among_the_parts_is_told(copy: Store) -> None:
    copy.write_atomic("sites/chrom=chr9/strand=plus/other.parquet", b"x")
    with pytest.raises(InputError, match=r"is unsound and is not published: sites/.*other.parquet: not a part of this"):
        read_contents(PublishedStore(copy.root))


def test_a_part_of_another_size_and_an_edited_table_are_told(copy: Store) -> None:
    part = next(iter(copy.list("tracks/")))
    content = copy.read_bytes(part)
    copy.write_atomic(part, content[:-1])
    with pytest.raises(InputError, match=f"{part.replace('+', '.')}: not the size that manifest.parquet recorded"):
        read_contents(PublishedStore(copy.root))
    copy.write_atomic(part, content)
    contigs = pl.read_parquet(copy.path("contigs.parquet")).with_columns(length=pl.lit(10**6, pl.Int64))
    tables.put(copy, "contigs.parquet", contigs)
    with pytest.raises(InputError, match=r"contigs.parquet: its bytes are not those that manifest.parquet recorded"):
        read_contents(PublishedStore(copy.root))


@pytest.mark.parametrize("flanks", ["genomic", "transcript"])
def test_a_table_of_an_older_version_whose_manifest_has_no_checksum_of_itself(tmp_path: Path, flanks: str) -> None:
    store = tables.write_example(tmp_path, flanks=flanks, manifest=False)
    tables.write_manifest_of(store, flanks=flanks, sealed=False)
    assert len(read_contents(PublishedStore(tmp_path)).parts) == 8
    loci = pl.read_parquet(tmp_path / "loci.parquet").with_columns(pl.col("start") + 1)
    tables.put(store, "loci.parquet", loci)
    with pytest.raises(InputError, match=r"is unsound and is not published: loci.parquet: its loci are not those"):
        read_contents(PublishedStore(tmp_path))


def test_a_place_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no table"):
        read_contents(PublishedStore(tmp_path))
