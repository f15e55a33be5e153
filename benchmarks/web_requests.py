"""What questions to a table on a web server cost: requests, bytes, seconds.

    python benchmarks/web_requests.py TABLE [--gene DOCK8] [--region chr9:250,000-260,000]

Serves the folder of a finished table by nginx (which must be installed) on the loopback interface, asks each question
with `open_tracks` anew, and counts in nginx's log. The answers must be those of the folder itself. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pipeline import open_tracks
from pipeline.tracks.reader import Tracks

SECONDS_TO_START = 10
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    log_format counted '$body_bytes_sent $request_uri';
    access_log {folder}/access.log counted;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {table}; }}
}}
"""


@contextmanager
def served(table: Path) -> Iterator[tuple[str, Path]]:
    """The address of the table's folder, and nginx's log."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        folder = Path(name)
        folder.chmod(0o755)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        configuration = folder / "nginx.conf"
        configuration.write_text(f"user root;{CONFIGURATION.format(folder=folder, port=port, table=table)}")
        with subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL) as server:
            try:
                until = time.monotonic() + SECONDS_TO_START
                while not (folder / "pid").exists() and time.monotonic() < until:
                    time.sleep(0.05)
                yield f"http://127.0.0.1:{port}", folder / "access.log"
            finally:
                server.terminate()


def main() -> None:
    """Ask, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--gene", default="DOCK8")
    parser.add_argument("--region", default="chr9:250,000-260,000")
    given = parser.parse_args()
    questions: dict[str, Callable[[Tracks], pl.DataFrame]] = {
        f"`{given.region}`, strand +, acceptor and donor": lambda tracks: tracks.region(
            given.region, strand="+", columns=["acceptor", "donor"]
        ),
        f"{given.gene}, acceptor and donor": lambda tracks: tracks.gene(given.gene, columns=["acceptor", "donor"]),
        f"{given.gene}, all columns": lambda tracks: tracks.gene(given.gene),
        f"sites of {given.gene}": lambda tracks: tracks.gene(given.gene, sites=True),
        "all sites": lambda tracks: tracks.sites().collect(),
        "all rows": lambda tracks: tracks.scan().collect(),
    }
    table = given.table.resolve()
    print("| question | rows | requests | bytes | s |\n| --- | ---: | ---: | ---: | ---: |")
    with served(table) as (url, log):
        for name, ask in questions.items():
            before = len(log.read_text().splitlines())
            start = time.monotonic()
            rows = ask(open_tracks(url))
            seconds = time.monotonic() - start
            if not rows.equals(ask(open_tracks(table))):
                raise SystemExit(f"{name}: other rows than those of {table}")
            sizes = [int(line.split()[0]) for line in log.read_text().splitlines()[before:]]
            print(f"| {name} | {len(rows):,} | {len(sizes)} | {sum(sizes):,} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
