"""STAR's splice junctions by tissue: `SJ.out.tab` files, read and summed, and the usage that they show.

In: `SJ.out.tab` files as STAR writes them, plain or gzip (recognised by content), by path or URI. They have nine
tab-separated columns and no header (STAR manual, "Splice junctions"): contig, first and last base of the intron
(1-based), strand (0 undefined, 1 plus, 2 minus), motif (0 to 6), annotated (0 or 1), uniquely mapping reads that cross
the junction, multi-mapping reads that cross it, largest overhang. Only uniquely mapping reads count. The files of one
tissue are summed. Junctions of undefined strand do not tell donor from acceptor; they are left out and counted.

Out: `Junctions`, or a usage table as `pipeline.inputs.usage.read_usage` returns it (`measure_usage`). In transcription
order the donor is the base before the intron and the acceptor the base after it (`pipeline.inputs.splice_sites`). How
usage follows from junctions: `pipeline.inputs.junction_usage`.

Errors: `InputError` with file, line and column for anything that is not of this form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from pipeline.inputs.junction_usage import JUNCTION_COLUMNS, MIN_READS, usage_of_sites
from pipeline.inputs.text import decompressed, in_lines, raise_for_first
from pipeline.inputs.uris import open_input
from pipeline.inputs.usage import RESERVED
from pipeline.settings import absolute
from sptx_core.errors import InputError
from sptx_core.words import counted

_COLUMNS = ("contig", "start", "end", "strand", "motif", "annotated", "reads", "multi", "overhang")
_MAX_CODE = {"strand": 2, "motif": 6, "annotated": 1}  # of the columns that hold codes from 0
_MAX_INTRON_END = 2**31 - 2  # the base after it must be an int32


class Junctions(NamedTuple):
    """Junctions of one or more files.

    Attributes
    ----------
    frame : polars.DataFrame
        One row a junction: contig, strand (str); donor, acceptor (int64, 1-based positions of the exon bases beside
        the intron); reads (int64, uniquely mapping).
    unstranded : int
        Lines that were left out because their strand is undefined.
    """

    frame: pl.DataFrame
    unstranded: int


def files_by_tissue(given: Sequence[str]) -> dict[str, list[str]]:
    """Read the values of the option `--junctions`.

    Parameters
    ----------
    given : sequence of str
        `TISSUE=FILE[,FILE...]`, one value a tissue; a FILE is a path or URI.

    Returns
    -------
    dict
        Tissue -> its files, paths made absolute.

    Raises
    ------
    InputError
        For another form, a name that a usage table cannot have as a column, and a tissue or file given twice.
    """
    files: dict[str, list[str]] = {}
    seen: set[str] = set()
    for text in given:
        tissue, _, listed = (part.strip() for part in text.partition("="))
        uris = [absolute(uri.strip()) for uri in listed.split(",") if uri.strip()]
        if not tissue or "/" in tissue or not uris:
            raise InputError(f"--junctions {text}: give TISSUE=FILE[,FILE...], as in brain=a.SJ.out.tab,b.SJ.out.tab")
        if tissue in RESERVED:
            raise InputError(f"--junctions {text}: {tissue} is no name for a tissue; usage tables have such a column")
        if tissue in files:
            raise InputError(f"--junctions names {tissue} twice; give all its files at once, with commas between them")
        for uri in uris:
            if uri in seen:
                raise InputError(f"--junctions gives {uri} twice; its reads would count twice")
            seen.add(uri)
        files[tissue] = uris
    return files


def measure_usage(
    files: Mapping[str, Sequence[str]], min_reads: int = MIN_READS, say: Callable[[str], None] = lambda _: None
) -> pl.DataFrame:
    """Measure the usage of the splice sites in `SJ.out.tab` files.

    Parameters
    ----------
    files : mapping of str to sequence of str
        Tissue -> paths or URIs of its files.
    min_reads : int
        Informative reads (a + b) below which the usage of a site is unknown in a tissue.
    say : callable
        Called with one line for each tissue that says what its files hold.

    Returns
    -------
    polars.DataFrame
        contig, strand, kind (str), pos (int32, 1-based), and the tissues as float64, NaN where unknown; at least one
        row.

    Raises
    ------
    InputError
        For a faulty file, a `min_reads` below 1, and if no site has enough reads in any tissue.
    """
    if min_reads < 1:
        raise InputError(f"--min-reads {min_reads}: give 1 or more, for no reads say nothing about a site")
    tissues: dict[str, pl.DataFrame] = {}
    for tissue, uris in files.items():
        junctions = sum_junctions(uris)
        tissues[tissue] = junctions.frame
        say(
            f"{tissue}: {counted(len(uris), 'file')}, {counted(len(junctions.frame), 'junction')}, "
            f"{counted(int(junctions.frame['reads'].sum()), 'unique read')}; "
            f"{counted(junctions.unstranded, 'line')} of undefined strand left out"
        )
    usage = usage_of_sites(tissues, min_reads)
    if usage.is_empty():
        reads = counted(min_reads, "read")
        raise InputError(f"no splice site has {reads} in any tissue; lower --min-reads or give more files")
    return usage


def sum_junctions(uris: Sequence[str]) -> Junctions:
    """Read several `SJ.out.tab` files and add up the reads of each junction.

    Parameters
    ----------
    uris : sequence of str
        Paths or URIs, at least one.

    Returns
    -------
    Junctions
    """
    total, unstranded = read_junctions(uris[0])
    for uri in uris[1:]:
        frame, left_out = read_junctions(uri)
        total = pl.concat([total, frame]).group_by(JUNCTION_COLUMNS).agg(pl.col("reads").sum())
        unstranded += left_out
    return Junctions(total, unstranded)


def read_junctions(uri: str) -> Junctions:
    """Read and check one `SJ.out.tab`; junctions without uniquely mapping reads are left out.

    Parameters
    ----------
    uri : str
        Path or URI.

    Returns
    -------
    Junctions

    Raises
    ------
    InputError
        With the first faulty line.
    """
    lines = _read_lines(uri)
    before, after = pl.col("start") - 1, pl.col("end") + 1
    plus = pl.col("strand") == 1
    stranded = lines.filter(pl.col("strand") > 0)
    junctions = stranded.filter(pl.col("reads") > 0).select(
        "contig",
        pl.when(plus).then(pl.lit("+")).otherwise(pl.lit("-")).alias("strand"),
        pl.when(plus).then(before).otherwise(after).alias("donor"),
        pl.when(plus).then(after).otherwise(before).alias("acceptor"),
        "reads",
    )
    return Junctions(junctions.group_by(JUNCTION_COLUMNS).agg(pl.col("reads").sum()), len(lines) - len(stranded))


def _read_lines(uri: str) -> pl.DataFrame:
    """The lines of one `SJ.out.tab`, checked: `_COLUMNS`, all int64 but the contig."""
    lines = (
        pl.DataFrame({"text": _read_text(uri).split("\n")})
        .with_row_index("line", offset=1)
        .filter(pl.col("text").str.contains(r"\S"))
    )
    if lines.is_empty():
        raise InputError(f"{uri} holds no junction: it is empty")
    columns = lines["text"].str.count_matches("\t", literal=True) + 1
    problem = "SJ.out.tab of STAR has 9 tab-separated columns, and this line {columns}"
    raise_for_first(lines.with_columns(columns.alias("columns")), columns != len(_COLUMNS), uri, problem)
    split = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    fields = lines.select("line", split)
    numbers = fields.with_columns(pl.col(_COLUMNS[1:]).cast(pl.Int64, strict=False))
    raise_for_first(fields, fields["contig"].str.strip_chars() == "", uri, "contig is empty")
    for name in _COLUMNS[1:]:
        raise_for_first(fields, numbers[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
        raise_for_first(fields, numbers[name] < 0, uri, f"{name} is {{{name}}}, below 0")
    for name, largest in _MAX_CODE.items():
        raise_for_first(fields, numbers[name] > largest, uri, f"{name} is {{{name}}}, not a code from 0 to {largest}")
    raise_for_first(fields, numbers["start"] < 2, uri, "start is {start}, but an exon lies before an intron")
    raise_for_first(fields, numbers["end"] < numbers["start"], uri, "end {end} lies before start {start}")
    raise_for_first(fields, numbers["end"] > _MAX_INTRON_END, uri, "end is {end}, farther than any contig reaches")
    return numbers


def _read_text(uri: str) -> str:
    with open_input(uri) as stream:
        content = b"".join(in_lines(decompressed(stream, uri), uri))
    if b"\0" in content:
        raise InputError(f"{uri} is not text: give SJ.out.tab of STAR, plain or gzip")
    return content.replace(b"\r\n", b"\n").decode(errors="replace")
