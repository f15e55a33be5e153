"""The page that describes a hub and each of its tracks, `hub.html`: what is shown, how, and of which table.

The UCSC Genome Browser sets it into its own pages and igv.js links to it, so it is plain HTML without script, style,
link or picture. It holds nothing of where or when it was made.

Settings that name it: `descriptionUrl` and `html` of https://genome.ucsc.edu/goldenPath/help/trackDb/trackDbHub.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from pipeline.exporting.record import Options
from pipeline.tracks.header import Header
from pipeline.tracks.settings import Flanks

_DIGESTS = (
    ("genome", "SHA-256 of the contigs of the genome"),
    ("transcripts", "SHA-256 of the transcripts"),
    ("checkpoint", "SHA-256 of the tensors of the network"),
)  # among what defines a table


def description(options: Options, header: Header, tissues: Sequence[str], unfinished: str = "") -> bytes:
    """The page, in ASCII: right under whatever encoding the page has that it is set into.

    Parameters
    ----------
    options
        What is exported of the table.
    header
        The table.
    tissues
        Those whose usage is exported.
    unfinished
        What is missing of the table, in a few words; empty when nothing is.

    """
    parts = [
        "<!DOCTYPE html>\n<title>Predicted splice sites</title>",
        "<h2>Description</h2>",
        *_paragraphs(_what(options, tissues, unfinished)),
        "<h2>Display</h2>",
        _list(_tracks(options, header, tissues)),
        *_paragraphs(_values(header)),
        "<h2>Source</h2>",
        _list(_source(header)),
    ]
    return ("\n".join(parts) + "\n").encode("ascii", "xmlcharrefreplace")


def _what(options: Options, tissues: Sequence[str], unfinished: str) -> Iterator[str]:
    usage = f", and the usage of likely sites in {escape(_joined(tissues))}" if tissues else ""
    yield (
        f"The probability that a base is a splice acceptor or a splice donor, each strand by itself{usage}, predicted "
        "by a neural network from the sequence alone. Predictions are no measurements, and no clinical advice."
    )
    for noun, asked in (("genes", options.genes), ("regions", options.regions)):
        if asked:
            yield f"These tracks hold these {noun} of the table alone: {escape(', '.join(asked))}."
    if unfinished:
        yield f"<b>The table is {escape(unfinished)}.</b> What is missing of it is not shown."


def _tracks(options: Options, header: Header, tissues: Sequence[str]) -> Iterator[str]:
    yield (
        "<b>Splice sites</b>: probability of an acceptor (blue) and of a donor (orange), by strand. An acceptor is the "
        "first base of an exon, a donor the last one, in the direction of its strand: on the minus strand the donor "
        "of an intron has the larger coordinate."
    )
    yield (
        "<b>Likely sites</b>: bases where the probability of an acceptor or of a donor is at least "
        f"{header.spec.sites_threshold:g}, in the colour of the greater one. A click on a site shows all its values."
    )
    if tissues:
        least = f", from {options.least:g} on" if options.least else ""
        yield f"<b>Usage</b> (green, hidden at first): by tissue and strand, at likely sites alone{least}."
    yield f"<b>Computed</b>: the stretches that were computed, by strand. Elsewhere nothing is known. {_gaps(options)}"


def _values(header: Header) -> Iterator[str]:
    yield (
        "All signals have the scale 0 to 1, on both strands. Where a pixel is many bases wide it shows the greatest of "
        "their values."
    )
    if header.spec.flanks is Flanks.TRANSCRIPT:
        yield "A base has the greatest value of the transcripts that hold it."


def _gaps(options: Options) -> str:
    """What it means that a computed base has no value."""
    if not options.least:
        return "Every base there has a probability."
    return f"A base there without a probability has less than {options.least:g}."


def _source(header: Header) -> Iterator[str]:
    yield f"fingerprint of the table: {escape(header.fingerprint)}"
    for name, words in _DIGESTS:
        if name in header.fields:
            yield f"{words}: {escape(str(header.fields[name]))}"


def _joined(names: Sequence[str]) -> str:
    """Names as a person lists them."""
    *others, last = [name.replace("_", " ") for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    return (f"<p>{text}</p>" for text in texts)


def _list(texts: Iterable[str]) -> str:
    return "\n".join(["<ul>", *(f"<li>{text}</li>" for text in texts), "</ul>"])
