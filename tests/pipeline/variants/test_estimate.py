"""What a run of variants will cost, counted before anything is computed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from material.variant_runs import Line, Place, StubJob

from pipeline.tracks.estimate import window_flops
from pipeline.variants.estimate import estimate
from sptx_core.engine.bench import BenchReport, BenchRow
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

BREAKS = Line("chr1", 501, "G", "C")


def counted(job: StubJob) -> tuple[int, int]:
    found = estimate(job)
    return found.reference_windows, found.alternative_windows


def test_windows_that_alleles_share_are_counted_once(place: Place) -> None:
    lines = [BREAKS, BREAKS._replace(alt="A,T,*"), Line("chr1", 500, "TG", "TA"), Line("chr1", 501, "G", "G")]
    job = place.job(lines)
    found = estimate(job)
    assert (found.reference_windows, found.alternative_windows, found.windows) == (1, 3, 4)
    assert (found.alleles, found.shards, found.statuses["spanning_deletion"]) == (6, 1, 1)
    per_window = window_flops(job.network.model, WindowSpec(core=201, context=8))
    assert (found.window_flops, found.flops) == (per_window, 4 * per_window)
    assert json.loads(json.dumps(found.to_dict()))["windows"] == 4
    assert "4 windows: 1 of the reference, 3 of alternatives" in str(found)


def test_insertions_and_deletions_are_predicted_on_both_sides(place: Place) -> None:
    assert counted(place.job([Line("chr1", 560, place.sequences["chr1"][559], "CCC")], distance=20)) == (1, 2)


def test_strands_and_flanks_of_genes_have_windows_of_their_own(place: Place) -> None:
    twins = [Line("chr1", 2301, "G", "C")]
    assert counted(place.job(twins)) == (1, 1)
    assert counted(place.job(twins, flanks="gene")) == (2, 2)
    outside = [Line("chr1", 120, place.sequences["chr1"][119], "C")]
    assert counted(place.job(outside)) == (0, 0)
    assert counted(place.job(outside, outside_genes="both")) == (2, 2)


def test_what_is_counted_is_what_workers_predict(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [Line("chr1", pos, at[pos - 1 : pos + pos % 3], "CGC"[: pos % 2 + 1]) for pos in range(310, 400, 7)]
    job = place.job(lines)
    worker = job.worker(job.work_order(job.choose_execution()))
    (unit,) = job.iter_units([0])
    families = worker.read(unit).families
    predicted = sum(len(one.references) for one in families), sum(len(one.alternatives) for one in families)
    assert predicted == counted(job)


def test_a_measured_rate_gives_hours(place: Place) -> None:
    row = BenchRow("native", "float32", 1, 2.0, 3.0, 1e12, 5e11, None, None, None, None, 1)
    report = BenchReport("a machine", 2, "2.13", 24, 3, (replace(row, windows_per_second=1.0), row))
    found = estimate(place.job([BREAKS]), report)
    assert found.hours == pytest.approx(2 / 2.0 / 3600)
    assert "2 windows/s measured on a machine (native, float32)" in str(found)
    for settings in ({"precision": "bfloat16"}, {"engine": "shared"}):
        with pytest.raises(InputError, match="the report has no rate of engine path"):
            estimate(place.job([BREAKS], **settings), report)
