"""Cores side by side: the same bases whatever the core, and differences that are those of separate predictions."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from material.engine_networks import SMALL

from sptx_core.engine.bench import seeded_model
from sptx_core.engine.core_bench import SITE, CoreReport, format_cores, margin_of, run_core_bench
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread_throughout")

CORES = (16, 40, 64)  # the largest is all that the network attends to
BASES = 90
MODEL = seeded_model(replace(SMALL, layers=2, tissues=2), 0)
MODEL.splice_head.bias.data[0] += 3  # most bases are no site
MARGIN = margin_of(SMALL.context, CORES)
STRETCHES = [np.random.default_rng(seed).integers(0, 4, BASES + 2 * MARGIN, dtype=np.uint8) for seed in (1, 2)]


@pytest.fixture(scope="module")
def report() -> CoreReport:
    return run_core_bench(MODEL, STRETCHES, CORES[::-1], trained=True, repeats=2)


def predicted(core: int, first: int) -> np.ndarray:
    """Scores of the compared bases by windows that begin at base `first` of them, by the plain network."""
    spec = WindowSpec(core=core, context=SMALL.context)
    predictor = Predictor(MODEL, spec, batch=1, path="reference")
    windows = -(-(BASES - first) // core)
    parts = []
    for stretch in STRETCHES:
        begin = MARGIN + first - SMALL.context
        (scores,) = predictor.predict([stretch[begin : begin + windows * core + 2 * SMALL.context]])
        parts.append(scores.reshape(-1, scores.shape[2])[-first:][:BASES])
    return np.concatenate(parts)


def test_differences_are_those_of_separate_predictions(report: CoreReport) -> None:
    assert [(row.core, row.shift) for row in report.rows] == [(16, 0), (16, 8), (40, 0), (64, 0)]
    smallest = predicted(16, 0)
    sites = smallest[:, 1:3].max(1) >= SITE
    assert (report.bases, report.sites) == (2 * BASES, sites.sum())
    assert 0 < report.sites < report.bases
    first, *others = report.rows
    assert (first.ratio, first.at_sites, first.elsewhere, first.usage, first.crossed) == (1, None, None, None, None)
    for row in others:
        scores = predicted(row.core, -row.shift)
        apart = np.abs(scores - smallest)
        for found, values in (
            (row.at_sites, apart[sites, 1:3]),
            (row.elsewhere, apart[~sites, 1:3]),
            (row.usage, apart[sites, 3:]),
        ):
            assert found is not None
            assert found.largest == pytest.approx(values.max(), abs=1e-5)
            assert found.mean == pytest.approx(values.mean(), abs=1e-5)
        assert row.crossed == (sites != (scores[:, 1:3].max(1) >= SITE)).sum()


def test_a_larger_core_performs_less_for_a_base(report: CoreReport) -> None:
    flops = {row.core: row.flops_per_base for row in report.rows if not row.shift}
    assert flops[16] > flops[40] > flops[64] > 0
    assert all(row.peak_bytes > 0 and row.bases_per_second > 0 for row in report.rows)
    assert all(row.processor_ratio is not None and row.processor_ratio > 0 for row in report.rows)


def test_the_report_is_saved_and_shown(report: CoreReport, tmp_path: Path) -> None:
    report.save(tmp_path / "cores.json")
    assert json.loads((tmp_path / "cores.json").read_text())["rows"][2]["core"] == 40
    lines = format_cores(report).splitlines()
    assert len(lines) == 2 + len(report.rows)
    assert lines[0].startswith(f"{report.machine}, {platform.system()}, 1 thread, PyTorch ")
    assert lines[3].startswith("16, shifted by 8")
    assert lines[2].count(" - ") + lines[2].endswith("-") == 7


@pytest.mark.slow
def test_an_untrained_network_has_no_differences() -> None:
    rows = run_core_bench(MODEL, STRETCHES[:1], CORES, trained=False, repeats=1).rows
    assert all(row.at_sites is row.elsewhere is row.usage is row.crossed is None for row in rows)


@pytest.mark.parametrize(
    ("cores", "bases", "repeats", "message"),
    [
        ((16, 65), BASES, 1, "cores 16, 65: this network predicts 1 to 64 bases at once"),
        ((0, 16), BASES, 1, "cores 0, 16: this network predicts 1 to 64"),
        ((16,), 0, 1, "must have more than the 76 bases on both sides"),
        ((16,), BASES, 0, "0 turns measure nothing"),
    ],
)
def test_what_cannot_work_is_told(cores: tuple[int, ...], bases: int, repeats: int, message: str) -> None:
    stretch = np.zeros(bases + 2 * margin_of(SMALL.context, cores), dtype=np.uint8)
    with pytest.raises(InputError, match=message):
        run_core_bench(MODEL, [stretch], cores, trained=True, repeats=repeats)
