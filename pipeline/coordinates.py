"""Intervals, strands and contig names: the one place that knows how text and code count.

Inside, every coordinate is 0-based and half-open on the plus strand, whatever the strand of the thing that lies
there. Text that a person reads or types (`chr9:214,854-220,000`) is 1-based and inclusive, as in GTF and VCF.

Contig names are reconciled by one rule. A name that both files hold stands for itself. Otherwise two names are
the same contig when their plain forms agree: without a leading `chr`, `M` written as `MT`, and a UCSC scaffold
(`chrUn_GL000220v1`, `chr1_KI270706v1_random`) written as its accession (`GL000220.1`). A plain form that stands
for two names of one file is ambiguous and matches nothing: sequence is never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sptx_core.errors import InputError

_RANGE = re.compile(r"(?P<contig>.+):(?P<first>[\d,]+)-(?P<last>[\d,]+)")
_UCSC_SCAFFOLD = re.compile(r"[^_]+_(?P<accession>[A-Z]+\d+)v(?P<version>\d+)(?:_(?:random|alt|fix))?")
_LISTED = 8  # names shown of a long list in a message


class Strand(StrEnum):
    """Strand of a transcript; its value is what annotations and tables say."""

    PLUS = "+"
    MINUS = "-"

    @property
    def partition(self) -> str:  # type: ignore[override]  # of a table, not of a string
        """Name in a folder (`strand=plus`), where `+` and `-` would need escaping."""
        return "plus" if self is Strand.PLUS else "minus"


class Interval(NamedTuple):
    """Bases `start <= x < end` of a contig (0-based); `end` None reaches to the contig's end."""

    contig: str
    start: int
    end: int | None

    def __str__(self) -> str:
        """Text of the interval as a person types it: 1-based, inclusive."""
        if self.end is None:
            return self.contig if self.start == 0 else f"{self.contig}:{self.start + 1}-"
        return f"{self.contig}:{self.start + 1}-{self.end}"


def parse_region(text: str) -> Interval:
    """Read `contig:first-last` (1-based, inclusive, commas allowed) or `contig` alone (all of it).

    Contig names may hold colons when a range follows (`HLA-A*01:01:5-90`). Any other form, a first base below 1
    and a last base before the first raise `InputError`.
    """
    region = text.strip()
    match = _RANGE.fullmatch(region)
    if match is None:
        if not region or ":" in region:
            raise InputError(f"region {text!r} cannot be read: write contig:first-last, as in chr9:214,854-220,000")
        return Interval(region, 0, None)
    first, last = (match[name].replace(",", "") for name in ("first", "last"))
    if not first or not last or int(first) < 1 or int(last) < int(first):
        raise InputError(f"region {text!r} is empty: positions count from 1 and the last is not before the first")
    return Interval(match["contig"], int(first) - 1, int(last))


@dataclass(frozen=True)
class ContigMap:
    """How the contig names of an annotation (or of a request) are found in a FASTA."""

    mapping: dict[str, str]
    """Annotation name -> FASTA name, in the order of the annotation."""
    unmatched: tuple[str, ...]
    """Annotation names that the FASTA does not hold, or holds ambiguously."""
    rule: str
    """One line that reports what was matched and how."""


def reconcile_contigs(annotation: Iterable[str], fasta: Iterable[str]) -> ContigMap:
    """Match contig names of an annotation to those of a FASTA by the rule of this module.

    No two annotation names are given the same FASTA contig.
    """
    wanted = list(dict.fromkeys(annotation))
    held = list(dict.fromkeys(fasta))
    held_exactly = set(held)
    wanted_forms = Counter(map(_plain_form, wanted))
    held_forms = Counter(map(_plain_form, held))
    by_form = {_plain_form(name): name for name in held}
    mapping: dict[str, str] = {}
    for name in wanted:
        form = _plain_form(name)
        if name in held_exactly:
            mapping[name] = name
        elif wanted_forms[form] == 1 and held_forms[form] == 1:
            mapping[name] = by_form[form]
    unmatched = tuple(name for name in wanted if name not in mapping)
    return ContigMap(mapping, unmatched, _report(mapping, unmatched))


def require_contigs(contigs: ContigMap, fasta: Iterable[str]) -> None:
    """Raise `InputError` while some name is unmatched; it lists those and what the FASTA holds (long lists cut)."""
    if contigs.unmatched:
        raise InputError(
            f"the annotation's contigs {shortened(contigs.unmatched)} are not in the FASTA, "
            f"which holds {shortened(list(fasta))}; give a FASTA of the same assembly or select other contigs"
        )


def shortened(names: Sequence[str]) -> str:
    """Names for a message: all of a short list, the first few and the count of a long one."""
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown}, ... ({len(names)} in all)"


def _plain_form(name: str) -> str:
    scaffold = _UCSC_SCAFFOLD.fullmatch(name)
    if scaffold is not None:
        return f"{scaffold['accession']}.{scaffold['version']}"
    form = name[3:] if name[:3].lower() == "chr" else name
    return "MT" if form == "M" else form


def _report(mapping: dict[str, str], unmatched: tuple[str, ...]) -> str:
    renamed = [f"{name} -> {held}" for name, held in mapping.items() if name != held]
    parts = [f"{len(mapping) - len(renamed)} by the same name"]
    if renamed:
        parts.append(f"{len(renamed)} by alias ({shortened(renamed)})")
    if unmatched:
        parts.append(f"{len(unmatched)} not in the FASTA ({shortened(unmatched)})")
    return ", ".join(parts)
