"""Every kind of damage is found and named by its part."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from material import tables

from pipeline.batch import actors
from pipeline.batch.readback import Workbench
from pipeline.batch.storage import StorageError, Store
from pipeline.tracks import verify as module
from pipeline.tracks.parts import ShardRows, encode_part
from pipeline.tracks.reader import open_tracks
from pipeline.tracks.verify import VerifyReport, verify
from sptx_core.channels import CHANNELS
from sptx_core.errors import InputError

FINGERPRINT = tables.FINGERPRINT
SHARD = tables.SHARDS[1]
TRACKS, SITES = SHARD.key.part_name("tracks", FINGERPRINT), SHARD.key.part_name("sites", FINGERPRINT)
ACCEPTOR, NO_SPLICE = CHANNELS.index("acceptor"), CHANNELS.index("no_splice")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A sound table without a manifest, so that only what the parts themselves tell can betray damage."""
    store: Store = tables.write_example(tmp_path, manifest=False)
    return store


def problems(store: Store) -> list[str]:
    return [problem for problem in verify(store).problems if "manifest.parquet: missing" not in problem]


def rewrite(store: Store, name: str, rows: ShardRows, *, metadata: dict[str, str] | None = None) -> None:
    """Put other rows where `name` is, encoded as they should be."""
    rounded, schema = name.startswith("tracks/"), tables.schema()
    told = schema.metadata(FINGERPRINT, SHARD.key.index, {}, rounded=rounded)
    store.write_atomic(name, encode_part(rows, schema, {**told, **(metadata or {})}, rounded=rounded))


def with_score(channel: int, value: float, row: int = 5) -> ShardRows:
    rows: ShardRows = tables.rows(SHARD)
    rows.scores[row, channel] = value
    return rows


def sites_rows() -> ShardRows:
    rows: ShardRows = tables.rows(SHARD)
    likely = np.flatnonzero(rows.scores[:, [ACCEPTOR, CHANNELS.index("donor")]].max(axis=1) >= tables.THRESHOLD)
    return rows.take(likely)


@pytest.mark.slow
@pytest.mark.parametrize("flanks", ["genomic", "transcript"])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("sealed", [True, False])
def test_sound_table_of_this_and_of_older_versions(tmp_path: Path, flanks: str, exact: bool, sealed: bool) -> None:
    store = tables.write_example(tmp_path, flanks=flanks, exact=exact, manifest=False)
    tables.write_manifest_of(store, flanks=flanks, exact=exact, sealed=sealed)
    size = sum(store.list("tracks/").values())
    assert verify(store) == VerifyReport((), 4, 1000 if flanks == "genomic" else 801, size)


@pytest.mark.parametrize("sealed", [True, False])
def test_an_edited_record_does_not_make_sound_parts_look_damaged(store: Store, sealed: bool) -> None:
    tables.write_manifest_of(store, sealed=sealed)
    run = json.loads(store.read_bytes("run.json"))
    edits = {"sites_threshold": 0.0, "exact": True, "flanks": "transcript", "channels": [*CHANNELS[::-1]]}
    store.write_atomic("run.json", json.dumps({**run, **edits}).encode())
    found = verify(store).problems
    assert found
    assert [problem for problem in found if not problem.startswith("run.json: ")] == []


def test_missing_parts(store: Store) -> None:
    other = tables.SHARDS[2].key
    store.delete(TRACKS)
    store.delete(other.part_name("sites", FINGERPRINT))
    assert problems(store) == [
        f"{TRACKS}: not committed",
        f"{other.part_name('sites', FINGERPRINT)}: missing, though its tracks part is committed",
    ]
    assert verify(store).parts == 3


def test_sites_part_of_a_shard_killed_before_its_tracks_part_is_no_problem_of_its_own(store: Store) -> None:
    store.delete(TRACKS)
    assert not [problem for problem in problems(store) if problem.startswith("sites/")]


def test_files_that_are_no_parts_of_the_run(store: Store) -> None:
    stray = [TRACKS.replace(FINGERPRINT[:12], "f" * 12), "sites/chrom=chr9/other.parquet"]
    for name in stray:
        store.write_atomic(name, b"")
    assert problems(store) == [f"{name}: not a part of this run" for name in stray]


@pytest.mark.slow
@pytest.mark.parametrize("name", [TRACKS, SITES])
@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_truncated_file(store: Store, name: str, kept: int) -> None:
    store.write_atomic(name, store.read_bytes(name)[:kept])
    (problem,) = problems(store)
    assert problem.startswith(f"{name}: cannot be read (")


def flips(store: Store, name: str, stride: int) -> Iterator[int]:
    """Put the part back with one bit flipped, at one place after the other."""
    sound = store.read_bytes(name)
    for place in range(0, len(sound), stride):
        content = bytearray(sound)
        content[place] ^= 0x10
        store.write_atomic(name, bytes(content))
        yield place


@pytest.mark.slow
@pytest.mark.parametrize("name", [TRACKS, SITES])
def test_flipped_bit_anywhere_with_a_manifest(store: Store, name: str) -> None:
    tables.write_manifest_of(store)
    for place in flips(store, name, 397):
        assert f"{name}: its bytes are not those that manifest.parquet recorded" in problems(store), f"byte {place}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [TRACKS, SITES])
def test_flipped_bit_anywhere_without_a_manifest(store: Store, name: str) -> None:
    sound = pq.ParquetFile(store.path(name)).read()
    for place in flips(store, name, 397):
        found = problems(store)
        # Page headers hold bytes that Arrow does not use and no checksum covers; the rows are whole then.
        assert found or pq.ParquetFile(store.path(name)).read().equals(sound), f"byte {place}"
        assert all(problem.startswith((TRACKS, SITES)) for problem in found)


ROWS = tables.rows(SHARD)
EXTRA = ShardRows(*(np.concatenate([part, part[-1:]]) for part in (ROWS.pos, ROWS.ref, ROWS.scores)))
SHIFTED = replace(ROWS, pos=np.concatenate([ROWS.pos[:10], ROWS.pos[10:] + 1]))
# name of the part, its rows, what verify must say of it
DAMAGE = {
    "extra row": (TRACKS, EXTRA, "has 401 rows, the plan 400"),
    "missing row": (TRACKS, ROWS.take(slice(1, None)), "has 399 rows, the plan 400"),
    "no rows": (TRACKS, ROWS.take(slice(0)), "has 0 rows, the plan 400"),
    "shifted": (TRACKS, SHIFTED, "row 10 is position 412, in the plan 411"),
    "NaN": (TRACKS, with_score(7, np.nan), f"1 value of {CHANNELS[7]} is not a number"),
    "infinity": (TRACKS, with_score(7, np.inf), f"1 value of {CHANNELS[7]} is not a number"),
    "below 0": (TRACKS, with_score(9, -0.25), f"1 value of {CHANNELS[9]} lies outside [0, 1]"),
    "above 1": (TRACKS, with_score(9, 1.5), f"1 value of {CHANNELS[9]} lies outside [0, 1]"),
    "sum": (TRACKS, with_score(NO_SPLICE, 0.9), "1 row whose no_splice, acceptor, donor do not sum to 1"),
    "NaN in sites": (SITES, replace(sites_rows(), scores=sites_rows().scores * np.nan), "of brain are not numbers"),
    "site lost": (SITES, sites_rows().take(slice(1, None)), "lacks 1 row at or above 0.01, the first at 500"),
    "no sites": (SITES, sites_rows().take(slice(0)), "lacks 4 rows at or above 0.01"),
    "no site": (SITES, ROWS, "396 rows are not likely sites of the tracks part"),
    "sites reversed": (SITES, sites_rows().take(slice(None, None, -1)), "rows are not in the order of the tracks part"),
    "other bases": (SITES, replace(sites_rows(), ref=sites_rows().ref ^ 1), "ref differs from the tracks part"),
    "other usage": (
        SITES,
        replace(sites_rows(), scores=sites_rows().scores * 0.9),
        "blood differs from the tracks part",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
def test_rows_that_are_not_those_of_the_shard(store: Store, kind: str) -> None:
    name, rows, expected = DAMAGE[kind]
    rewrite(store, name, rows)
    found = problems(store)
    assert [problem for problem in found if problem.startswith(f"{name}: ") and expected in problem], found
    touched = (TRACKS, SITES)  # what differs in one of a shard's parts may show in the other
    assert all(problem.startswith(touched) for problem in found)


def test_part_of_another_run_or_shard(store: Store) -> None:
    rewrite(store, TRACKS, ROWS, metadata={"sptx.fingerprint": "f" * 64})
    rewrite(store, SITES, sites_rows(), metadata={"sptx.shard": "2"})
    assert problems(store) == [
        f"{TRACKS}: written for another run or shard: sptx.fingerprint is {'f' * 64}, not {FINGERPRINT}",
        f"{SITES}: written for another run or shard: sptx.shard is 2, not 1",
    ]


def test_unrounded_values_and_other_columns(store: Store) -> None:
    schema = tables.schema()
    told = schema.metadata(FINGERPRINT, SHARD.key.index, {}, rounded=True)
    store.write_atomic(TRACKS, encode_part(ROWS, schema, told, rounded=False))
    assert f"{TRACKS}: values of brain are not in steps of 1/1000" in problems(store)
    frame = pl.DataFrame({"pos": [1], "acceptor": [0.5]})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    store.write_atomic(TRACKS, buffer.getvalue())
    (problem,) = problems(store)
    assert problem.startswith(f"{TRACKS}: its columns are not those of the table")


def test_rows_of_another_transcript(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path, flanks="transcript", manifest=False)
    shard, schema = tables.OWN_SHARDS[0], tables.schema(flanks="transcript")
    rows = tables.rows(shard, "transcript")
    rows.transcript_id[:7] = "ENST0002.1"
    digest = tables.fingerprint("transcript")
    name = shard.key.part_name("tracks", digest)
    store.write_atomic(name, encode_part(rows, schema, schema.metadata(digest, 0, {}, rounded=True), rounded=True))
    assert f"{name}: 7 rows carry another transcript than the plan" in problems(store)


def test_manifest_that_is_missing_damaged_or_of_other_parts(store: Store) -> None:
    assert verify(store).problems == (
        "manifest.parquet: missing, though every part is there; the same `sptx run` writes it",
    )
    store.write_atomic("manifest.parquet", b"PAR1")
    assert verify(store).problems[0].startswith("manifest.parquet: cannot be read")
    for sealed in (True, False):
        store.delete(TRACKS)
        tables.write_manifest_of(store, sealed=sealed)
        tables.commit(store, SHARD)
        assert verify(store).problems == ("manifest.parquet: its 3 lines are not those of the 4 planned shards",)


def test_an_edited_manifest_is_named_and_not_the_parts_that_it_slanders(store: Store) -> None:
    tables.write_manifest_of(store)
    sound = store.read_bytes("manifest.parquet")
    frame = pl.read_parquet(io.BytesIO(sound)).with_columns(sha256=pl.lit("0" * 64))
    told = pl.read_parquet_metadata(io.BytesIO(sound))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata={name: told[name] for name in ("sptx.seal", "sptx.side_files")})
    store.write_atomic("manifest.parquet", buffer.getvalue())
    (problem,) = verify(store).problems
    assert problem.startswith("manifest.parquet: cannot be read (")
    assert "edited" in problem


def test_bytes_that_the_manifest_did_not_record(store: Store) -> None:
    tables.write_manifest_of(store)
    rewrite(store, TRACKS, ROWS)  # sound, but without the line that says how it was computed
    assert verify(store).problems == (f"{TRACKS}: its bytes are not those that manifest.parquet recorded",)


@pytest.mark.parametrize("flanks", ["genomic", "transcript"])
def test_a_plan_that_was_edited_does_not_make_sound_parts_look_damaged(tmp_path: Path, flanks: str) -> None:
    store = tables.write_example(tmp_path, flanks=flanks)
    for name in ("plan", "loci")[: 2 if flanks == "transcript" else 1]:
        sound = store.read_bytes(f"{name}.parquet")
        frame = pl.read_parquet(io.BytesIO(sound)).with_columns(strand=pl.lit("-"))
        tables.put(store, f"{name}.parquet", frame)
        with pytest.raises(InputError, match=rf"{name}.parquet was edited: .*the same `sptx run` writes it again"):
            verify(store)
        with pytest.raises(InputError, match=rf"{name}.parquet was edited: "):
            open_tracks(tmp_path, verify=True).scan()
        store.write_atomic(f"{name}.parquet", sound)
    assert verify(store).problems == ()


def remove_plan(store: Store) -> None:
    store.delete("plan.parquet")


def shorten_plan(store: Store) -> None:
    buffer = io.BytesIO()
    pl.read_parquet(io.BytesIO(store.read_bytes("plan.parquet"))).head(3).write_parquet(buffer)
    store.write_atomic("plan.parquet", buffer.getvalue())


@pytest.mark.parametrize(
    ("damage", "message"),
    [(remove_plan, r"plan.parquet does not exist"), (shorten_plan, r"plan.parquet and run.json differ")],
)
def test_nothing_is_verified_without_a_plan(store: Store, damage: Callable[[Store], Any], message: str) -> None:
    damage(store)
    with pytest.raises(InputError, match=message):
        verify(store)


def damage_all(store: Store) -> None:
    """One problem or more in every shard, of different kinds."""
    first, _, third, last = (shard.key for shard in tables.SHARDS)
    rewrite(store, TRACKS, EXTRA)
    store.write_atomic(first.part_name("tracks", FINGERPRINT), b"")
    store.delete(third.part_name("sites", FINGERPRINT))
    store.write_atomic(last.part_name("sites", FINGERPRINT), b"PAR1")


def test_the_report_is_the_same_whoever_reads(store: Store, without_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    damage_all(store)
    here = verify(store)
    assert len(here.problems) > 4
    spread: list[int] = []
    execute = actors.execute

    def reversed_pool(rows: list[dict[str, Any]], *arguments: Any, **options: Any) -> Iterator[dict[str, Any]]:
        spread.append(len(rows))
        return execute(rows[::-1], *arguments, **options)

    monkeypatch.setattr(actors, "execute", reversed_pool)
    assert verify(store, Workbench(workers=2)) == here
    monkeypatch.setattr(module, "WORKBENCH_ROWS", 10)
    assert verify(store) == here
    assert spread == [4, 4]


@pytest.mark.slow
@pytest.mark.operations
def test_the_report_is_the_same_from_a_real_workbench(store: Store, sptx: Any) -> None:
    damage_all(store)
    told = json.loads(sptx("verify", store.root, "--workers", 2, "--json", code=3).stdout)
    here = verify(store)
    assert told == {"sound": False, **asdict(here), "problems": list(here.problems)}


def test_verify_reads_on_where_storage_does_not_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_manifest_of(store)
    read, others = Store.read_bytes, [shard.key.part_name("sites", FINGERPRINT) for shard in tables.SHARDS[2:]]
    rewrite(store, others[1], sites_rows())

    def flaky(self: Store, name: str) -> bytes:
        if name in (TRACKS, others[0]):
            raise StorageError(f"{name} cannot be read: 403 Forbidden", transient=True)
        return read(self, name)

    monkeypatch.setattr(Store, "read_bytes", flaky)
    report = verify(store)
    for name in (TRACKS, others[0]):
        (problem,) = [problem for problem in report.problems if problem.startswith(f"{name}: ")]
        assert "403 Forbidden" in problem
        assert "verify again" in problem
        assert "delete" not in problem
        assert "damage" not in problem
    assert (report.parts, report.unread) == (4, 2)
    assert any(problem.startswith(f"{others[1]}: its bytes are not those") for problem in report.problems)


def test_parts_without_run_json_are_told_and_no_table_is_refused(store: Store, tmp_path: Path) -> None:
    store.delete("run.json")
    assert verify(store).problems == (
        "run.json: missing, though there are 4 parts; the same `sptx run` writes it again",
    )
    with pytest.raises(InputError, match=r"holds no table: there is no run.json"):
        verify(Store(tmp_path / "nothing"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["settings.yaml", "contigs.parquet", "loci.parquet", "transcripts.parquet", "run.json"]
)
@pytest.mark.parametrize("sealed", [True, False])
def test_files_beside_the_parts_are_checked(store: Store, name: str, sealed: bool) -> None:
    tables.write_manifest_of(store, sealed=sealed)
    content = store.read_bytes(name)
    edited = json.dumps({**json.loads(content), "sites_threshold": 0.02}).encode() if name == "run.json" else b"::: {"
    store.write_atomic(name, edited)
    assert any(problem.startswith(f"{name}: ") for problem in verify(store).problems)


def test_each_folder_is_listed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    listing = Store.list
    monkeypatch.setattr(Store, "list", lambda self, prefix="": listed.append(prefix) or listing(self, prefix))
    verify(store)
    assert sorted(listed) == ["sites/", "tracks/"]
