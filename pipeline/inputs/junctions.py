"""STAR's splice junctions by tissue -> measured usage of their splice sites.

In: `SJ.out.tab` as STAR writes it, plain or gzip (told by content), by path or URI: nine tab-separated columns without
a header (STAR manual, "Splice junctions"): contig, first and last base of the intron (1-based), strand (0 undefined,
1 plus, 2 minus), motif (0 to 6), annotated (0 or 1), reads that cross it and map uniquely, reads that cross it and map
elsewhere too, largest overhang. Unique reads count. Files of one tissue are summed. Junctions of undefined strand name
no site: they are left out, and counted.

Out: what `pipeline.inputs.usage.read_usage` gives: contig, strand, kind, pos (int32, 1-based) and the tissues as float64. The
donor is the base before the intron, the acceptor the base after it, in transcription order (`pipeline.inputs.splice_sites`).

Usage of a site X in a tissue is a / (a + b). Partners of X are the sites that a junction joins to X in any tissue; the
nearest is the one with the shortest intron to X. For an acceptor X

    a = reads of the junctions to X
    b = reads of the junctions from its partners to other acceptors beyond its nearest partner, in transcription order

and for a donor the same, mirrored: b = reads of the junctions to its partners from donors before its nearest partner.
A molecule that leaves a partner of X but lands before another may still reach X from that one, so it says nothing yet;
one that lands beyond all of them has passed X over, whether in an intron (X skipped) or in an exon (another acceptor of
the same exon used). No molecule is counted twice, and a + b are those that left the partners of X behind. Unknown (NaN)
where a + b is below `min_reads`; a site that is unknown in every tissue has no row. What this is exact for, what
junctions cannot tell, and other definitions: docs/usage.md.

Errors: `InputError` with file, line and column for anything that is not of this form.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from pipeline.inputs.uris import open_input
from pipeline.inputs.usage import RESERVED
from pipeline.settings import absolute
from sptx_core.errors import InputError

MIN_READS = 10  # as SpliSER's --minReads: fewer give steps of usage above a tenth
_COLUMNS = ("contig", "start", "end", "strand", "motif", "annotated", "reads", "multi", "overhang")
_LARGEST = {"strand": 2, "motif": 6, "annotated": 1}  # of the columns that hold codes; they begin at 0
_LAST_BASE = 2**31 - 2  # of an intron: the base after it is an int32
_GZIP_MAGIC = b"\x1f\x8b"
_JUNCTION = ("contig", "strand", "donor", "acceptor")


class Junctions(NamedTuple):
    """What files say: contig, strand, donor and acceptor (int64, 1-based: bases of exons), reads int64; a row each."""

    frame: pl.DataFrame
    unstranded: int
    """Lines left out because their strand is undefined."""


def files_by_tissue(given: Sequence[str]) -> dict[str, list[str]]:
    """Read `TISSUE=FILE[,FILE...]`, a text for each tissue; `InputError` for another form and for repeats."""
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
    """Usage of the splice sites in `SJ.out.tab` files of tissues; `say` is told in a line what each tissue held."""
    if min_reads < 1:
        raise InputError(f"--min-reads {min_reads}: give 1 or more, for no reads say nothing about a site")
    tissues: dict[str, pl.DataFrame] = {}
    for tissue, uris in files.items():
        read = sum_junctions(uris)
        tissues[tissue] = read.frame
        say(
            f"{tissue}: {len(uris):,} files, {len(read.frame):,} junctions, {read.frame['reads'].sum():,} unique "
            f"reads; {read.unstranded:,} lines of undefined strand left out"
        )
    usage = usage_of_sites(tissues, min_reads)
    if usage.is_empty():
        raise InputError(f"no splice site has {min_reads:,} reads in any tissue; lower --min-reads or give more files")
    return usage


def sum_junctions(uris: Sequence[str]) -> Junctions:
    """The junctions of several files with their reads added up."""
    total, unstranded = read_junctions(uris[0])
    for uri in uris[1:]:
        frame, left_out = read_junctions(uri)
        total = pl.concat([total, frame]).group_by(_JUNCTION).agg(pl.col("reads").sum())
        unstranded += left_out
    return Junctions(total, unstranded)


def read_junctions(uri: str) -> Junctions:
    """Read and check one `SJ.out.tab`; junctions without unique reads are dropped. See the module's contract."""
    lines = (
        pl.DataFrame({"text": _text(uri).split("\n")})
        .with_row_index("line", offset=1)
        .filter(pl.col("text").str.contains(r"\S"))
    )
    if lines.is_empty():
        raise InputError(f"{uri} holds no junction: it is empty")
    columns = lines["text"].str.count_matches("\t", literal=True) + 1
    counted = lines.with_columns(columns.alias("columns"))
    expected = "{columns} tab-separated columns where SJ.out.tab of STAR has 9"
    _refuse(counted, columns != len(_COLUMNS), uri, expected)
    split = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    fields = lines.select("line", split)
    numbers = fields.with_columns(pl.col(_COLUMNS[1:]).cast(pl.Int64, strict=False))
    _refuse(fields, fields["contig"].str.strip_chars() == "", uri, "contig is empty")
    for name in _COLUMNS[1:]:
        _refuse(fields, numbers[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
        _refuse(fields, numbers[name] < 0, uri, f"{name} is {{{name}}}, below 0")
    for name, largest in _LARGEST.items():
        _refuse(fields, numbers[name] > largest, uri, f"{name} is {{{name}}}, not a code from 0 to {largest}")
    _refuse(fields, numbers["start"] < 2, uri, "start is {start}, but an exon lies before an intron")
    _refuse(fields, numbers["end"] < numbers["start"], uri, "end {end} lies before start {start}")
    _refuse(fields, numbers["end"] > _LAST_BASE, uri, "end is {end}, farther than any contig reaches")
    before, after = pl.col("start") - 1, pl.col("end") + 1
    plus = pl.col("strand") == 1
    stranded = numbers.filter(pl.col("strand") > 0)
    junctions = stranded.filter(pl.col("reads") > 0).select(
        "contig",
        pl.when(plus).then(pl.lit("+")).otherwise(pl.lit("-")).alias("strand"),
        pl.when(plus).then(before).otherwise(after).alias("donor"),
        pl.when(plus).then(after).otherwise(before).alias("acceptor"),
        "reads",
    )
    return Junctions(junctions.group_by(_JUNCTION).agg(pl.col("reads").sum()), len(numbers) - len(stranded))


def usage_of_sites(tissues: Mapping[str, pl.DataFrame], min_reads: int = MIN_READS) -> pl.DataFrame:
    """Usage by the formula of the module's contract, from the junctions of each tissue (the frames of `Junctions`)."""
    # Tissues are numbered meanwhile, so that none can be called like another column.
    names = {f"tissue {order}": tissue for order, tissue in enumerate(tissues)}
    counts = pl.concat(
        [tissues[tissue].select(*_JUNCTION, pl.col("reads").alias(name)) for name, tissue in names.items()],
        how="diagonal",
    )
    junctions = counts.group_by(_JUNCTION).agg(pl.col(list(names)).sum())
    # Positions that grow in transcription order; with their signs turned they grow from the 3' end, where donors are
    # to their partners what acceptors are from the 5' end.
    along = pl.when(pl.col("strand") == "+").then(1).otherwise(-1)
    ends = {"acceptor": (along * pl.col("donor"), along * pl.col("acceptor"))}
    ends["donor"] = (-along * pl.col("acceptor"), -along * pl.col("donor"))
    sites = [
        _usage(
            junctions.select("contig", "strand", partner.alias("partner"), site.alias("site"), *names),
            list(names),
            min_reads,
        ).with_columns(pl.lit(kind).alias("kind"))
        for kind, (partner, site) in ends.items()
    ]
    known = pl.concat(sites).filter(pl.any_horizontal(pl.col(list(names)).is_not_null()))
    return (
        known.select("contig", "strand", "kind", pl.col("site").abs().cast(pl.Int32).alias("pos"), *names)
        .with_columns(pl.col(list(names)).fill_null(float("nan")))
        .sort("contig", "pos", "strand", "kind")
        .rename(names)
    )


def _usage(junctions: pl.DataFrame, tissues: Sequence[str], min_reads: int) -> pl.DataFrame:
    """contig, strand, site and its usage by tissue (null where unknown), of junctions from `partner` up to `site`."""
    place, reads = ["contig", "strand"], pl.col(tissues)
    # Looked up in running sums: a join of all pairs of a partner's junctions grows with their square.
    beyond = junctions.sort("site").with_columns(reads.cum_sum(reverse=True).over(*place, "partner"))
    passing = (
        junctions.select(*place, "site", "partner", pl.col("partner").max().over(*place, "site").alias("nearest"))
        .sort("nearest")
        .join_asof(
            beyond.rename({"site": "landing"}),
            left_on="nearest",
            right_on="landing",
            by=[*place, "partner"],
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
    )
    used, passed = (frame.group_by(*place, "site").agg(reads.sum()) for frame in (junctions, passing))
    return used.join(passed, on=[*place, "site"], suffix=" passed").select(
        *place,
        "site",
        *(
            pl.when(pl.col(f"{tissue} passed") >= min_reads).then(pl.col(tissue) / pl.col(f"{tissue} passed"))
            for tissue in tissues
        ),
    )


def _text(uri: str) -> str:
    with open_input(uri) as stream:
        content = stream.read()
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{uri} is a damaged or cut gzip file ({error}); copy it again") from error
    if b"\0" in content:
        raise InputError(f"{uri} is not text: give SJ.out.tab of STAR, plain or gzip")
    return content.replace(b"\r\n", b"\n").decode(errors="replace")


def _refuse(fields: pl.DataFrame, faulty: pl.Series, uri: str, problem: str) -> None:
    """Raise for the first faulty line; `problem` may name its fields in braces."""
    if faulty.any():
        first = fields.filter(faulty).row(0, named=True)
        raise InputError(f"{uri} line {first['line']}: {problem.format(**first)}")
