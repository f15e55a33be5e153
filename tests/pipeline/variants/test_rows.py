"""Rows: positions as a VCF has them on either strand, and values under their names, from scores that a test sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.variants.alleles import Allele
from pipeline.variants.geometry import Change, Geometry
from pipeline.variants.rows import annotated_sites, entry_row, gene_row, places, score_row, site_table
from pipeline.variants.schema import VariantSchema
from pipeline.variants.scoring import Look
from sptx_core.channels import TISSUES

SCHEMA = VariantSchema(TISSUES)
GEOMETRY = Geometry.of(10, 4, 500)
SNV = Allele(100, "A", "C", 0, "T", "T")
GENE = {"gene_id": "G", "gene_name": "N", "transcripts": ["T"], "acceptors": [96], "donors": [104]}


def look(allele: Allele, strand: str = "+") -> Look:
    return Look.at(Change.of(allele, strand), GEOMETRY)


def scores(one: Look, at: dict[int, tuple[int, float]]) -> Any:
    """Zero but where {0-based position: (column, value)} says otherwise, on the plus strand."""
    values = np.zeros((len(one.readings.position), 18), dtype=np.float32)
    for pos, (column, value) in at.items():
        values[one.readings.position == pos, column] = value
    return values


def row(reference: dict[int, Any], alternative: dict[int, Any], **others: Any) -> dict[str, Any]:
    one = look(SNV)
    both = scores(one, reference), scores(one, alternative)
    return score_row(one, both, SNV, "+", others.get("gene", GENE), SCHEMA, calibrated=others.get("calibrated", True))


def test_a_masked_gain_is_the_largest_where_no_transcript_has_a_site() -> None:
    found = row({}, {96: (1, 0.9), 98: (1, 0.5)})
    assert (found["ds_ag"], found["ag_pos"], found["dp_ag"]) == (pytest.approx(0.9), 97, -4)
    assert (found["ds_ag_masked"], found["ag_pos_masked"], found["dp_ag_masked"]) == (0.5, 99, -2)
    assert (found["ag_ref"], found["ag_alt"]) == (0, pytest.approx(0.9))


def test_a_masked_loss_is_the_largest_where_a_transcript_has_a_site() -> None:
    found = row({104: (2, 0.4), 106: (2, 0.9)}, {})
    assert (found["ds_dl"], found["dl_pos"]) == (pytest.approx(0.9), 107)
    assert (found["ds_dl_masked"], found["dl_pos_masked"]) == (pytest.approx(0.4), 105)
    alone = row({104: (2, 0.4)}, {}, gene=None)
    assert alone["ds_dl_masked"] == 0
    assert "dl_pos_masked" not in alone


def test_tissues_are_called_by_the_authors_scores() -> None:
    brain = 3 + TISSUES.index("brain")
    one = look(SNV)
    alternative = scores(one, {104: (2, 0.9)})
    alternative[one.readings.position == 104, brain] = 0.5
    found = score_row(one, (scores(one, {}), alternative), SNV, "+", GENE, SCHEMA, calibrated=True)
    assert (found["d_brain"], found["signed_brain"], found["tissues"]) == (0.5, 0.5, ["brain"])  # not blood, whose is 0
    assert found["z_brain"] == pytest.approx(13.682, abs=1e-3)
    assert found["z_blood"] == pytest.approx(1.459, abs=1e-3)
    assert found["calibrated"] is True
    few = score_row(one, (scores(one, {}), alternative * 0.29), SNV, "+", GENE, SCHEMA, calibrated=False)
    assert (few["tissues"], few["calibrated"]) == ([], False)  # d_splice is 0.261


def test_a_network_of_other_tissues_has_no_calls() -> None:
    one = look(SNV)
    schema = VariantSchema(("liver", "lung"))
    values = np.zeros((len(one.readings.position), 5), dtype=np.float32)
    found = score_row(one, (values, values + np.float32(0.5)), SNV, "+", GENE, schema, calibrated=True)
    assert found["d_lung"] == 0.5
    assert not {name for name in found if name.startswith("z_")} | ({"tissues", "calibrated"} & found.keys())


def test_positions_of_either_strand_are_those_of_the_plus_strand() -> None:
    insertion = Allele(100, "", "ACGT", 0, "T", "C")
    plus, minus = look(insertion), look(insertion, "-")
    of_plus = list(zip(*(one.tolist() for one in places(plus.readings, "+", 4)), strict=True))
    of_minus = list(zip(*(one.tolist() for one in places(minus.readings, "-", 4)), strict=True))
    assert of_plus == of_minus[::-1]
    assert [pair for pair in of_plus if pair[1]] == [(100, 1), (100, 2), (100, 3), (100, 4)]
    assert [pair[0] for pair in of_plus if not pair[1]] == list(range(91, 111))


def test_annotated_sites_are_found_on_either_strand() -> None:
    for strand in "+-":
        one = look(SNV, strand)
        acceptors, donors = annotated_sites(GENE, one.readings, strand)
        at, _ = places(one.readings, strand, 1)
        assert (at[acceptors].tolist(), at[donors].tolist()) == ([97], [105])
    assert not annotated_sites(None, look(SNV).readings, "+")[0].any()


def test_what_is_said_of_allele_and_gene() -> None:
    entry = {name: name for name in ("record", "alt_index", "pos", "id", "ref", "alt", "status")}
    entry |= dict.fromkeys(("sample", "haplotype", "phase_set", "joint"))
    assert entry_row(entry, None) == entry
    assert entry_row(entry, SNV) == entry | {"norm_pos": 101, "norm_ref": "A", "norm_alt": "C"}
    assert gene_row(None, "-") == {"strand": "-"}
    assert gene_row(GENE, "+") == {"strand": "+", "gene_id": "G", "gene_name": "N", "transcripts": ["T"]}


@pytest.mark.parametrize("strand", "+-")
def test_sites_stand_left_to_right_and_lack_what_a_sequence_lacks(strand: str) -> None:
    deletion = Allele(100, "AC", "", 0, "T", "T")
    one = look(deletion, strand)
    values = np.arange(len(one.readings.position), dtype=np.float32)[:, None] * np.ones(18, dtype=np.float32)
    shared = {"record": 1, "alt_index": 2, "haplotype": None, "joint": False, "gene_id": "G"}
    found = site_table(one, (values, values), shared, deletion, strand, SCHEMA)
    assert found.schema.equals(SCHEMA.sites())
    rows = found.to_pylist()
    assert [each["pos"] for each in rows] == list(range(91, 113))
    assert [each["pos"] for each in rows if each["alt_acceptor"] is None] == [101, 102]
    assert all(each["ref_donor"] is not None and each["strand"] == strand for each in rows)
    assert [each["ref_brain"] for each in rows] == sorted((each["ref_brain"] for each in rows), reverse=strand == "-")
    assert {each["record"] for each in rows} == {1}
    nothing = values[:, :0]
    unknown = site_table(one, (nothing, nothing), shared, deletion, strand, SCHEMA).to_pylist()
    assert {each["ref_acceptor"] for each in unknown} == {None}
