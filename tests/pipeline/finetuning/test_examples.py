"""Windows and their labels against the slowest reading of the contract: a base at a time, from text and exons."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from material.genomes import fasta

from pipeline.finetuning.examples import Examples, Windows
from pipeline.finetuning.labelled_sites import Genes, StrandLayout, make_genes, make_sites
from pipeline.finetuning.settings import TrainingFlanks
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.splice_sites import splice_sites
from pipeline.simulation.simulate import Simulated
from sptx_core.alphabet import BASES
from sptx_core.losses import UNLABELLED

LENGTHS = {"chr1": 300, "chr2": 210}
TISSUES = ("brain", "heart")
COMPLEMENT = dict(zip("ACGTN", "TGCAN", strict=True))
LABELS = {"acceptor": 1, "donor": 2}
Site = tuple[str, str, int]  # contig, strand, 0-based position


class Transcript(NamedTuple):
    contig: str
    strand: str
    gene: str
    exons: list[tuple[int, int]]
    selected: bool = True


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """One to four exons anywhere on a contig, its ends included; exons may touch."""
    contig, strand = draw(st.sampled_from(list(LENGTHS))), draw(st.sampled_from("+-"))
    count = draw(st.integers(1, 4))
    inner = draw(st.lists(st.integers(0, LENGTHS[contig]), min_size=2 * count, max_size=2 * count))
    bounds = sorted(inner)
    exons = [(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end]
    assume(exons)
    return Transcript(contig, strand, draw(st.sampled_from(["g1", "g2"])), exons, draw(st.integers(0, 3)) > 0)


annotations = st.lists(transcripts(), min_size=1, max_size=6).filter(lambda some: any(one.selected for one in some))


class Text(NamedTuple):
    """A genome as a file and as letters."""

    genome: Genome
    letters: dict[str, str]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    random = np.random.default_rng(0)
    letters = {name: "".join(random.choice(list("ACGTN"), length)) for name, length in LENGTHS.items()}
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(fasta(letters))
    return Text(Genome(str(path)), letters)


def frame(some: list[Transcript]) -> pl.DataFrame:
    rows = [
        (
            f"t{at}",
            f"{one.gene}{one.contig}{one.strand}",
            one.contig,
            one.strand,
            one.exons[0][0],
            one.exons[-1][1],
            [start for start, _ in one.exons],
            [end for _, end in one.exons],
            one.selected,
        )
        for at, one in enumerate(some)
    ]
    names = ("transcript_id", "gene_id", "chrom", "strand", "start", "end", "exon_starts", "exon_ends", "selected")
    kinds = dict.fromkeys(names[:4], pl.String) | dict.fromkeys(names[4:6], pl.Int64)
    kinds |= dict.fromkeys(names[6:8], pl.List(pl.Int64)) | {"selected": pl.Boolean}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def examples(
    text: Text,
    some: list[Transcript],
    *,
    usage: pl.DataFrame | None = None,
    core: int = 20,
    context: int = 7,
    flanks: TrainingFlanks = TrainingFlanks.TRANSCRIPT,
) -> Examples:
    whole, layout = frame(some), StrandLayout(LENGTHS)
    selected = whole.filter("selected")
    genes = make_genes(selected, layout)
    sites = make_sites(whole, selected, usage, TISSUES, layout).within(genes)
    return Examples(text.genome, genes, sites, core, context, flanks)


def kinds_of(some: list[Transcript]) -> dict[Site, set[str]]:
    """Kinds of every site, by the definition."""
    found: dict[Site, set[str]] = defaultdict(set)
    for one in some:
        for (_, left), (right, _) in zip(one.exons[:-1], one.exons[1:], strict=True):
            if left < right:
                found[one.contig, one.strand, left - 1].add("donor" if one.strand == "+" else "acceptor")
                found[one.contig, one.strand, right].add("acceptor" if one.strand == "+" else "donor")
    return found


def labels_of(some: list[Transcript]) -> dict[Site, int]:
    labelled = kinds_of([one for one in some if one.selected])
    labels = dict.fromkeys(kinds_of(some), UNLABELLED)
    return labels | {site: LABELS[next(iter(kinds))] for site, kinds in labelled.items() if len(kinds) == 1}


def position(genes: Genes, gene: int, x: int) -> int:
    """0-based position on the contig of a base of a gene's axis."""
    return int(genes.end[gene] - 1 - x if genes.minus[gene] else genes.start[gene] + x)


def length(genes: Genes, gene: int) -> int:
    return int(genes.end[gene] - genes.start[gene])


def covered(windows: Windows, made: Examples) -> dict[int, Counter[int]]:
    """How many cores hold each base of each gene's axis."""
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for gene, x in zip(windows.gene.tolist(), windows.x.tolist(), strict=True):
        counts[gene].update(range(max(0, x), min(x + made.core, length(made.genes, gene))))
    return counts


def everything(made: Examples) -> Windows:
    """All windows of an epoch, in their order."""
    return made.epoch(3, 1, 1e9)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(annotations, st.integers(1, 70), st.integers(0, 5))
def test_every_base_of_a_gene_lies_in_exactly_one_core(
    text: Text, some: list[Transcript], core: int, seed: int
) -> None:
    made = examples(text, some, core=core)
    laid = [made.centred()]
    if (made.sites.label != UNLABELLED).any():
        laid.append(made.epoch(seed, 0, 1e9))
    for windows in laid:
        expected = {gene: Counter(range(length(made.genes, gene))) for gene in range(len(made.genes))}
        assert covered(windows, made) == expected


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(annotations, st.integers(1, 70))
def test_centred_windows_go_as_far_beyond_a_gene_on_both_sides(text: Text, some: list[Transcript], core: int) -> None:
    made = examples(text, some, core=core)
    windows = made.centred()
    for gene in range(len(made.genes)):
        x = windows.x[windows.gene == gene]
        before, after = -x.min(), x.max() + core - length(made.genes, gene)
        assert 0 <= after - before <= 1
        assert before + after < core


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(annotations, st.integers(1, 40), st.integers(0, 30), st.integers(0, 3), st.data())
def test_a_window_shows_and_labels_what_the_annotation_says_of_each_base(
    text: Text, some: list[Transcript], core: int, context: int, seed: int, data: st.DataObject
) -> None:
    labels = labels_of(some)
    labelled = {site: label for site, label in labels.items() if label != UNLABELLED}
    known_usage = {site: (at / 100, math.nan if at % 3 else 0.5) for at, site in enumerate(sorted(labelled)) if at % 4}
    names = {label: kind for kind, label in LABELS.items()}
    rows = [(*site[:2], names[labelled[site]], site[2] + 1, *values) for site, values in known_usage.items()]
    columns = {"chrom": pl.String, "strand": pl.String, "kind": pl.String, "pos": pl.Int32}
    usage = pl.DataFrame(rows, schema=columns | dict.fromkeys(TISSUES, pl.Float64), orient="row")
    made = examples(text, some, usage=usage, core=core, context=context)
    windows = everything(made) if labelled else made.centred()
    assume(windows.size)
    windows = windows._replace(genomic=np.random.default_rng(seed).random(windows.size) < 0.5)
    batch = made.batch(windows)

    assert batch.codes.shape == (windows.size, core + 2 * context)
    seen: dict[int, tuple[float, ...]] = {}
    for row, (gene, x, genomic) in enumerate(zip(*(part.tolist() for part in windows), strict=True)):
        contig, minus = made.genes.contig[gene], bool(made.genes.minus[gene])
        for at in range(core + 2 * context):
            a = x - context + at
            here, inside = position(made.genes, gene, a), 0 <= a < length(made.genes, gene)
            letter = "N"
            if (inside or genomic) and 0 <= here < LENGTHS[contig]:
                letter = COMPLEMENT[text.letters[contig][here]] if minus else text.letters[contig][here]
            assert BASES[batch.codes[row, at]] == letter
            if context <= at < context + core:
                site = (contig, "-" if minus else "+", here)
                label = labels.get(site, 0) if inside else UNLABELLED
                assert batch.classes[row, at - context] == label
                if label > 0:
                    seen[row * core + at - context] = known_usage.get(site, (math.nan, math.nan))
    assert sorted(batch.sites.tolist()) == sorted(seen)
    expected = np.array([seen[place] for place in batch.sites.tolist()]).reshape(-1, len(TISSUES))
    np.testing.assert_allclose(batch.usage.numpy(), expected, rtol=1e-6)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(annotations, st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e9]), st.integers(0, 3))
def test_an_epoch_has_each_window_with_a_site_once_and_as_many_without_as_asked(
    text: Text, some: list[Transcript], core: int, empty: float, epoch: int
) -> None:
    made = examples(text, some, core=core)
    windows = made.epoch(5, epoch, empty)
    whole = list(zip(windows.gene.tolist(), windows.x.tolist(), strict=True))
    assert len(set(whole)) == len(whole)
    counts = covered(windows, made)
    genes, labels = made.genes, labels_of(some)
    held = set()
    for gene, x in whole:
        strand = "-" if genes.minus[gene] else "+"
        inside = range(max(0, x), min(x + core, length(genes, gene)))
        if any(labels.get((genes.contig[gene], strand, position(genes, gene, a)), 0) > 0 for a in inside):
            held.add((gene, x))
    for gene in range(len(genes)):
        strand = "-" if genes.minus[gene] else "+"
        for a in range(length(genes, gene)):
            if labels.get((genes.contig[gene], strand, position(genes, gene, a)), 0) > 0:
                assert counts[gene][a] == 1
    others = made.epoch(5, epoch, 1e9).size - len(held)
    assert len(whole) - len(held) == min(others, round(empty * len(held)))


TWO_EXONS = [(10, 30), (60, 100)]


def classes(made: Examples) -> dict[tuple[int, int], int]:
    """(gene, 0-based position) -> label, of what is not 0, within the genes."""
    windows = made.centred()
    found = made.batch(windows).classes.numpy()
    inside = {}
    for row, (gene, x) in enumerate(zip(windows.gene.tolist(), windows.x.tolist(), strict=True)):
        for at, label in enumerate(found[row].tolist()):
            if label and 0 <= x + at < length(made.genes, gene):
                inside[gene, position(made.genes, gene, x + at)] = label
    return inside


def test_donor_and_acceptor_change_sides_with_the_strand(text: Text) -> None:
    for strand, (left, right) in {"+": (2, 1), "-": (1, 2)}.items():
        made = examples(text, [Transcript("chr1", strand, "g1", TWO_EXONS)])
        assert classes(made) == {(0, 29): left, (0, 60): right}


def test_sites_of_an_overlapping_gene_of_the_same_strand_alone_are_labelled(text: Text) -> None:
    same, other = Transcript("chr1", "+", "g1", TWO_EXONS), Transcript("chr1", "-", "g1", [(20, 40), (50, 70)])
    within = Transcript("chr1", "+", "g2", [(20, 80)])
    made = examples(text, [same, within, other])
    order = [(int(start), bool(minus)) for start, minus in zip(made.genes.start, made.genes.minus, strict=True)]
    first, inner, minus = order.index((10, False)), order.index((20, False)), order.index((20, True))
    assert classes(made) == {
        (first, 29): 2,
        (first, 60): 1,
        (inner, 29): 2,
        (inner, 60): 1,
        (minus, 39): 1,
        (minus, 50): 2,
    }


def test_sites_that_only_other_transcripts_have_are_left_out(text: Text) -> None:
    labelled = Transcript("chr1", "+", "g1", TWO_EXONS)
    skipped = Transcript("chr1", "+", "g1", [(10, 40), (60, 100)], selected=False)
    assert classes(examples(text, [labelled, skipped])) == {(0, 29): 2, (0, 39): UNLABELLED, (0, 60): 1}


def test_a_base_that_is_acceptor_and_donor_is_left_out(text: Text) -> None:
    one_base = Transcript("chr1", "+", "g1", [(10, 30), (60, 61), (90, 100)])
    assert classes(examples(text, [one_base])) == {(0, 29): 2, (0, 60): UNLABELLED, (0, 90): 1}


def test_windows_at_the_ends_of_a_contig_read_n_beyond_it(text: Text) -> None:
    whole = Transcript("chr2", "-", "g1", [(0, LENGTHS["chr2"])])
    made = examples(text, [whole], core=1000, context=50, flanks=TrainingFlanks.GENOMIC)
    (codes,) = made.batch(made.centred()).codes.numpy()
    letters = "".join(BASES[code] for code in codes)
    reverse = "".join(COMPLEMENT[letter] for letter in reversed(text.letters["chr2"]))
    assert letters == "N" * (50 + 395) + reverse + "N" * (395 + 50)


@pytest.mark.parametrize(
    ("flanks", "least", "most"),
    [(TrainingFlanks.TRANSCRIPT, 0, 0), (TrainingFlanks.GENOMIC, 1, 1), (TrainingFlanks.BOTH, 0.35, 0.65)],
)
def test_how_many_windows_of_an_epoch_see_the_genome_beyond(
    text: Text, flanks: TrainingFlanks, least: float, most: float
) -> None:
    some = [Transcript("chr1", strand, "g1", [(0, 100), (101, 300)]) for strand in "+-"]
    windows = examples(text, some, core=1, flanks=flanks).epoch(1, 0, 1e9)
    assert windows.size > 500
    assert least <= windows.genomic.mean() <= most


def test_the_order_follows_from_seed_and_epoch(text: Text) -> None:
    some = [Transcript("chr1", strand, "g1", [(0, 100), (120, 140), (150, 300)]) for strand in "+-"]
    made = examples(text, some, core=10, flanks=TrainingFlanks.BOTH)

    def order(seed: int, number: int) -> list[Any]:
        return [part.tolist() for part in made.epoch(seed, number, 1.0)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    shifts = {tuple(sorted(made.epoch(1, number, 1e9).x.tolist())) for number in range(4)}
    assert len(shifts) > 1  # a site is not always seen in the same place of a window


def test_a_look_at_some_centred_windows_spreads_over_all(text: Text) -> None:
    made = examples(text, [Transcript("chr1", "+", "g1", [(0, 300)])], core=10)
    assert made.centred(7).x.tolist() == [at * 30 // 7 * 10 for at in range(7)]
    assert made.centred(30).size == made.centred(1000).size == 30


@pytest.mark.slow
def test_introns_of_a_simulated_genome_begin_with_gt_and_end_with_ag_where_the_labels_say(simulated: Simulated) -> None:
    genome, annotation = Genome(str(simulated.genome)), read_annotation(str(simulated.annotation))
    whole, layout = annotation.transcripts.with_columns(chrom="contig"), StrandLayout(genome.lengths)
    genes = make_genes(whole, layout)
    sites = make_sites(whole, whole, None, TISSUES, layout).within(genes)
    made = Examples(genome, genes, sites, 100, 5, TrainingFlanks.TRANSCRIPT)
    batch = made.batch(everything(made))
    text = np.array(list(BASES))[batch.codes.numpy()]
    found: dict[int, set[str]] = defaultdict(set)
    counts: Counter[int] = Counter()
    for place in batch.sites.tolist():
        row, at = divmod(place, 100)
        label = int(batch.classes[row, at])
        beside = text[row, at + 6 : at + 8] if label == LABELS["donor"] else text[row, at + 3 : at + 5]
        found[label].add("".join(beside))
        counts[label] += 1
    assert found == {LABELS["donor"]: {"GT"}, LABELS["acceptor"]: {"AG"}}
    bases = splice_sites(whole.with_columns(pl.lit("").alias("biotype"))).unique(["chrom", "strand", "pos"])
    assert {"+", "-"} == set(whole["strand"])
    assert sum(counts.values()) >= len(bases)
