"""How quickly `sptx browse` answers, and in how much memory: every kind of question at every zoom.

    python benchmarks/browse_latency.py [--bases 80000000] [--folder KEPT] [--table ROOT] [--repeats 20]

The table is that of `named_sites.py`: one contig with an annotation as dense as GENCODE's, 42 million rows. The server
is the program itself in a process of its own. From its start to the first page, to `api/config` and to the first scores
is measured; then each question of random views, most of which it has never read, over one connection, as a browser
does; then the same views again. Printed is a table in Markdown, and the greatest resident memory of the server.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
import psutil
from named_sites import write_table

SPTX = [sys.executable, "-c", "from pipeline.cli import main; main()"]
ZOOMS = (100, 1_000, 10_000, 100_000, 500_000, 2_000_000, 20_000_000)  # bases of a view; the last is the contig
BINS, MOST, MAX_SEQUENCE = 1_280, 500, 20_000
MIB = 1 << 20


class Answer(NamedTuple):
    """How long an answer took, s, and its bytes on the way."""

    seconds: float
    bytes: int


class Row(NamedTuple):
    """Answers to a question of views of one width: of views not seen before, and of the same again.

    `processor` is what the server needed for one of the former, s.
    """

    zoom: int
    kind: str
    first: list[Answer]
    again: list[Answer]
    processor: float


class Client:
    """One connection to the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=600)

    def ask(self, path: str) -> tuple[Answer, bytes]:
        """The answer's figures and body."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        response = self._connection.getresponse()
        body = response.read()
        taken = time.perf_counter() - began
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {body.decode(errors='replace')}")
        return Answer(taken, len(body)), gzip.decompress(body) if response.headers["Content-Encoding"] else body


@contextmanager
def served(root: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """The address of a server of a table, its process, and when it was started."""
    began = time.perf_counter()
    with subprocess.Popen([*SPTX, "browse", str(root), "--no-open"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), psutil.Process(process.pid), began
        finally:
            process.terminate()


def questions(chrom: str, start: int, end: int) -> dict[str, str]:
    """What the page asks of a view: kind of question -> address."""
    view: dict[str, Any] = {"table": 0, "chrom": chrom, "start": start, "end": end}
    asked = {
        "scores": view | {"strand": "+", "bins": BINS},
        "scores, other strand": view | {"strand": "-", "bins": BINS},
        "usage": view | {"strand": "+", "least": 0.1, "most": MOST},
        "introns": view | {"strand": "+", "most": MOST},
        "transcripts": view | {"most": MOST},
        "sites": view | {"least": 0.1, "most": MOST},
    }
    if end - start <= MAX_SEQUENCE:
        asked["sequence"] = view
    return {kind: f"/api/{kind.partition(',')[0]}?{urlencode(values)}" for kind, values in asked.items()}


def measured(client: Client, process: psutil.Process, chrom: str, length: int, repeats: int) -> Iterator[Row]:
    """Ask every question at every zoom, one kind after the other."""
    random = np.random.default_rng(0)
    for zoom in (*(zoom for zoom in ZOOMS if zoom < length), length):
        views = [
            questions(chrom, start, start + zoom) for start in random.integers(0, length - zoom + 1, repeats).tolist()
        ]
        for kind in views[0]:
            used = sum(process.cpu_times()[:2])
            first = [client.ask(view[kind])[0] for view in views]
            used = sum(process.cpu_times()[:2]) - used
            yield Row(zoom, kind, first, [client.ask(view[kind])[0] for view in views], used / repeats)


def table_of(rows: list[Row]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| bases in view | question | median, ms | worst, ms | again, median, ms | processor, ms | kB |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        seconds = [1000 * answer.seconds for answer in row.first]
        warm = 1000 * statistics.median(answer.seconds for answer in row.again)
        size = statistics.median(answer.bytes for answer in row.first) / 1000
        yield (
            f"| {row.zoom:,} | {row.kind} | {statistics.median(seconds):.1f} | {max(seconds):.0f} | {warm:.1f} "
            f"| {1000 * row.processor:.0f} | {size:.1f} |"
        )


def measure(root: Path, repeats: int) -> None:
    """Start the server, ask it everything, and print what it took."""
    with served(root) as (url, process, began):
        client = Client(url)
        listening = time.perf_counter() - began
        client.ask("/")
        page = time.perf_counter() - began
        config = json.loads(client.ask("/api/config")[1])
        configured = time.perf_counter() - began
        chrom, span = config["locus"].rsplit(":", 1)
        start, end = map(int, span.split("-"))
        client.ask(questions(chrom, start - 1, end)["scores"])
        first = time.perf_counter() - began
        print(f"listening after {listening:.2f} s, page {page:.2f}, config {configured:.2f}, first scores {first:.2f}")
        length = dict(map(tuple, config["contigs"]))[chrom]
        rows = list(measured(client, process, chrom, length, repeats))
        print("\n".join(table_of(rows)))
        for text in ("GENE1", "g", "chr1:1,000-2,000", "nothing"):
            print(f"find {text}: {1000 * client.ask(f'/api/find?q={quote(text)}')[0].seconds:.1f} ms")
        for zoom in dict.fromkeys(row.zoom for row in rows):
            all_of_it = [1000 * answer.seconds for row in rows if row.zoom == zoom for answer in row.first]
            print(f"{zoom:,} bases: median {statistics.median(all_of_it):.1f} ms, worst {max(all_of_it):.0f} ms")
        peak = Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        print(f"greatest resident memory of the server: {int(peak) / 1024:,.0f} MiB, {process.num_threads()} threads")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load}")


def main() -> None:
    """Make the table unless it is there, then measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bases", type=int, default=80_000_000, help="of the contig of the table that is made")
    options.add_argument("--folder", type=Path, help="where the table is kept")
    options.add_argument("--table", type=Path, help="measure this table instead")
    options.add_argument("--repeats", type=int, default=20, help="views of each zoom")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        root = given.table or (given.folder or Path(aside)) / "table"
        if not root.exists():
            root.parent.mkdir(parents=True, exist_ok=True)
            print(f"table of {write_table(root, given.bases):,} rows")
        measure(root, given.repeats)


if __name__ == "__main__":
    main()
