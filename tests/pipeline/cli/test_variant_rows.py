"""What `sptx query` prints of a table of variants: columns, and why there is no row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import gene_variants


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    gene_variants.write(tmp_path / "scores", "-")
    return tmp_path / "scores"


@pytest.mark.slow
def test_a_table_to_read_has_the_columns_that_a_person_reads(scores: Path, sptx_here: Any, tmp_path: Path) -> None:
    shown = sptx_here("query", scores)
    assert "columns shown: status, d_splice, ds_ag, ds_al, ds_dg, ds_dl; --columns chooses others" in shown.err
    assert shown.out.splitlines()[:3] == [
        "shape: (5, 12)",
        "chrom  pos id ref     alt   gene_name status       d_splice ds_ag ds_al ds_dg ds_dl",
        "chr1  1101 .  G       C     GENE      scored            0.7   0.4   0.7   0.0   0.0",
    ]
    for flags in (("--format", "csv"), ("--format", "tsv")):
        whole = sptx_here("query", scores, *flags)
        assert "norm_pos" in whole.out
        assert whole.err == ""
    assert sptx_here("query", scores, "--format", "table", "--to", tmp_path / "all.txt").err == ""
    assert "shape: (5, 12)" not in (tmp_path / "all.txt").read_text()
    sptx_here("query", scores, "--to", tmp_path / "all.parquet")
    assert {"norm_pos", "z_brain"} <= set(pl.read_parquet(tmp_path / "all.parquet").columns)


def test_chosen_columns_are_printed_beside_those_that_name_the_variant(scores: Path, sptx_here: Any) -> None:
    done = sptx_here("query", scores, gene_variants.SNV, "--columns", "z_brain,tissues")
    assert done.err == ""
    assert done.out.splitlines()[1:] == [
        "chrom  pos id ref alt gene_name z_brain tissues",
        "chr1  1101 .  G   C   GENE          3.5 brain",
    ]
    assert "has no column brian; it has chrom, pos," in sptx_here("query", scores, "--columns", "brian", code=2).err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("chr1:1-10",), "there is no variant of {} in chr1:1-10"),
        (("--min-splice", "0.95"), "no variant of {} has a d_splice of at least 0.95; the largest is 0.8"),
        (
            ("chr1:1,130-1,130", "--min-splice", "0"),
            "no variant of {} in chr1:1,130-1,130 has a d_splice of at least 0; none is scored",
        ),
        (("--gene", "GENE", "--tissue", "liver"), "no variant of {} in GENE is called in liver"),
        (
            ("--min-splice", "0.75", "--tissue", "brain"),
            "no variant of {} with a d_splice of at least 0.75 is called in brain",
        ),
    ],
)
def test_an_empty_answer_says_which_filter_left_nothing(
    scores: Path, sptx_here: Any, flags: tuple[str, ...], told: str
) -> None:
    done = sptx_here("query", scores, *flags)
    assert done.err == f"no row: {told.format(scores)}\n"
    assert done.out.startswith("shape: (0, 12)\nchrom")


def test_a_refusal_says_nothing_of_columns(scores: Path, sptx_here: Any) -> None:
    for what, told in (("chr7:1-10", "has no contig chr7; it has chr1"), ("7-10-A-C", "has no contig 7; it has chr1")):
        assert sptx_here("query", scores, what, code=2).err == f"sptx: {scores} {told}\n"
    assert "give GENE or --gene GENE, not both" in sptx_here("query", scores, "GENE", "--gene", "GENE", code=2).err
