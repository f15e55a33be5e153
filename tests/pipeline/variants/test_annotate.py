"""A finished table back into its VCF: every record in its place, whatever shards its rows lie in."""

from __future__ import annotations

from pathlib import Path

import pytest
from material.variant_runs import Line, Place, StubJob, finished

from pipeline.variants import annotate as module
from pipeline.variants.annotate import annotate, record_notes
from pipeline.variants.reader import open_variants
from sptx_core.errors import InputError


@pytest.fixture
def job(place: Place) -> StubJob:
    at = place.sequences["chr1"]
    lines = [Line("chr1", pos, at[pos - 1], "C,*", f"r{pos}", ["0|1"]) for pos in (560, 2301, 501, 520, 3003, 530)]
    lines += [Line("chr7", 5, "A", "C", "none", ["0|1"]), Line("1", 505, at[504], ".", "dot", ["0|0"])]
    return place.job(lines, ["S"], sample="S", haplotypes=True, alleles_per_shard=1)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 3, 20_000])
def test_notes_stand_in_the_order_of_the_file(job: StubJob, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS", at_once)
    notes = list(record_notes(finished(job)))
    assert [one.statuses for one in notes] == [
        *[["scored", "spanning_deletion"]] * 6,
        ["unknown_contig"],
        ["no_alt"],
    ]
    joint = [sum(bool(entry.joint) for entry in one.entries) for one in notes]
    assert sum(joint) == 1
    assert [len(one.entries) - extra for one, extra in zip(notes, joint, strict=True)] == [2, 3, 2, 2, 2, 2, 1, 1]


@pytest.mark.slow
def test_the_lines_of_the_file_stay(job: StubJob, tmp_path: Path) -> None:
    table = finished(job)
    target = tmp_path / "out.vcf"
    written = annotate(table, job.settings.vcf, str(target), {"chr1": 4000}, None)  # type: ignore[attr-defined]
    assert written.records == 8
    before, after = (
        [line.split("\t") for line in Path(path).read_text().splitlines() if not line.startswith("#")]
        for path in (job.settings.vcf, target)  # type: ignore[attr-defined]
    )
    assert [line[:7] + line[8:] for line in before] == [line[:7] + line[8:] for line in after]
    assert [f"SpTx_status={status}" in after[n][7] for n, status in ((6, "unknown_contig"), (7, "no_alt"))] == [
        True
    ] * 2
    text = target.read_text()
    assert job.work_order(job.choose_execution()).checkpoint_digest in text


@pytest.mark.slow
def test_a_table_that_is_not_complete_is_refused(job: StubJob, tmp_path: Path) -> None:
    table = finished(job)
    next(Path(table.store.root).glob("variants/**/*.parquet")).unlink()
    with pytest.raises(InputError, match="is not complete"):
        annotate(open_variants(table.store.root), job.settings.vcf, str(tmp_path / "x.vcf"), {}, None)  # type: ignore[attr-defined]
    assert not (tmp_path / "x.vcf").exists()
