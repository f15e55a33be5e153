"""The export on the workbench: its units, and that it writes the bytes of an export in one process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import tables
from material.fault_proxy import Fault, faulty_bucket
from material.processes import PATIENCE, SPTX, end, start, started_by, wait_for

from pipeline.batch import actors
from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.coordinates import Strand
from pipeline.exporting import export as whole_export
from pipeline.exporting import job
from pipeline.exporting.export import Exported, export
from pipeline.exporting.job import PiecesJob, PieceWorker
from pipeline.exporting.pieces import append_pieces
from pipeline.exporting.record import WORK, Options, Record
from pipeline.exporting.rows import cuts
from pipeline.exporting.scope import Scope
from pipeline.settings import JobSettings
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.errors import InputError, UnfinishedError

ONE_WORKER = JobSettings(workers=1, threads=1, max_attempts=1)
PIECES = 14  # of the table below


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """Two contigs, one of them called as no folder can be; twelve parts on one strand."""
    parts = [
        tables.Part(
            "chr1",
            "+",
            range(at, at + 1_000),
            acceptor={at + 50: 0.9, at + 51: 0.9},
            donor={at + 500: 0.7},
            usage={at + 500: [0.1 * tissue / 15 for tissue in range(15)]},
        )
        for at in range(1, 24_001, 2_000)
    ]
    parts += [
        tables.Part("chr1", "-", range(5_001, 9_001), donor={6_000: 0.25}),
        tables.Part("a/b:c d", "-", range(1, 2_001), acceptor={7: 1.0}),
    ]
    return tables.write(tmp_path_factory.mktemp("many") / "table", parts)


@pytest.fixture(scope="module")
def one_process(tracks: Tracks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of its export in one process."""
    return digests(in_one_process(tracks, tmp_path_factory.mktemp("one") / "export"))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch, without_ray: None) -> None:
    """Units of one part, computed in this process."""
    monkeypatch.setattr(job, "UNIT_BASES", 1_000)


in_small_pieces = pytest.mark.usefixtures("small_pieces")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where an export by pieces goes."""
    return tmp_path / "pieces"


def by_pieces(tracks: Tracks, root: Path | str, workbench: JobSettings = ONE_WORKER, **options: Any) -> Exported:
    return export(tracks, Store(root), Options(**options), print, progress=False, workbench=workbench)


def in_one_process(tracks: Tracks, root: Path, **options: Any) -> Path:
    export(tracks, Store(root), Options(**options), print, progress=False)
    return root


def digests(root: Path | str) -> dict[str, str]:
    store = Store(root)
    return {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in store.list()}


def a_job(tracks: Tracks, **options: Any) -> PiecesJob:
    chosen = Options(**options)
    return PiecesJob(Scope(tracks, chosen), Record.of(tracks, chosen), ONE_WORKER)


def test_units_hold_each_cut_of_the_table_once_and_in_order(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "UNIT_BASES", 2_500)
    found = a_job(tracks)
    assert [span.contig for span in found.spans] == [0, *[1] * 7]
    assert [cut for span in found.spans[1:-1] for cut in span.cuts] == cuts(tracks, ("chr1", "+"))
    assert [span.bases for span in found.spans] == [2_000, *[2_000] * 6, 4_000]
    assert found.size == sum(unit.size for unit in found.iter_units(list(range(found.units)))) == 18_000


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 23_000), st.integers(0, 3_000)), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_units_count_the_bases_that_they_read(tracks: Tracks, wanted: list[tuple[int, int]]) -> None:
    regions = tuple(f"chr1:{first}-{first + more}" for first, more in wanted)
    found = a_job(tracks, regions=regions)
    worker = PieceWorker(found.scope, Execution("cpu", "", "", "", 1, 1))
    for unit in found.iter_units(list(range(found.units))):
        _, rows = worker.read(unit)
        assert unit.size == sum(map(len, rows["splice"])) > 0
    assert found.size == sum(found.scope.bases([strand]) for strand in Strand)


@in_small_pieces
def test_units_without_wanted_bases_are_left_out(tracks: Tracks) -> None:
    found = a_job(tracks, regions=("chr1:2,500-3,500", "chr1:6,100-6,200"))
    assert [(span.strand, span.cuts, span.bases) for span in found.spans] == [
        (Strand.PLUS, ((2_001, 4_000), (6_001, 8_000)), 602),
        (Strand.MINUS, ((5_001, 9_000),), 101),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"least": 0.0, "genome": "hg38"}, {"regions": ("chr1:2,500-13,500",), "least": 0.0}], ids=str
)
@in_small_pieces
def test_pieces_give_the_bytes_of_one_process_and_go(tracks: Tracks, tmp_path: Path, options: dict[str, Any]) -> None:
    done = by_pieces(tracks, tmp_path / "pieces", **options)
    assert "usage/brain.plus.bw" in done.written
    assert digests(tmp_path / "pieces") == digests(in_one_process(tracks, tmp_path / "one", **options))
    assert not (tmp_path / "pieces" / WORK).exists()
    by_pieces(tracks, "memory://pieces", **options)
    assert digests("memory://pieces") == digests(tmp_path / "one")
    Store("memory://pieces").delete_folder("")


@pytest.mark.slow
@in_small_pieces
def test_rows_of_transcripts_in_pieces(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "table", flanks="transcript")
    tracks = open_tracks(tmp_path / "table")
    by_pieces(tracks, tmp_path / "pieces", genes=("GENE1",))
    assert digests(tmp_path / "pieces") == digests(in_one_process(tracks, tmp_path / "one", genes=("GENE1",)))


def killed_after(count: int) -> Callable[..., Iterator[dict[str, Any]]]:
    """In place of Ray, what computes some rows and is interrupted."""

    def execute(rows: list[dict[str, Any]], make_call: Callable[[], Any], *_: Any, **__: Any) -> Iterator[Any]:
        call = make_call()
        yield from map(call, rows[:count])
        raise KeyboardInterrupt

    return execute


@pytest.mark.slow
@in_small_pieces
def test_what_is_interrupted_goes_on_with_the_pieces_that_lack(
    tracks: Tracks, root: Path, one_process: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = actors.execute
    monkeypatch.setattr(actors, "execute", killed_after(5))
    with pytest.raises(KeyboardInterrupt):
        by_pieces(tracks, root)
    committed = Store(root / WORK).list()
    assert sum("/splice/" in name for name in committed) == 5
    assert not list(root.glob("*.bw"))
    said: list[str] = []
    monkeypatch.setattr(actors, "execute", compute)
    export(tracks, Store(root), Options(), said.append, progress=False, workbench=ONE_WORKER)
    assert any(f"{PIECES} pieces (5 done, {PIECES - 5} to do)" in line for line in said)
    assert digests(root) == one_process


@pytest.mark.slow
@in_small_pieces
def test_killed_while_files_are_put_together_it_goes_on_with_the_next_file(
    tracks: Tracks, root: Path, one_process: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Store):
        def replacing(self, name: str) -> Any:
            if name == "usage/brain.minus.bw":
                raise KeyboardInterrupt
            return super().replacing(name)

    with pytest.raises(KeyboardInterrupt):
        export(tracks, Killed(root), Options(), print, progress=False, workbench=ONE_WORKER)
    monkeypatch.setattr(actors, "execute", killed_after(0))  # nothing is to be computed again
    done = by_pieces(tracks, root)
    assert {"acceptor.minus.bw", "usage/brain.plus.bw"} <= set(done.kept)
    assert digests(root) == one_process


@pytest.mark.slow
@in_small_pieces
def test_in_one_process_it_goes_on_too_and_leaves_no_pieces(
    tracks: Tracks, root: Path, one_process: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "execute", killed_after(5))
    with pytest.raises(KeyboardInterrupt):
        by_pieces(tracks, root)
    in_one_process(tracks, root)
    assert digests(root) == one_process
    assert not (root / WORK).exists()


@pytest.mark.slow
def test_a_part_that_is_damaged_leaves_the_other_pieces_and_ends_with_its_name(
    tmp_path: Path, without_ray: None
) -> None:
    store = tables.write_example(tmp_path / "table")
    part = next(name for name in store.list("tracks/") if "minus" in name)
    content = store.read_bytes(part)
    store.write_atomic(part, content[:100] + bytes(100) + content[200:])
    tracks, root = open_tracks(tmp_path / "table"), tmp_path / "pieces"
    with pytest.raises(UnfinishedError, match=r"2 of 3 pieces .* 1 failed, .*`sptx verify .*the same command goes on"):
        by_pieces(tracks, root)
    store.write_atomic(part, content)
    by_pieces(tracks, root)
    assert digests(root) == digests(in_one_process(tracks, tmp_path / "one"))


@pytest.mark.slow
@in_small_pieces
def test_a_damaged_piece_is_named_and_once_deleted_computed_again(
    tracks: Tracks, root: Path, one_process: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(store: Store, pieces: Any, writers: Any) -> None:
        content = store.read_bytes(pieces[3].name)
        store.write_atomic(pieces[3].name, content[:-20] + bytes(20))
        append_pieces(store, pieces, writers)

    with monkeypatch.context() as patch:
        patch.setattr(whole_export, "append_pieces", damage)
        with pytest.raises(InputError) as told:
            by_pieces(tracks, root)
    damaged, what_to_do = str(told.value).split(maxsplit=1)
    assert what_to_do.startswith("is damaged; delete it and run the same command again")
    Path(damaged).unlink()
    by_pieces(tracks, root)
    assert digests(root) == one_process


@pytest.mark.slow
@in_small_pieces
@pytest.mark.parametrize("while_it", ["computes", "puts files together"])
def test_the_same_export_at_the_same_time_may_end_first(
    tracks: Tracks, root: Path, one_process: dict[str, str], monkeypatch: pytest.MonkeyPatch, while_it: str
) -> None:
    others: list[Exported] = []

    def other() -> None:
        monkeypatch.setattr(actors, "execute", compute)
        monkeypatch.setattr(whole_export, "append_pieces", append_pieces)
        others.append(by_pieces(tracks, root))

    def overtaken(rows: list[dict[str, Any]], make_call: Callable[[], Any], *_: Any, **__: Any) -> Iterator[Any]:
        call = make_call()
        yield call(rows[0])
        other()
        yield from map(call, rows[1:])

    def overtaken_late(store: Store, pieces: Any, writers: Any) -> None:
        other()
        append_pieces(store, pieces, writers)

    compute = actors.execute
    if while_it == "computes":
        monkeypatch.setattr(actors, "execute", overtaken)
    else:
        monkeypatch.setattr(whole_export, "append_pieces", overtaken_late)
    by_pieces(tracks, root)
    assert len(others) == 1
    assert digests(root) == one_process
    assert not (root / WORK).exists()


@pytest.mark.slow
@in_small_pieces
def test_a_large_export_takes_the_workbench_by_itself(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(whole_export, "WORKBENCH_BASES", 17_999)
    export(tracks, Store(tmp_path / "large"), Options(), said.append, progress=False)
    assert any("14 pieces" in line for line in said)
    monkeypatch.setattr(whole_export, "WORKBENCH_BASES", 18_000)
    said.clear()
    export(tracks, Store(tmp_path / "small"), Options(), said.append, progress=False)
    assert said == []
    assert digests(tmp_path / "large") == digests(tmp_path / "small")


@pytest.mark.slow
@pytest.mark.operations
def test_from_bucket_to_bucket_on_ray_killed_twice_on_the_way(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    """A worker is killed as it commits a piece, then the driver; the same command ends what they began."""
    with faulty_bucket("genome") as (uri, proxy):
        tables.write_example(f"{uri}/table")
        env = clean_environment | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        command = ["export", f"{uri}/table", "--to", f"{uri}/hub", "--genome", "hg38", "--workers", "1"]
        store, log = Store(f"{uri}/hub"), tmp_path / "log"

        def held_back() -> int:
            return sum(asked.method == "PUT" and "/splice/000001" in asked.path for asked in proxy.requests)

        proxy.fault = lambda asked: (
            Fault(delay=10 * PATIENCE) if asked.method == "PUT" and "/splice/000001" in asked.path else None
        )
        first = start(command, env, log)
        wait_for(held_back, first, log)
        wait_for(lambda: sum("/splice/" in name for name in store.list(f"{WORK}/")) == 2, first, log)
        (worker,) = started_by(first, "MapWorker")
        worker.kill()
        before = held_back()
        wait_for(lambda: held_back() > before, first, log)
        orphans = started_by(first, "MapWorker")
        first.kill()
        first.wait(PATIENCE)
        end(orphans)

        proxy.fault = lambda _: None
        again = subprocess.run(
            [*SPTX, *command], env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert again.returncode == 0, again.stderr
        assert "3 pieces (2 done, 1 to do)" in again.stderr
        tracks = open_tracks(f"{uri}/table")
        assert digests(f"{uri}/hub") == digests(in_one_process(tracks, tmp_path / "one", genome="hg38"))
