"""The report of a training in words."""

from __future__ import annotations

from pipeline.finetuning.training_report import report_text

BEST = {"step": 1200, "epoch": 3, "loss": 0.25, "donor_auprc": None}


def test_a_line_each_for_training_validation_and_test() -> None:
    report = {"steps": 2_000, "best": BEST, "test": {"loss": 0.5}, "model": "s3://b/model"}
    assert report_text(report).splitlines() == [
        "2,000 steps; the network is in s3://b/model",
        "validation, step 1,200: loss 0.2500, donor_auprc -",
        "test: loss 0.5000",
    ]
    assert report_text({**report, "best": None, "test": None}).splitlines() == [
        "2,000 steps; the network is in s3://b/model"
    ]
