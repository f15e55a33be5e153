"""What a plot of a variant shows: the row, the bases in columns, the change, gains and losses; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from material import gene, gene_variants, variant_tables
from material.gene_variants import DELETION, INSERTION, SAME, SNV, UNSCORED, kind_at_ends
from material.genomes import write_gtf
from material.variant_tables import around

from pipeline.inputs.annotation import read_annotation
from pipeline.variants.reader import Variants
from pipeline.views.variant_view import Event, variant_view
from sptx_core.errors import InputError


def test_a_single_base(variants: Variants, strand: str) -> None:
    view = variant_view(variants, SNV)
    kind = kind_at_ends(strand)
    assert (view.chrom, view.strand, view.row["gene_name"], view.models) == ("chr1", strand, "GENE", None)
    assert view.columns["pos"].to_list() == list(range(1_001, 1_202))
    assert view.changed == (100, 100)
    assert view.events == (
        Event(kind, True, pytest.approx(0.4), 1_090, -11, 89),
        Event(kind, False, pytest.approx(0.7), 1_100, -1, 99),
    )
    assert view.columns.row(99, named=True)[f"ref_{kind}"] == pytest.approx(0.8)
    assert view.columns.row(99, named=True)[f"alt_{kind}"] == pytest.approx(0.1)
    assert (view.called, view.tissues_mean_something) == (("brain",), True)


def test_deleted_bases_are_columns_that_the_alternative_lacks(variants: Variants, strand: str) -> None:
    view = variant_view(variants, DELETION)
    assert view.columns["pos"].to_list() == list(range(997, 1_204))
    assert view.columns["alt_donor"].is_null().arg_true().to_list() == list(range(101, 107))
    assert view.changed == (101, 106)
    assert [(event.pos, event.column, event.is_gain) for event in view.events] == [(1_100, 103, False)]


def test_inserted_bases_are_columns_that_the_reference_lacks(variants: Variants, strand: str) -> None:
    view = variant_view(variants, INSERTION)
    assert view.columns["ref_donor"].is_null().arg_true().to_list() == [101, 102, 103, 104]
    assert view.columns["ins_offset"].drop_nulls().to_list() == [1, 2, 3, 4]
    assert view.changed == (101, 104)
    assert [(event.pos, event.column) for event in view.events] == [(1_120, 103)]
    assert [view.column_of(pos) for pos in (1_020, 1_120, 1_121, 1_220)] == [0, 100, 105, 204]
    assert [view.column_of(pos) for pos in (1, 9_999)] == [0, 204]  # beyond the view the nearest


def test_small_changes_have_no_label(variants: Variants) -> None:
    assert [event.is_gain for event in variant_view(variants, SNV, threshold=0.5).events] == [False]
    assert variant_view(variants, SNV, threshold=1).events == ()


def test_transcripts_come_from_an_annotation(variants: Variants, strand: str, tmp_path: Path) -> None:
    annotation = read_annotation(write_gtf(tmp_path / "genes.gtf", gene.transcripts(strand)))
    view = variant_view(variants, SNV, annotation=annotation)
    assert view.models is not None
    assert view.models.labels == ["T1 (+1)"]
    assert view.models.sites.rows() == [(1_100, kind_at_ends(strand))]


def test_of_several_rows_the_largest_is_shown_and_said(tmp_path: Path) -> None:
    rows, sites = gene_variants.rows("+")
    snv = rows[0] | {"haplotype": 1}
    other = snv | {"gene_name": "OTHER", "gene_id": "G_OTHER", "strand": "-", "d_splice": 0.9}
    joint = snv | {"joint": True, "haplotype": 1, "d_splice": 0.2}
    sites = [one | {"haplotype": 1} if one["record"] == 0 else one for one in sites]
    sites = [*sites, *around(other, {("donor", 1_050): 0.9}, {}), *around(joint, {("donor", 1_051): 0.9}, {})]
    table = variant_tables.write(tmp_path / "table", [snv, *rows[1:], other, joint], sites)
    said: list[str] = []
    view = variant_view(table, SNV, say=said.append)
    assert (view.row["gene_name"], view.columns["ref_donor"].arg_max()) == ("OTHER", 49)
    assert said == [
        f"{SNV} has rows of 3: OTHER (-) is drawn, not GENE (+), GENE (+), haplotype 1; see --gene, --strand"
    ]
    for chosen in ({"gene": "GENE"}, {"gene": "G_GENE"}, {"strand": "+"}):
        view = variant_view(table, SNV, **chosen)  # type: ignore[arg-type]
        assert (view.row["gene_name"], view.row["joint"], len(view.columns)) == ("GENE", False, 201)
        assert view.columns["ref_donor"].arg_max() == 99


@pytest.mark.parametrize(
    ("variant", "options", "told"),
    [
        ("chr1-1101-G-T", {}, "has no variant chr1-1101-G-T"),
        (UNSCORED, {}, "was not scored: ref_mismatch"),
        (SAME, {}, "changes nothing"),
        (SNV, {"threshold": 0.0}, "--threshold 0: give a change above 0"),
        (SNV, {"gene": "NONE", "strand": "+"}, "has no row of NONE on strand +"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    variants: Variants, variant: str, options: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError) as refused:
        variant_view(variants, variant, **options)  # type: ignore[arg-type]
    assert told in str(refused.value)


def test_a_table_without_sites_says_what_to_do(tmp_path: Path) -> None:
    table = gene_variants.write(tmp_path / "table", sites=False)
    with pytest.raises(InputError, match="score it again with --sites and another --output"):
        variant_view(table, SNV)
