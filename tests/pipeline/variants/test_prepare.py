"""Inputs that do not fit are refused before any work; everything else has its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.genomes import Transcript, write_gtf
from material.variant_runs import Line, Place, vcf

from pipeline.variants.prepare import prepare_saturation, prepare_variants
from pipeline.variants.settings import SaturateConfig, VariantsConfig
from sptx_core.errors import InputError

BREAKS = Line("chr1", 501, "G", "C")


def prepared(place: Place, text: str, tmp_path: Path, said: list[str] | None = None, **settings: Any) -> Any:
    path = tmp_path / "in.vcf"
    path.write_text(text)
    chosen = {**place.inputs, "vcf": str(path), **settings}
    return prepare_variants(VariantsConfig.load(None, chosen), (said if said is not None else []).append)


def test_what_becomes_of_the_alleles_is_told(place: Place, tmp_path: Path) -> None:
    said: list[str] = []
    lines = [BREAKS, Line("chr1", 502, "T", "C,*"), Line("chr1", 5, place.sequences["chr1"][4], "G")]
    job = prepared(place, vcf(lines), tmp_path, said)
    assert said[-1] == "4 alleles: 2 scored, 1 spanning_deletion, 1 outside_genes"
    assert (job.size, job.units) == (4, 1)
    assert job.plan.contigs == ["chr1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        (vcf([]), {}, "holds no records"),
        ("chr1\t5\t.\tA\tC\t.\t.\t.\n", {}, "no header line #CHROM"),
        ("", {}, "is no VCF: it is empty"),
        (vcf([Line("7", 5, "A", "C"), Line("8", 5, "A", "C")]), {}, r"the VCF has 7, 8, .* holds chr1, chr2, HLA-A"),
        (vcf([BREAKS]), {"sample": "S"}, "has no samples"),
        (vcf([BREAKS._replace(genotypes=["0|1"])], ["T"]), {"sample": "S"}, "has no sample 'S'; it has T"),
        (vcf([BREAKS]), {"genes": "PLUSS"}, "PLUS"),
        (vcf([BREAKS]), {"biotypes": "lncRNA"}, "biotype"),
        (vcf([BREAKS]), {"windows": "grid", "core": 1000}, "core = 1000 exceeds the 256 bases"),
        (vcf([BREAKS]), {"fasta": "/no/such.fa"}, "/no/such.fa"),
        (vcf([BREAKS]), {"gtf": "/no/such.gtf"}, "/no/such.gtf"),
        (vcf([BREAKS]), {"checkpoint": "/no/such"}, "/no/such"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    place: Place, tmp_path: Path, text: str, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        prepared(place, text, tmp_path, **settings)


def test_a_file_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(InputError, match=r"/no/such\.vcf"):
        prepare_variants(VariantsConfig.load(None, {**place.inputs, "vcf": "/no/such.vcf"}), print)


def test_genes_on_contigs_that_the_fasta_lacks_are_told_and_all_such_are_refused(place: Place, tmp_path: Path) -> None:
    here, there = Transcript("T1", "1", "+", [(301, 900)]), Transcript("T2", "chr7", "+", [(301, 900)])
    said: list[str] = []
    prepared(place, vcf([BREAKS]), tmp_path, said, gtf=write_gtf(tmp_path / "a.gtf", [here, there]))
    assert "genes on contigs that the FASTA lacks are left out: chr7" in said
    with pytest.raises(InputError, match=r"chr7 are not in the FASTA, which holds chr1"):
        prepared(place, vcf([BREAKS]), tmp_path, gtf=write_gtf(tmp_path / "b.gtf", [there]))


@pytest.mark.slow
def test_two_names_of_one_contig_stand_for_it_in_either_order(place: Place) -> None:
    lines = [Line("1", 501, "G", "C"), Line("1", 903, "A", "C"), Line("chr1", 502, "T", "C"), Line("chr9", 5, "A", "C")]
    frames = [place.score(some).scan().sort("chrom", "pos").drop("record").collect() for some in (lines, lines[::-1])]
    assert frames[0].equals(frames[1])
    assert frames[0]["status"].to_list() == ["scored", "scored", "scored", "unknown_contig"]


def test_names_that_the_header_declares_change_nothing(place: Place) -> None:
    text = vcf([Line("1", 501, "G", "C"), Line("chr1", 502, "T", "C")])
    declared = "##contig=<ID=chr1>\n##contig=<ID=1>\n##contig=<ID=GL000220.1>\n"
    first, rest = text.split("\n", 1)
    table = place.score(f"{first}\n{declared}{rest}")
    assert table.scan().select("status").collect()["status"].to_list() == ["scored"] * 2


ODD = [
    "chr1\tfive\t.\tA\tC\t.\t.\t.",
    "chr1\t501",
    "garbage",
    "x" * 400,
    "\t501\t.\tG\tC\t.\t.\t.",
    "chr1\t501\t.\t\tC\t.\t.\t.",
    "chr1\t501\t.\tG\t\t.\t.\t.",
    "chr1\t501\t.\tG\tC,,T\t.\t.\t.",
    "..\t501\t.\tG\tC\t.\t.\t.",
    "a/b\t501\t.\tG\tC\t.\t.\t.",
]


def test_odd_lines_have_their_rows(place: Place) -> None:
    table = place.score(vcf([BREAKS]) + "\n".join(ODD) + "\n")
    rows = table.scan().sort("record", "alt_index").select("record", "chrom", "pos", "status").collect().rows()
    assert rows == [
        (0, "chr1", 501, "scored"),
        (1, "chr1", 0, "malformed"),
        (2, "chr1", 501, "malformed"),
        (3, "garbage", 0, "malformed"),
        (4, ".", 0, "malformed"),
        (5, ".", 501, "malformed"),
        (6, "chr1", 501, "malformed"),
        (7, "chr1", 501, "no_alt"),
        *[(8, "chr1", 501, status) for status in ("scored", "no_alt", "scored")],
        (9, "..", 501, "unknown_contig"),
        (10, "a/b", 501, "unknown_contig"),
    ]
    assert dict(table.header.statuses)["malformed"] == 6
    assert {key.chrom for key, _ in table.parts} == {"chr1", "garbage", ".", "..", "a/b"}


def test_a_saturation_reads_the_same_inputs(place: Place) -> None:
    said: list[str] = []
    config = SaturateConfig.load(None, {**place.inputs, "regions": "chr1:501-502,chr1:120-121"})
    job = prepare_saturation(config, said.append)
    assert said[-1] == "12 alleles: 6 scored, 6 outside_genes"
    assert job.plan.entries["status"].value_counts().height == 2
    assert isinstance(job.plan.entries, pl.DataFrame)
