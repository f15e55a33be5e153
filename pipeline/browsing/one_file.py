"""One self-contained HTML file of a locus: the page, igv.js, and the answers to what the page asks.

It opens from a disk without a network, shows the same tracks as the page of a server, and moves within the locus.
Scores are kept from `MIN_SCORE` on (less than a thirtieth of a pixel), sites from the table's own threshold on, and of
variants the `MAX_VARIANTS` that change splicing most. Places of tables are left out, but for their names: the file is
meant to be sent.

Every text of a table lies in one JSON block in which `<` is escaped, so none can end the block. Scripts are allowed by
their digests alone (Content-Security-Policy), so markup in a name would not run even if it were taken for markup.

Errors: `InputError` for a locus longer than `MAX_BASES` and for a file that cannot be written.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.browsing.bundle import IGV, INDEX, STYLE, bundle, text_of
from pipeline.browsing.session import Session
from pipeline.coordinates import Interval, Strand
from sptx_core.errors import InputError
from sptx_core.files import require_writable, write_atomic, writing

MAX_BASES = 3_000_000
"""Longest locus of a page; the longest human gene has 2.5 million bases."""
MIN_SCORE = 0.001
MAX_VARIANTS = 200
_MAX_ROWS = 1_000_000  # more than any locus has: the answers are whole
_STEP = 250_000  # bases that are asked for at a time: of wider views the session gives less
_SEQUENCE_STEP = 20_000


def write_page(session: Session, locus: Interval, path: Path) -> None:
    """Write the page of a locus, whole or not at all.

    Parameters
    ----------
    session : Session
        What the page shows.
    locus : Interval
        The stretch of a contig that it holds; its `end` is not None.
    path : Path
        Where the file appears; a file that is there is replaced.

    Raises
    ------
    InputError
        See the module's docstring.
    """
    require_writable(path)
    page = page_of(answers(session, locus))
    with writing(path):
        write_atomic(path, page.encode())


def answers(session: Session, locus: Interval) -> dict[str, Any]:
    """What the page of a locus holds: for each question the whole answer, as `static/embedded.js` reads it.

    Raises
    ------
    InputError
        The locus is longer than `MAX_BASES`.
    """
    chrom, start, end = locus
    assert end is not None
    if end - start > MAX_BASES:
        raise InputError(f"{locus} has {end - start:,} bases: a page in one file holds at most {MAX_BASES:,}")
    config = session.config()
    tables = range(len(config["tables"]))
    sides = [(table, str(strand)) for table in tables for strand in Strand]
    least = [config["tables"][table]["sites_threshold"] for table in tables]
    whole = (chrom, start, end)
    return {
        "region": {"chrom": chrom, "start": start, "end": end},
        "config": _shareable(config, locus),
        "scores": {f"{t}{s}": _scores(session, t, s, locus) for t, s in sides},
        "usage": {f"{t}{s}": session.usage(t, chrom, s, start, end, least[t], _MAX_ROWS) for t, s in sides},
        "introns": {f"{t}{s}": _introns(session, t, s, locus) for t, s in sides},
        "sites": [_sites(session, table, locus, least[table]) for table in tables],
        "transcripts": session.transcripts(*whole, _MAX_ROWS),
        "sequence": {"start": start, "sequence": _sequence(session, locus)},
        **_variants(session, config, locus),
    }


def page_of(held: dict[str, Any]) -> str:
    """The page as HTML with what `answers` gave."""
    scripts = [text_of(IGV), bundle()]
    allowed = " ".join(map(_digest, scripts))
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    data = json.dumps(held, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    page = text_of(INDEX)
    for old, new in (
        (
            '<meta charset="utf-8">',
            f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        ),
        ('<link rel="stylesheet" href="static/page.css">', f"<style>{text_of(STYLE)}</style>"),
        (
            f'<script src="static/{IGV}"></script>',
            f'<script type="application/json" id="embedded">{data}</script>\n<script>{scripts[0]}</script>',
        ),
        ('<script type="module" src="static/page.js"></script>', f"<script>{scripts[1]}</script>"),
    ):
        before, found, after = page.partition(old)
        assert found, f"{INDEX} has changed: {old}"
        page = before + new + after
    return page


def _digest(text: str) -> str:
    """A text as the policy allows it, https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shareable(config: dict[str, Any], locus: Interval) -> dict[str, Any]:
    """The page's description of its tables, for one locus, without their places."""
    variants = config["variants"]
    return {
        **config,
        "locus": str(locus),
        "contigs": [[name, length] for name, length in config["contigs"] if name == locus.contig],
        "aliases": {},
        "tables": [{**table, "place": table["name"]} for table in config["tables"]],
        "variants": variants and {**variants, "place": variants["name"]},
    }


def _steps(locus: Interval, bases: int) -> Iterator[tuple[int, int]]:
    """The locus in stretches of at most `bases` bases."""
    assert locus.end is not None
    return ((at, min(locus.end, at + bases)) for at in range(locus.start, locus.end, bases))


def _scores(session: Session, table: int, strand: str, locus: Interval) -> dict[str, Any]:
    """The bases with a score that can be seen; bin k is the k-th base of the locus."""
    rows: list[tuple[int, float, float]] = []
    loci: list[list[int]] = []
    for start, end in _steps(locus, _STEP):
        some = session.scores(table, locus.contig, strand, start, end, end - start)
        assert some["size"] == 1
        values = zip(some["bin"], some["acceptor"], some["donor"], strict=True)
        rows += [(some["start"] + at - locus.start, a, d) for at, a, d in values if max(a, d) >= MIN_SCORE]
        for first, last in some["loci"]:
            if loci and loci[-1][1] == first:
                loci[-1] = [loci[-1][0], last]  # one that a step has cut
            else:
                loci.append([first, last])
    columns = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    return {
        "source": "tracks",
        "start": locus.start,
        "size": 1,
        **dict(zip(("bin", "acceptor", "donor"), columns, strict=True)),
        "loci": loci,
    }


def _introns(session: Session, table: int, strand: str, locus: Interval) -> list[list[Any]]:
    """Annotated introns that touch the locus."""
    found = {
        (intron[0], intron[1]): intron
        for start, end in _steps(locus, _STEP)
        for intron in session.introns(table, locus.contig, strand, start, end, _MAX_ROWS)["introns"]
    }
    return list(found.values())


def _sites(session: Session, table: int, locus: Interval, least: float) -> dict[str, Any]:
    """Named sites of the locus."""
    answers = [session.sites(table, locus.contig, *step, least, _MAX_ROWS) for step in _steps(locus, _STEP)]
    return {"columns": answers[0]["columns"], "rows": [row for answer in answers for row in answer["rows"]]}


def _sequence(session: Session, locus: Interval) -> str:
    steps = _steps(locus, _SEQUENCE_STEP)
    return "".join(session.sequence(0, locus.contig, *step)["sequence"] for step in steps)


def _variants(session: Session, config: dict[str, Any], locus: Interval) -> dict[str, Any]:
    """Variants of the locus, and the scores about each of them."""
    if not config["variants"]:
        return {"variants": [], "variant": {}}
    chrom, start, end = locus
    assert end is not None
    shown = session.variants(chrom, start, end, MAX_VARIANTS)["variants"]
    return {"variants": shown, "variant": {one["key"]: session.variant(one["key"]) for one in shown}}
