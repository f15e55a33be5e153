"""Tracks from Python: what the commands `run` and `plan` do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.local_run import compute_tracks

from pipeline.batch.run import Outcome
from pipeline.batch.storage import Store
from pipeline.tracks.run import plan, run
from pipeline.tracks.settings import RunConfig
from pipeline.tracks.verify import verify
from sptx_core.errors import InputError


def settings(example: Any, **others: Any) -> RunConfig:
    inputs = {"fasta": str(example.genome), "gtf": str(example.annotation), "checkpoint": str(example.checkpoint)}
    return RunConfig(**inputs, genes=("EPSILON5",), **others)


@pytest.mark.slow
def test_a_run_does_what_the_plan_says_and_tells_it(
    example: Any, tmp_path: Path, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(example, output=str(tmp_path / "table"))
    planned = plan(chosen)
    assert "contigs: " in capsys.readouterr().out
    said: list[str] = []
    outcome = run(chosen, said.append)
    assert (outcome.complete, outcome.size, outcome.units) == (True, planned.bases, planned.shards)
    assert any(line.startswith("3,990 bases in 1 locus") for line in said)
    assert "3,990 of 3,990 bases" in capsys.readouterr().err
    assert run(chosen, said.append, progress=False).computed == 0


@pytest.mark.slow
def test_progress_can_be_left_out(
    example: Any, tmp_path: Path, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings(example, output=str(tmp_path / "table")), lambda _: None, progress=False).complete
    assert capsys.readouterr() == ("", "")


def test_an_output_is_required(example: Any) -> None:
    with pytest.raises(InputError, match="--output"):
        run(settings(example))


def part_of(root: Path, table: str, index: int) -> Path:
    return next(root.glob(f"{table}/**/{index:06d}-*.parquet"))


@pytest.fixture(scope="module")
def computed(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small table of some shards, complete."""
    root = tmp_path_factory.mktemp("computed") / "table"
    compute_tracks(example, root, genes=["EPSILON5"], windows_per_shard=1)
    return root


def again(example: Any, root: Path, said: list[str]) -> Outcome:
    """The command that made the table, once more."""
    chosen = settings(example, output=str(root), windows_per_shard=1, threads=2)
    return run(chosen, said.append, progress=False)


Damage = Callable[[Path], object]


def delete(name: str) -> Damage:
    return lambda root: (root / name).unlink()


def write(name: str, content: bytes) -> Damage:
    return lambda root: (root / name).write_bytes(content)


def edit(name: str, old: bytes, new: bytes) -> Damage:
    def edited(root: Path) -> None:
        head, found, tail = (root / name).read_bytes().rpartition(old)
        assert found
        (root / name).write_bytes(head + new + tail)

    return edited


AGAIN = "written again: "
DAMAGE: dict[str, tuple[Damage, str]] = {
    "no transcripts": (delete("transcripts.parquet"), f"{AGAIN}transcripts.parquet"),
    "transcripts cut": (write("transcripts.parquet", b"PAR1xx"), f"{AGAIN}transcripts.parquet"),
    "no loci": (delete("loci.parquet"), f"{AGAIN}loci.parquet"),
    "no contigs": (delete("contigs.parquet"), f"{AGAIN}contigs.parquet"),
    "no plan": (delete("plan.parquet"), f"{AGAIN}plan.parquet"),
    "no manifest": (delete("manifest.parquet"), "shards for the manifest"),
    "manifest cut": (write("manifest.parquet", b"PAR1"), "manifest.parquet cannot be read"),
    "no run.json": (delete("run.json"), "run.json was missing beside parts of this run; written again"),
    "run.json edited": (edit("run.json", b'"exact": false', b'"exact": true'), f"{AGAIN}run.json"),
    "execution edited": (edit("run.json", b'"threads": 2', b'"threads": 3'), f"{AGAIN}run.json"),
    "sites lost": (lambda root: part_of(root, "sites", 2).unlink(), "1 shard has lost a part and is computed again"),
    "tracks lost": (lambda root: part_of(root, "tracks", 2).unlink(), "done, 1 to do)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.usefixtures("without_ray")
def test_the_same_command_writes_again_what_it_can_derive_and_says_so(
    kind: str, computed: Path, example: Any, tmp_path: Path, digests: Any
) -> None:
    root = shutil.copytree(computed, tmp_path / "table")
    damage, told = DAMAGE[kind]
    damage(root)
    said: list[str] = []
    assert again(example, root, said).complete
    assert any(told in line for line in said), said
    assert digests(root) == digests(computed)
    said.clear()
    assert again(example, root, said).computed == 0
    assert not [line for line in said if AGAIN in line]


@pytest.mark.usefixtures("without_ray")
def test_settings_that_are_garbage_are_written_again(computed: Path, example: Any, tmp_path: Path) -> None:
    root = shutil.copytree(computed, tmp_path / "table")
    (root / "settings.yaml").write_bytes(b"::: {")
    said: list[str] = []
    assert again(example, root, said).complete
    assert any(f"{AGAIN}settings.yaml" in line for line in said)
    assert verify(Store(root)).problems == ()


def identities(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in root.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("without_ray")
def test_a_complete_table_of_an_older_version_is_not_touched(computed: Path, example: Any, tmp_path: Path) -> None:
    root = shutil.copytree(computed, tmp_path / "table")
    frame = pl.read_parquet(root / "manifest.parquet")
    frame.write_parquet(root / "manifest.parquet")  # without checksums of itself and of the files beside the parts
    before = identities(root)
    assert verify(Store(root)).problems == ()
    assert again(example, root, []).computed == 0
    assert identities(root) == before
