from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from material.engine_networks import SMALL

from sptx_core.engine.variant_bench import VariantReport, format_variants, run_variant_bench
from sptx_core.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread_throughout")]

KINDS = ["lone", "three", "centred", "grid"]


@pytest.fixture(scope="module")
def report() -> VariantReport:
    return run_variant_bench(config=replace(SMALL, layers=2), cores=(21, 40), alleles=4, repeats=1)


def test_every_kind_of_work_is_timed_in_each_precision_and_near_the_plain_network(report: VariantReport) -> None:
    plain, *rows = report.rows
    assert (plain.work, plain.path) == ("plain, twice", "reference")
    assert (plain.ratio_to_plain, plain.ratio_to_single) == (1, None)
    assert [(row.work, row.precision) for row in rows] == [
        (work, precision) for precision in ("float32", "bfloat16") for work in ("single windows", *KINDS)
    ]
    assert all(row.alleles_per_second > 0 and row.ratio_to_plain > 0 and row.peak_bytes > 0 for row in report.rows)
    assert [row.ratio_to_single for row in rows if row.work == "single windows"] == [1, 1]
    for row in rows:
        measured = row.work in KINDS
        assert row.compared == {"lone": 2, "three": 4, "centred": 4, "grid": 3}.get(row.work, 0)
        assert (row.largest_logit_difference is not None) == (row.other_choices is not None) == measured
        if measured and row.precision == "float32":
            assert row.largest_logit_difference is not None
            assert row.largest_logit_difference < 2e-5
            assert row.other_choices == 0
    lone, *sharing = (row.flops_per_allele for row in rows if row.precision == "float32" and row.work in KINDS)
    single = next(row.flops_per_allele for row in rows if row.work == "single windows")
    assert single < plain.flops_per_allele
    assert all(0 < flops < lone < single for flops in sharing)
    assert report.alleles == 3


def test_the_report_is_a_table_and_a_file(report: VariantReport, tmp_path: Path) -> None:
    where, head, *rows = format_variants(report).splitlines()
    assert where.startswith(f"{report.machine}, {platform.system()}, 1 thread, PyTorch ")
    assert "3 alleles of each kind, median of 1 turn" in where
    assert head.split()[:3] == ["work", "path", "precision"]
    assert len(rows) == len(report.rows)
    report.save(tmp_path / "variants.json")
    saved = json.loads((tmp_path / "variants.json").read_text())
    assert [row["work"] for row in saved["rows"]] == [row.work for row in report.rows]


@pytest.mark.parametrize("settings", [{"alleles": 2}, {"repeats": 0}])
def test_nothing_to_measure_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match="choose at least 3"):
        run_variant_bench(config=SMALL, cores=(21, 40), **settings)
