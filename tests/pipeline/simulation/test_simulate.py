"""The generated genome: the files agree with each other, with the stated matrices and with the stated formula."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.coordinates import reconcile_contigs
from pipeline.inputs.annotation import Annotation, check_spans, read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.selection import Selection, select
from pipeline.simulation import simulate
from pipeline.simulation.layout import END_N, MIN_CONTIG_BASES
from pipeline.simulation.sequence import Contig, make_contig, stranded
from pipeline.simulation.signals import (
    ACCEPTOR,
    BACKGROUND,
    CLUSTERED,
    DONOR,
    MEAN_STRENGTH,
    SCATTERED,
    SLOPE,
    TISSUE_OFFSETS,
    Motif,
)
from pipeline.simulation.simulate import Simulated, usage_table
from pipeline.tracks.plan import make_plan
from pipeline.tracks.settings import Flanks
from sptx_core.alphabet import decode
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

FILES = {"genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi", "annotation.gtf.gz", "usage.parquet", "README.txt"}


def introns(annotation: Annotation) -> set[tuple[str, str, int, int]]:
    """(contig, strand, start, end) of every annotated intron, 0-based half-open."""
    rows = annotation.transcripts.select("contig", "strand", "exon_starts", "exon_ends").iter_rows()
    return {
        (contig, strand, start, end)
        for contig, strand, starts, ends in rows
        for start, end in zip(ends[:-1], starts[1:], strict=True)
    }


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(sizes: Any, made: Simulated, tmp_path: Path) -> None:
    again = simulate.simulate(tmp_path / "again", **sizes._asdict())
    folder = made.genome.parent
    assert {path.name for path in folder.iterdir()} == FILES
    for name in FILES:
        assert (again.genome.parent / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.slow
def test_a_contig_does_not_depend_on_others(sizes: Any, genome: Genome, truth: pl.DataFrame) -> None:
    alone = make_contig(sizes.seed, 2, sizes.bases)
    assert (genome.fetch("chr2", 0, sizes.bases) == alone.codes).all()
    assert pl.from_arrow(usage_table(alone)).equals(truth.filter(pl.col("contig") == "chr2"))


def test_every_intron_begins_with_gt_and_ends_with_ag(annotation: Annotation, genome: Genome) -> None:
    found = introns(annotation)
    assert len(found) > 100
    for contig, strand, start, end in found:
        ends = decode(stranded(genome.fetch(contig, start, end), strand))
        assert (ends[:2], ends[-2:]) == ("GT", "AG"), (contig, strand, start, end)


def test_the_truth_holds_exactly_the_annotated_sites(annotation: Annotation, truth: pl.DataFrame) -> None:
    expected = set()
    for contig, strand, start, end in introns(annotation):  # exon bases beside the intron, 1-based: start, end + 1
        donor, acceptor = (start, end + 1) if strand == "+" else (end + 1, start)
        expected |= {(contig, donor, strand, "donor"), (contig, acceptor, strand, "acceptor")}
    held = list(truth.select("contig", "position", "strand", "kind").iter_rows())
    assert len(held) == len(set(held))
    assert set(held) == expected
    assert truth.columns[4:] == list(TISSUES)
    assert held == sorted(held)


def test_usage_is_a_fraction_and_unknown_by_gene(contig: Contig, truth: pl.DataFrame) -> None:
    values = truth.select(TISSUES)
    assert values.min().min_horizontal().item() >= 0
    assert values.max().max_horizontal().item() <= 1
    unknown = values.null_count().sum_horizontal().item() / values.height / len(TISSUES)
    assert 0.02 < unknown < 0.25
    for usage in contig.usage:
        assert (np.isnan(usage).all(0) == np.isnan(usage).any(0)).all()
        assert not np.isnan(usage).all()


def naive_bits(motif: Motif, text: str) -> float:
    return sum(
        math.log2(row["ACGT".index(base)] / BACKGROUND["ACGT".index(base)])
        for row, base in zip(motif.rates, text, strict=True)
    )


@pytest.mark.slow
def test_usage_follows_the_stated_formula(contig: Contig, truth: pl.DataFrame, genome: Genome) -> None:
    table = {row[:4]: row[4:] for row in truth.iter_rows()}
    checked = 0
    for gene in contig.layout.genes:
        for exon in gene.exons:
            text = decode(stranded(genome.fetch("chr1", exon.start - 80, exon.end + 80), gene.strand))
            five, three = (exon.start + 1, exon.end) if gene.strand == "+" else (exon.end, exon.start + 1)
            if exon.role == "first":
                assert set(table["chr1", three, gene.strand, "donor"]) <= {1.0, None}
                continue
            if exon.role == "last":
                assert set(table["chr1", five, gene.strand, "acceptor"]) <= {1.0, None}
                continue
            acceptor = naive_bits(ACCEPTOR.core, text[60:81])
            donor = naive_bits(DONOR.core, text[len(text) - 83 : len(text) - 74])
            for place, tissue in enumerate(TISSUES):
                logit = SLOPE * (acceptor + donor - MEAN_STRENGTH) + TISSUE_OFFSETS[place]
                for word, effect in SCATTERED.regulators:
                    logit += effect[place] * sum(text.startswith(word, at) for at in range(len(text)))
                expected = 1 / (1 + math.exp(-logit))
                for key in ((five, gene.strand, "acceptor"), (three, gene.strand, "donor")):
                    held = table["chr1", *key][place]
                    assert held is None or held == pytest.approx(expected, abs=6e-5), (tissue, key)
            checked += 1
    assert checked > 40


def test_genes_lie_on_both_strands_overlap_and_nest(annotation: Annotation) -> None:
    spans = annotation.transcripts.group_by("gene_id", "contig", "strand").agg(
        pl.col("start").min(), pl.col("end").max(), pl.len().alias("transcripts")
    )
    pairs = spans.join(spans, on="contig", suffix="_2").filter(pl.col("gene_id") != pl.col("gene_id_2"))
    nested = pairs.filter((pl.col("start") < pl.col("start_2")) & (pl.col("end_2") < pl.col("end")))
    crossing = pairs.filter(
        (pl.col("start") < pl.col("start_2")) & (pl.col("start_2") < pl.col("end")) & (pl.col("end") < pl.col("end_2"))
    )
    assert set(spans["strand"]) == {"+", "-"}
    assert nested.height > 0
    assert crossing.height > 0
    assert (crossing["strand"] != crossing["strand_2"]).all()
    assert spans["transcripts"].max() > 2
    assert set(annotation.transcripts["gene_type"]) == {"protein_coding", "lncRNA"}
    main = annotation.transcripts.filter(pl.col("tags").list.contains("MANE_Select"))
    assert set(main["transcript_type"]) == {"protein_coding"}


def test_n_runs_and_soft_masked_bases_are_there(sizes: Any, made: Simulated) -> None:
    lines = gzip.decompress(made.genome.read_bytes()).decode().split(">")[1].splitlines()
    text = "".join(lines[1:])
    assert lines[0] == "chr1 synthetic"
    assert len(text) == sizes.bases
    assert text[:END_N].upper() == text[-END_N:].upper() == "N" * END_N
    assert "N" in text[END_N:-END_N].upper()
    assert 0.2 < sum(letter.islower() for letter in text) / sizes.bases < 0.5
    assert set(text) <= set("ACGTNacgtn")


def test_every_file_says_that_it_is_synthetic(made: Simulated) -> None:
    assert b"synthetic" in gzip.decompress(made.annotation.read_bytes()).splitlines()[0]
    assert "synthetic" in pl.read_parquet_metadata(made.usage)["description"]
    assert "SYNTHETIC" in (made.genome.parent / "README.txt").read_text()


@pytest.mark.parametrize("flanks", list(Flanks))
def test_our_own_plan_accepts_it(annotation: Annotation, genome: Genome, flanks: Flanks) -> None:
    assert annotation.style == "gencode"
    assert annotation.unstranded == ()
    transcripts = select(annotation, Selection())
    contigs = reconcile_contigs(transcripts["contig"].unique().to_list(), list(genome.lengths))
    check_spans(transcripts, contigs, genome.lengths, annotation.uri)
    plan = make_plan(transcripts, genome.lengths, spec=WindowSpec(), flanks=flanks, windows_per_shard=16)
    assert plan.bases > 50_000


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Contig:
        raise RuntimeError

    monkeypatch.setattr(simulate, "make_contig", fail)
    with pytest.raises(RuntimeError):
        simulate.simulate(tmp_path / "genome")
    assert list(tmp_path.iterdir()) == []


def test_an_annotation_alone(tmp_path: Path) -> None:
    path = simulate.simulate_annotation(tmp_path / "new", genes=60, transcripts=200, exons=900)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"annotation.gtf.gz", "README.txt"}
    assert len(read_annotation(str(path)).transcripts) == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--contigs", 0), "at least one"),
        (("--bases", 5_000), f"{MIN_CONTIG_BASES:,}"),
        (("--seed", -1), "--seed -1"),
        (("--genes", 10), "--genes is an option of --annotation-only"),
        (("--annotation-only", "--bases", 100_000), "--bases is an option without --annotation-only"),
        (("--annotation-only", "--genes", 10, "--transcripts", 5), "each gene needs a transcript"),
        (("--annotation-only", "--genes", 1, "--transcripts", 900), "no room"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(
    tmp_path: Path, sptx_here: Callable[..., Any], flags: tuple[object, ...], told: str
) -> None:
    code, _, err = sptx_here("simulate", tmp_path / "genome", *flags, code=None)
    assert code == 2
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    for folder, message in (
        (tmp_path, "no empty folder"),
        (tmp_path / "kept.txt", "no empty folder"),
        (tmp_path / "kept.txt" / "genome", "cannot be made"),
    ):
        with pytest.raises(InputError, match=message):
            simulate.simulate(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_the_command_prints_flags_that_run_takes(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    code, out, _ = sptx_here("simulate", folder, "--contigs", 1, "--bases", MIN_CONTIG_BASES)
    assert code == 0
    assert f"--fasta {folder / 'genome.fa.gz'} --gtf {folder / 'annotation.gtf.gz'}" in out


@pytest.mark.slow
def test_clusters_are_another_genome_and_said(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    sptx_here("simulate", tmp_path / "new", "--contigs", 1, "--bases", MIN_CONTIG_BASES, "--clusters")
    assert "--clusters" in (tmp_path / "new" / "README.txt").read_text()
    expected = make_contig(1, 1, MIN_CONTIG_BASES, CLUSTERED)
    assert (Genome(str(tmp_path / "new" / "genome.fa.gz")).fetch("chr1", 0, MIN_CONTIG_BASES) == expected.codes).all()
    assert (make_contig(1, 1, MIN_CONTIG_BASES).codes != expected.codes).any()
