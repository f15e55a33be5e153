from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from material.engine_networks import SMALL, SMALL_SPEC, small_network

from sptx_core.engine.bench import BenchReport, format_rate, format_report, pairs, run_bench, seeded_model
from sptx_core.engine.core_bench import CoreReport
from sptx_core.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread_throughout")

CONFIG, SPEC = replace(SMALL, layers=2), SMALL_SPEC


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return run_bench(config=CONFIG, spec=SPEC, windows=4, repeats=2)


def test_each_path_is_fast_counted_and_near_the_reference(report: BenchReport) -> None:
    reference, shared, rounded = report.rows
    assert (reference.path, reference.precision, reference.ratio) == ("reference", "float32", 1.0)
    assert reference.largest_score_difference is None
    assert reference.published_flops == reference.performed_flops > 0
    assert shared.performed_flops / shared.windows_per_second < reference.performed_flops / reference.windows_per_second
    assert (shared.other_choices, rounded.precision) == (0, "bfloat16")
    assert shared.largest_logit_difference is not None
    assert shared.largest_logit_difference < 2e-5
    assert all(row.peak_bytes > 0 and row.windows_per_second > 0 for row in report.rows)


@pytest.mark.slow
def test_a_network_without_attention_is_measured_as_it_is() -> None:
    report = run_bench(
        model=small_network(layers=0, members=2), spec=SMALL_SPEC, runs=[("shared", "float32")], windows=4, repeats=1
    )
    reference, shared = report.rows
    assert report.core == SMALL_SPEC.core
    assert shared.other_choices == 0
    assert shared.largest_logit_difference is not None
    assert shared.largest_logit_difference < 2e-5
    assert shared.performed_flops / shared.windows_per_second < reference.performed_flops / reference.windows_per_second


def test_report_survives_the_disk_and_is_compared(report: BenchReport, tmp_path: Path) -> None:
    report.save(tmp_path / "bench.json")
    loaded = BenchReport.load(tmp_path / "bench.json")
    assert loaded == report
    slower = replace(loaded, rows=tuple(replace(row, ratio=0.125) for row in loaded.rows))
    table = format_report(report, slower).splitlines()
    assert table[0].startswith(f"{report.machine}, {platform.system()}, 1 thread, PyTorch ")
    assert table[1].split()[0] == "path"
    assert all(line.endswith("0.12") for line in table[2:])
    assert len(table) == 2 + len(report.rows)


def test_a_report_that_cannot_be_saved_is_told(tmp_path: Path) -> None:
    report = BenchReport("a machine", 2, "2.13", 24, 3, ())
    with pytest.raises(InputError, match=r"no/bench\.json cannot be written: No such file or directory"):
        report.save(tmp_path / "no" / "bench.json")
    with pytest.raises(InputError, match=r"/dev/full cannot be written: No space left on device"):
        report.save("/dev/full")


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("a text")
    (tmp_path / "other.json").write_text("{}")
    CoreReport("a machine", 2, "2.13", 1000, 10, 3, ()).save(tmp_path / "cores.json")
    for name in ("text", "other", "cores"):
        with pytest.raises(InputError, match=rf"{name}\.json is no report of `sptx bench --save` without --variants"):
            BenchReport.load(tmp_path / f"{name}.json")
    with pytest.raises(InputError, match=r"/missing\.json does not exist$"):
        BenchReport.load(tmp_path / "missing.json")


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InputError, match="measure nothing"):
        run_bench(config=CONFIG, spec=SPEC, windows=0)


def test_reference_runs_in_float32_alone() -> None:
    assert pairs(["reference", "shared"], ["float32", "bfloat16"]) == [
        ("reference", "float32"),
        ("shared", "float32"),
        ("shared", "bfloat16"),
    ]


def test_weights_repeat_and_depend_on_the_seed() -> None:
    first, second, other = (seeded_model(CONFIG, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["norm.weight"], other["norm.weight"])


@pytest.mark.parametrize(
    ("rate", "text"), [(0.7583, "0.758"), (2.0, "2"), (10.78, "10.8"), (99.96, "100"), (1480.4, "1,480")]
)
def test_rates_have_no_exponent(rate: float, text: str) -> None:
    assert format_rate(rate) == text
