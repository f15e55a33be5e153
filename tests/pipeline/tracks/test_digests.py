"""Digests of transcripts and loci: those of every version, and different for what differs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from material.genomes import write_example

from pipeline.inputs.annotation import read_annotation
from pipeline.tracks.digests import loci_digest, transcripts_digest


def transcripts(*rows: tuple[str, str, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["transcript_id", "contig", "strand", "start", "end"], orient="row")


def loci(*rows: tuple[str, str, int, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["chrom", "strand", "start", "end", "transcript_id"], orient="row")


def test_the_examples_transcripts_have_the_digest_that_they_had_in_every_version(tmp_path: Path) -> None:
    annotation = read_annotation(str(write_example(tmp_path)[1]))
    known = "511d5bcf4a25e4f5e49986f62ccc04abfa1fb9a4b56b3e052ac7fc350c278d23"
    assert transcripts_digest(annotation.transcripts) == known


def test_digests_tell_selections_and_clips_apart_but_not_the_order_of_an_annotation() -> None:
    one, other = ("A", "chr1", "+", 0, 10), ("B", "chr1", "+", 5, 20)
    assert transcripts_digest(transcripts(one, other)) == transcripts_digest(transcripts(other, one))
    assert transcripts_digest(transcripts(one)) != transcripts_digest(transcripts(other))
    assert loci_digest(loci(("chr1", "+", 0, 10, ""))) != loci_digest(loci(("chr1", "+", 2, 9, "")))
