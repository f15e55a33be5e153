"""The command `sites`: called and annotated splice sites with their genes, exons, motifs and usage.

Rows are written as they are read, so a whole genome needs no more memory than a stretch of it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter

from pipeline.cli.console import INCOMPLETE, say
from pipeline.cli.flags import TableRoot, Threshold
from pipeline.settings import Names, Regions, absolute
from sptx_core.errors import InputError
from sptx_core.files import replacing, require_writable, writing
from sptx_core.words import counted

if TYPE_CHECKING:
    import polars as pl

    from pipeline.tracks.named_sites import Batch


class SitesFormat(StrEnum):
    """How sites are written."""

    TSV = "tsv"
    BED = "bed"
    PARQUET = "parquet"


def sites(
    output: TableRoot,
    gtf: Annotated[
        str | None,
        typer.Option(
            help="Annotation that names the sites; GTF or GFF3, path or URI (default: the transcripts of the run).",
            show_default=False,
        ),
    ] = None,
    threshold: Threshold = None,
    genes: Annotated[
        list[str] | None,
        typer.Option(help="Only sites of these genes: names or ids, separated by commas.", show_default=False),
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(help="Only sites in these regions, such as chr9:214,854-220,000.", show_default=False),
    ] = None,
    novel: Annotated[bool, typer.Option("--novel", help="Only sites that are not annotated.")] = False,
    tissue: Annotated[
        str | None, typer.Option(help="Only called sites that this tissue uses (see --min-usage).", show_default=False)
    ] = None,
    min_usage: Annotated[
        float | None,
        typer.Option(help="Lowest usage in --tissue (default: 0.1).", min=0, max=1, show_default=False),
    ] = None,
    specific: Annotated[
        bool,
        typer.Option(
            "--specific",
            help="Only tissue-specific called sites (tau of at least 0.8); with --tissue those of that tissue.",
        ),
    ] = False,
    form: Annotated[
        SitesFormat | None,
        typer.Option("--format", help="Format (default: by the name of --to, otherwise tsv).", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="File to write instead of standard output: .tsv, .bed or .parquet.", show_default=False
        ),
    ] = None,
) -> None:
    """List called and annotated splice sites: gene, exon, motif, scores, usage by tissue, nearest annotated site.

    Writes one row for each site. The exit code is 3 if a missing shard may hold sites that were asked for. Columns and
    examples: docs/sites.md.
    """
    import polars as pl

    from pipeline.inputs.annotation import read_annotation
    from pipeline.tracks.named_sites import called_from, frame_schema
    from pipeline.tracks.reader import open_tracks
    from pipeline.tracks.site_choice import SiteChoice, choose_sites

    chosen_form = _form(form, to)
    tracks = open_tracks(absolute(output))
    annotation = read_annotation(absolute(gtf)) if gtf else None
    choice = SiteChoice(
        TypeAdapter(Names).validate_python(genes or ()),
        TypeAdapter(Regions).validate_python(regions or ()),
        novel,
        tissue,
        specific,
        min_usage,
    )
    chosen = choose_sites(tracks, annotation, choice)
    counts = _Counts()
    empty = pl.DataFrame(schema=frame_schema(tracks.header.schema))
    least = called_from(threshold, tracks.header)
    _write(_CONTENT[chosen_form](counts.counted(chosen.batches(least)), empty), to)
    for remark in annotation.remarks if annotation else (_of_the_run(tracks.transcripts.height),):
        say(remark)
    say(counts.sentence(least))
    if counts.without_row:
        say(f"left out, as the table has no row there: {counts.without_row:,} annotated")
    missing = chosen.missing_shards()
    if missing:
        say(f"missing: {missing:,} of the shards that may hold sites; the same `sptx run` computes them")
        raise typer.Exit(INCOMPLETE)


def _of_the_run(transcripts: int) -> str:
    have = counted(transcripts, "transcript of the run has", "transcripts of the run have")
    return f"annotated is what the {have}; --gtf takes a whole annotation"


def _form(form: SitesFormat | None, to: Path | None) -> SitesFormat:
    """The form in which sites are written, before any work is done."""
    if to is None:
        return form or SitesFormat.TSV
    endings = {f".{each}": each for each in SitesFormat}
    named = endings.get(to.suffix.lower())
    if form is not None and named is not None and form is not named:
        raise InputError(f"--to {to} is the name of a {named} file, but --format is {form}; change one of the two")
    chosen = form or named
    if chosen is None:
        raise InputError(f"--to {to} does not tell its form: end its name in {', '.join(endings)}, or give --format")
    require_writable(to)
    return chosen


class _Counts:
    """How many sites were written, of which kind."""

    def __init__(self) -> None:
        self.called_annotated = self.called_novel = self.below = self.without_row = 0

    def counted(self, batches: Iterable[Batch]) -> Iterator[pl.DataFrame]:
        """The sites of batches that have any."""
        for frame, without_row in batches:
            self.without_row += without_row
            called = frame.filter("called")
            annotated = int(called["annotated"].sum())
            self.called_annotated += annotated
            self.called_novel += called.height - annotated
            self.below += frame.height - called.height
            if frame.height:
                yield frame

    def sentence(self, threshold: float) -> str:
        """What a person is told."""
        called = self.called_annotated + self.called_novel
        return (
            f"sites: {called + self.below:,}, of which {self.called_annotated:,} called and annotated, "
            f"{self.called_novel:,} called and novel, {self.below:,} annotated and below {threshold:g}"
        )


def _tsv(frames: Iterable[pl.DataFrame], empty: pl.DataFrame) -> Iterator[bytes]:
    """Text with a header; lists are joined by semicolons, and one within a name is written %3B."""
    import polars as pl
    import polars.selectors as cs

    joined = cs.list().list.eval(pl.element().str.replace_all(";", "%3B", literal=True)).list.join(";")
    yield empty.with_columns(joined).write_csv(separator="\t").encode()
    for frame in frames:
        yield frame.with_columns(joined).write_csv(separator="\t", include_header=False).encode()


def _bed(frames: Iterable[pl.DataFrame], _: pl.DataFrame) -> Iterator[bytes]:
    """BED with a line of comment that names its columns; each contig sorted by position."""
    import polars as pl

    from pipeline.views.site_bed import COLUMNS, bed_rows

    yield ("#" + "\t".join(COLUMNS) + "\n").encode()
    for _contig, group in groupby(frames, lambda frame: frame["chrom"][0]):
        rows = bed_rows(pl.concat(group))
        yield rows.write_csv(separator="\t", include_header=False, quote_style="never").encode()


def _parquet(frames: Iterable[pl.DataFrame], empty: pl.DataFrame) -> Iterator[bytes]:
    """Parquet with a row group for each frame."""
    import polars as pl
    import pyarrow.parquet as pq

    oldest = pl.CompatLevel.oldest()  # types that every reader knows
    drain = _Drain()
    with pq.ParquetWriter(drain, empty.to_arrow(compat_level=oldest).schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(frame.to_arrow(compat_level=oldest))
            yield drain.taken()
    yield drain.taken()


_CONTENT: dict[SitesFormat, Callable[[Iterable[pl.DataFrame], pl.DataFrame], Iterator[bytes]]] = {
    SitesFormat.TSV: _tsv,
    SitesFormat.BED: _bed,
    SitesFormat.PARQUET: _parquet,
}


class _Drain(io.RawIOBase):
    """A file for a writer that never goes back: what it has written can be taken away."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: Any) -> int:
        """Keep the bytes until they are taken."""
        self._waiting.append(bytes(content))
        self._written += len(self._waiting[-1])
        return len(self._waiting[-1])

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def taken(self) -> bytes:
        """What was written since the last time."""
        content = b"".join(self._waiting)
        self._waiting.clear()
        return content


def _write(content: Iterable[bytes], to: Path | None) -> None:
    """Write to standard output, or to a file that appears whole or not at all."""
    if to is None:
        for some in content:
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()
        return
    with ExitStack() as stack:
        with writing(to):
            file = stack.enter_context(stack.enter_context(replacing(to)).open("wb"))
        for some in content:  # reading the table is outside: its faults are not those of the file
            with writing(to):
                file.write(some)
        with writing(to):
            stack.close()
