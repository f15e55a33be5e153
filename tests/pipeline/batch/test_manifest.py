"""The manifest says of every part what storage holds, and of itself whether it was edited."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pipeline.batch.layout import MANIFEST, Part, held, part_name
from pipeline.batch.manifest import Manifest, make_manifest, read_manifest
from pipeline.batch.measures import Measures, measure_parts
from pipeline.batch.readback import Workbench
from pipeline.batch.storage import Store
from sptx_core.errors import InputError

FINGERPRINT = "ab" * 32
TABLES = ("first", "second")
SIDE_FILES = {"run.json": "c" * 64, "plan.parquet": "d" * 64}


def named(table: str, unit: int) -> str:
    return part_name(table, f"place={unit}", unit, "x", FINGERPRINT)


def columns(part: Part) -> dict[str, str]:
    return {"place": part.place.removeprefix("place=")}


@dataclass
class Run:
    """Two units with parts in two tables."""

    store: Store
    done: dict[int, tuple[Part, ...]]
    measures: dict[int, Measures]

    def manifest(self, side_files: dict[str, str] = SIDE_FILES) -> Manifest:
        return make_manifest(TABLES, self.done, self.measures, columns, side_files)

    def write(self, manifest: Manifest) -> None:
        self.store.write_atomic(MANIFEST, manifest.to_parquet())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    store = Store(tmp_path)
    for unit in (1, 0):
        for rows, table in enumerate(TABLES, start=1):
            content = io.BytesIO()
            pl.DataFrame({"number": range(rows * (unit + 1))}).write_parquet(content)
            store.write_atomic(named(table, unit), content.getvalue())
    done = held(store, TABLES, FINGERPRINT).done
    return Run(store, done, measure_parts(store, done, Workbench()))


def test_a_line_has_the_rows_bytes_and_digest_of_each_part(run: Run) -> None:
    run.write(run.manifest())
    frame = pl.read_parquet(run.store.path(MANIFEST))
    assert frame.columns[:2] == ["shard", "place"]
    assert frame["shard"].to_list() == [0, 1]
    assert frame["shard"].dtype == pl.Int32
    assert frame["place"].to_list() == ["0", "1"]
    for line in frame.iter_rows(named=True):
        for prefix, table in (("", "first"), ("second_", "second")):
            content = run.store.read_bytes(named(table, line["shard"]))
            assert line[f"{prefix}path"] == named(table, line["shard"])
            assert line[f"{prefix}bytes"] == len(content)
            assert line[f"{prefix}sha256"] == hashlib.sha256(content).hexdigest()
    assert frame["rows"].to_list() == [1, 2]
    assert frame["second_rows"].to_list() == [2, 4]


def as_before(frame: pl.DataFrame) -> bytes:
    """The bytes that older versions write, which know no checksums but those in the lines."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_its_lines_are_the_bytes_of_older_versions_and_the_checksums_stand_behind_them(run: Run) -> None:
    old, new = as_before(run.manifest().frame), run.manifest().to_parquet()
    footer = 8 + int.from_bytes(old[-8:-4], "little")
    assert new[: len(old) - footer] == old[:-footer]
    assert run.manifest().to_parquet() == new


def test_it_comes_back_with_its_measures_and_side_files(run: Run) -> None:
    assert read_manifest(run.store) is None
    run.write(run.manifest())
    manifest = read_manifest(run.store)
    assert manifest is not None
    assert manifest.side_files == SIDE_FILES
    assert manifest.measures(TABLES) == run.measures
    assert manifest.lists(TABLES, run.done)
    assert not manifest.lists(TABLES, {0: run.done[0]})
    assert not manifest.lists(TABLES, {unit + 1: parts for unit, parts in run.done.items()})
    other = {**run.done, 1: (run.done[1][0], run.done[1][1]._replace(bytes=1))}
    assert not manifest.lists(TABLES, other)
    assert not manifest.lists(("first", "third"), run.done)
    assert manifest.measures(("first", "third")) == {}


def test_one_of_an_older_version_is_read_and_has_no_side_files(run: Run) -> None:
    run.store.write_atomic(MANIFEST, as_before(run.manifest().frame))
    manifest = read_manifest(run.store)
    assert manifest is not None
    assert (manifest.side_files, manifest.measures(TABLES)) == ({}, run.measures)


@pytest.mark.parametrize("edit", ["line", "order", "side file"])
def test_one_that_was_edited_says_so(run: Run, edit: str) -> None:
    sound = run.manifest()
    frame, side_files = sound.frame, dict(SIDE_FILES)
    if edit == "line":
        frame = frame.with_columns(rows=pl.col("rows") + 1)
    elif edit == "order":
        frame = frame.reverse()
    else:
        side_files["run.json"] = "e" * 64
    metadata = pl.read_parquet_metadata(io.BytesIO(sound.to_parquet()))
    kept = {"sptx.seal": metadata["sptx.seal"]}
    stored = pl.read_parquet_metadata(io.BytesIO(Manifest(frame, side_files).to_parquet()))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata={"sptx.side_files": stored["sptx.side_files"], **kept})
    run.store.write_atomic(MANIFEST, buffer.getvalue())
    with pytest.raises(InputError, match=r"manifest.parquet was edited or damaged"):
        read_manifest(run.store)


@pytest.mark.slow
def test_damage_is_an_error_or_changes_nothing(run: Run) -> None:
    sound, draw, refused = run.manifest().to_parquet(), random.Random(5), 0
    for cut in (b"", sound[:100], sound[:-1]):
        run.store.write_atomic(MANIFEST, cut)
        with pytest.raises(InputError, match=r"manifest.parquet cannot be read"):
            read_manifest(run.store)
    for _ in range(200):
        flipped = bytearray(sound)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        run.store.write_atomic(MANIFEST, bytes(flipped))
        try:
            found = read_manifest(run.store)
        except InputError:
            refused += 1
        else:
            assert found is not None
            assert found.frame.equals(run.manifest().frame)
    assert refused > 20
