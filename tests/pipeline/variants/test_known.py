"""Scores of the reference from a table of tracks: the same numbers with fewer windows, and tables that do not fit."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from material.local_run import compute_tracks
from material.variant_runs import Line, Place, StubJob, finished

from pipeline.batch.record import Execution
from pipeline.variants.job import VariantsJob
from pipeline.variants.known import KnownScores
from pipeline.variants.worker import VariantsWorker
from sptx_core.errors import InputError

CORE = 100


class NetworkJob(StubJob):
    """A job that asks the network itself."""

    worker = VariantsWorker  # type: ignore[assignment]

    def choose_execution(self, *_: Any) -> Execution:
        return replace(super().choose_execution(), engine="reference")


@pytest.fixture(scope="module")
def tracks(place: Place, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Unrounded scores of the genes PLUS and MINUS."""
    root = tmp_path_factory.mktemp("tracks") / "tracks"
    files = SimpleNamespace(
        genome=place.inputs["fasta"], annotation=place.inputs["gtf"], checkpoint=place.inputs["checkpoint"]
    )
    compute_tracks(files, root, genes=["PLUS", "MINUS"], core=CORE, exact=True, engine="reference", batch=4)
    return str(root)


@pytest.fixture(scope="module")
def lines(place: Place) -> list[Line]:
    at = place.sequences["chr1"]
    snvs = [Line("chr1", pos, at[pos - 1], "C") for pos in (310, 503, 900, 1490, 2995, 3303)]
    return [*snvs, Line("chr1", 560, at[559:566], at[559]), Line("chr1", 700, at[699], at[699] + "CGC")]


def job(place: Place, lines: list[Line], **settings: Any) -> NetworkJob:
    made = place.job(lines, windows="grid", core=CORE, distance=50, **settings)
    return NetworkJob(made.settings, made.plan, made.geometry, made.network, made.genome)


def predicted(made: VariantsJob) -> tuple[int, int]:
    """How many windows of the reference and of alternatives are predicted."""
    worker = VariantsWorker(made.work_order(made.choose_execution(*[None] * 3)))  # type: ignore[arg-type]
    (unit,) = made.iter_units([0])
    families = worker.read(unit).families
    return sum(len(one.references) for one in families), sum(len(one.alternatives) for one in families)


@pytest.mark.slow
def test_the_numbers_are_those_that_are_computed_otherwise(place: Place, lines: list[Line], tracks: str) -> None:
    plain, helped = (job(place, lines, sites=True, **settings) for settings in ({}, {"tracks": tracks}))
    assert [name for name in plain.fields if plain.fields[name] != helped.fields[name]] == ["reference"]
    computed, read = predicted(plain), predicted(helped)
    assert read[1] == computed[1]
    assert 0 < read[0] < computed[0]  # of changes near an end of a gene, beyond which the tracks know nothing
    ours, theirs = (finished(one) for one in (plain, helped))
    for sites in (False, True):
        one, other = (table.scan(sites=sites).collect() for table in (ours, theirs))
        numbers = [name for name, kind in one.schema.items() if kind == pl.Float32 and not name.startswith("z_")]
        assert one.drop(pl.selectors.float()).equals(other.drop(pl.selectors.float()))
        differences = (one.select(numbers) - other.select(numbers)).select(pl.all().abs().max())
        assert max(value or 0 for value in differences.row(0)) < 2e-5
        assert one.select(numbers).null_count().equals(other.select(numbers).null_count())


@pytest.mark.parametrize("core", [50, 99])
def test_a_table_of_other_windows_is_refused(place: Place, lines: list[Line], tracks: str, core: int) -> None:
    made = place.job(lines, windows="grid", core=core, tracks=tracks)
    with pytest.raises(InputError, match=f"core: there 100, here {core}"):
        made.work_order(made.choose_execution())


def test_a_place_without_tracks_is_refused(place: Place, lines: list[Line], tmp_path: Path) -> None:
    made = place.job(lines, windows="grid", core=CORE, tracks=str(tmp_path))
    with pytest.raises(InputError, match="holds no table"):
        made.work_order(made.choose_execution())


def test_it_travels_without_what_it_has_read(tracks: str, place: Place) -> None:
    known = KnownScores(tracks, ("acceptor",))
    assert known.of("chr2", "+", {}) == {}
    assert pickle.loads(pickle.dumps(known)) == known
    assert place.folder.exists()
