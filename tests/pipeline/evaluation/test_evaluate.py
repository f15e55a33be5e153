"""Whole evaluations of small tables with a known answer, on both strands, in both kinds of rows, and of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import genomes, tables
from scipy import stats
from sklearn.metrics import average_precision_score

from pipeline.cli import main as cli
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage
from pipeline.tracks.parts import ShardKey
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

Part, Transcript = tables.Part, genomes.Transcript
Run = Callable[..., subprocess.CompletedProcess[str]]

EXONS = [(101, 120), (151, 160), (201, 230)]
# What a perfect prediction says of a transcript with these exons, by strand.
ENDS, BEGINS = {120: 0.9, 160: 0.8}, {151: 0.9, 201: 0.7}
PERFECT = {"+": {"donor": ENDS, "acceptor": BEGINS}, "-": {"donor": BEGINS, "acceptor": ENDS}}
SPAN = range(101, 231)


def held(folder: Path, parts: list[Any], *transcripts: Any, usage: str | None = None, **options: Any) -> Evaluation:
    tracks = tables.write(folder / "table", parts, **options)
    annotation = read_annotation(genomes.write_gtf(folder / "x.gtf", transcripts))
    if usage is None:
        return evaluate(tracks, annotation)
    (folder / "usage.tsv").write_text(usage)
    return evaluate(tracks, annotation, read_usage(str(folder / "usage.tsv")))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_perfect_prediction_is_perfect(tmp_path: Path, strand: str, exact: bool) -> None:
    parts = [Part("chr1", strand, SPAN, **PERFECT[strand])]
    found = held(tmp_path, parts, Transcript("A", "chr1", strand, EXONS), exact=exact)
    for kind in ("acceptor", "donor"):
        figures = found.of(kind)
        assert (figures.positions, figures.sites, figures.outside) == (130, 2, 0)
        assert (figures.auprc, figures.top_k) == (1.0, {0.5: 1.0, 1.0: 1.0, 2.0: 1.0, 4.0: 1.0})
        assert found.of(kind, "contig", "chr1")[3:] == found.of(kind, "biotype", "protein_coding")[3:] == figures[3:]
    assert found.of("acceptor").threshold == pytest.approx(0.7 if strand == "+" else 0.8, rel=2**-13)


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_prediction_one_base_off_finds_nothing(tmp_path: Path, strand: str, shift: int) -> None:
    shifted = {kind: {at + shift: score for at, score in sites.items()} for kind, sites in PERFECT[strand].items()}
    found = held(tmp_path, [Part("chr1", strand, SPAN, **shifted)], Transcript("A", "chr1", strand, EXONS))
    for kind in ("acceptor", "donor"):
        assert found.of(kind).top_k[1.0] == 0
        assert found.of(kind).auprc == pytest.approx(2 / 130)


def test_the_kinds_of_the_other_strand_find_nothing(tmp_path: Path) -> None:
    parts = [Part("chr1", "-", SPAN, **PERFECT["+"])]
    found = held(tmp_path, parts, Transcript("A", "chr1", "-", EXONS))
    assert [found.of(kind).top_k[1.0] for kind in ("acceptor", "donor")] == [0, 0]


def test_each_strand_is_held_against_its_own_sites(tmp_path: Path) -> None:
    parts = [Part("chr1", strand, SPAN, **PERFECT[strand]) for strand in "+-"]
    transcripts = [Transcript("A", "chr1", "+", EXONS), Transcript("B", "chr1", "-", EXONS)]
    found = held(tmp_path, parts, *transcripts)
    assert found.of("donor")[3:6] == (260, 4, 0)
    assert found.of("donor").auprc == found.of("acceptor").auprc == 1.0


def test_figures_are_scikit_learns_over_all_rows_of_a_table_in_parts(tmp_path: Path) -> None:
    dice = np.random.default_rng(5)
    transcripts, parts, labels, scores = [], [], [], []
    for chrom, strand in (("chr1", "+"), ("chr1", "-"), ("chr2", "-")):
        ends = np.cumsum(dice.integers(5, 30, 40)) + 100
        exons = [(int(first), int(last)) for first, last in zip(ends[::2], ends[1::2] - 1, strict=True)]
        transcripts.append(Transcript(f"{chrom}{strand}", chrom, strand, exons))
        donors = {last for _, last in exons[:-1]} if strand == "+" else {first for first, _ in exons[1:]}
        pos = np.arange(exons[0][0], exons[-1][1] + 1)
        true = np.isin(pos, sorted(donors))
        steps = np.where(true, dice.integers(0, 30, len(pos)), dice.integers(0, 20, len(pos))) / 30
        donor = dict(zip(pos.tolist(), np.round(steps, 4).tolist(), strict=True))
        parts += [Part(chrom, strand, piece.tolist(), donor=donor) for piece in np.array_split(pos, 3)]
        labels.append(true)
        scores.append(np.round(steps, 4))
    found = held(tmp_path, parts, *transcripts)
    every, all_scores = np.concatenate(labels), np.concatenate(scores)
    assert found.of("donor").auprc == pytest.approx(average_precision_score(every, all_scores))
    first = np.concatenate(labels[:2]), np.concatenate(scores[:2])
    assert found.of("donor", "contig", "chr1").auprc == pytest.approx(average_precision_score(*first))
    assert found.of("donor", "contig", "chr2").auprc == pytest.approx(average_precision_score(labels[2], scores[2]))
    assert found.of("donor").positions == len(every)


def test_true_sites_that_the_table_does_not_hold_are_counted_apart(tmp_path: Path) -> None:
    parts = [Part("chr1", "+", range(101, 160), donor={120: 0.9})]  # the second donor is one base further
    transcripts = [Transcript("A", "chr1", "+", EXONS), Transcript("B", "chr7", "+", EXONS)]
    found = held(tmp_path, parts, *transcripts)
    assert found.of("donor")[3:6] == (59, 1, 3)
    assert found.of("donor", "contig", "chr1")[4:6] == (1, 1)
    assert found.of("donor").auprc == 1.0


def test_contigs_by_alias(tmp_path: Path) -> None:
    found = held(tmp_path, [Part("chr1", "+", SPAN, **PERFECT["+"])], Transcript("A", "1", "+", EXONS))
    assert (found.of("donor").sites, found.contigs) == (2, {"1": "chr1"})


def test_a_biotype_holds_its_spans_less_the_sites_of_others(tmp_path: Path) -> None:
    scores = {120: 0.9, 160: 0.8, 140: 0.7, 300: 0.95}
    parts = [Part("chr1", "+", range(101, 401), donor=scores)]
    transcripts = [
        Transcript("A", "chr1", "+", EXONS),
        Transcript("B", "chr1", "+", [(110, 140), (180, 220)], "lncRNA"),
        Transcript("C", "chr1", "+", [(350, 360)], "lncRNA"),
    ]
    found = held(tmp_path, parts, *transcripts)
    assert found.of("donor")[3:6] == (300, 3, 0)
    assert found.of("donor").top_k[1.0] == pytest.approx(2 / 3)  # 300 is called and wrong
    coding = found.of("donor", "biotype", "protein_coding")
    assert (coding.positions, coding.sites, coding.auprc) == (129, 2, 1.0)  # 130 less the lncRNA's donor
    noncoding = found.of("donor", "biotype", "lncRNA")
    assert (noncoding.positions, noncoding.sites, noncoding.auprc) == (111 + 11 - 2, 1, 1.0)
    assert [line.name for line in found.sites if line.by == "biotype"] == ["protein_coding"] * 2 + ["lncRNA"] * 2


def test_rows_by_transcript_are_held_against_their_own_transcript(tmp_path: Path) -> None:
    pos = [*range(101, 161), *range(101, 161), *range(101, 111)]
    names = ["A"] * 60 + ["B"] * 60 + ["gone"] * 10
    parts = [Part("chr1", "+", pos, donor={120: 0.9, 130: 0.6, 105: 1.0}, transcripts=names)]
    transcripts = [
        Transcript("A", "chr1", "+", [(101, 120), (151, 160)]),
        Transcript("B", "chr1", "+", [(101, 130), (151, 160)], "lncRNA"),
    ]
    found = held(tmp_path, parts, *transcripts)
    # Of 120 rows, each transcript leaves out the other's donor; 105 is called in both and wrong.
    assert found.of("donor")[3:6] == (118, 2, 0)
    assert found.of("acceptor")[3:6] == (120, 2, 0)
    assert found.of("donor").auprc == pytest.approx(0.5 * 1 / 3 + 0.5 * 2 / 4)
    assert found.of("donor", "biotype", "lncRNA")[3:6] == (59, 1, 0)
    assert (found.coverage.unjudged_rows, found.flanks) == (10, "transcript")


def test_incomplete_tables_are_evaluated_and_say_so(tmp_path: Path) -> None:
    parts = [Part("chr1", "+", SPAN, **PERFECT["+"])]
    tracks = tables.write(tmp_path / "table", parts, shards=3, rows=1000)
    said: list[str] = []
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "chr1", "+", EXONS)]))
    found = evaluate(tracks, annotation, say=said.append)
    assert found.coverage == (3, 2, 1000, 870, 0)
    assert "incomplete: 2 of 3 shards (870 of 1,000 rows) are missing; the rest is evaluated" in said


HEADER = "contig\tposition\tstrand\tkind\tbrain\tunheard\tliver\n"


def line(pos: int, kind: str, *values: object, contig: str = "chr1", strand: str = "-") -> str:
    return "\t".join(map(str, (contig, pos, strand, kind, *values))) + "\n"


def usage_of(brain: float, liver: float) -> list[float]:
    return [{"brain": brain, "liver": liver}.get(name, 0.9) for name in TISSUES]


PREDICTED = {120: usage_of(0.1, 0.8), 151: usage_of(0.4, 0.3), 160: usage_of(0.6, 0.6), 201: usage_of(0.7, 0.2)}


def test_usage_is_compared_where_table_annotation_and_usage_meet(tmp_path: Path) -> None:
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, "")
    given += line(160, "acceptor", 0.4, 1, 0.5) + line(201, "donor", "", 1, 0.1)
    given += line(160, "donor", 0.9, 1, 0.9) + line(201, "donor", 0.9, 1, 0.9, strand="+")  # no such sites
    given += line(130, "donor", 0.9, 1, 0.9) + line(120, "acceptor", 0.3, 1, 0.3, contig="chr9")
    parts = [Part("chr1", "-", SPAN[:60], usage=PREDICTED), Part("chr1", "-", SPAN[60:], usage=PREDICTED)]
    usage = held(tmp_path, parts, Transcript("A", "chr1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert (usage.given, usage.annotated, usage.compared, usage.ignored) == (8, 4, 4, ("unheard",))
    brain, liver, every = usage.by_tissue
    assert (brain.tissue, brain.pairs, liver.pairs, every.pairs, every.specific_pairs) == ("brain", 3, 3, 6, 4)
    assert brain.pearson == pytest.approx(stats.pearsonr([0.1, 0.4, 0.6], [0.2, 0.5, 0.4]).statistic)
    assert brain.spearman == pytest.approx(0.5)
    assert liver.pearson == pytest.approx(stats.pearsonr([0.8, 0.6, 0.2], [0.9, 0.5, 0.1]).statistic)
    assert every.specific_pearson == pytest.approx(
        stats.pearsonr([-0.35, 0, 0.35, 0], [-0.35, -0.05, 0.35, 0.05]).statistic
    )


def test_where_the_table_lies_changes_nothing(tmp_path: Path) -> None:
    given = (
        HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, "") + line(160, "acceptor", 0.4, 1, 0)
    )
    parts = [Part("chr1", "-", SPAN, **PERFECT["-"], usage=PREDICTED, transcripts=["A"] * 130)]
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "chr1", "-", EXONS)]))
    (tmp_path / "usage.tsv").write_text(given)
    usage = read_usage(str(tmp_path / "usage.tsv"))
    # Polars reads the first by itself; the others go through a pyarrow dataset.
    places = [tmp_path / "table", tmp_path / "x=y" / "table", "memory://evaluated"]
    found = [evaluate(tables.write(place, parts), annotation, usage) for place in places]
    for other in found[1:]:
        assert other.sites == found[0].sites
        assert other.usage == found[0].usage
    assert found[0].usage is not None
    assert found[0].usage.compared == 3


def test_usage_by_contig_alias(tmp_path: Path) -> None:
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9, contig="1")
    parts = [Part("chr1", "-", SPAN, usage=PREDICTED)]
    usage = held(tmp_path, parts, Transcript("A", "1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert usage.compared == 1
    assert usage.by_tissue[0][1:] == (1, None, None, 1, None, None)


def test_usage_of_a_base_in_several_transcripts_is_their_mean(tmp_path: Path) -> None:
    def rows(usage: dict[int, list[float]], name: str) -> Any:
        return Part("chr1", "-", SPAN, usage=usage, transcripts=[name] * 130)

    other = {at: usage_of(0.2, 0.2) for at in PREDICTED}
    unspliced = {at: usage_of(1, 1) for at in PREDICTED}
    parts = [rows(PREDICTED, "A"), rows(other, "B"), rows(unspliced, "C")]
    transcripts = [Transcript(name, "chr1", "-", EXONS) for name in "AB"] + [Transcript("C", "chr1", "-", [(101, 230)])]
    given = HEADER + line(120, "acceptor", 0.2, 1, "") + line(151, "donor", 0.5, 1, "") + line(201, "donor", 0.4, 1, "")
    usage = held(tmp_path, parts, *transcripts, usage=given).usage
    assert usage is not None
    assert (usage.compared, usage.by_tissue[0].pairs) == (3, 3)
    assert usage.by_tissue[0].pearson == pytest.approx(stats.pearsonr([0.15, 0.3, 0.45], [0.2, 0.5, 0.4]).statistic)


def test_rounded_usage_keeps_its_ties(tmp_path: Path) -> None:
    """0.3 - (0.3 + 0.1) / 2 and 0.9 - (0.9 + 0.7) / 2 are the same step, though not the same float32."""
    predicted = {120: usage_of(0.3, 0.1), 151: usage_of(0.9, 0.7), 160: usage_of(0.5, 0.3)}
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, 0.1)
    given += line(160, "acceptor", 0.2, 1, 0.3)
    parts = [Part("chr1", "-", SPAN, usage=predicted)]
    usage = held(tmp_path, parts, Transcript("A", "chr1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert usage.by_tissue[0].specific_spearman is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            HEADER.replace("brain", "Brain").replace("liver", "x") + line(1, "donor", 0, 0, 0),
            "has no tissue of the tra",
        ),
        (HEADER + line(120, "donor", 0, 0, 0, contig="chrX"), "has no contig of the tracks: it has chrX, they have ch"),
    ],
)
def test_usage_tables_of_something_else(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        held(tmp_path, [Part("chr1", "-", SPAN)], Transcript("A", "chr1", "-", EXONS), usage=given)


def test_usage_without_a_site_in_common_has_no_figures(tmp_path: Path) -> None:
    given = HEADER + line(500, "donor", 0.5, 1, 0.5) + line(120, "donor", 0.5, 1, 0.5)  # 120 is an acceptor
    found = held(tmp_path, [Part("chr1", "-", SPAN)], Transcript("A", "chr1", "-", EXONS), usage=given)
    assert found.usage is not None
    assert (found.usage.given, found.usage.annotated, found.usage.compared) == (2, 0, 0)
    assert json.loads(found.to_json())["usage"]["by_tissue"][0]["pearson"] is None


def test_the_json_holds_all_figures_and_no_nan(tmp_path: Path) -> None:
    parts = [Part("chr1", "+", SPAN, donor=ENDS, usage=PREDICTED)]
    given = HEADER + line(120, "donor", 0.5, 1, "", strand="+")
    found = held(tmp_path, parts, Transcript("A", "chr1", "+", [(101, 120), (301, 320)]), usage=given)
    read = json.loads(found.to_json(), parse_constant=pytest.fail)
    acceptor, donor = read["sites"][:2]
    assert (acceptor["sites"], acceptor["outside"], acceptor["auprc"], acceptor["threshold"]) == (0, 1, None, None)
    assert donor["top_k"] == {"0.5": None, "1": 1.0, "2": 1.0, "4": 1.0}
    assert read["usage"]["by_tissue"][0] == {
        "tissue": "brain",
        "pairs": 1,
        "spearman": None,
        "pearson": None,
        "specific_pairs": 0,
        "specific_spearman": None,
        "specific_pearson": None,
    }
    assert sum(group["positions"] for group in read["calibration"]["donor"]) == 130
    assert set(read["definitions"]) >= {"donor", "acceptor", "top_k", "auprc", "usage"}


def test_a_table_without_a_part_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [Part("chr1", "+", SPAN)])
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "chr1", "+", EXONS)]))
    part = ShardKey(0, "chr1", "+", 101, 230).part_name(tables.FINGERPRINT)
    tracks.store.write_atomic(part, b"not Parquet")
    with pytest.raises(InputError, match=r"cannot be read .* see `sptx verify`"):
        evaluate(tracks, annotation)
    tracks.store.delete(part)
    with pytest.raises(InputError, match="holds no committed part"):
        evaluate(type(tracks)(tracks.store), annotation)


def test_the_command_on_the_example(example: Any, table: Path, sptx: Run, tmp_path: Path) -> None:
    done = sptx("evaluate", table, "--gtf", example.annotation, "--to", tmp_path / "out", "--no-plots")
    assert "top-k" in done.stdout
    assert "protein_coding" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    read = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [(figures["positions"], figures["outside"]) for figures in read["sites"][:2]] == [(34_740, 0)] * 2
    exons = pl.read_parquet(table / "transcripts.parquet").select("chrom", "strand", "exon_starts")
    firsts = exons.with_columns(pl.col("exon_starts").list.slice(1)).explode("exon_starts").drop_nulls().unique()
    counted = {figures["kind"]: figures["sites"] for figures in read["sites"][:2]}
    plus = firsts.filter(pl.col("strand") == "+").height  # acceptors; on the minus strand these are donors
    assert counted["acceptor"] >= plus
    assert counted["donor"] >= firsts.height - plus


def test_a_missing_matplotlib_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.axes", "pipeline.evaluation.plots"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["sptx", "evaluate", str(tmp_path / "no table"), "--gtf", "no.gtf", "--to", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "install sptx[plots]" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()
