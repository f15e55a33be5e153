"""Junctions of STAR: what is read and refused, usage of hand-made genes, and usage against all molecules of a gene."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.junctions import files_by_tissue, measure_usage, read_junctions, sum_junctions, usage_of_sites
from pipeline.inputs.usage import read_usage
from pipeline.simulation.layout import Gene
from pipeline.simulation.sequence import make_contig
from pipeline.simulation.simulate import usage_table
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

Introns = Mapping[tuple[int, int], int]  # (donor, acceptor) in transcription order -> reads
Sites = dict[tuple[str, int], float]  # (kind, position in transcription order) -> usage
LENGTH = 10_000  # of the contig that hand-made genes are mirrored on
LINE = "chr1\t101\t200\t1\t1\t1\t7\t3\t40\n"
MINUS = "chr1\t101\t200\t2\t2\t0\t5\t0\t12\n"


def write(folder: Path, content: bytes | str, name: str = "SJ.out.tab") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def rows(frame: pl.DataFrame) -> set[tuple[object, ...]]:
    return set(frame.select("contig", "strand", "donor", "acceptor", "reads").rows())


def frame_of(introns: Introns, strand: str = "+", contig: str = "chr1") -> pl.DataFrame:
    """Junctions of a gene that is transcribed from position 1 up, or from `LENGTH` down."""
    places = [
        (donor, acceptor) if strand == "+" else (LENGTH - donor, LENGTH - acceptor) for donor, acceptor in introns
    ]
    columns = {"contig": contig, "strand": strand, "donor": [d for d, _ in places], "acceptor": [a for _, a in places]}
    return pl.DataFrame({**columns, "reads": list(introns.values())})


def sites_of(usage: pl.DataFrame, strand: str = "+", tissue: str = "brain") -> Sites:
    """Known sites in transcription order."""
    known = usage.filter(pl.col(tissue).is_not_nan()).select("kind", "pos", tissue).rows()
    return {(kind, pos if strand == "+" else LENGTH - pos): value for kind, pos, value in known}


def star_lines(junctions: pl.DataFrame) -> str:
    """As STAR would write them."""
    lines = []
    for contig, strand, donor, acceptor, reads in junctions.rows():
        first, last = min(donor, acceptor) + 1, max(donor, acceptor) - 1
        lines.append(f"{contig}\t{first}\t{last}\t{1 if strand == '+' else 2}\t1\t0\t{reads}\t0\t30\n")
    return "".join(lines)


# Reading


def test_donor_and_acceptor_are_the_bases_beside_the_intron(tmp_path: Path) -> None:
    read = read_junctions(write(tmp_path, LINE + MINUS))
    assert rows(read.frame) == {("chr1", "+", 100, 201, 7), ("chr1", "-", 201, 100, 5)}
    assert read.unstranded == 0


def test_gzip_other_line_ends_and_empty_lines(tmp_path: Path) -> None:
    for content in (gzip.compress(LINE.encode()), LINE.replace("\n", "\r\n"), LINE + "\n", LINE.strip()):
        assert rows(read_junctions(write(tmp_path, content)).frame) == {("chr1", "+", 100, 201, 7)}


def test_undefined_strands_are_counted_and_multimappers_ignored(tmp_path: Path) -> None:
    undefined = "chr1\t301\t400\t0\t0\t0\t9\t0\t30\n"
    only_multi = "chr1\t501\t600\t1\t1\t0\t0\t9\t30\n"
    read = read_junctions(write(tmp_path, undefined + LINE + only_multi))
    assert rows(read.frame) == {("chr1", "+", 100, 201, 7)}
    assert read.unstranded == 1


def test_replicates_are_summed(tmp_path: Path) -> None:
    other = "chr1\t301\t400\t0\t0\t0\t9\t0\t30\n" + MINUS
    read = sum_junctions(
        [write(tmp_path, LINE + other, "a"), write(tmp_path, LINE + other, "b"), write(tmp_path, LINE)]
    )
    assert rows(read.frame) == {("chr1", "+", 100, 201, 21), ("chr1", "-", 201, 100, 10)}
    assert read.unstranded == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no junction: it is empty"),
        (LINE + LINE.replace("\t40", ""), "line 2: 8 tab-separated columns where SJ.out.tab of STAR has 9"),
        (LINE.replace("\t", " "), "line 1: 1 tab-separated columns where SJ.out.tab of STAR has 9"),
        (LINE + LINE.replace("\t40", "\t40\t"), "line 2: 10 tab-separated columns"),
        (LINE.replace("chr1", ""), "line 1: contig is empty"),
        (LINE + LINE.replace("101", "x"), "line 2: start is 'x', not a whole number"),
        (LINE.replace("200", "200.5"), r"line 1: end is '200\.5', not a whole number"),
        ("\n" + LINE.replace("\t7", "\t"), "line 2: reads is '', not a whole number"),
        (LINE.replace("\t7", "\t-7"), "line 1: reads is -7, below 0"),
        (LINE.replace("\t40", "\tmany"), "line 1: overhang is 'many', not a whole number"),
        (LINE.replace("200\t1", "200\t3"), "line 1: strand is 3, not a code from 0 to 2"),
        (LINE.replace("200\t1", "200\t+"), r"line 1: strand is '\+', not a whole number"),
        (LINE.replace("200\t1\t1", "200\t1\t7"), "line 1: motif is 7, not a code from 0 to 6"),
        (LINE.replace("1\t7", "2\t7"), "line 1: annotated is 2, not a code from 0 to 1"),
        (LINE.replace("101", "1"), "line 1: start is 1, but an exon lies before an intron"),
        (LINE.replace("200", "100"), "line 1: end 100 lies before start 101"),
        (LINE.replace("200", "2147483647"), "line 1: end is 2147483647, farther than any contig reaches"),
        (b"BAM\x01\0\0", "is not text: give SJ.out.tab of STAR"),
        (gzip.compress(LINE.encode())[:-9], "is a damaged or cut gzip file"),
    ],
)
def test_faults(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as refused:
        read_junctions(path)
    assert str(refused.value).startswith(path)


# The formula, on genes that are read from left to right; each is checked on both strands.

CASSETTE = {(100, 201): 30, (300, 401): 30, (100, 401): 10}
ONE_BASE_EXON = {(100, 201): 30, (201, 401): 30, (100, 401): 10}
TWO_CASSETTES = {  # included by 3 in 4 and by 1 in 5 molecules of 400, each whatever the other does
    (100, 201): 300,
    (100, 401): 20,
    (100, 601): 80,
    (300, 401): 60,
    (300, 601): 240,
    (500, 601): 80,
}
EXAMPLE = {(100, 201): 45, (100, 401): 10, (100, 421): 5, (300, 401): 30, (300, 421): 15, (500, 601): 60}  # of the docs
ALTERNATIVE_ACCEPTORS = {(100, 201): 30, (100, 221): 10, (300, 401): 40}
ALTERNATIVE_DONORS = {(100, 201): 40, (280, 401): 30, (300, 401): 10}
EXCLUSIVE_EXONS = {(100, 201): 30, (300, 601): 30, (100, 401): 10, (500, 601): 10}
FIRST_EXONS = {(100, 401): 30, (300, 401): 10}
SKIPPED_TOGETHER = {(100, 201): 30, (300, 401): 30, (500, 601): 30, (100, 601): 10}
NESTED = {**CASSETTE, (120, 151): 900, (170, 181): 900, (320, 341): 50}  # genes in introns of CASSETTE


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("introns", "donors", "acceptors"),
    [
        ({(100, 201): 30}, {100: 1}, {201: 1}),
        (CASSETTE, {100: 1, 300: 0.75}, {201: 0.75, 401: 1}),
        (ONE_BASE_EXON, {100: 1, 201: 0.75}, {201: 0.75, 401: 1}),
        (TWO_CASSETTES, {100: 1, 300: 0.75, 500: 0.2}, {201: 0.75, 401: 0.2, 601: 1}),
        (EXAMPLE, {100: 1, 300: 0.75, 500: 1}, {201: 0.75, 401: 2 / 3, 421: 1 / 3, 601: 1}),
        (ALTERNATIVE_ACCEPTORS, {100: 1, 300: 1}, {201: 0.75, 221: 0.25, 401: 1}),
        (ALTERNATIVE_DONORS, {100: 1, 280: 0.75, 300: 0.25}, {201: 1, 401: 1}),
        (EXCLUSIVE_EXONS, {100: 1, 300: 0.75, 500: 0.25}, {201: 0.75, 401: 0.25, 601: 1}),
        (FIRST_EXONS, {100: 0.75, 300: 0.25}, {401: 1}),
        # The inner sites are joined to each other alone: nothing competes with them.
        (SKIPPED_TOGETHER, {100: 1, 300: 1, 500: 0.75}, {201: 0.75, 401: 1, 601: 1}),
        (NESTED, {100: 1, 120: 1, 170: 1, 300: 0.75, 320: 1}, {151: 1, 181: 1, 201: 0.75, 341: 1, 401: 1}),
    ],
)
def test_usage(strand: str, introns: Introns, donors: dict[int, float], acceptors: dict[int, float]) -> None:
    usage = usage_of_sites({"brain": frame_of(introns, strand)})
    expected = {("donor", pos): value for pos, value in donors.items()}
    expected |= {("acceptor", pos): value for pos, value in acceptors.items()}
    assert sites_of(usage, strand) == expected


def test_the_frame_is_that_of_a_usage_table() -> None:
    usage = usage_of_sites({"brain": frame_of(CASSETTE), "site": frame_of(CASSETTE, "-", "chr2")})
    assert dict(usage.schema) == {
        "contig": pl.String,
        "strand": pl.String,
        "kind": pl.String,
        "pos": pl.Int32,
        "brain": pl.Float64,
        "site": pl.Float64,
    }
    assert usage.equals(usage.sort("contig", "pos", "strand", "kind"))
    assert usage.filter(pl.col("brain").is_nan())["contig"].unique().to_list() == ["chr2"]


def test_strands_and_contigs_do_not_compete() -> None:
    apart = [frame_of(CASSETTE), frame_of({(100, 221): 500}, contig="chr2")]
    crossing = pl.DataFrame({"contig": "chr1", "strand": "-", "donor": 221, "acceptor": 100, "reads": 500})
    usage = usage_of_sites({"brain": pl.concat([*apart, crossing])}).filter(contig="chr1", strand="+")
    assert sites_of(usage) == sites_of(usage_of_sites({"brain": frame_of(CASSETTE)}))


def test_too_few_reads_are_unknown_in_that_tissue_alone() -> None:
    tissues = {"brain": frame_of(CASSETTE), "liver": frame_of({(100, 201): 4, (100, 401): 5})}
    few = sites_of(usage_of_sites(tissues), tissue="liver")
    enough = sites_of(usage_of_sites(tissues, min_reads=9), tissue="liver")
    assert few == {}
    assert enough == {("donor", 100): 1, ("acceptor", 201): 4 / 9}
    assert sites_of(usage_of_sites(tissues, min_reads=9)) == sites_of(usage_of_sites(tissues))


def test_a_site_of_another_tissue_may_have_no_use() -> None:
    tissues = {"brain": frame_of(CASSETTE), "liver": frame_of({(100, 401): 50})}
    assert sites_of(usage_of_sites(tissues), tissue="liver") == {
        ("donor", 100): 1,
        ("acceptor", 201): 0,
        ("donor", 300): 0,
        ("acceptor", 401): 1,
    }


def test_a_site_that_is_unknown_everywhere_has_no_row() -> None:
    usage = usage_of_sites({"brain": frame_of({**CASSETTE, (7000, 7101): 9})})
    assert sites_of(usage) == sites_of(usage_of_sites({"brain": frame_of(CASSETTE)}))
    assert len(usage) == len(CASSETTE) + 1


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("+-"), st.integers(1, 30), st.integers(1, 30)).filter(lambda key: key[1] < key[2]),
        st.tuples(st.integers(0, 40), st.integers(0, 40)),
        min_size=1,
        max_size=30,
    )
)
def test_mirrored_junctions_have_mirrored_usage(junctions: dict[tuple[str, int, int], tuple[int, int]]) -> None:
    """Reverse complement of all: the last base becomes the first, and the strands change places."""

    def measured(mirrored: bool) -> pl.DataFrame:
        columns: dict[str, list[object]] = {name: [] for name in ("strand", "donor", "acceptor")}
        for strand, left, right in junctions:
            ends = (100 - right, 100 - left) if mirrored else (left, right)
            own = strand if not mirrored else "+-"[strand == "+"]
            for name, value in zip(columns, (own, *(ends if own == "+" else ends[::-1])), strict=True):
                columns[name].append(value)
        return usage_of_sites(
            {
                tissue: pl.DataFrame({"contig": "c", **columns, "reads": [reads[at] for reads in junctions.values()]})
                for at, tissue in enumerate(("brain", "liver"))
            },
            min_reads=5,
        )

    back = measured(mirrored=True).with_columns(
        (100 - pl.col("pos")).cast(pl.Int32).alias("pos"), pl.col("strand").replace({"+": "-", "-": "+"})
    )
    assert back.sort("contig", "pos", "strand", "kind").equals(measured(mirrored=False))


# The truth, from all molecules of a gene

Choices = list[tuple[tuple[int, int] | None, int]]  # of an exon: acceptor and donor, or None if left out; molecules


def molecules(exons: list[Choices]) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """Every molecule of exons that are chosen independently: its exons as (acceptor, donor), and how many of it."""
    for chosen in product(*exons):
        yield [exon for exon, _ in chosen if exon], int(np.prod([weight for _, weight in chosen]))


def introns_and_truth(exons: list[Choices]) -> tuple[Counter[tuple[int, int]], Sites]:
    """One read for each junction of each molecule; the share of molecules that use each site."""
    reads: Counter[tuple[int, int]] = Counter()
    users: Counter[tuple[str, int]] = Counter()
    total = 0
    for molecule, count in molecules(exons):
        total += count
        for (_, donor), (acceptor, _) in pairwise(molecule):
            reads[donor, acceptor] += count
            users["donor", donor] += count
            users["acceptor", acceptor] += count
    return reads, {site: count / total for site, count in users.items()}


@st.composite
def genes(draw: st.DrawFn, tissues: int) -> list[list[Choices]]:
    """For each tissue the choices of every exon: alternative ends, or another exon instead, or none at all."""
    of_tissues: list[list[Choices]] = [[] for _ in range(tissues)]
    last = draw(st.integers(1, 5))
    for order in range(last + 1):
        start = 1000 * (order + 1)
        if draw(st.booleans()):
            forms = [(start, start + 200), (start + 400, start + 600)]  # also as first and last exons
        else:
            acceptors = [start, start + 20][: draw(st.integers(1, 2)) if order > 0 else 1]
            donors = [start + 200, start + 230][: draw(st.integers(1, 2)) if order < last else 1]
            forms = list(product(acceptors, donors))
        optional = 0 < order < last and draw(st.booleans())
        weights = st.lists(st.integers(0, 5), min_size=len(forms), max_size=len(forms)).filter(any)
        for exons in of_tissues:
            exons.append(list(zip(forms, draw(weights), strict=True)))
            if optional:
                exons[-1].append((None, draw(st.integers(0, 5))))
    return of_tissues


@settings(max_examples=100, deadline=None)
@given(genes(tissues=2), st.sampled_from("+-"))
def test_usage_is_the_share_of_molecules(of_tissues: list[list[Choices]], strand: str) -> None:
    known = [introns_and_truth(exons) for exons in of_tissues]
    tissues = {str(at): frame_of({k: n for k, n in reads.items() if n}, strand) for at, (reads, _) in enumerate(known)}
    usage = usage_of_sites(tissues, min_reads=1)
    for at, (_, truth) in enumerate(known):
        found = sites_of(usage, strand, str(at))
        assert {site for site, share in truth.items() if share} <= found.keys()
        assert found == pytest.approx({site: truth.get(site, 0) for site in found}, abs=1e-12)


def expected_reads(gene: Gene, usage: np.ndarray, depth: int) -> Iterator[tuple[str, str, int, int, int]]:
    """contig, strand, donor, acceptor and reads of all molecules of a simulated gene in one tissue."""
    exons = list(zip(gene.exons, usage, strict=True))[:: 1 if gene.strand == "+" else -1]
    shares: Counter[tuple[int, int]] = Counter()
    for included in product(*([True] if exon.role in ("first", "last") else [True, False] for exon, _ in exons)):
        share = np.prod([use if there else 1 - use for (_, use), there in zip(exons, included, strict=True)])
        left = [exon for (exon, _), there in zip(exons, included, strict=True) if there]
        for before, after in pairwise(left):
            ends = (before.end, after.start + 1) if gene.strand == "+" else (before.start + 1, after.end)
            shares[ends] += share
    for (donor, acceptor), share in shares.items():
        yield gene.contig, gene.strand, donor, acceptor, round(depth * share)


def test_usage_of_simulated_genes_is_their_truth() -> None:
    """Genes that overlap and lie in each other, each expressed at a level of its own."""
    contig = make_contig(seed=3, number=1, bases=120_000)
    truth = pl.DataFrame(usage_table(contig)).rename({"position": "pos"})
    names = ("contig", "strand", "donor", "acceptor", "reads")
    tissues = {}
    for at, tissue in enumerate(TISSUES):
        lines = [
            line
            for level, (gene, usage) in enumerate(zip(contig.layout.genes, contig.usage, strict=True), 1)
            if not np.isnan(usage[0][at])
            for line in expected_reads(gene, usage[:, at], level * 10**8)
        ]
        tissues[tissue] = pl.DataFrame(lines, schema=names, orient="row")
    found = usage_of_sites(tissues).select("contig", "pos", "strand", "kind", *TISSUES)
    expected = truth.select(found.columns).sort("pos", "strand", "kind")
    assert found.drop(TISSUES).equals(expected.drop(TISSUES).cast({"pos": pl.Int32}))
    given = expected.select(TISSUES).cast(pl.Float64).to_numpy()
    rounding = 0.5e-4 + 1e-6  # of the truth, then of the reads
    np.testing.assert_allclose(found.select(TISSUES).to_numpy(), given, atol=rounding, rtol=0)
    strands = {gene.strand for gene in contig.layout.genes}
    assert strands == {"+", "-"}
    assert any(
        inner.strand == outer.strand and outer.start < inner.start and inner.end < outer.end
        for inner, outer in product(contig.layout.genes, repeat=2)
    )


# The command


@pytest.mark.parametrize("name", ["usage.parquet", "usage.tsv"])
def test_the_written_table_reads_back(tmp_path: Path, sptx_here: Callable[..., Any], name: str) -> None:
    half = {key: reads // 2 for key, reads in TWO_CASSETTES.items()}
    a = write(tmp_path, star_lines(frame_of(half)), "a")
    b = write(
        tmp_path, gzip.compress((star_lines(frame_of(half)) + LINE.replace("\t1\t1\t1", "\t0\t0\t0")).encode()), "b"
    )
    c = write(tmp_path, star_lines(frame_of(CASSETTE, "-", "chr2")), "c")
    flags = ["--junctions", f"brain={a},{b}", "--junctions", f"liver = {c}", "--to", tmp_path / name]
    code, _, err = sptx_here("usage", *flags)
    assert code == 0
    assert "brain: 2 files, 6 junctions, 780 unique reads; 1 lines of undefined strand left out" in err
    assert "10 splice sites in 2 tissues written to" in err
    tissues = {"brain": frame_of(TWO_CASSETTES), "liver": frame_of(CASSETTE, "-", "chr2")}
    assert read_usage(str(tmp_path / name)).equals(usage_of_sites(tissues))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", "b", "c", name])


def test_min_reads_of_the_command(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    path, to = write(tmp_path, star_lines(frame_of({(100, 201): 9}))), tmp_path / "usage.tsv"
    flags = ["usage", "--junctions", f"brain={path}", "--to", to]
    few = sptx_here(*flags)
    assert (few.code, to.exists()) == (2, False)
    assert "no splice site has 10 reads in any tissue; lower --min-reads or give more files" in few.err
    assert sptx_here(*flags, "--min-reads", 9).code == 0
    assert len(read_usage(str(to))) == 2
    assert "--min-reads 0: give 1 or more" in sptx_here(*flags, "--min-reads", 0).err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["brain"], "--junctions brain: give TISSUE=FILE"),
        (["=a"], "--junctions =a: give TISSUE=FILE"),
        (["brain=,"], "--junctions brain=,: give TISSUE=FILE"),
        (["s3://bucket/x=1/SJ.out.tab"], "give TISSUE=FILE"),
        (["strand=a"], "strand is no name for a tissue"),
        (["chrom=a"], "chrom is no name for a tissue"),
        (["brain=a", "brain=b"], "names brain twice; give all its files at once"),
        (["brain=/a,/b,/a"], "--junctions gives /a twice"),
        (["brain=/a", "liver=/b,/a"], "--junctions gives /a twice"),
    ],
)
def test_tissues_that_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        files_by_tissue(given)


def test_equal_signs_in_a_uri_belong_to_it() -> None:
    assert files_by_tissue(["brain=s3://bucket/run=1/a,/b"]) == {"brain": ["s3://bucket/run=1/a", "/b"]}


def test_the_target_is_checked_before_any_file_is_read(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    code, _, err = sptx_here("usage", "--junctions", f"brain={tmp_path / 'none'}", "--to", tmp_path / "usage.csv")
    assert code == 2
    assert "is neither named .parquet nor .tsv" in err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tab"):
        measure_usage({"brain": [str(tmp_path / "none.tab")]})
