"""Intervals, strands and contig names: the only module that converts between coordinates in text and in code.

In code every coordinate is 0-based and half-open and counts along the plus strand, whatever the strand of the feature.
Text that a person reads or types (`chr9:214,854-220,000`) is 1-based and inclusive, as in GTF and VCF.

Contig names of two files are matched by one rule. A name that both files hold matches itself. Otherwise two names match
when their plain forms are equal: without a leading `chr`, with `M` written as `MT`, and with a UCSC scaffold name
(`chrUn_GL000220v1`, `chr1_KI270706v1_random`) written as its accession (`GL000220.1`). A plain form that stands for
several names of one file is ambiguous and matches nothing, so that no sequence is ever taken from a guessed contig.
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
_MAX_LISTED = 8  # names that a message shows of a longer list


class Strand(StrEnum):
    """Strand of a feature; the value is its symbol in annotations and tables, `+` or `-`."""

    PLUS = "+"
    MINUS = "-"

    @property
    def partition(self) -> str:  # type: ignore[override]  # hides str.partition on purpose
        """`plus` or `minus`, for folder names (`strand=plus`), in which `+` would have to be escaped."""
        return "plus" if self is Strand.PLUS else "minus"


class Interval(NamedTuple):
    """A stretch of one contig.

    Attributes
    ----------
    contig : str
    start, end : int
        0-based, half-open, in bases; an `end` of None means the end of the contig.
    """

    contig: str
    start: int
    end: int | None

    def __str__(self) -> str:
        """The interval as a person types it: 1-based and inclusive, without thousands separators."""
        if self.end is None:
            return self.contig if self.start == 0 else f"{self.contig}:{self.start + 1}-"
        return f"{self.contig}:{self.start + 1}-{self.end}"


def parse_region(text: str) -> Interval:
    """Read a region that a person typed.

    Parameters
    ----------
    text : str
        `contig:first-last` (1-based, inclusive; commas are thousands separators) or `contig` alone for all of it.
        A contig name may hold colons when a range follows it (`HLA-A*01:01:5-90`).

    Returns
    -------
    Interval
        0-based, half-open.

    Raises
    ------
    InputError
        For any other form, a first base below 1, and a last base before the first.
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
    """Contig names of an annotation (or of a request) and their names in a FASTA.

    Attributes
    ----------
    mapping : dict
        Annotation name -> FASTA name, in the order of the annotation; each FASTA name at most once.
    unmatched : tuple of str
        Annotation names that match no contig of the FASTA, or more than one.
    rule : str
        One line for messages: how many names were matched as they are, by alias, and not at all.
    """

    mapping: dict[str, str]
    unmatched: tuple[str, ...]
    rule: str


def reconcile_contigs(annotation: Iterable[str], fasta: Iterable[str]) -> ContigMap:
    """Match the contig names of an annotation to those of a FASTA by the rule in this module's docstring.

    Parameters
    ----------
    annotation, fasta : iterable of str
        Contig names; repeats are ignored.

    Returns
    -------
    ContigMap
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
    """Check that every contig of an annotation was found in the FASTA.

    Parameters
    ----------
    contigs : ContigMap
        What `reconcile_contigs` found.
    fasta : iterable of str
        Names that the FASTA holds, for the message.

    Raises
    ------
    InputError
        If a name is unmatched; the message lists the unmatched names and those of the FASTA.
    """
    if contigs.unmatched:
        raise InputError(
            f"the annotation's contigs {shortened(contigs.unmatched)} are not in the FASTA, "
            f"which holds {shortened(list(fasta))}; give a FASTA of the same assembly or select other contigs"
        )


def shortened(names: Sequence[str]) -> str:
    """Join names for a message: all of up to eight names, else the first eight and how many there are."""
    shown = ", ".join(names[:_MAX_LISTED])
    return shown if len(names) <= _MAX_LISTED else f"{shown}, ... ({len(names)} in all)"


def _plain_form(name: str) -> str:
    """The form of a contig name that is compared; see the module's docstring."""
    scaffold = _UCSC_SCAFFOLD.fullmatch(name)
    if scaffold is not None:
        return f"{scaffold['accession']}.{scaffold['version']}"
    form = name[3:] if name[:3].lower() == "chr" else name
    return "MT" if form == "M" else form


def _report(mapping: dict[str, str], unmatched: tuple[str, ...]) -> str:
    """The line `ContigMap.rule`."""
    renamed = [f"{name} -> {held}" for name, held in mapping.items() if name != held]
    parts = [f"{len(mapping) - len(renamed)} by the same name"]
    if renamed:
        parts.append(f"{len(renamed)} by alias ({shortened(renamed)})")
    if unmatched:
        parts.append(f"{len(unmatched)} not in the FASTA ({shortened(unmatched)})")
    return ", ".join(parts)
