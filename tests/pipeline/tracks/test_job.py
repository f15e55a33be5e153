"""Whole tables of the example against the network called by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from material.local_run import compute, compute_tracks

from pipeline.batch.record import read_record
from pipeline.batch.storage import Store
from pipeline.inputs.genome import Genome
from pipeline.tracks.prepare import prepare
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.schema import FORMAT_VERSION
from pipeline.tracks.settings import RunConfig
from pipeline.tracks.verify import verify
from sptx_core.alphabet import reverse_complement
from sptx_core.channels import CHANNELS
from sptx_core.model import SpTransformerModel

CORE, CONTEXT = 1000, 400
SPLICE_STEP, USAGE_STEP = 1e-4, 1e-3
ROUNDING = np.array([SPLICE_STEP] * 3 + [USAGE_STEP] * 15) / 2 + 1e-5


def by_hand(example: Any, contig: str, strand: str, window: int, start: int = 0) -> np.ndarray:
    """Scores of grid window `window` in genomic order, from sequence cut here."""
    first = start + window * CORE
    codes = Genome(str(example.genome)).fetch(contig, first - CONTEXT, first + CORE + CONTEXT)
    if strand == "-":
        codes = reverse_complement(codes)
    model = SpTransformerModel.from_pretrained(example.checkpoint)
    with torch.inference_mode():
        scores = model(torch.from_numpy(codes.copy())[None], flanked=True).scores()[0].numpy()
    return scores[::-1] if strand == "-" else scores


def stored(tracks: Tracks, contig: str, strand: str, first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (0-based) and scores of rows in `[first, end)`."""
    rows = tracks.region(f"{contig}:{first + 1}-{end}", strand=strand)
    return rows["pos"].to_numpy() - 1, rows.select(CHANNELS).to_numpy()


# ALPHA1 is chr1:2001-8200 (+), BETA2 chr1:6001-12500 (-), DELTA4 chr2:151-6300 (-), EPSILON5 ends at the contig's end.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("contig", "strand", "window"),
    [("chr1", "+", 2), ("chr1", "+", 8), ("chr1", "-", 6), ("chr1", "-", 12), ("chr2", "-", 0), ("chr2", "+", 23)],
)
def test_stored_scores_are_the_networks_on_the_sequence_cut_by_hand(
    example: Any, table: Path, contig: str, strand: str, window: int
) -> None:
    first = window * CORE
    pos, scores = stored(open_tracks(str(table)), contig, strand, first, first + CORE)
    expected = by_hand(example, contig, strand, window)[pos - first]
    assert len(pos) > 100
    assert (np.abs(scores - expected) <= ROUNDING).all()


def test_reference_bases_are_those_of_the_plus_strand(example: Any, table: Path) -> None:
    genome = Genome(str(example.genome))
    for strand in "+-":
        rows = open_tracks(str(table)).region("chr1:1-60000", strand=strand)
        codes = genome.fetch("chr1", 0, 60_000)
        letters = np.array(list("ACGTN"))[codes[rows["pos"].to_numpy() - 1]]
        assert rows["ref"].cast(pl.String).to_list() == letters.tolist()


def test_each_base_is_stored_once_and_in_order(table: Path) -> None:
    frame = open_tracks(str(table)).scan().select("chrom", "strand", "pos").collect()
    assert frame.n_unique() == len(frame)
    spans = [("chr1", "+", 2_001, 8_200), ("chr1", "+", 30_001, 41_900), ("chr1", "-", 6_001, 12_500)]
    spans += [("chr2", "-", 151, 6_300), ("chr2", "+", 20_001, 23_990)]
    expected = {(c, s, p) for c, s, first, last in spans for p in range(first, last + 1)}
    assert set(frame.rows()) == expected


@pytest.mark.slow
def test_a_gene_alone_gives_the_rows_that_it_has_in_the_whole(example: Any, table: Path, tmp_path: Path) -> None:
    alone = compute_tracks(example, tmp_path / "gene", genes="BETA2", windows_per_shard=3, batch=4)
    whole = open_tracks(str(table)).gene("BETA2")
    gene = alone.scan().collect()
    assert len(gene) == 6_500
    assert gene.select("pos", "ref").equals(whole.select("pos", "ref"))
    for names, step in ((CHANNELS[:3], SPLICE_STEP), (CHANNELS[3:], USAGE_STEP)):
        difference = np.abs(gene.select(names).to_numpy() - whole.select(names).to_numpy())
        assert difference.max() <= step * 1.01


@pytest.mark.slow
def test_regions_clip_the_rows_but_not_the_windows(example: Any, table: Path, tmp_path: Path) -> None:
    clipped = compute_tracks(example, tmp_path / "clipped", regions="chr1:7,501-8,300", windows_per_shard=2)
    rows = clipped.scan().collect()
    assert rows.group_by("strand").agg(pl.col("pos").min().alias("a"), pl.col("pos").max().alias("b")).sort(
        "strand"
    ).rows() == [("+", 7_501, 8_200), ("-", 7_501, 8_300)]
    whole = open_tracks(str(table)).region("chr1:7501-8300")
    both = rows.join(whole, on=["strand", "pos"], suffix="_whole")
    assert len(both) == len(rows)
    assert np.abs((both["donor"] - both["donor_whole"]).to_numpy()).max() <= SPLICE_STEP * 1.01


@pytest.mark.slow
def test_transcript_flanks_give_rows_by_transcript_with_n_beyond_its_ends(example: Any, tmp_path: Path) -> None:
    chosen = {"flanks": "transcript", "genes": "ALPHA1,BETA2", "windows_per_shard": 4, "exact": True}
    tracks = compute_tracks(example, tmp_path / "transcripts", **chosen)
    assert not verify(tracks.store).problems
    model = SpTransformerModel.from_pretrained(example.checkpoint)
    for row in tracks.transcripts.iter_rows(named=True):
        rows = tracks.transcript(row["transcript_id"])
        assert rows["pos"].to_list() == list(range(row["start"], row["end"] + 1))
        codes = Genome(str(example.genome)).fetch(row["chrom"], row["start"] - 1, row["end"])
        codes = reverse_complement(codes) if row["strand"] == "-" else codes
        padded = np.full(CONTEXT + -(-len(codes) // CORE) * CORE + CONTEXT, 4, dtype=np.uint8)
        padded[CONTEXT : CONTEXT + len(codes)] = codes
        parts = [padded[at : at + CORE + 2 * CONTEXT] for at in range(0, len(codes), CORE)]
        with torch.inference_mode():
            scores = model(torch.from_numpy(np.stack(parts)), flanked=True).scores().flatten(0, 1).numpy()
        expected = scores[: len(codes)]
        expected = expected[::-1] if row["strand"] == "-" else expected
        assert np.abs(rows.select(CHANNELS).to_numpy() - expected).max() < 2e-5


def test_a_second_run_finds_nothing_to_do_and_leaves_the_parts_alone(example: Any, table: Path, sptx_here: Any) -> None:
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in table.rglob("*.parquet")}
    again = sptx_here("run", *example.inputs, "--output", table, "--windows-per-shard", 1)
    assert "(0 computed now)" in again.err
    after = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in table.rglob("*.parquet")}
    assert len(after) > 60
    assert after == before


def test_a_part_tells_how_it_was_computed_and_a_damaged_one_does_not(example: Any, table: Path) -> None:
    inputs = {"fasta": str(example.genome), "gtf": str(example.annotation), "checkpoint": str(example.checkpoint)}
    job = prepare(RunConfig(**inputs), print)
    part = next(table.glob("tracks/**/*.parquet")).read_bytes()
    assert asdict(job.execution_of(part)) == json.loads((table / "run.json").read_bytes())["execution"]
    assert job.local_inputs() == [inputs["fasta"], inputs["checkpoint"]]
    for damaged in (b"", part[:-1], part[:100]):
        assert job.execution_of(damaged) is None


@pytest.mark.slow
def test_workers_load_the_commit_of_the_hub_that_the_plan_was_made_of(example: Any, hub: Any, tmp_path: Path) -> None:
    settings = {"fasta": example.genome, "gtf": example.annotation, "genes": "BETA2", "windows_per_shard": 64}
    settings |= {"output": str(tmp_path / "table"), "checkpoint": "someone/network"}
    commit = hub.put_folder("someone/network", example.checkpoint)
    job = prepare(RunConfig.load(None, {name: str(value) for name, value in settings.items()}), lambda _: None)
    hub.put("someone/network", {"model.safetensors": b"other weights"})  # what the id leads to from now on
    compute(job)
    record = read_record(Store(str(tmp_path / "table")), FORMAT_VERSION)
    assert record.about["checkpoint_revision"] == f"someone/network@{commit}"
    here = prepare(RunConfig.load(None, {**job.settings.model_dump(), "checkpoint": str(example.checkpoint)}), print)
    assert record.fields == here.fields  # the fingerprint is that of the same network on a disk
    assert "checkpoint_revision" not in here.about()
