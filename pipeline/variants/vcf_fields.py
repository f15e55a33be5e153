"""What sptx writes into a VCF: the fields of a record's INFO, and the lines of the header that describe them.

In: `RecordNotes`, what became of the ALTs of a record, and `VcfNotes`, how they were scored. Out: text as the VCF
specification 4.3 has it (sections 1.2 to 1.6); that of INFO is ASCII without spaces.

`SpTx` has one entry for each ALT, gene and haplotype state, subfields joined by `|` in the order of `SUBFIELDS`; lists
within a subfield are joined by `&`. An ALT that was not scored and touches no gene has none. `bcftools +split-vep`
splits the field, with `-a SpTx -S FILE` and the file at `SEVERITY`. The other fields are flat, for `bcftools filter`;
they speak of each ALT alone, never of one together with others of its haplotype (`joint`).

    SpTx_dSplice   one an ALT: the largest `d_splice` over genes
    SpTx_DS        one an ALT: the largest of the four ds over genes
    SpTx_tissues   tissues called for any ALT and gene
    SpTx_status    one an ALT: `scored`, or why not; of a record whose ALT is `.`, `no_alt`

Numbers, whose units `pipeline.variants.vcf_notes` gives, are rounded: ds to 2 decimals, d_splice to 4, z to 3, and 0
has no sign. What is not known is empty in `SpTx` and `.` in a flat field; a flat field that knows nothing is left out.
Letters that the format uses (`: ; = % , | &`), white space, quotes, control characters and all that is not ASCII are
percent-encoded in names (section 1.2).

Consequences are named where a ds is at least 0.2. It is compared with four decimals, so that what float32 loses does
not decide, and not with the two that are printed.

Errors: `ValueError` for a number that is not finite, and for an entry of an ALT that the record lacks: bugs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.inputs.vcf import VcfHeader, header_fields
from pipeline.variants.deltas import EVENTS
from pipeline.variants.vcf_notes import (
    DS,
    ENTRIES,
    FIELDS,
    SPLICE,
    STATUS,
    TISSUES,
    RecordNotes,
    SiteChange,
    SpTxEntry,
    VcfNotes,
)
from sptx_core.errors import InputError

SEVERITY = Path(__file__).with_name("split-vep-severity.txt")
"""Consequences from mild to severe, for `bcftools +split-vep -S`."""
SOURCE = "sptx"
"""Source of our INFO lines in a header, by which another run knows them."""
LEAST_DS = 0.2
"""ds from which a consequence is named."""
NO_CHANGE = "no_change"
CONSEQUENCES = dict(zip(EVENTS, ("acceptor_gain", "acceptor_loss", "donor_gain", "donor_loss"), strict=True))
_GAINS = ("ag", "dg")  # a base that is inserted can only gain
SUBFIELDS = (
    *("Allele", "Consequence", "SYMBOL", "Gene", "strand", "transcripts", "status", "d_splice"),
    *(f"ds_{event}" for event in EVENTS),
    *(f"dp_{event}" for event in EVENTS),
    *(f"{event}_pos" for event in EVENTS),
    *(f"ins_offset_{event}" for event in _GAINS),
    *(f"ds_{event}_masked" for event in EVENTS),
    *(f"dp_{event}_masked" for event in EVENTS),
    *(f"{event}_pos_masked" for event in EVENTS),
    *("tissues", "z", "calibrated", "tie", "haplotype", "phase_set", "joint"),
)
SPLICEAI_SUBFIELDS = ("ALLELE", "SYMBOL", "DS_AG", "DS_AL", "DS_DG", "DS_DL", "DP_AG", "DP_AL", "DP_DG", "DP_DL")
DS_DECIMALS, SPLICE_DECIMALS, Z_DECIMALS = 2, 4, 3
_COMPARED_DECIMALS = 4
_SETTINGS_LINE = b"##SpTx="
_ENCODED = re.compile(rb"[^!-~]|[:;=%,|&\"]")


def info_text(notes: RecordNotes, alts: Sequence[str], spliceai_field: str | None = None) -> str:
    """Write the fields of a record, `KEY=value` joined by `;`.

    Parameters
    ----------
    notes
        What became of the record.
    alts
        Its ALTs as written.
    spliceai_field
        As in `VcfNotes`.

    Returns
    -------
    str
        Never empty: each ALT has a status.

    """
    alone = [entry for entry in notes.entries if not entry.joint]
    fields = {
        ENTRIES: [_entry(entry, _alt_of(entry, alts)) for entry in notes.entries if _tells_more(entry)],
        SPLICE: _per_alt(((one.alt_index, one.d_splice) for one in alone), len(alts), SPLICE_DECIMALS),
        DS: _per_alt(
            ((one.alt_index, site.ds) for one in alone for site in one.sites.values()), len(alts), DS_DECIMALS
        ),
        TISSUES: list(dict.fromkeys(encoded(name) for one in alone for name in one.tissues)),
        STATUS: [encoded(status) for status in notes.statuses],
    }
    if spliceai_field is not None:
        fields[spliceai_field] = [_spliceai_entry(one, _alt_of(one, alts)) for one in alone if one.sites]
    return ";".join(f"{key}={','.join(values)}" for key, values in fields.items() if values)


def header_lines(notes: VcfNotes) -> list[str]:
    """The lines that describe the fields and say how they were computed, without ends."""
    described = [
        (ENTRIES, ".", "String", f"Change of splicing by ALT and gene, by sptx. Format: {'|'.join(SUBFIELDS)}"),
        (SPLICE, "A", "Float", "Largest change of the probability of a splice site, over genes"),
        (DS, "A", "Float", "Largest gain or loss of an acceptor or donor, over genes"),
        (TISSUES, ".", "String", "Tissues in which the usage of splice sites changes more than in others"),
        (STATUS, "A", "String", "scored, or why the ALT was not scored; no_alt where ALT is missing"),
    ]
    if notes.spliceai_field is not None:
        text = f"Scores of sptx in the format of SpliceAI. Format: {'|'.join(SPLICEAI_SUBFIELDS)}"
        described.append((notes.spliceai_field, ".", "String", text))
    lines = [
        f'##INFO=<ID={name},Number={number},Type={kind},Description="{text}",Source="{SOURCE}",'
        f'Version="{_quotable(notes.version)}">'
        for name, number, kind, text in described
    ]
    settings = {
        "Version": notes.version,
        "Checkpoint": notes.checkpoint,
        "Distance": str(notes.distance),
        "Mask": notes.mask,
        "Flanks": notes.flanks,
        "Precision": notes.precision,
        **notes.more,
        "Description": "How the fields SpTx were computed",
    }
    return [
        *lines,
        "##SpTx=<ID=settings," + ",".join(f'{key}="{_quotable(text)}"' for key, text in settings.items()) + ">",
    ]


def own_fields(header: VcfHeader, spliceai_field: str | None = None) -> frozenset[str]:
    """INFO fields of a file that sptx wrote or would write, whose lines and values another run replaces.

    Raises
    ------
    InputError
        If the header describes `spliceai_field`, and as another tool's.

    """
    own = {name for name, source in map(_described, header.lines) if source == SOURCE}
    if spliceai_field in {name for name, _ in map(_described, header.lines)} - own:
        raise foreign_field(header.uri, spliceai_field)
    return frozenset((*FIELDS, *own))


def foreign_field(place: str, name: str | None) -> InputError:
    """The error where an INFO field of another tool would be written over."""
    return InputError(f"{place} has INFO/{name} of another tool: give --spliceai-field another name")


def is_own_line(line: bytes, fields: frozenset[str]) -> bool:
    """Whether a line of a header describes one of `fields` of INFO, or how they were computed."""
    return line.startswith(_SETTINGS_LINE) or _described(line)[0] in fields


def encoded(text: str) -> str:
    """A name as it may stand in a field: percent-encoded; see the module."""
    return _ENCODED.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode()


def number(value: float | None, decimals: int, missing: str = "") -> str:
    """A number, rounded; 0 without a sign.

    Raises
    ------
    ValueError
        If it is not finite.

    """
    if value is None:
        return missing
    if not math.isfinite(value):
        raise ValueError(f"{value} is no score")
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def consequence(sites: Mapping[str, SiteChange]) -> str:
    """What an ALT does to a gene in words, joined by `&`; empty where it was not scored."""
    if not sites:
        return ""
    large = [
        name for event, name in CONSEQUENCES.items() if round(float(sites[event].ds), _COMPARED_DECIMALS) >= LEAST_DS
    ]
    return "&".join(large) or NO_CHANGE


def _described(line: bytes) -> tuple[str, str]:
    """The INFO field that a line of a header describes, and its source; "" where there is none."""
    fields = header_fields(line.decode(errors="replace")) if line.startswith(b"##INFO=") else {}
    return fields.get("ID", ""), fields.get("Source", "")


def _tells_more(entry: SpTxEntry) -> bool:
    """Whether an entry says more than the status of its ALT, which stands in a field of its own."""
    return bool(entry.sites) or entry.gene_id is not None or entry.joint


def _entry(entry: SpTxEntry, alt: str) -> str:
    def each(name: str, events: Sequence[str] = EVENTS) -> list[Any]:
        return [getattr(entry.sites[event], name) if entry.sites else None for event in events]

    values = [
        *(alt, consequence(entry.sites), encoded(entry.gene_name or ""), encoded(entry.gene_id or "")),
        *(entry.strand or "", _joined(entry.transcripts), encoded(entry.status)),
        number(entry.d_splice, SPLICE_DECIMALS),
        *(number(value, DS_DECIMALS) for value in each("ds")),
        *map(_whole, [*each("dp"), *each("pos"), *each("ins_offset", _GAINS)]),
        *(number(value, DS_DECIMALS) for value in each("ds_masked")),
        *map(_whole, [*each("dp_masked"), *each("pos_masked")]),
        *(_joined(entry.tissues), "&".join(number(z, Z_DECIMALS) for z in entry.z), _whole(entry.calibrated)),
        *(_whole(entry.tie), _whole(entry.haplotype), encoded(entry.phase_set or ""), _whole(entry.joint)),
    ]
    return "|".join(values)


def _spliceai_entry(entry: SpTxEntry, alt: str) -> str:
    sites = [entry.sites[event] for event in EVENTS]
    name = encoded(entry.gene_name or entry.gene_id or "")
    scores = [number(site.ds, DS_DECIMALS) for site in sites]
    return "|".join([alt, name, *scores, *(_whole(site.dp, missing=".") for site in sites)])


def _alt_of(entry: SpTxEntry, alts: Sequence[str]) -> str:
    if not 1 <= entry.alt_index <= len(alts):
        raise ValueError(f"an entry is of ALT {entry.alt_index} of {len(alts)}")
    return encoded(alts[entry.alt_index - 1])


def _per_alt(values: Iterable[tuple[int, float | None]], alts: int, decimals: int) -> list[str]:
    """The largest value of each ALT (numbered from 1), `.` where there is none; empty where none has any."""
    largest: list[float | None] = [None] * alts
    for alt, value in values:
        held = largest[alt - 1]
        if value is not None and (held is None or value > held):
            largest[alt - 1] = value
    return [number(value, decimals, ".") for value in largest] if set(largest) != {None} else []


def _joined(names: Sequence[str]) -> str:
    return "&".join(map(encoded, names))


def _whole(value: int | None, missing: str = "") -> str:
    return missing if value is None else str(int(value))


def _quotable(text: str) -> str:
    """Text between quotes in a header (section 1.2)."""
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
