"""The annotation of whole-genome size: as many genes as asked for, the same bytes, and numbers that are refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.coordinates import reconcile_contigs
from pipeline.inputs.annotation import Annotation, check_spans, read_annotation
from pipeline.simulation.annotation_only import CONTIGS, write_annotation
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def annotation(tmp_path_factory: pytest.TempPathFactory) -> Annotation:
    path = tmp_path_factory.mktemp("annotation") / "a.gtf.gz"
    write_annotation(path, genes=60, transcripts=200, exons=900)
    return read_annotation(str(path))


def test_the_numbers_are_those_asked_for(annotation: Annotation) -> None:
    transcripts = annotation.transcripts
    assert (annotation.style, transcripts["gene_id"].n_unique()) == ("gencode", 60)
    assert (transcripts.height, transcripts["exon_starts"].list.len().sum()) == (200, 900)


def test_transcripts_lie_on_their_contigs_within_their_genes(annotation: Annotation) -> None:
    transcripts = annotation.transcripts
    names = transcripts["contig"].unique().to_list()
    check_spans(transcripts, reconcile_contigs(names, CONTIGS), CONTIGS, annotation.uri)
    spans = transcripts.with_columns(
        pl.col("start").min().over("gene_id").alias("first"), pl.col("end").max().over("gene_id").alias("last")
    )
    whole = spans.filter(pl.col("start") == pl.col("first"), pl.col("end") == pl.col("last"))
    assert whole["gene_id"].n_unique() == 60
    exons = transcripts.explode("exon_starts", "exon_ends").select("exon_starts", "exon_ends", "transcript_id")
    after = exons.with_columns(pl.col("exon_ends").shift().over("transcript_id").alias("before")).drop_nulls()
    assert (after["exon_starts"] > after["before"]).all()


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        write_annotation(tmp_path / name, seed=seed, genes=20, transcripts=50, exons=200)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"genes": 0, "transcripts": 5, "exons": 5}, "each gene needs a transcript"),
        ({"genes": 10, "transcripts": 5, "exons": 50}, "each gene needs a transcript"),
        ({"genes": 5, "transcripts": 10, "exons": 9}, "each transcript an exon"),
        ({"genes": 1, "transcripts": 900, "exons": 2_000}, "no room for 899 more"),
    ],
)
def test_numbers_that_contradict_each_other(tmp_path: Path, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_annotation(tmp_path / "a.gtf.gz", **sizes)
