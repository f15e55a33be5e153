"""The generated genome: the files agree with each other, with the stated matrices and with the stated formula."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main as cli
from pipeline.coordinates import reconcile_contigs
from pipeline.inputs.annotation import Annotation, check_spans, read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.selection import Selection, select
from pipeline.settings import Flanks
from pipeline.simulation import simulate
from pipeline.simulation.layout import END_N, MIN_CONTIG_BASES, lay_out
from pipeline.simulation.sequence import Contig, make_contig, stranded
from pipeline.simulation.signals import (
    ACCEPTOR,
    BACKGROUND,
    DONOR,
    ENHANCER,
    FLANK,
    MEAN_STRENGTH,
    REGULATORS,
    SITES,
    SLOPE,
    TISSUE_OFFSETS,
    Motif,
    Site,
    candidates,
    occurrences,
)
from pipeline.simulation.simulate import Simulated, simulate_annotation, usage_table
from pipeline.tracks.plan import make_plan
from sptx_core.alphabet import decode, encode, reverse_complement
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

SEED, CONTIGS, BASES = 5, 2, 120_000
FILES = {"genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi", "annotation.gtf.gz", "usage.parquet", "README.txt"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate.simulate(tmp_path_factory.mktemp("sim") / "genome", seed=SEED, contigs=CONTIGS, bases=BASES)


@pytest.fixture(scope="module")
def annotation(made: Simulated) -> Annotation:
    return read_annotation(str(made.annotation))


@pytest.fixture(scope="module")
def genome(made: Simulated) -> Genome:
    return Genome(str(made.genome))


@pytest.fixture(scope="module")
def truth(made: Simulated) -> pl.DataFrame:
    return pl.read_parquet(made.usage)


@pytest.fixture(scope="module")
def contig() -> Contig:
    return make_contig(SEED, 1, BASES)


def introns(annotation: Annotation) -> set[tuple[str, str, int, int]]:
    """(contig, strand, start, end) of every annotated intron, 0-based half-open."""
    rows = annotation.transcripts.select("contig", "strand", "exon_starts", "exon_ends").iter_rows()
    return {
        (contig, strand, start, end)
        for contig, strand, starts, ends in rows
        for start, end in zip(ends[:-1], starts[1:], strict=True)
    }


def real_junctions(contig: Contig, strand: str, kind: str) -> list[int]:
    """Junctions on the strand, from the layout alone."""
    length = len(contig.codes)
    found = []
    for gene in contig.layout.genes:
        for exon in gene.exons if gene.strand == strand else ():
            five, three = (exon.start, exon.end) if strand == "+" else (length - exon.end, length - exon.start)
            if kind == "acceptor" and exon.role != "first":
                found.append(five)
            if kind == "donor" and exon.role != "last":
                found.append(three)
    return found


def test_the_same_seed_gives_the_same_bytes(made: Simulated, tmp_path: Path) -> None:
    again = simulate.simulate(tmp_path / "again", seed=SEED, contigs=CONTIGS, bases=BASES)
    folder = made.genome.parent
    assert {path.name for path in folder.iterdir()} == FILES
    for name in FILES:
        assert (again.genome.parent / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_contig_does_not_depend_on_others(genome: Genome, made: Simulated, truth: pl.DataFrame) -> None:
    alone = make_contig(SEED, 2, BASES)
    assert (genome.fetch("chr2", 0, BASES) == alone.codes).all()
    assert pl.from_arrow(usage_table(alone)).equals(truth.filter(pl.col("contig") == "chr2"))


def test_another_seed_is_another_genome(contig: Contig) -> None:
    assert (make_contig(SEED + 1, 1, BASES).codes != contig.codes).mean() > 0.5


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
                for word, effect in REGULATORS:
                    logit += effect[place] * sum(text.startswith(word, at) for at in range(len(text)))
                expected = 1 / (1 + math.exp(-logit))
                for key in ((five, gene.strand, "acceptor"), (three, gene.strand, "donor")):
                    held = table["chr1", *key][place]
                    assert held is None or held == pytest.approx(expected, abs=6e-5), (tissue, key)
            checked += 1
    assert checked > 40


def test_constitutive_sites_are_used_everywhere_and_cassettes_by_tissue(contig: Contig) -> None:
    by_role: dict[str, list[np.ndarray]] = {"constitutive": [], "cassette": []}
    for gene, usage in zip(contig.layout.genes, contig.usage, strict=True):
        for exon, row in zip(gene.exons, usage, strict=True):
            by_role.get(exon.role, []).append(row[~np.isnan(row)])
    assert min(row.min() for row in by_role["constitutive"]) > 0.85
    assert np.mean([row.max() - row.min() > 0.3 for row in by_role["cassette"]]) > 0.6


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


def test_n_runs_and_soft_masked_bases_are_there(made: Simulated) -> None:
    lines = gzip.decompress(made.genome.read_bytes()).decode().split(">")[1].splitlines()
    text = "".join(lines[1:])
    assert lines[0] == "chr1 synthetic"
    assert len(text) == BASES
    assert text[:END_N].upper() == text[-END_N:].upper() == "N" * END_N
    assert "N" in text[END_N:-END_N].upper()
    assert 0.2 < sum(letter.islower() for letter in text) / BASES < 0.5
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


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.kind)
@pytest.mark.parametrize("strand", "+-")
def test_an_oracle_with_the_matrices_tells_sites_from_decoys(contig: Contig, site: Site, strand: str) -> None:
    found = candidates(stranded(contig.codes, strand), site)
    is_real = np.isin(found.junction, real_junctions(contig, strand, site.kind))
    assert is_real.sum() == len(real_junctions(contig, strand, site.kind)) > 0
    assert found.bits[is_real].min() >= site.floor
    order = np.argsort(-found.bits, kind="stable")
    precision = np.cumsum(is_real[order]) / np.arange(1, len(order) + 1)
    assert precision[is_real[order]].mean() > 0.99  # average precision
    assert (found.core[~is_real] > site.core.floor).sum() > 20  # the core alone is not enough


def test_decoys_stand_on_both_strands_and_stay_below_the_ceiling(contig: Contig) -> None:
    assert {(decoy.strand, decoy.kind, decoy.lacks) for decoy in contig.decoys} == {
        (strand, kind, lacks) for strand in "+-" for kind in ("donor", "acceptor") for lacks in ("core", "partner")
    }
    above = 0
    for strand in "+-":
        codes = stranded(contig.codes, strand)
        for site in SITES:
            found = candidates(codes, site)
            bits = dict(zip(found.junction.tolist(), found.bits.tolist(), strict=True))
            for decoy in contig.decoys:
                if (decoy.strand, decoy.kind) == (strand, site.kind):
                    above += bits[decoy.boundary if strand == "+" else len(codes) - decoy.boundary] > site.ceiling
    assert above <= len(contig.decoys) // 100


def test_enhancers_lie_in_constitutive_exons(contig: Contig) -> None:
    for gene in contig.layout.genes:
        for exon in gene.exons:
            if exon.role == "constitutive":
                inside = stranded(contig.codes[exon.start : exon.end], gene.strand)
                assert len(occurrences(inside, ENHANCER.word)) == 2


@given(seed=st.integers(0, 2**32), bases=st.integers(MIN_CONTIG_BASES, 150_000))
@settings(max_examples=25, deadline=None)
def test_blocks_never_touch_and_transcripts_use_their_genes_exons(seed: int, bases: int) -> None:
    layout = lay_out(1, bases, np.random.default_rng(seed))
    assert layout.genes
    blocks = sorted((exon.start - FLANK, exon.end + FLANK) for gene in layout.genes for exon in gene.exons)
    assert all(end < start for (_, end), (start, _) in pairwise(blocks))
    assert blocks[0][0] > END_N
    assert blocks[-1][1] <= bases - END_N
    free = np.ones(bases, dtype=bool)
    free[:END_N] = free[bases - END_N :] = False
    for start, end in blocks:
        free[start:end] = False
    assert free.sum() == sum(end - start for start, end in layout.gaps)
    assert all(free[start:end].all() for start, end in layout.gaps)
    for gene in layout.genes:
        places = [(exon.start, exon.end) for exon in gene.exons]
        assert places == sorted(places)
        roles = [exon.role for exon in gene.exons][:: 1 if gene.strand == "+" else -1]
        assert (roles[0], roles[-1]) == ("first", "last")
        main, *others = gene.transcripts
        assert list(main.exons) == places
        skipped = {place for other in others for place in places[1:-1] if place not in other.exons}
        assert skipped == {(exon.start, exon.end) for exon in gene.exons if exon.role == "cassette"}
        for other in others:
            starts, ends = zip(*other.exons, strict=True)
            assert set(ends[:-1]) <= {end for _, end in places}
            assert set(starts[1:]) <= {start for start, _ in places}
            assert gene.start <= starts[0] < ends[-1] <= gene.end


@given(text=st.text("ACGTN", min_size=2, max_size=120), site=st.sampled_from(SITES))
@settings(max_examples=60, deadline=None)
def test_candidates_are_every_gt_or_ag_in_strand_order(text: str, site: Site) -> None:
    letters, shift = ("GT", 0) if site.kind == "donor" else ("AG", 2)
    expected = [at + shift for at in range(len(text)) if text.startswith(letters, at)]
    assert candidates(encode(text), site).junction.tolist() == expected
    backwards = candidates(reverse_complement(encode(text)), site).junction
    assert len(backwards) == text.count("AC" if site.kind == "donor" else "CT")


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Contig:
        raise RuntimeError

    monkeypatch.setattr(simulate, "make_contig", fail)
    with pytest.raises(RuntimeError):
        simulate.simulate(tmp_path / "genome")
    assert list(tmp_path.iterdir()) == []


def test_the_annotation_of_whole_genome_size_has_the_numbers_asked_for(tmp_path: Path) -> None:
    paths = [simulate_annotation(tmp_path / name, genes=60, transcripts=200, exons=900) for name in ("one", "two")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    transcripts = read_annotation(str(paths[0])).transcripts
    assert transcripts["gene_id"].n_unique() == 60
    assert (transcripts.height, transcripts["exon_starts"].list.len().sum()) == (200, 900)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Call `sptx simulate` and return the sentence that it is refused with."""

    def call(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["sptx", "simulate", *map(str, arguments)])
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert sorted(tmp_path.rglob("*")) == before
        return capsys.readouterr().err

    return call


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
    refused: Callable[..., str], tmp_path: Path, flags: tuple[object, ...], told: str
) -> None:
    assert told in refused(tmp_path / "genome", *flags)


def test_a_folder_in_use_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    assert "no empty folder" in refused(tmp_path)
    assert "no empty folder" in refused(tmp_path / "kept.txt")
    assert "cannot be made" in refused(tmp_path / "kept.txt" / "genome")


def test_a_contig_too_small_for_a_gene_is_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        lay_out(1, MIN_CONTIG_BASES - 1, np.random.default_rng(0))


def test_the_command_prints_flags_that_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    monkeypatch.setattr(
        "sys.argv", ["sptx", "simulate", str(folder), "--contigs", "1", "--bases", str(MIN_CONTIG_BASES)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert f"--fasta {folder / 'genome.fa.gz'} --gtf {folder / 'annotation.gtf.gz'}" in capsys.readouterr().out
