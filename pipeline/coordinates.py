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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sptx_core.errors import InputError

_RANGE = re.compile(r"(?P<contig>.+):(?P<first>[0-9,]*)-?(?P<last>[0-9,]*)")
_MAX_DIGITS = 18  # of a position: less than 2**63
_UCSC_SCAFFOLD = re.compile(r"[^_]+_(?P<accession>[A-Z]+\d+)v(?P<version>\d+)(?:_(?:random|alt|fix))?")
_FAR = 1 << 62  # beyond the end of any contig
_MAX_LISTED = 8  # names that a message shows of a longer list
_MITOCHONDRION, _HG19_MITOCHONDRION = 16_569, 16_571  # bases of NC_012920, which all others use, and of NC_001807


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


class Cover:
    """What intervals of one contig cover together.

    Parameters
    ----------
    intervals : iterable of Interval
        All of one contig, in any order; they may overlap.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        merged: list[list[int]] = []
        for start, end in sorted((one.start, _FAR if one.end is None else one.end) for one in intervals):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self._starts, self._ends = (np.array([pair[side] for pair in merged], np.int64) for side in (0, 1))

    def holds(self, bases: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether each base (int [n], 0-based) lies in an interval."""
        return self.touches(bases, np.asarray(bases, np.int64) + 1)

    def touches(self, starts: npt.ArrayLike, ends: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each stretch (int [n] and int [n], 0-based half-open) shares a base with an interval."""
        after = np.searchsorted(self._ends, starts, side="right")
        nothing_begins = np.iinfo(np.int64).max
        begins: npt.NDArray[np.int64] = np.append(self._starts, nothing_begins)[after]
        return np.less(begins, ends)


def parse_region(text: str, contigs: Iterable[str] = ()) -> Interval:
    """Read a region that a person typed, as samtools does ("samtools view", "REGIONS"; "samtools faidx").

    Parameters
    ----------
    text : str
        `contig` for all of it, `contig:first-last`, `contig:first` or `contig:first-` to its end, or `contig:-last`
        from its beginning. Positions are 1-based and inclusive; commas in them are thousands separators.
    contigs : iterable of str
        Names that may be meant. A text that is one of them, or stands for one by the rule of this module, is that
        contig as a whole, whatever colons it holds (`HLA-A*01:01:01:01`); in any other text the last colon begins the
        range (`HLA-A*01:01:5-90`).

    Returns
    -------
    Interval
        0-based, half-open. Whether there is such a contig is for the caller to say.

    Raises
    ------
    InputError
        For any other form, a first base below 1, and a last base before the first.
    """
    region = text.strip()
    if region and (":" not in region or region in reconcile_contigs([region], contigs).mapping):
        return Interval(region, 0, None)
    match = _RANGE.fullmatch(region)
    first, last = (match[name].replace(",", "") if match else "" for name in ("first", "last"))
    if match is None or not 0 < max(len(first), len(last)) <= _MAX_DIGITS:
        raise InputError(
            f"region {text!r} cannot be read: write contig, contig:first-last, contig:first- or contig:-last, as in "
            "chr9:214,854-220,000"
        )
    start, end = int(first or 1) - 1, int(last) if last else None
    if start < 0 or (end is not None and end <= start):
        raise InputError(f"region {text!r} is empty: positions count from 1 and the last is not before the first")
    return Interval(match["contig"], start, end)


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


def mitochondrion_note(mapping: Mapping[str, str], lengths: Mapping[str, int]) -> str | None:
    """What to mind where the mitochondria of an annotation and of a FASTA may be two sequences.

    UCSC's hg19 has a chrM of its own, NC_001807 with 16,571 bases. The MT of Ensembl's GRCh37 and everything that
    GENCODE, Ensembl and RefSeq annotate is NC_012920 with 16,569, whose positions differ.

    Parameters
    ----------
    mapping : mapping of str to str
        Name in the annotation -> name in the FASTA, of the contigs in use.
    lengths : mapping of str to int
        Bases of each contig of the FASTA.

    Returns
    -------
    str or None
        A sentence, None where there is nothing to mind.
    """
    for name, held in mapping.items():
        if _plain_form(held) != "MT":
            continue
        if lengths[held] == _HG19_MITOCHONDRION:
            return (
                f"{held} of the FASTA has {_HG19_MITOCHONDRION:,} bases, as only UCSC's hg19 has it (NC_001807): leave "
                f"{name} out unless the annotation was made on it; those of Ensembl, GENCODE and RefSeq have "
                f"{_MITOCHONDRION:,} bases (NC_012920) and other positions"
            )
        if name != held and lengths[held] == _MITOCHONDRION:
            return (
                f"{name} of the annotation is taken to be {held} of the FASTA with {_MITOCHONDRION:,} bases "
                f"(NC_012920): leave it out if the annotation was made on UCSC's hg19, whose chrM has "
                f"{_HG19_MITOCHONDRION:,} bases and other positions"
            )
    return None


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
