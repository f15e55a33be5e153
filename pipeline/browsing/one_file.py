"""One self-contained HTML file of a locus: the page, igv.js, and the answers to what the page asks.

It opens from a disk without a network, shows the same tracks as the page of a server, and moves within the locus.
Scores are kept from `MIN_SCORE` on (less than a thirtieth of a pixel), sites from the table's own threshold on, and of
variants the `MAX_VARIANTS` that change splicing most. Places of tables are left out, but for their names: the file is
meant to be sent.

Every text of a table lies in one JSON block in which `<` is escaped, so none can end the block. Scripts and styles are
allowed by their digests alone (Content-Security-Policy), so markup in a name would not run even if it were markup.

Errors: `InputError` for a locus longer than `MAX_BASES` and for a file that cannot be written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pipeline.browsing.assets import IGV, INDEX, MODULES, STYLE, asset
from pipeline.browsing.session import Session
from pipeline.coordinates import Interval, Strand
from sptx_core.errors import InputError
from sptx_core.files import require_writable, write_atomic, writing

MAX_BASES = 3_000_000
"""Longest locus of a page; the longest human gene has 2.5 million bases."""
MIN_SCORE = 0.001
MAX_VARIANTS = 200
_MAX_ROWS = 1_000_000  # more than any locus has: the answers are whole
_SEQUENCE_STEP = 20_000  # bases of one answer
_IMPORT = re.compile(r'^import \{ (?P<names>[^}]+) \} from "\./(?P<module>[^"]+)"$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?P<kind>const|class|function|async function) (?P<name>\w+)", re.MULTILINE)


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

    def whole(table: int, strand: str) -> tuple[int, str, str, int, int]:
        return table, chrom, strand, start, end

    return {
        "region": {"chrom": chrom, "start": start, "end": end},
        "config": _shareable(config, locus),
        "scores": {f"{t}{s}": _high(session.scores(*whole(t, s), end - start)) for t, s in sides},
        "usage": {f"{t}{s}": session.usage(*whole(t, s), least[t], _MAX_ROWS) for t, s in sides},
        "introns": {f"{t}{s}": session.introns(*whole(t, s), _MAX_ROWS) for t, s in sides},
        "sites": [session.sites(table, chrom, start, end, least[table], _MAX_ROWS) for table in tables],
        "transcripts": session.transcripts(chrom, start, end, _MAX_ROWS),
        "sequence": {"start": start, "sequence": _sequence(session, locus) if tables else ""},
        **_variants(session, config, locus),
    }


def page_of(held: dict[str, Any]) -> str:
    """The page as HTML with what `answers` gave."""
    scripts = [_text(IGV), _bundle()]
    style = _text(STYLE)
    allowed = {"script-src": scripts, "style-src": [style]}
    policy = "; ".join(
        ["default-src 'none'", "img-src data: blob:"]
        + [f"{kind} {' '.join(map(_digest, texts))}" for kind, texts in allowed.items()]
    )
    data = json.dumps(held, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    page = _text(INDEX)
    for old, new in (
        ('<meta charset="utf-8">', f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        ('<link rel="stylesheet" href="static/page.css">', f"<style>{style}</style>"),
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


def _bundle() -> str:
    """The modules of the page as one script: each in a function of its own, which returns what it exports."""
    parts = ['"use strict"', "const modules = {}"]
    for name in MODULES:
        source = _text(name)
        exported = [found["name"] for found in _EXPORT.finditer(source)]
        body = _IMPORT.sub(lambda found: f'const {{ {found["names"]} }} = modules["{found["module"]}"]', source)
        body = _EXPORT.sub(lambda found: f"{found['kind']} {found['name']}", body)
        parts.append(f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exported)} }}\n}})()')
    return "\n".join(parts)


def _text(name: str) -> str:
    return asset(name).read_text("utf-8")


def _digest(text: str) -> str:
    """A text as the policy allows it, https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shareable(config: dict[str, Any], locus: Interval) -> dict[str, Any]:
    """The page's description of its tables, for one locus, without their places."""
    variants = config["variants"]
    return {
        **config,
        "locus": {"chrom": locus.contig, "start": locus.start, "end": locus.end},
        "contigs": [[name, length] for name, length in config["contigs"] if name == locus.contig],
        "aliases": {},
        "tables": [{**table, "place": table["name"]} for table in config["tables"]],
        "variants": variants and {**variants, "place": variants["name"]},
    }


def _high(scores: dict[str, Any]) -> dict[str, Any]:
    """The bases with a score that can be seen."""
    kept = [
        row
        for row in zip(scores["bin"], scores["acceptor"], scores["donor"], strict=True)
        if max(row[1], row[2]) >= MIN_SCORE
    ]
    columns = zip(*kept, strict=True) if kept else ((), (), ())
    return {**scores, **dict(zip(("bin", "acceptor", "donor"), map(list, columns), strict=True))}


def _sequence(session: Session, locus: Interval) -> str:
    chrom, start, end = locus
    assert end is not None
    steps = range(start, end, _SEQUENCE_STEP)
    return "".join(session.sequence(0, chrom, at, min(end, at + _SEQUENCE_STEP))["sequence"] for at in steps)


def _variants(session: Session, config: dict[str, Any], locus: Interval) -> dict[str, Any]:
    """Variants of the locus, and the scores about each of them."""
    if not config["variants"]:
        return {"variants": [], "variant": {}}
    chrom, start, end = locus
    assert end is not None
    shown = session.variants(chrom, start, end, MAX_VARIANTS)["variants"]
    return {"variants": shown, "variant": {one["key"]: session.variant(one["key"]) for one in shown}}
