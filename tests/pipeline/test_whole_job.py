"""The whole job into an object store: a real S3 protocol server on loopback, kill included, read there by others."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
import s3fs
from material.local_run import compute_tracks
from material.processes import start, wait_for
from material.servers import s3_server

from pipeline.tracks.reader import open_tracks

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
BUCKET = "tracks-bucket"
ROOT = f"s3://{BUCKET}/table"


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as env:
        yield env


@pytest.fixture
def s3(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty bucket, and the environment that leads to it."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)
    return server


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
    tmp_path: Path,
    clean_environment: dict[str, str],
) -> None:
    job = ["run", *example.inputs, "--output", ROOT, "--windows-per-shard", "1"]
    log = tmp_path / "log"
    run = start(job, {**clean_environment, **s3}, log)
    wait_for(lambda: len(parts(files)) >= 3, run, log)
    run.kill()
    run.wait()
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
