"""Files beside the parts: each kind of damage is seen, by the manifest's checksums or, without these, by the plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import tables

from pipeline.batch.record import Execution, RunRecord, read_record
from pipeline.batch.storage import StorageError, Store
from pipeline.coordinates import Interval
from pipeline.tracks.digests import loci_digest, transcripts_digest
from pipeline.tracks.header import read_table
from pipeline.tracks.plan import make_plan
from pipeline.tracks.schema import FORMAT_VERSION
from pipeline.tracks.settings import Flanks, TableSpec
from pipeline.tracks.side_check import side_problems
from pipeline.tracks.side_tables import tables_of
from sptx_core.channels import CHANNELS
from sptx_core.windows import WindowSpec

NAMES = ("run.json", "settings.yaml", "contigs.parquet", "loci.parquet", "transcripts.parquet", "plan.parquet")
AGAIN = "; the same `sptx run` writes it again"


@pytest.fixture(params=["genomic", "transcript"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return tables.write_example(tmp_path, flanks=request.param, exact=True)


def problems(store: Store, recorded: dict[str, str] | None = None, **fields: object) -> list[str]:
    """What is said of the files; `fields` are further ones of run.json, which the material does not write."""
    record = read_record(store, FORMAT_VERSION)
    assert record is not None
    record.fields.update(fields)
    return side_problems(store, record, read_table(store, "plan"), recorded or {})


def digests(store: Store) -> dict[str, str]:
    """As the manifest has them."""
    return {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in NAMES if name != "settings.yaml"}


def rewrite(store: Store, name: str, *changes: pl.Expr) -> None:
    tables.put(store, f"{name}.parquet", read_table(store, name).with_columns(*changes))


def test_sound_files_have_no_problems(store: Store) -> None:
    assert problems(store) == []
    assert problems(store, digests(store)) == []


@pytest.mark.parametrize("name", NAMES[2:5])
def test_with_checksums_a_missing_and_a_changed_file_is_named(store: Store, name: str) -> None:
    recorded, content = digests(store), bytearray(store.read_bytes(name))
    content[len(content) // 2] ^= 1
    store.write_atomic(name, bytes(content))
    assert problems(store, recorded) == [f"{name}: its bytes are not those that manifest.parquet recorded{AGAIN}"]
    store.delete(name)
    assert problems(store, recorded) == [f"{name}: missing{AGAIN}"]


def test_with_checksums_any_byte_of_run_json_counts(store: Store) -> None:
    recorded = digests(store)
    store.write_atomic("run.json", store.read_bytes("run.json") + b" ")
    assert problems(store, recorded) == [f"run.json: its bytes are not those that manifest.parquet recorded{AGAIN}"]


@pytest.mark.parametrize("damage", [None, b"", b"::: {", b"\xff\xfe\x00", b"fasta: 1"])
@pytest.mark.parametrize("sealed", [False, True])
def test_settings_must_be_those_of_a_run(store: Store, damage: bytes | None, sealed: bool) -> None:
    recorded = digests(store) if sealed else {}
    if damage is None:
        store.delete("settings.yaml")
    else:
        store.write_atomic("settings.yaml", damage)
    (problem,) = problems(store, recorded)
    assert problem.startswith("settings.yaml: ")
    assert problem.endswith(AGAIN)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[2:5])
@pytest.mark.parametrize("damage", [None, b"", b"PAR1xx", b"::: {"])
def test_without_checksums_missing_and_unreadable_files_are_named(
    store: Store, name: str, damage: bytes | None
) -> None:
    if damage is None:
        store.delete(name)
    else:
        store.write_atomic(name, damage)
    (problem,) = problems(store)
    assert problem.startswith(f"{name}: ")
    assert problem.endswith(AGAIN)


EDITS: dict[str, tuple[str, Any, str]] = {
    "contig renamed": ("contigs", pl.col("chrom").replace("chr9", "chr8"), "its contigs are not those of the plan"),
    "contig cut": ("contigs", pl.lit(70, pl.Int64).alias("length"), "a contig ends before the plan does"),
    "locus moved": ("loci", pl.col("start") + 1, "its loci are not those of the plan"),
    "locus of another strand": ("loci", pl.lit("+").alias("strand"), "its loci are not those of the plan"),
    "transcripts lost": ("transcripts", pl.col("locus").list.slice(0, 0), "its transcripts do not lie in the loci"),
    "transcripts elsewhere": ("transcripts", pl.lit("-").alias("strand"), "its transcripts do not lie in the loci"),
    "exons cut": ("transcripts", pl.col("exon_ends").list.slice(0, 0), "an exon lacks its start or end"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_without_checksums_small_tables_are_held_against_the_plan(store: Store, kind: str) -> None:
    name, change, told = EDITS[kind]
    rewrite(store, name, change)
    found = problems(store)
    assert found
    assert any(problem.startswith(f"{name}.parquet: {told}") for problem in found)
    assert all(problem.startswith(f"{name}.parquet: ") and problem.endswith(AGAIN) for problem in found)


def test_without_checksums_the_digests_of_the_fingerprint_count(store: Store) -> None:
    transcripts, loci = read_table(store, "transcripts"), read_table(store, "loci")
    own = transcripts.rename({"chrom": "contig"}).with_columns(pl.col("start") - 1)
    named = loci if "transcript_id" in loci.columns else loci.with_columns(transcript_id=pl.lit(""))
    fields = {
        "transcripts": transcripts_digest(own),
        "loci": loci_digest(named.select("chrom", "strand", pl.col("start") - 1, "end", "transcript_id")),
    }
    assert problems(store, **fields) == []
    rewrite(store, "transcripts", pl.col("transcript_id") + "x")
    assert problems(store, **fields) == [f"transcripts.parquet: its transcripts are not those of run.json{AGAIN}"]
    assert problems(store, loci="f" * 64)[0] == f"loci.parquet: its loci are not those of run.json{AGAIN}"


def edit_record(store: Store) -> None:
    run = json.loads(store.read_bytes("run.json"))
    store.write_atomic("run.json", json.dumps({**run, "sites_threshold": 0.5}).encode())


def edit_settings(store: Store) -> None:
    store.write_atomic("settings.yaml", store.read_bytes("settings.yaml").replace(b"exact: true", b"exact: false"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (edit_record, f"run.json: was edited: sites_threshold is 0.5, in its fields 0.01{AGAIN}"),
        (edit_settings, f"settings.yaml: exact is False, in run.json True{AGAIN}"),
    ],
)
def test_without_checksums_what_is_said_twice_must_agree(
    store: Store, edit: Callable[[Store], None], told: str
) -> None:
    edit(store)
    assert problems(store) == [told]


def test_storage_that_does_not_answer_is_not_called_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, read = digests(store), Store.read_bytes

    def forbidden(self: Store, name: str) -> bytes:
        if name in NAMES[1:5]:
            raise StorageError(f"{name}: Permission denied", transient=True)
        return read(self, name)

    record, plan = read_record(store, FORMAT_VERSION), read_table(store, "plan")
    assert record is not None
    monkeypatch.setattr(Store, "read_bytes", forbidden)
    for known in ({}, recorded):
        found = side_problems(store, record, plan, known)
        assert len(found) == 4
        assert all("Permission denied" in problem and "verify again" in problem for problem in found)
        assert not [problem for problem in found if "damaged" in problem or AGAIN in problem]


ROWS = [  # transcript, contig, strand, start, end
    ("A", "chr2", "+", 0, 40),
    ("B", "chr2", "+", 30, 60),
    ("C", "chr1", "-", 5, 25),
    ("D", "chr2", "+", 80, 90),
]


@pytest.mark.parametrize("flanks", Flanks)
@pytest.mark.parametrize("regions", [(), (Interval("chr2", 10, 85), Interval("chr2", 33, 35), Interval("chr1", 0, 7))])
def test_what_a_plan_writes_has_no_problems_without_checksums(
    tmp_path: Path, flanks: Flanks, regions: tuple[Interval, ...]
) -> None:
    """As `sptx run` writes it, with regions that clip loci and leave transcripts without one."""
    names = dict.fromkeys(("gene_id", "gene_name", "gene_type", "transcript_type"), "x")
    frame = pl.DataFrame(
        [
            {"transcript_id": name, **names, "tags": ["basic"], "contig": contig, "strand": strand}
            | {"start": start, "end": end, "exon_starts": [start], "exon_ends": [end]}
            for name, contig, strand, start, end in ROWS
        ]
    )
    lengths = {"chr1": 100, "chr2": 200}
    plan = make_plan(frame, lengths, spec=WindowSpec(10, 5), flanks=flanks, windows_per_shard=3, regions=regions)
    store = Store(tmp_path)
    for name, content in {**tables_of(plan), "settings.yaml": tables.SETTINGS}.items():
        store.write_atomic(name, content)
    fields = {"transcripts": transcripts_digest(plan.transcripts), "loci": loci_digest(plan.loci)}
    spec = TableSpec(CHANNELS, flanks, False, 0.01, WindowSpec(10, 5))
    record = RunRecord(FORMAT_VERSION, fields, Execution("", "", "", "", 1, 1), spec.about(), 1, 1)
    assert side_problems(store, record, read_table(store, "plan"), {}) == []
