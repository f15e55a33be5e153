"""What is said of a record: from rows of the table, and settings that a VCF can hold."""

from __future__ import annotations

import pytest

from pipeline.variants.calls import BACKGROUND
from pipeline.variants.schema import VariantSchema
from pipeline.variants.vcf_notes import FIELDS, SpTxEntry, VcfNotes
from sptx_core.errors import InputError

SETTINGS = {"checkpoint": "ab12", "distance": 100, "mask": "both", "flanks": "genomic", "precision": "float32"}


def row(network: tuple[str, ...], **values: object) -> dict[str, object]:
    """A row with all columns of the table, null but for `values`."""
    return {**dict.fromkeys(VariantSchema(network).variants().names), "alt_index": 2, "status": "scored", **values}


def test_a_row_of_the_table_becomes_an_entry() -> None:
    events = {"ag": 0.9, "al": 0.0, "dg": 0.0, "dl": 0.8}
    scored = {f"ds_{event}{masked}": ds for event, ds in events.items() for masked in ("", "_masked")}
    places = {"dp_ag": -3, "ag_pos": 97, "ins_offset_ag": 13, "dp_dl_masked": 4, "dl_pos_masked": 104}
    entry = SpTxEntry.of_row(
        row(
            tuple(BACKGROUND),
            **scored,
            **places,
            d_splice=0.9,
            gene_name="SMN1",
            tissues=["liver", "brain"],
            z_brain=2.5,
            z_liver=1.5,
            calibrated=False,
            haplotype=0,
            joint=True,
        )
    )
    assert (entry.alt_index, entry.status, entry.gene_name, entry.transcripts) == (2, "scored", "SMN1", ())
    assert (entry.sites["ag"].ds, entry.sites["ag"].dp, entry.sites["ag"].pos) == (0.9, -3, 97)
    assert (entry.sites["ag"].ins_offset, entry.sites["al"].dp) == (13, None)
    assert (entry.sites["dl"].ds_masked, entry.sites["dl"].dp_masked, entry.sites["dl"].pos_masked) == (0.8, 4, 104)
    assert (list(entry.tissues), list(entry.z), entry.calibrated) == (["liver", "brain"], [1.5, 2.5], False)
    assert (entry.haplotype, entry.joint, entry.tie) == (0, True, False)


def test_a_row_without_numbers_or_of_a_network_without_z() -> None:
    entry = SpTxEntry.of_row(row(("brain",), status="too_long"))
    assert (entry.status, entry.sites, entry.d_splice) == ("too_long", {}, None)
    assert (entry.tissues, entry.z, entry.calibrated) == ((), [], None)


@pytest.mark.parametrize("name", ["", "1x", "a b", "a;b", "a=b", "SpTx", "SpTx_DS", "é"])
def test_a_name_that_no_field_can_have(name: str) -> None:
    with pytest.raises(InputError, match=r"^--spliceai-field .*: give the name of an INFO field"):
        VcfNotes(**SETTINGS, spliceai_field=name)


def test_names_that_a_field_can_have() -> None:
    for name in ("SpliceAI", "_x.9"):
        assert VcfNotes(**SETTINGS, spliceai_field=name).spliceai_field not in FIELDS
