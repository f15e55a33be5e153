"""The text of our INFO fields: rounding, escaping, consequences, one value an ALT, and the header's lines."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.vcf import VcfHeader, header_fields
from pipeline.variants.vcf_fields import (
    SEVERITY,
    SPLICEAI_SUBFIELDS,
    SUBFIELDS,
    consequence,
    encoded,
    header_lines,
    info_text,
    is_own_line,
    number,
    own_fields,
)
from pipeline.variants.vcf_notes import FIELDS, RecordNotes, SiteChange, SpTxEntry, VcfNotes
from sptx_core.errors import InputError

NOTES = VcfNotes(
    checkpoint="ab12",
    distance=100,
    mask="both",
    flanks="genomic",
    precision="float32",
    version="0.2.0",
    more={"S": 'a"b'},
)


def sites(ag: float = 0.0, al: float = 0.0, dg: float = 0.0, dl: float = 0.0, **first: int) -> dict[str, SiteChange]:
    """The four changes; `first` places the acceptor's gain."""
    changes = {"ag": SiteChange(ds=ag, ds_masked=ag, **first)}
    return changes | {name: SiteChange(ds=ds, ds_masked=0.0) for name, ds in (("al", al), ("dg", dg), ("dl", dl))}


def scored(alt_index: int, ag: float, d_splice: float, **values: object) -> SpTxEntry:
    return SpTxEntry(alt_index=alt_index, status="scored", sites=sites(ag), d_splice=d_splice, **values)


def fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(";"))


def subfields(entry: str) -> dict[str, str]:
    return dict(zip(SUBFIELDS, entry.split("|"), strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.001, "0.00"),  # case 16
        (0.59, "0.59"),
        (np.float32(0.59), "0.59"),
        (-0.0, "0.00"),
        (-0.2, "-0.20"),
        (1, "1.00"),
        (0.005, "0.01"),
        (None, "."),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value, 2, ".") == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_what_is_no_number_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="is no score"):
        number(value, 2)
    for entry in (scored(1, value, 0.1), scored(1, 0.1, value)):
        with pytest.raises(ValueError, match="is no score"):
            info_text(RecordNotes(["scored"], [entry]), ["C"])


def test_an_entry_holds_all_that_is_known() -> None:
    entry = SpTxEntry(
        alt_index=2,
        status="scored",
        gene_name="C9orf72",
        gene_id="ENSG00000147894.17",
        strand="-",
        transcripts=("ENST1", "ENST2"),
        d_splice=0.90004,
        sites=sites(0.9, dg=0.2, dp=-1, pos=104, ins_offset=13, dp_masked=-1, pos_masked=104),
        tissues=("small_intestine", "brain"),
        z=(2.606, 1.4899),
        calibrated=True,
        tie=True,
        haplotype=1,
        phase_set="chr9,1|x",
    )
    found = subfields(fields(info_text(RecordNotes(["too_long", "scored"], [entry]), ["C", "T"]))["SpTx"])
    expected = {
        "Allele": "T",
        "Consequence": "acceptor_gain&donor_gain",
        "SYMBOL": "C9orf72",
        "Gene": "ENSG00000147894.17",
        "strand": "-",
        "transcripts": "ENST1&ENST2",
        "status": "scored",
        "d_splice": "0.9000",
        "ds_ag": "0.90",
        "ds_al": "0.00",
        "ds_dg": "0.20",
        "ds_dl": "0.00",
        "dp_ag": "-1",
        "ag_pos": "104",
        "ins_offset_ag": "13",
        "ds_ag_masked": "0.90",
        "ds_al_masked": "0.00",
        "ds_dg_masked": "0.00",
        "ds_dl_masked": "0.00",
        "dp_ag_masked": "-1",
        "ag_pos_masked": "104",
        "tissues": "small_intestine&brain",
        "z": "2.606&1.490",
        "calibrated": "1",
        "tie": "1",
        "haplotype": "1",
        "phase_set": "chr9%2C1%7Cx",
        "joint": "0",
    }
    assert {name: value for name, value in found.items() if value} == expected


def test_an_entry_without_scores() -> None:
    entry = SpTxEntry(alt_index=1, status="conflict", haplotype=2, joint=True)
    found = subfields(fields(info_text(RecordNotes(["scored"], [entry]), ["C"]))["SpTx"])
    known = {name: value for name, value in found.items() if value}
    assert known == {"Allele": "C", "status": "conflict", "tie": "0", "joint": "1", "haplotype": "2"}
    silent = RecordNotes(["too_long"], [SpTxEntry(alt_index=1, status="too_long")])
    assert info_text(silent, ["C"]) == "SpTx_status=too_long"


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        ({}, "no_change"),
        ({"ag": 0.19994}, "no_change"),
        ({"ag": float(np.float32(0.9) - np.float32(0.7))}, "acceptor_gain"),  # 0.19999999
        ({"ag": 0.3, "al": 0.2, "dg": 0.9, "dl": 1.0}, "acceptor_gain&acceptor_loss&donor_gain&donor_loss"),
    ],
)
def test_consequences(ds: dict[str, float], words: str) -> None:
    assert consequence(sites(**ds)) == words


def test_every_consequence_has_a_severity() -> None:
    listed = [line.split() for line in SEVERITY.read_text().splitlines() if not line.startswith("#")]
    every = consequence(sites(1, 1, 1, 1)).split("&")
    assert sorted(name for names in listed for name in names) == sorted([*every, consequence(sites())])
    assert listed[0] == [consequence(sites())]


def test_flat_fields_are_of_each_alt_alone() -> None:
    entries = [
        scored(1, 0.3, 0.31, tissues=("brain",), z=(2.0,)),
        scored(1, 0.1, 0.45),
        scored(3, 0.2, 0.2, tissues=("liver", "brain"), z=(2.0, 2.0)),
        scored(3, 0.9, 0.9, joint=True, haplotype=1, tissues=("lung",), z=(2.0,)),
    ]
    found = fields(info_text(RecordNotes(["scored", "symbolic", "scored"], entries), ["C", "<DEL>", "T"]))
    assert list(found) == list(FIELDS)
    assert found["SpTx_dSplice"] == "0.4500,.,0.2000"
    assert found["SpTx_DS"] == "0.30,.,0.20"
    assert found["SpTx_tissues"] == "brain,liver"
    assert found["SpTx_status"] == "scored,symbolic,scored"
    assert [subfields(one)["joint"] for one in found["SpTx"].split(",")] == ["0", "0", "0", "1"]


def test_what_nobody_knows_is_left_out() -> None:
    assert info_text(RecordNotes(["no_alt"]), ["."]) == "SpTx_status=no_alt"


def test_spliceais_ten_subfields() -> None:
    entries = [
        SpTxEntry(alt_index=1, status="scored", gene_id="ENSG1", sites=sites(0.914, dl=-0.001, dp=-28, pos=72)),
        SpTxEntry(alt_index=1, status="scored", gene_name="B", sites=sites(), joint=True),
        SpTxEntry(alt_index=1, status="too_long"),
    ]
    found = fields(info_text(RecordNotes(["scored"], entries), ["CT"], "SpliceAI"))
    assert found["SpliceAI"] == "CT|ENSG1|0.91|0.00|0.00|0.00|-28|.|.|."
    assert len(SPLICEAI_SUBFIELDS) == 10


def test_an_entry_of_an_alt_that_is_not_there_is_a_bug() -> None:
    for alt_index in (0, 2):
        with pytest.raises(ValueError, match="of 1"):
            info_text(RecordNotes(["scored"], [scored(alt_index, 0.1, 0.1)]), ["C"])


@given(st.text())
def test_names_are_encoded_so_that_they_come_back(name: str) -> None:
    text = encoded(name)
    assert unquote(text) == name
    assert text.isascii()
    assert not set(text) & set(' \t\n\r:;=,|&"')


# The header


def test_the_header_describes_each_field_and_how_it_was_computed() -> None:
    *described, settings = header_lines(NOTES)
    found = {fields["ID"]: fields for fields in map(header_fields, described)}
    assert list(found) == list(FIELDS)
    assert found["SpTx"]["Description"].endswith(f"Format: {'|'.join(SUBFIELDS)}")
    assert {name: (one["Number"], one["Type"]) for name, one in found.items()} == {
        "SpTx": (".", "String"),
        "SpTx_dSplice": ("A", "Float"),
        "SpTx_DS": ("A", "Float"),
        "SpTx_tissues": (".", "String"),
        "SpTx_status": ("A", "String"),
    }
    assert settings.startswith("##SpTx=<ID=settings,")
    shown = header_fields(settings)
    assert {name: shown[name] for name in ("Version", "Checkpoint", "Distance", "Mask", "Flanks", "Precision")} == {
        "Version": "0.2.0",
        "Checkpoint": "ab12",
        "Distance": "100",  # case 18
        "Mask": "both",
        "Flanks": "genomic",
        "Precision": "float32",
    }
    assert ',S="a\\"b",' in settings


def test_lines_that_another_run_replaces() -> None:
    foreign = b'##INFO=<ID=DP,Number=1,Type=Integer,Description="SpTx">\n'
    old = b'##INFO=<ID=Old,Number=.,Type=String,Description="x, y",Source="sptx",Version="0.0.1">\n'
    bare = b'##INFO=<ID=SpTx_DS,Number=1,Type=Float,Description="of a version without source">\n'
    lines = (foreign, old, bare, b"##SpTx=<ID=settings>\n", b"##SpTxOther=1\n", b"#CHROM\n")
    own = own_fields(VcfHeader("in.vcf", lines, {}, ()), "SpliceAI")
    assert own == {*FIELDS, "Old"}
    assert [is_own_line(line, own) for line in lines] == [False, True, True, True, False, False]


def test_another_tools_field_is_not_written_over() -> None:
    line = b'##INFO=<ID=SpliceAI,Number=.,Type=String,Description="SpliceAIv1.3.1">\n'
    header = VcfHeader("in.vcf", (line, b"##SpTx=<ID=settings>\n"), {}, ())
    with pytest.raises(InputError, match=r"^in\.vcf has INFO/SpliceAI of another tool: give --spliceai-field another"):
        own_fields(header, "SpliceAI")
    assert own_fields(header, "Other") == own_fields(header) == set(FIELDS)
