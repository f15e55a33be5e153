"""The drawings of a report, from its findings.

Colours can be told apart by the colour-blind (Okabe & Ito 2008) and in grey. A drawing that has nothing to show is
still drawn, with its axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pipeline.inputs.splice_sites import KINDS
from pipeline.reporting.findings import Floats, Ints
from pipeline.reporting.svg import Drawing
from sptx_core.words import counted

COLOURS = {"acceptor": "#0072b2", "donor": "#d55e00"}
ANNOTATED, NOVEL, MISSED = "#009e73", "#e69f00", "#c4c4c4"
BAR, BAR_BEHIND = "#0072b2", "#e3e8ec"
AXIS, GRID, MUTED = "#555", "#e4e4e4", "#4d4d4d"
DARK, LIGHT = "#1a1a1a", "#fff"
RAMP = ((247, 251, 255), (107, 174, 214), (8, 48, 107))
"""Of the heat map, from the least value over the middle to the greatest; its lightness falls evenly."""
WIDTH = 900  # of a drawing over the whole page
MAX_TISSUES = 30  # in a drawing
MAX_NAME = 22  # letters of a tissue in a drawing
_LEFT = 150  # room for names


def histogram(scores: pl.DataFrame) -> Drawing:
    """Rows by score, on a logarithmic axis: a pair of bars for each bin of `Findings.scores`."""
    left, right, top, bottom, height = 78, 10, 12, 46, 290
    drawing = Drawing(WIDTH, height, "Histogram of acceptor and donor scores; the numbers are in the table below it")
    by_kind = {kind: scores.filter(kind=kind) for kind in KINDS}
    bins = by_kind[KINDS[0]].select("low", "high").rows()
    most = max(10, *scores["rows"].to_list())
    decades = math.ceil(math.log10(most))
    base, room = height - bottom, height - bottom - top
    step = (WIDTH - left - right) / len(bins)

    def y(rows: float) -> float:
        return base - room * (math.log10(rows) + 0.3) / (decades + 0.3)  # one row is still seen

    for power in range(decades + 1):
        drawing.line(left, y(10**power), WIDTH - right, y(10**power), GRID)
        drawing.text(left - 6, y(10**power) + 4, f"{10**power:,}", anchor="end", style="s")
    for kind, place in zip(KINDS, (0.08, 0.5), strict=True):
        for at, (low, high, rows) in enumerate(by_kind[kind].select("low", "high", "rows").iter_rows()):
            if rows:
                tip = f"{kind} {low:g} to {high:g}: {counted(rows, 'row')}"
                drawing.rect(left + (at + place) * step, y(rows), 0.42 * step, base - y(rows), COLOURS[kind], tip)
    drawing.line(left, base, WIDTH - right, base, AXIS)
    for at, (low, _) in enumerate(bins):
        drawing.line(left + at * step, base, left + at * step, base + 4, AXIS)
        drawing.text(left + at * step, base + 16, f"{low:g}", anchor="middle", style="s")
    drawing.text(WIDTH - right, base + 16, "1", anchor="middle", style="s")
    drawing.text((left + WIDTH - right) / 2, height - 8, "score", anchor="middle")
    drawing.turned(14, (top + base) / 2, "rows", -90)
    return drawing


def bar(part: float, whole: float, tip: str, *, colour: str = BAR, width: int = 120) -> Drawing:
    """A bar for a cell of a table: a share of a whole."""
    drawing = Drawing(width, 10, tip)
    drawing.rect(0, 1, width, 8, BAR_BEHIND)
    if part and whole:
        drawing.rect(0, 1, max(0.8, width * min(1.0, part / whole)), 8, colour)
    return drawing


def stacked(rows: Sequence[tuple[str, Sequence[int]]], colours: Sequence[str], labels: Sequence[str]) -> Drawing:
    """A bar for each row, of parts in these colours, all on one scale."""
    high, right = 30, 90
    total = max((sum(parts) for _, parts in rows), default=0) or 1
    drawing = Drawing(WIDTH, high * len(rows), "; ".join(_told(name, parts, labels) for name, parts in rows))
    for at, (name, parts) in enumerate(rows):
        drawing.text(_LEFT - 10, at * high + 19, name, anchor="end")
        x = float(_LEFT)
        for count, colour, label in zip(parts, colours, labels, strict=True):
            width = (WIDTH - _LEFT - right) * count / total
            if count:
                drawing.rect(x, at * high + 4, width, high - 8, colour, f"{name}, {label}: {count:,}")
            if width > 9 * len(f"{count:,}"):
                fill = DARK if colour in (MISSED, NOVEL) else LIGHT
                drawing.text(x + width / 2, at * high + 19, f"{count:,}", anchor="middle", fill=fill)
            x += width
        drawing.text(x + 6, at * high + 19, f"{sum(parts):,}", fill=MUTED)
    return drawing


def _told(name: str, parts: Sequence[int], labels: Sequence[str]) -> str:
    return f"{name}: " + ", ".join(f"{count:,} {label}" for count, label in zip(parts, labels, strict=True))


def strips(tissues: Sequence[str], quantiles: Floats) -> Drawing:
    """Usage by tissue: 5 to 95 % as a line, the middle half as a box, the median as a stroke."""
    high, right, bottom = 22, 60, 40
    base = high * len(tissues) + 4
    drawing = Drawing(WIDTH, base + bottom, "Usage of called sites by tissue: median, middle half, 5 to 95 %")
    room = WIDTH - _LEFT - right
    for tenth in range(0, 11, 2):
        x = _LEFT + room * tenth / 10
        drawing.line(x, 0, x, base, GRID)
        drawing.text(x, base + 15, f"{tenth / 10:g}", anchor="middle", style="s")
    for at, (name, values) in enumerate(zip(tissues, quantiles.tolist(), strict=True)):
        y = at * high + high / 2 + 2
        drawing.text(_LEFT - 10, y + 4, name_of(name), anchor="end")
        if np.isnan(values).any():
            continue
        low, quarter, median, three, most = (_LEFT + room * value for value in values)
        drawing.line(low, y, most, y, MUTED)
        drawing.rect(quarter, y - 6, max(1.5, three - quarter), 12, "#8fc1e3")
        drawing.rect(median - 1.5, y - 8, 3, 16, "#08306b")
        drawing.text(WIDTH - right + 8, y + 4, f"{values[2]:.3f}", fill=MUTED, style="s")
    drawing.line(_LEFT, base, WIDTH - right, base, AXIS)
    drawing.text(_LEFT + room / 2, base + 34, "usage", anchor="middle")
    drawing.text(WIDTH - right + 8, base + 15, "median", fill=MUTED, style="s")
    return drawing


def heat_map(tissues: Sequence[str], correlation: Floats) -> Drawing:
    """Correlation of each pair of tissues, those that resemble each other side by side; colours span what there is."""
    order = by_likeness(correlation)
    names, values = [name_of(tissues[at]) for at in order], correlation[np.ix_(order, order)]
    low, high = span(correlation)
    cell = min(46, (WIDTH - _LEFT - 20) // max(1, len(order) - 1))
    decimals = 2 if high - low >= 0.1 else 3
    numbered = cell >= (30 if decimals == 2 else 34)
    longest = max((min(len(name), 26) for name in names), default=0)
    base = cell * (len(order) - 1)
    drawing = Drawing(
        WIDTH, base + 6.2 * longest * 0.72 + 24, "Correlation of usage between tissues, as numbers in cells"
    )
    for row in range(1, len(order)):
        drawing.text(_LEFT - 10, (row - 1) * cell + cell / 2 + 4, names[row], anchor="end")
        for column in range(row):
            value = float(values[row, column])
            known = not np.isnan(value)
            tip = f"{names[row]} and {names[column]}: {value:.3f}" if known else "not defined"
            share = (value - low) / (high - low) if known and high > low else 0.0
            x, y = _LEFT + column * cell, (row - 1) * cell
            drawing.rect(x, y, cell - 1, cell - 1, shade(share) if known else GRID, tip)
            if numbered and known:
                fill = LIGHT if share > 0.68 else DARK  # whichever differs more from the cell
                text = f"{value:.{decimals}f}"
                drawing.text(x + cell / 2 - 0.5, y + cell / 2 + 4, text, anchor="middle", fill=fill, style="s")
    for column in range(len(order) - 1):
        drawing.turned(_LEFT + column * cell + cell / 2 + 4, base + 12, names[column], -45, anchor="end")
    _scale(drawing, min(WIDTH - 250, _LEFT + base + 60), low, high, decimals)
    return drawing


def _scale(drawing: Drawing, left: float, low: float, high: float, decimals: int) -> None:
    """What colours mean, above on the right."""
    width, steps = 200, 40
    drawing.text(left, 14, "Pearson's correlation")
    for step in range(steps):
        drawing.rect(left + step * width / steps, 22, width / steps + 0.5, 12, shade((step + 0.5) / steps))
    for share in (0.0, 0.5, 1.0):
        label = f"{low + share * (high - low):.{decimals}f}"
        drawing.text(left + share * width, 48, label, anchor="middle", style="s")


def tau_histogram(tau: Ints, specific: float) -> Drawing:
    """Used sites by tau, in bins of equal width; a line where sites count as specific."""
    left, right, top, bottom, width, height = 60, 10, 18, 42, 430, 220
    drawing = Drawing(width, height, "Histogram of tau")
    base, room, most = height - bottom, width - left - right, max(1, int(tau.max(initial=0)))
    step = room / len(tau)
    for share in (0.5, 1.0):
        y = base - share * (base - top)
        drawing.line(left, y, width - right, y, GRID)
        drawing.text(left - 6, y + 4, f"{share * most:,.0f}", anchor="end", style="s")
    for at, count in enumerate(tau.tolist()):
        if count:
            high = max(0.8, (base - top) * count / most)
            tip = f"tau {at / len(tau):.2f} to {(at + 1) / len(tau):.2f}: {counted(count, 'site')}"
            drawing.rect(left + at * step + 1, base - high, step - 2, high, BAR, tip)
    x = left + specific * room
    drawing.line(x, top, x, base, MUTED, 1.5)
    drawing.text(x, top - 5, f"specific from {specific:g} on", anchor="middle", style="s", fill=MUTED)
    drawing.line(left, base, width - right, base, AXIS)
    for tick in range(0, 11, 2):
        drawing.text(left + tick / 10 * room, base + 15, f"{tick / 10:g}", anchor="middle", style="s")
    drawing.text(left + room / 2, height - 8, "tau: 0 used alike, 1 used by one tissue", anchor="middle")
    drawing.turned(14, (top + base) / 2, "sites", -90)
    return drawing


def bars(counts: Mapping[str, int], label: str) -> Drawing:
    """A bar and its number for each name."""
    high, left, right, width = 19, 130, 60, 450
    drawing = Drawing(width, high * len(counts) + 4, label)
    most = max(counts.values(), default=0) or 1
    for at, (name, count) in enumerate(counts.items()):
        y = at * high
        drawing.text(left - 8, y + 14, name_of(name), anchor="end")
        long = (width - left - right) * count / most
        if count:
            drawing.rect(left, y + 3, max(0.8, long), high - 5, BAR, f"{readable(name)}: {count:,}")
        drawing.text(left + long + 6, y + 14, f"{count:,}", fill=MUTED)
    return drawing


def by_likeness(correlation: Floats) -> list[int]:
    """Order tissues so that those that resemble each other stand side by side.

    The first one resembles the others least in the mean; each next one is the one left that resembles the last most,
    of equal ones the first.
    """
    values = np.where(np.isnan(correlation), -1.0, correlation).round(6)
    left = list(range(len(values)))
    order: list[int] = []
    while left:
        likeness = values[order[-1], left] if order else -values.sum(axis=1)
        order.append(left.pop(int(np.argmax(likeness))))
    return order


def span(correlation: Floats) -> tuple[float, float]:
    """The least and the greatest correlation of two tissues; 0 and 1 where there is none."""
    pairs = correlation[~np.eye(len(correlation), dtype=bool) & ~np.isnan(correlation)]
    return (float(pairs.min()), float(pairs.max())) if len(pairs) else (0.0, 1.0)


def shade(share: float) -> str:
    """The colour of a share, 0 to 1, of the heat map's scale."""
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    at = min(int(place), len(RAMP) - 2)
    return "#" + "".join(
        f"{round(low + (high - low) * (place - at)):02x}" for low, high in zip(RAMP[at], RAMP[at + 1], strict=True)
    )


def readable(name: str) -> str:
    """A tissue's name as people write it."""
    return name.replace("_", " ")


def name_of(tissue: str) -> str:
    """A tissue's name where room is short."""
    name = readable(tissue)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
