"""The whole job into an object store: a real S3 protocol server on loopback, kill included, read there by others."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import s3fs
import torch
from material.local_run import compute_tracks
from material.networks import small_network
from material.processes import end, start, started_by, wait_for
from material.standing_ray import StandingRay

from pipeline.tracks.reader import open_tracks
from sptx_core.alphabet import encode

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
BUCKET = "tracks-bucket"
ROOT = f"s3://{BUCKET}/table"


@pytest.fixture
def s3(standing: StandingRay, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty bucket, which workers of the standing Ray reach too, and the environment that leads to it."""
    for name, value in standing.storage.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)
    return standing.storage


@pytest.fixture
def files(s3: dict[str, str]) -> Any:
    return s3fs.S3FileSystem(use_listings_cache=False)


def parts(files: Any) -> list[str]:
    files.invalidate_cache()
    return sorted(files.glob(f"{BUCKET}/table/tracks/**/*.parquet"))


def test_the_job_killed_and_run_again_with_more_workers_gives_the_table_of_the_disk(
    example: Any,
    table: Path,
    sptx: Run,
    sptx_here: Any,
    s3: dict[str, str],
    files: Any,
    standing: StandingRay,
    tmp_path: Path,
    clean_environment: dict[str, str],
) -> None:
    job = ["run", *example.inputs, "--output", ROOT, "--windows-per-shard", "1", "--address", standing.address]
    log = tmp_path / "log"
    run = start([*job, "--workers", 1, "--threads", 2], {**clean_environment, **s3}, log)
    wait_for(lambda: len(parts(files)) >= 3, run, log)
    actors = started_by(None, "MapWorker")
    run.kill()
    run.wait()
    end(actors)  # until then one may still commit what it has begun
    assert len(parts(files)) < len(list(table.glob("tracks/**/*.parquet"))), "killed too late to test anything"
    for name in parts(files):  # whatever is visible is whole
        assert pq.read_metadata(io.BytesIO(files.cat_file(name))).num_rows > 0

    # A folder called `pipeline` beside the person is not imported. As with the installed `sptx` script, the driver
    # itself has no working folder on its path.
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    done = sptx(*job, "--workers", 2, cwd=tmp_path, env={**s3, "PYTHONSAFEPATH": "1"})
    assert "done: 34,740 bases" in done.stderr
    assert f"sptx report {ROOT} --to report.html" in done.stderr
    sptx_here("verify", ROOT)
    here = {str(path.relative_to(table)): path.read_bytes() for path in table.glob("*/**/*.parquet")}
    there = {name.removeprefix(f"{BUCKET}/table/"): files.cat_file(name) for name in parts(files)}
    there |= {
        name.removeprefix(f"{BUCKET}/table/"): files.cat_file(name)
        for name in files.glob(f"{BUCKET}/table/sites/**/*.parquet")
    }
    assert there == here
    _read_there(files)
    printed = sptx_here("query", ROOT, "ALPHA1", "--columns", "donor").out
    assert "6200" in printed.replace(",", "").replace("_", "")


def _read_there(files: Any) -> None:
    tracks = open_tracks(ROOT)
    assert tracks.gene("ALPHA1").height == 6_200
    assert tracks.scan().select(pl.len()).collect().item() == 34_740
    connection = duckdb.connect()
    connection.register_filesystem(files)
    sql = (
        f"SELECT strand, count(*) FROM read_parquet('{ROOT}/tracks/**/*.parquet', hive_partitioning = true) GROUP BY 1"
    )
    assert dict(connection.sql(sql).fetchall()) == {"plus": 6_200 + 11_900 + 3_990, "minus": 6_500 + 6_150}


def test_inputs_come_from_the_object_store_too(
    example: Any, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPTX_CACHE", str(tmp_path / "cache"))
    files.put_file(str(example.genome), f"{BUCKET}/in/genome.fa")
    files.put_file(str(example.annotation), f"{BUCKET}/in/annotation.gtf.gz")
    for name in ("config.json", "model.safetensors"):
        files.put_file(str(example.checkpoint / name), f"{BUCKET}/in/checkpoint/{name}")
    there = SimpleNamespace(
        genome=f"s3://{BUCKET}/in/genome.fa",
        annotation=f"s3://{BUCKET}/in/annotation.gtf.gz",
        checkpoint=f"s3://{BUCKET}/in/checkpoint",
    )
    found = compute_tracks(there, tmp_path / "there", genes="EPSILON5").scan().collect()
    assert found.height == 3_990
    assert found.equals(compute_tracks(example, tmp_path / "here", genes="EPSILON5").scan().collect())


def test_a_bucket_that_is_not_there_is_refused(example: Any, sptx_here: Any, s3: dict[str, str]) -> None:
    done = sptx_here("run", *example.inputs, "--output", "s3://no-such-bucket/table", code=2)
    assert "no-such-bucket" in done.err


@pytest.mark.usefixtures("without_ray")
def test_networks_without_attention_or_usage_go_all_the_way(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    """Scores of the table are those of the members, of whatever core; everything that reads it does without usage."""
    settings = {"layers": 0, "input_path_channels": 0, "tissues": 0, "members": 2}
    model = small_network(**settings)
    model.save_pretrained(tmp_path / "network")
    given = SimpleNamespace(genome=example.genome, annotation=example.annotation, checkpoint=tmp_path / "network")
    region = {"genes": ["ALPHA1"], "exact": True}
    tracks = compute_tracks(given, tmp_path / "table", **region, core=700)
    found = tracks.query("chr1:3,001-3,020", strand="+").select("no_splice", "acceptor", "donor").to_numpy()
    text = example.genome.read_text().split(">")[1].partition("\n")[2].replace("\n", "")
    codes = torch.from_numpy(encode(text[2600:3420].upper()))[None]  # with the context of 400 bases
    scores = torch.stack([member(codes, flanked=True).scores()[0] for member in model.networks]).mean(0)
    np.testing.assert_allclose(found, scores.detach().numpy(), rtol=0, atol=2e-6)
    other = compute_tracks(given, tmp_path / "other", **region, core=2048)
    again = other.query("chr1:3,001-3,020", strand="+").select("no_splice", "acceptor", "donor").to_numpy()
    np.testing.assert_allclose(again, found, rtol=0, atol=2e-6)

    table = tmp_path / "table"
    sptx_here("verify", table)
    sptx_here("sites", table, "--to", tmp_path / "sites.parquet")
    sptx_here("plot", table, "ALPHA1", "--to", tmp_path / "gene.png")
    sptx_here("evaluate", table, "--gtf", example.annotation, "--to", tmp_path / "evaluation")
    base = text[4099].upper()
    record = f"chr1\t4100\t.\t{base}\t{'A' if base != 'A' else 'C'}\t.\t.\t."
    (tmp_path / "in.vcf").write_text(f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{record}\n")
    inputs = ["--fasta", example.genome, "--gtf", example.annotation, "--checkpoint", tmp_path / "network"]
    flags = ["--distance", 20, "--sites", "--output", tmp_path / "scores", "--to", tmp_path / "out.vcf"]
    sptx_here("variants", "--vcf", tmp_path / "in.vcf", *inputs, *flags)
    assert "SpTx=" in (tmp_path / "out.vcf").read_text()
    sptx_here("plot", tmp_path / "scores", f"chr1-4100-{base}-{record.split()[4]}", "--to", tmp_path / "variant.png")
