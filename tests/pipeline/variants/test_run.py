"""Variants from Python: what the commands do; going on, damage, two drivers at once, and a kill of the real thing."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.example import Example
from material.genomes import GENES
from material.processes import end, start, started_by, wait_for
from material.standing_ray import StandingRay
from material.variant_runs import Line, Place, finished, vcf

from pipeline.batch.run import Outcome, run_job
from pipeline.batch.storage import Store
from pipeline.inputs.genome import Genome
from pipeline.variants.reader import open_variants
from pipeline.variants.run import prepare, score_variants
from pipeline.variants.settings import SaturateConfig, ScoringConfig, VariantsConfig
from pipeline.variants.verify import verify
from sptx_core.alphabet import decode
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def lines(place: Place) -> list[Line]:
    at = place.sequences["chr1"]
    return [Line("chr1", pos, at[pos - 1], "C") for pos in range(501, 561, 10)]


def test_what_is_asked_for_decides_the_job(place: Place, tmp_path: Path) -> None:
    (tmp_path / "in.vcf").write_text(vcf([Line("chr1", 501, "G", "C")]))
    one = VariantsConfig.load(None, {**place.inputs, "vcf": str(tmp_path / "in.vcf")})
    every = SaturateConfig.load(None, {**place.inputs, "regions": "chr1:501-502"})
    assert [prepare(config, lambda _: None).size for config in (one, every)] == [1, 6]
    with pytest.raises(TypeError):
        prepare(ScoringConfig.load(None, place.inputs))
    with pytest.raises(InputError, match="--output"):
        score_variants(one)


@pytest.mark.usefixtures("without_ray")
def test_a_run_goes_on_where_it_was_and_mends_what_was_damaged(
    place: Place, lines: list[Line], tmp_path: Path, digests: Any
) -> None:
    job = place.job(lines, alleles_per_shard=2, output=str(tmp_path / "scores"))
    said: list[str] = []

    def again() -> Outcome:
        said.clear()
        return run_job(job, said.append, progress=False)

    outcome = again()
    assert (outcome.complete, outcome.units, outcome.computed, outcome.size) == (True, 3, 3, 6)
    assert any(line.startswith("6 alleles (6 to be scored), 3 shards") for line in said)
    whole = digests(tmp_path / "scores")
    assert again().computed == 0
    parts = sorted((tmp_path / "scores").glob("variants/**/*.parquet"))
    parts[1].unlink()
    assert again().computed == 1
    (tmp_path / "scores" / "run.json").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"run\.json is not the record"):
        again()
    (tmp_path / "scores" / "run.json").unlink()
    (tmp_path / "scores" / "manifest.parquet").unlink()
    assert again().complete
    assert digests(tmp_path / "scores") == whole


@pytest.mark.usefixtures("without_ray")
def test_another_run_is_refused_by_what_differs(place: Place, lines: list[Line], tmp_path: Path) -> None:
    finished(place.job(lines, output=str(tmp_path / "scores")))
    for settings, told in (({"distance": 50}, "distance: there 100, here 50"), ({"flanks": "gene"}, "flanks: there")):
        with pytest.raises(InputError, match=told):
            run_job(place.job(lines, output=str(tmp_path / "scores"), **settings), print, progress=False)
    with pytest.raises(InputError, match="alleles: there"):
        run_job(place.job(lines[1:], output=str(tmp_path / "scores")), print, progress=False)


@pytest.mark.slow
@pytest.mark.usefixtures("without_ray")
def test_two_drivers_at_once_give_one_table(place: Place, lines: list[Line], tmp_path: Path, digests: Any) -> None:
    alone = place.job(lines, alleles_per_shard=1)
    finished(alone)
    jobs = [place.job(lines, alleles_per_shard=1, output=str(tmp_path / "scores")) for _ in range(2)]
    outcomes: list[Outcome] = []
    drivers = [
        threading.Thread(target=lambda job=job: outcomes.append(run_job(job, lambda _: None, progress=False)))
        for job in jobs
    ]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(60)
    assert [outcome.complete for outcome in outcomes] == [True, True]
    assert verify(Store(tmp_path / "scores")).problems == ()
    theirs, own = digests(tmp_path / "scores"), digests(Path(str(alone.settings.output)))
    assert {name: one for name, one in theirs.items() if name.startswith("variants/")} == {
        name: one for name, one in own.items() if name.startswith("variants/")
    }


# The real thing: Ray, the network, processes


@pytest.fixture
def many(example: Example, tmp_path: Path) -> list[str]:
    """A command for a VCF over all genes of the example."""
    genome = Genome(str(example.genome))
    written = []
    for gene in GENES:
        for first, last in gene.exons:
            for pos in (first, last):
                base = decode(genome.fetch(gene.contig, pos - 1, pos))
                written.append(Line(gene.contig, pos, base, ",".join(other for other in "ACGT" if other != base)))
    (tmp_path / "in.vcf").write_text(vcf(written))
    shards = ["--alleles-per-shard", "2", "--threads", "1"]
    return ["variants", "--vcf", str(tmp_path / "in.vcf"), *example.inputs, *shards]


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(
    many: list[str],
    tmp_path: Path,
    clean_environment: dict[str, str],
    standing: StandingRay,
    digests: Any,
    without_ray: None,
) -> None:
    log, output = tmp_path / "log", tmp_path / "killed"
    run = start([*many, "--output", output, "--workers", 2, "--address", standing.address], clean_environment, log)
    try:
        wait_for(lambda: len(list(output.glob("variants/**/[0-9]*.parquet"))) >= 3, run, log)
    finally:
        orphans = started_by(None, "MapWorker")
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    end(orphans)  # until then an actor may still commit what it has begun
    before = set(output.glob("variants/**/[0-9]*.parquet"))
    # What is left is computed here, in one process, one unit after the other.
    flags = {many[n].removeprefix("--").replace("-", "_"): many[n + 1] for n in range(1, len(many), 2)}
    outcome = score_variants(VariantsConfig.load(None, {**flags, "output": str(output)}), print, progress=False)
    assert outcome.complete
    assert 0 < outcome.computed <= outcome.units - len(before)
    whole = score_variants(
        VariantsConfig.load(None, {**flags, "output": str(tmp_path / "whole")}), print, progress=False
    )
    assert whole.computed == whole.units
    assert digests(output) == digests(tmp_path / "whole")
    assert verify(Store(output)).problems == ()
    rows = open_variants(output).scan().collect()
    assert set(rows["status"]) == {"scored"}
    assert rows["d_splice"].max() > 0
    assert rows.select(pl.selectors.float().drop_nulls().is_finite().all()).row(0)
    assert json.loads((output / "run.json").read_bytes())["statuses"] == {
        "scored": rows.select("record", "alt_index").n_unique()
    }
