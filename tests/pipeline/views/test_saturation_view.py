"""What a map of changes shows: gains and losses in their cells, of one gene; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from material import gene, saturated, variant_tables
from material.genomes import write_gtf
from material.saturated import FIRST, LAST
from material.variant_tables import scored

from pipeline.inputs.annotation import read_annotation
from pipeline.variants.reader import Variants
from pipeline.views import saturation_view as module
from pipeline.views.saturation_view import BASES, saturation_view
from sptx_core.errors import InputError


def test_a_gene_in_cells(saturation: Variants, strand: str) -> None:
    view = saturation_view(saturation, "GENE")
    assert (view.gene, view.chrom, view.strand, view.first, view.last) == ("GENE", "chr1", strand, FIRST, LAST)
    assert view.reference == "".join(saturated.reference(pos) for pos in range(FIRST, LAST + 1))
    assert view.changes == 3 * 20 - 1
    for column, pos in enumerate(range(FIRST, LAST + 1)):
        for row, base in enumerate(BASES):
            own = base == saturated.reference(pos) or (pos, base) == (1_100, "C")
            expected = (np.nan, np.nan) if own else ((pos % 10) / 10, row / 10)
            np.testing.assert_allclose((view.gains[row, column], view.losses[row, column]), expected, atol=1e-6)


def test_a_region_is_a_part_of_it(saturation: Variants) -> None:
    view = saturation_view(saturation, "chr1:1,095-1,099")
    assert (view.first, view.last, view.changes) == (1_095, 1_099, 15)


def test_changes_of_more_bases_and_what_is_not_scored_have_no_cell(tmp_path: Path) -> None:
    rows = [*saturated.rows()[:3], scored("chr1", 1_095, "AC", "A"), scored("chr1", 1_096, "A", "A")]
    rows.append(scored("chr1", 1_099, "A", "C", joint=True))
    view = saturation_view(variant_tables.write(tmp_path / "table", rows), "chr1")
    assert (view.first, view.last, view.changes) == (FIRST, FIRST, 3)


def test_transcripts_come_from_an_annotation(saturation: Variants, strand: str, tmp_path: Path) -> None:
    annotation = read_annotation(write_gtf(tmp_path / "genes.gtf", gene.transcripts(strand)))
    view = saturation_view(saturation, "GENE", annotation=annotation)
    assert view.models is not None
    assert view.models.sites.rows() == [(1_100, "donor" if strand == "+" else "acceptor")]


def test_of_several_genes_that_with_most_changes_is_shown_and_said(tmp_path: Path) -> None:
    table = variant_tables.write(tmp_path / "table", [*saturated.rows()[:-1], *saturated.rows("-", "OTHER")])
    said: list[str] = []
    assert saturation_view(table, "chr1:1,001-1,200", say=said.append).gene == "OTHER"
    assert said == ["chr1:1,001-1,200 has changes of 2: OTHER (-) is drawn, not GENE (+); see --gene, --strand"]
    for chosen in ({"gene": "GENE"}, {"gene": "G_GENE"}, {"strand": "+"}):
        assert saturation_view(table, "chr1", **chosen).gene == "GENE"  # type: ignore[arg-type]


def test_what_cannot_be_shown_is_refused(saturation: Variants, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="has no scored change of a single base in chr1:1-100"):
        saturation_view(saturation, "chr1:1-100")
    with pytest.raises(InputError, match="of NONE on strand"):
        saturation_view(saturation, "GENE", gene="NONE", strand="+")
    monkeypatch.setattr(module, "MAX_POSITIONS", 19)
    with pytest.raises(InputError, match="GENE spans 20 changed bases, a map shows at most 19: name a region"):
        saturation_view(saturation, "GENE")
