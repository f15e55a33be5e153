"""What `verify` finds in a table of variants that was damaged in one way or another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from material.variant_runs import Line, Place

from pipeline.batch.record import fingerprint
from pipeline.batch.storage import Store
from pipeline.variants.verify import verify
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def sound(place: Place) -> Path:
    at = place.sequences["chr1"]
    lines = [Line("chr1", pos, at[pos - 1], "C,*", genotypes=["0|1"]) for pos in (510, 520, 530, 2301)]
    lines += [Line("chr1", pos, at[pos - 1], "C", genotypes=[f"0|1:{set_}"]) for pos in (810, 820) for set_ in "ab"]
    lines += [Line("chr1", 800, at[799], "C", genotypes=["1|1"])]
    table = place.score(lines, ["S"], sample="S", haplotypes=True, alleles_per_shard=3, sites=True)
    return Path(table.store.root)


@pytest.fixture
def table(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "table")


def part(table: Path, folder: str = "variants", index: int = 1) -> Path:
    return sorted(table.glob(f"{folder}/**/*.parquet"))[index]


def problems(table: Path) -> tuple[str, ...]:
    return verify(Store(table)).problems


def test_a_sound_table_is_told_with_its_sizes(table: Path) -> None:
    report = verify(Store(table))
    assert report.problems == ()
    files = list(table.glob("*/chrom=*/*.parquet"))
    assert report.parts == len(files) > 6
    assert report.rows == sum(pq.read_metadata(file).num_rows for file in files)
    assert report.bytes == sum(file.stat().st_size for file in files)


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(bytes(content))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of a part": (lambda table: flipped(part(table), 300), "its bytes are not those that manifest.parquet"),
    "a bit of its sites": (lambda table: flipped(part(table, "sites"), 300), "its bytes are not those"),
    "a part cut": (lambda table: part(table).write_bytes(part(table).read_bytes()[:-9]), "parquet: cannot be read"),
    "a part lost": (lambda table: part(table).unlink(), "1 shard is not committed, the first is 1"),
    "sites lost": (lambda table: part(table, "sites").unlink(), "missing"),
    "no manifest": (lambda table: (table / "manifest.parquet").unlink(), "manifest.parquet: missing"),
    "manifest cut": (lambda table: (table / "manifest.parquet").write_bytes(b"PAR1"), "manifest.parquet: "),
    "another part's bytes": (lambda table: shutil.copy(part(table, index=0), part(table)), "its bytes are not those"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(kind: str, table: Path) -> None:
    damage, told = DAMAGE[kind]
    damage(table)
    assert any(told in problem for problem in problems(table)), problems(table)


def test_pages_are_checked_without_a_manifest_too(table: Path) -> None:
    (table / "manifest.parquet").unlink()
    flipped(part(table), 300)
    assert any(problem.startswith("variants/") for problem in problems(table))


def test_a_record_that_was_edited_is_found(table: Path) -> None:
    path = table / "run.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"statuses": {"scored": 1}}))
    assert any("run.json: its bytes are not those that manifest.parquet recorded" in one for one in problems(table))
    (table / "manifest.parquet").unlink()
    assert problems(table)
    path.write_text(json.dumps(record | {"fields": record["fields"] | {"distance": 50}}))
    with pytest.raises(InputError, match="was edited"):
        verify(Store(table))


def test_statuses_are_counted_again(table: Path) -> None:
    (table / "manifest.parquet").unlink()
    path = table / "run.json"
    record = json.loads(path.read_bytes())
    statuses = record["statuses"] | {"scored": record["statuses"]["scored"] + 1}
    path.write_text(json.dumps(record | {"statuses": statuses}))
    found = problems(table)
    assert any("manifest.parquet: missing" in problem for problem in found)
    assert any("run.json: the plan had" in problem for problem in found), found


def test_parts_of_another_run_are_not_taken_for_its_own(table: Path) -> None:
    path = table / "run.json"
    record = json.loads(path.read_bytes())
    fields = record["fields"] | {"distance": 50}
    path.write_text(json.dumps(record | {"fields": fields, "fingerprint": fingerprint(fields)}))
    assert any("shards are not committed, the first is 0" in problem for problem in problems(table))


def test_joint_alleles_that_only_their_phase_sets_tell_apart_are_counted_as_two(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [Line("chr1", 800, at[799], "C", genotypes=["1|1"])]
    lines += [Line("chr1", 810, at[809], "C", genotypes=[f"0|1:{name}"]) for name in "ab"]
    table = place.score(lines, ["S"], sample="S", haplotypes=True)
    assert dict(table.header.statuses) == {"scored": 5}
    assert len(table.parts) == 1
    assert verify(table.store).problems == ()
