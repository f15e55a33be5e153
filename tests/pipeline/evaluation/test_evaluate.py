"""Whole evaluations: what they say, the file that they write, where the table lies, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import genomes, tables

from pipeline.cli import main
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage
from pipeline.tracks.layout import ShardKey
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

Part, Transcript = tables.Part, genomes.Transcript
Evaluated = Callable[..., Evaluation]

EXONS = [(101, 120), (151, 160), (201, 230)]
# What a perfect prediction says of a transcript with these exons, by strand.
ENDS, BEGINS = {120: 0.9, 160: 0.8}, {151: 0.9, 201: 0.7}
PERFECT = {"+": {"donor": ENDS, "acceptor": BEGINS}, "-": {"donor": BEGINS, "acceptor": ENDS}}
SPAN = range(101, 231)
PREDICTED = {pos: [0.1 * at] * len(TISSUES) for at, pos in enumerate((120, 151, 160, 201))}
USAGE = """\
contig\tposition\tstrand\tkind\tbrain\tunheard\tliver
chr1\t120\t-\tacceptor\t0.2\t1\t0.9
chr1\t151\t-\tdonor\t0.5\t1\t
chr1\t160\t-\tacceptor\t0.4\t1\t0
"""


def test_contigs_by_alias(evaluated: Evaluated) -> None:
    found = evaluated([Part("chr1", "+", SPAN, **PERFECT["+"])], Transcript("A", "1", "+", EXONS))
    assert (found.of("donor").sites, found.contigs) == (2, {"1": "chr1"})


def test_incomplete_tables_are_evaluated_and_say_so(tmp_path: Path) -> None:
    parts = [Part("chr1", "+", SPAN, **PERFECT["+"])]
    tracks = tables.write(tmp_path / "table", parts, shards=3, rows=1000)
    said: list[str] = []
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "chr1", "+", EXONS)]))
    found = evaluate(tracks, annotation, say=said.append)
    assert found.coverage == (3, 2, 1000, 870, 0)
    assert "incomplete: 2 of 3 shards (870 of 1,000 rows) are missing; the rest is evaluated" in said


def test_a_mitochondrion_that_may_be_another_sequence_is_told(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [Part("chrM", "+", SPAN, **PERFECT["+"])])
    contigs = [("chrM", 16_571, "chrM")]
    tables.put(tracks.store, "contigs.parquet", pl.DataFrame(contigs, tables.CONTIG_COLUMNS, orient="row"))
    said: list[str] = []
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "MT", "+", EXONS)]))
    evaluate(tables.open_tracks(tmp_path / "table"), annotation, say=said.append)
    assert any(told.startswith("chrM of the FASTA has 16,571 bases") for told in said)


def test_coding_sequence_stands_for_missing_exons_and_odd_transcripts_are_said(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [Part("chr1", "+", SPAN, **PERFECT["+"])])
    gtf = genomes.gtf([Transcript("A", "chr1", "+", EXONS)]).replace("\texon\t", "\tCDS\t")
    odd = genomes.gtf_line("chr1", "exon", 101, 230, ".", transcript_id="ODD")
    (tmp_path / "x.gtf").write_text(f"{gtf}{odd}\n")
    said: list[str] = []
    found = evaluate(tracks, read_annotation(str(tmp_path / "x.gtf")), say=said.append)
    assert [found.of(kind).sites for kind in ("donor", "acceptor")] == [2, 2]
    assert said[:2] == [
        f"left out of {tmp_path / 'x.gtf'}: 1 transcript without a strand (ODD)",
        f"{tmp_path / 'x.gtf'}: 1 transcript without exon lines; CDS and UTR give the exons (A)",
    ]


def test_where_the_table_lies_changes_nothing(tmp_path: Path) -> None:
    parts = [Part("chr1", "-", SPAN, **PERFECT["-"], usage=PREDICTED, transcripts=["A"] * 130)]
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [Transcript("A", "chr1", "-", EXONS)]))
    (tmp_path / "usage.tsv").write_text(USAGE)
    usage = read_usage(str(tmp_path / "usage.tsv"))
    # Polars reads the first by itself; the others go through a pyarrow dataset.
    places = [tmp_path / "table", tmp_path / "x=y" / "table", "memory://evaluated"]
    found = [evaluate(tables.write(place, parts), annotation, usage) for place in places]
    for other in found[1:]:
        assert other.sites == found[0].sites
        assert other.usage == found[0].usage
    assert found[0].usage is not None
    assert found[0].usage.compared == 3


def test_the_json_holds_all_metrics_and_no_nan(evaluated: Evaluated) -> None:
    parts = [Part("chr1", "+", SPAN, donor=ENDS, usage=PREDICTED)]
    usage = USAGE.splitlines()[0] + "\nchr1\t120\t+\tdonor\t0.5\t1\t\n"
    found = evaluated(parts, Transcript("A", "chr1", "+", [(101, 120), (301, 320)]), usage=usage)
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
    part = ShardKey(0, "chr1", "+", 101, 230).part_name("tracks", tables.FINGERPRINT)
    tracks.store.write_atomic(part, b"not Parquet")
    with pytest.raises(InputError, match=r"cannot be read .* see `sptx verify`"):
        evaluate(tracks, annotation)
    tracks.store.delete(part)
    with pytest.raises(InputError, match="holds no committed part"):
        evaluate(type(tracks)(tracks.store), annotation)


def test_the_command_on_the_example(
    example: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sptx", "evaluate", table, "--gtf", example.annotation, "--to", tmp_path / "out", "--no-plots"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "top-k" in printed
    assert "protein_coding" in printed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    read = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [(metrics["positions"], metrics["outside"]) for metrics in read["sites"][:2]] == [(34_740, 0)] * 2
    exons = pl.read_parquet(table / "transcripts.parquet").select("chrom", "strand", "exon_starts", "exon_ends")
    after, before = (
        pl.col("exon_starts").list.slice(1),
        pl.col("exon_ends").list.head(pl.col("exon_ends").list.len() - 1),
    )
    beside = {  # distinct bases after and before an intron, by strand
        (strand, name): exons.filter(strand=strand)
        .select("chrom", bases)
        .explode(bases.meta.output_name())
        .drop_nulls()
        .unique()
        .height
        for strand in "+-"
        for name, bases in (("after", after), ("before", before))
    }
    assert {metrics["kind"]: metrics["sites"] for metrics in read["sites"][:2]} == {
        "acceptor": beside["+", "after"] + beside["-", "before"],
        "donor": beside["+", "before"] + beside["-", "after"],
    }
