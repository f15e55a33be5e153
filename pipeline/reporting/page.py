"""Findings -> the page: one file of HTML with inline SVG, without script, that asks for nothing from elsewhere.

Every name from the table is escaped, and the page forbids itself scripts and requests (a content security policy). The
same findings give the same bytes: no date, no place but the table's own name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl

from pipeline.batch.history import in_words
from pipeline.coordinates import Strand
from pipeline.inputs.splice_sites import KINDS
from pipeline.reporting import charts
from pipeline.reporting.charts import ANNOTATED, COLOURS, MAX_TISSUES, MISSED, NOVEL, readable
from pipeline.reporting.findings import Findings, Usage
from pipeline.reporting.markup import Html, legend, table
from pipeline.tracks.motifs import MOTIFS
from pipeline.tracks.site_choice import MIN_USAGE
from pipeline.tracks.specificity import MIN_TISSUES, SPECIFIC
from sptx_core.version import __version__
from sptx_core.words import counted

MAX_CONTIGS, MAX_BIOTYPES = 30, 25  # in a table; others are added up
SHOWN_DIGITS = 12  # of a digest, as in the names of parts
_DIGESTS = ("checkpoint", "genome", "transcripts", "loci", "encoding")
_LEGEND = (("annotated, called", ANNOTATED), ("annotated, not called", MISSED), ("called, not annotated", NOVEL))

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:#1a1a1a;background:#fff;
max-width:920px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:20px;margin:40px 0 10px;padding-bottom:4px;border-bottom:2px solid #d5dbe0}
h3{font-size:16px;margin:24px 0 6px}
p{margin:6px 0 10px;max-width:75ch}
.under{color:#4d4d4d;margin-bottom:16px}
.warn{border-left:5px solid #d55e00;background:#fdf1e8;padding:8px 14px}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:18px 0}
.tiles div{border:1px solid #d5dbe0;border-radius:6px;padding:10px 14px}
.tiles b{display:block;font-size:22px;font-variant-numeric:tabular-nums}
.tiles span{color:#4d4d4d;font-size:13.5px;line-height:1.3;display:block}
nav a{margin-right:16px}
a{color:#00588a}
table{border-collapse:collapse;margin:8px 0 14px;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:3px 12px 3px 0;text-align:right;vertical-align:middle;border-bottom:1px solid #e4e4e4}
th{font-weight:600;color:#333;vertical-align:bottom;border-bottom:1px solid #999}
.l{text-align:left}
td{white-space:nowrap}td.l{white-space:normal;overflow-wrap:break-word}
tr.sum td{font-weight:600;border-top:1px solid #999}
figure{margin:10px 0 16px}
figcaption,.legend{color:#4d4d4d;font-size:13.5px;max-width:80ch}
.legend i{display:inline-block;width:12px;height:12px;margin:0 5px 0 0;vertical-align:-1px}
.legend span{margin-right:18px;white-space:nowrap}
.side{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
details{margin:6px 0}
summary{cursor:pointer;color:#00588a}
svg{max-width:100%;height:auto;font:13px system-ui,"Segoe UI",Roboto,Arial,sans-serif;fill:#1a1a1a}
svg .s{font-size:11.5px}
td svg{display:block}
code{font-size:13px}
footer{margin-top:40px;color:#4d4d4d;font-size:13.5px}
@media(max-width:640px){.tiles{grid-template-columns:1fr 1fr}}
@media print{body{max-width:none;padding:0;font-size:12px}table{font-size:11.5px}nav,summary{display:none}
figure,tr,.side,.tiles{break-inside:avoid}h2,h3{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def page(found: Findings) -> str:
    """The report as HTML."""
    sections = [("coverage", "Coverage", _coverage(found)), ("scores", "Scores", _scores(found))]
    sections += [("sites", "Splice sites", _sites(found))]
    if found.usage is not None:
        sections.append(("usage", "Usage by tissue", _usage(found.usage)))
        if len(found.usage.tissues) >= MIN_TISSUES:
            sections.append(("specific", "Tissue-specific sites", _specific(found.usage)))
    sections.append(("run", "The run", _run(found)))
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{"".join(text)}</section>' for name, title, text in sections)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(found.name)}: splice tracks</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_head(found)}<nav>{links}</nav>\n{body}\n"
        f"<footer>Made by sptx {escape(__version__)} (<code>sptx report</code>).</footer>\n</body>\n</html>\n"
    )


def _head(found: Findings) -> str:
    """Title, warning and the figures that matter most."""
    annotated = found.count(annotated=True)
    hit, novel = found.count(annotated=True, called=True), found.count(annotated=False, called=True)
    unit, also = ("row", " and all transcripts") if found.by_transcript else ("base", "")
    those = counted(annotated, "annotated site is", "annotated sites are")
    tiles = [
        _tile(found.rows, unit, f"{unit}s", f"computed, both strands{also}"),
        _tile(hit + novel, "called site:", "called sites:", f"score of {found.threshold:g} or more"),
        (_share(hit, annotated), f"of the {those} called"),
        _tile(novel, "called site is", "called sites are", "not annotated"),
    ]
    warning = ""
    if found.unfinished:
        warning = (
            f'<p class="warn"><b>The table is {escape(found.unfinished)}.</b> All figures are of what these hold.</p>'
        )
    shown = "".join(f"<div><b>{value}</b><span>{text}</span></div>" for value, text in tiles)
    digest = found.record.fingerprint[:SHOWN_DIGITS]
    held = "Splice-site and usage tracks" if found.usage else "Splice-site tracks"
    return (
        f'<h1>{escape(found.name)}</h1><p class="under">{held}, run <code>{digest}</code></p>'
        f'{warning}<div class="tiles">{shown}</div>'
    )


def _tile(number: int, one: str, many: str, rest: str) -> tuple[str, str]:
    """The number, and the words that agree with it."""
    shown, _, words = counted(number, one, many).partition(" ")
    return shown, f"{words} {rest}"


def _coverage(found: Findings) -> Iterator[str]:
    """Rows by contig and strand."""
    contigs = found.coverage["chrom"].unique(maintain_order=True).to_list()
    order = found.coverage.group_by("chrom", maintain_order=True).agg(pl.col("planned").sum())
    largest = set(order.sort("planned", descending=True, maintain_order=True).head(MAX_CONTIGS)["chrom"])
    of = {(chrom, strand): (planned, computed) for chrom, _, strand, planned, computed in found.coverage.iter_rows()}
    lengths = dict(found.coverage.select("chrom", "length").iter_rows())
    rows = [[chrom, lengths[chrom], *_strands(of, [chrom])] for chrom in contigs if chrom in largest]
    others = [chrom for chrom in contigs if chrom not in largest]
    if others:
        rows.append([counted(len(others), "other"), sum(lengths[chrom] for chrom in others), *_strands(of, others)])
    unit = "Rows" if found.by_transcript else "Bases"
    if found.by_transcript:
        yield "<p>Rows belong to transcripts here: a base has a row for each transcript that holds it.</p>"
    else:
        yield "<p>Each strand counts by itself. Bars show the share of the contig that is computed.</p>"
    head = ["contig", "length", *(f"{unit.lower()}, {strand.partition} strand" for strand in Strand)]
    lines, total = [], [0, 0, 0, 0]
    for chrom, length, *strands in rows:
        cells: list[Any] = [chrom, f"{length:,}"]
        for at, (planned, computed) in enumerate(strands):
            total[2 * at], total[2 * at + 1] = total[2 * at] + planned, total[2 * at + 1] + computed
            cells.append(_of(computed, planned))
            if not found.by_transcript:
                cells.append(Html(str(charts.bar(computed, length, _share(computed, length), width=90))))
                cells.append(_share(computed, length))
        lines.append(cells)
    blank = [] if found.by_transcript else [Html(""), Html("")]
    head = [*head[:2], head[2], *(["", "share"] if blank else []), head[3], *(["", "share"] if blank else [])]
    last = ["all", f"{sum(row[1] for row in rows):,}", _of(total[1], total[0]), *blank, _of(total[3], total[2]), *blank]
    yield table(head, lines, left=1, total=last if len(rows) > 1 else ())


def _strands(of: dict[tuple[str, str], tuple[int, int]], chroms: Sequence[str]) -> list[tuple[int, int]]:
    """Planned and computed rows of contigs together, on each strand."""
    held = [[of.get((chrom, strand.value), (0, 0)) for chrom in chroms] for strand in Strand]
    return [(sum(planned for planned, _ in strand), sum(computed for _, computed in strand)) for strand in held]


def _scores(found: Findings) -> Iterator[str]:
    """Histogram and its numbers."""
    held = found.scores["low"].to_list()[1] if found.scores["low"].to_list()[:1] == [0.0] else 0
    note = f" Scores below {held:g} are one bin: the table of sites does not hold them." if held < 1 / 20 else ""
    yield (
        f"<figure>{legend([(kind, COLOURS[kind]) for kind in KINDS])}{charts.histogram(found.scores)}"
        f"<figcaption>All rows by their acceptor and by their donor score, unrounded; the count is on a logarithmic "
        f"scale.{note}</figcaption></figure>"
    )
    acceptor, donor = (found.scores.filter(kind=kind)["rows"].to_list() for kind in KINDS)
    bounds = found.scores.filter(kind=KINDS[0]).select("low", "high").rows()
    lines = [
        [f"{low:g} to {high:g}", f"{left:,}", f"{right:,}"]
        for (low, high), left, right in zip(bounds, acceptor, donor, strict=True)
    ]
    numbers = table(["score", *KINDS], lines, left=1)
    yield f"<details><summary>Numbers of the histogram</summary>{numbers}</details>"


def _sites(found: Findings) -> Iterator[str]:
    """Called and annotated sites by kind, motif and biotype."""
    one, many = "site lies where the table has no row; it is", "sites lie where the table has no row; they are"
    missing = counted(found.without_row, f"annotated {one} left out.", f"annotated {many} left out.")
    yield (
        f"<p>A site is called if its score is at least {found.threshold:g}. Annotated are the sites of "
        f"{escape(found.named_by)}.{f' {missing}' if found.without_row else ''}</p>"
    )
    groups = ((True, True), (False, True), (True, False))  # called, annotated: as in the legend
    rows = [
        (f"{kind}s", [found.count(kind=kind, called=called, annotated=annotated) for called, annotated in groups])
        for kind in KINDS
    ]
    labels = [label for label, _ in _LEGEND]
    yield f"<figure>{legend(_LEGEND)}{charts.stacked(rows, [ANNOTATED, MISSED, NOVEL], labels)}</figure>"
    yield "<h3>Motif</h3><p>Bases at both ends of the intron; of a site that is not annotated, by its own end.</p>"
    yield table(["", "motif", *_SITE_HEAD], list(_motif_lines(found)), left=2)
    yield "<h3>Biotype of the transcript</h3>"
    yield (
        "<p>A site counts for each biotype that has it. Sites that are not annotated count where they lie between the "
        "ends of such a transcript.</p>"
    )
    spliced = found.biotypes.filter((pl.col("annotated") > 0) | (pl.col("novel") > 0))
    shown, rest = spliced.head(MAX_BIOTYPES), spliced.slice(MAX_BIOTYPES)
    lines = [_site_line([name], *counts) for name, *counts in shown.iter_rows()]
    yield table(["biotype", *_SITE_HEAD], lines, left=1)
    if rest.height:
        more = counted(rest.height, "more biotype has", "more biotypes each have")
        yield f"<p>{more} {counted(max(rest['annotated']), 'annotated site')} or fewer.</p>"


_SITE_HEAD = ("annotated", "called of these", "", "share", "called, not annotated")


def _site_line(names: list[Any], annotated: int, called: int, novel: int) -> list[Any]:
    drawn = Html(str(charts.bar(called, annotated, _share(called, annotated), colour=ANNOTATED)))
    return [*names, f"{annotated:,}", f"{called:,}", drawn, _share(called, annotated), f"{novel:,}"]


def _motif_lines(found: Findings) -> Iterator[list[Any]]:
    for kind in KINDS:
        for motif in (*MOTIFS, None):
            frame = found.sites.filter(pl.col("kind") == kind, pl.col("motif").eq_missing(pl.lit(motif, pl.String)))
            counts = {(called, annotated): sites for *_, called, annotated, sites in frame.iter_rows()}
            hit, missed = counts.get((True, True), 0), counts.get((False, True), 0)
            novel = counts.get((True, False), 0)
            if motif is not None or hit or missed or novel:
                name = "not known: no base beside it in the table" if motif is None else motif
                yield _site_line([f"{kind}s", name], hit + missed, hit, novel)


def _usage(usage: Usage) -> Iterator[str]:
    """Distribution of usage, and how alike tissues are."""
    chosen = _chosen(usage)
    tissues = [usage.tissues[at] for at in chosen]
    if len(chosen) < len(usage.tissues):
        yield f"<p>Drawn are the {len(chosen)} of {len(usage.tissues)} tissues with the greatest medians.</p>"
    yield (
        f"<figure>{charts.strips(tissues, usage.quantiles[chosen])}<figcaption>Usage of the "
        f"{counted(usage.sites, 'called site')}: median (stroke), middle half (box), 5 to 95 % (line)."
        "</figcaption></figure>"
    )
    if len(chosen) < MIN_TISSUES:
        return
    correlation = usage.correlation[np.ix_(chosen, chosen)]
    low, high = charts.span(correlation)
    yield (
        f"<h3>How alike tissues are</h3><figure>{charts.heat_map(tissues, correlation)}<figcaption>Correlation of "
        f"usage over the called sites. Colours span what there is, {low:.3f} to {high:.3f}, so that differences show. "
        "Tissues that resemble each other stand side by side.</figcaption></figure>"
    )


def _chosen(usage: Usage) -> list[int]:
    """The tissues that are drawn, in their order."""
    if len(usage.tissues) <= MAX_TISSUES:
        return list(range(len(usage.tissues)))
    medians = np.nan_to_num(usage.quantiles[:, usage.quantiles.shape[1] // 2])
    return sorted(int(at) for at in np.argsort(-medians, kind="stable")[:MAX_TISSUES])


def _specific(usage: Usage) -> Iterator[str]:
    """Tau, and the sites of the greatest."""
    total = sum(usage.specific.values())
    told = f"{total:,} are specific" if total > 1 else "one is specific" if total else "none is specific"
    yield (
        "<p>tau is 0 for a site that all tissues use alike and 1 for a site of one tissue alone (Yanai et al. 2005). "
        f"Of the {counted(usage.used, 'called site')} with a usage of {MIN_USAGE:g} or more in some tissue, {told}: "
        f"tau of {SPECIFIC:g} or more.</p>"
    )
    left = f"<div><h3>Sites by tau</h3>{charts.tau_histogram(usage.tau, SPECIFIC)}</div>"
    most = dict(sorted(usage.specific.items(), key=lambda item: -item[1])[:MAX_TISSUES])
    drawn = charts.bars(most, "Specific sites by tissue")
    right = f"<div><h3>Specific sites by their tissue</h3>{drawn}</div>" if total else ""
    yield f'<div class="side">{left}{right}</div>'
    if usage.most_specific.height:
        yield "<h3>The most specific sites</h3>"
        head = ["site", "kind", "gene", "annotated", "tissue", "its usage", "mean of others", "tau", "score"]
        yield table(head, [_specific_line(row) for row in usage.most_specific.iter_rows(named=True)], left=5)


def _specific_line(row: dict[str, Any]) -> list[Any]:
    place = f"{row['chrom']}:{row['pos']:,} {row['strand']}"
    annotated = "yes" if row["annotated"] else "no"
    figures = [f"{row[name]:.3f}" for name in ("usage", "others", "tau", "score")]
    return [place, row["kind"], row["genes"] or "none", annotated, readable(row["tissue"]), *figures]


def _run(found: Findings) -> Iterator[str]:
    """What the record of the run tells."""
    begun, fields = found.record.execution, found.record.fields
    size = f"{found.tracks_bytes:,} bytes, {found.tracks_bytes / max(1, found.rows):.2f} bytes a row"
    lines = [
        ["shards", f"{found.parts:,} of {found.record.units:,}"],
        ["wall time", _wall_time(found)],
        ["tracks", size],
    ]
    if found.sites_bytes is not None:
        lines.append(["table of sites", f"{found.sites_bytes:,} bytes, scores from {_threshold(found)} on"])
    windows = counted(begun.batch, "window")
    lines += [["hardware", begun.hardware], ["device", begun.device], ["engine", begun.engine or "not given"]]
    lines += [["precision", begun.precision], ["micro-batch", windows], ["threads of a worker", f"{begun.threads:,}"]]
    yield "<h3>How it was computed</h3>"
    yield table(["", ""], lines, left=2)
    if len(found.executions) > 1:
        yield "<p>Parts were computed in several ways:</p>"
        ways = [[_execution(text), f"{count:,}"] for text, count in found.executions.items()]
        yield table(["hardware, engine", "parts"], ways, left=1)
    yield "<h3>What defines it</h3>"
    rows = [["fingerprint", found.record.fingerprint[:SHOWN_DIGITS]]]
    for name, value in fields.items():
        text = str(value)[:SHOWN_DIGITS] if name in _DIGESTS else str(value).replace(",", ", ")
        rows.append([f"{name} (digest)" if name in _DIGESTS else name, Html(escape(text))])  # channels, all of them
    yield table(["", ""], rows, left=2)


def _wall_time(found: Findings) -> str:
    seconds, bases = (sum(getattr(start, name) for start in found.history) for name in ("seconds", "size"))
    if not seconds:
        return "not recorded"
    return f"{in_words(found.history)}, {bases / seconds:,.0f} bases a second"


def _threshold(found: Findings) -> str:
    return f"{found.record.about.get('sites_threshold', 0):g}"


def _execution(text: str) -> str:
    """How a part was computed, in a few words."""
    try:
        told = json.loads(text)
        return f"{told['hardware']}, {told['engine']} engine, {told['precision']}"
    except (ValueError, KeyError, TypeError):
        return "not given"


def _share(part: int, whole: int) -> str:
    """A share as per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _of(computed: int, planned: int) -> str:
    """Rows, with those that are planned where they are not all there."""
    return f"{computed:,}" if computed == planned else f"{computed:,} of {planned:,}"
