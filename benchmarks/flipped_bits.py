"""What readers make of damage: one flipped bit of a part at a time, then a part of no bytes, and what each reader does.

    python benchmarks/flipped_bits.py TABLE [--bits 60]

Works on a copy. Prints a table in Markdown: how many flips each reader refused, did not notice though its rows were
wrong, or gave the right rows in spite of; and what it does with a part of 0 bytes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipeline import open_tracks
from pipeline.batch.storage import Store
from pipeline.tracks.verify import verify


def readers(root: Path) -> dict[str, Callable[[], Any]]:
    """Name -> what gives all rows; `sptx verify` raises where it finds a problem."""
    files = f"{root}/tracks/**/*.parquet"

    def verified() -> bool:
        if problems := verify(Store(root)).problems:
            raise ValueError(problems[0])
        return True

    def in_duckdb() -> list[tuple[Any, ...]]:
        query = f"SELECT * FROM read_parquet('{files}', hive_partitioning = true) ORDER BY chrom, strand, pos"
        return duckdb.connect().sql(query).fetchall()

    return {
        "Polars": lambda: pl.scan_parquet(files, hive_partitioning=True).collect().rows(),
        "DuckDB": in_duckdb,
        "`open_tracks`": lambda: open_tracks(root).scan().collect().rows(),
        "`open_tracks(verify=True)`": lambda: open_tracks(root, verify=True).scan().collect().rows(),
        "`sptx verify`": verified,
    }


def outcome(read: Callable[[], Any], true: Any) -> str:
    """What one reader does now."""
    try:
        return "right" if read() == true else "wrong"
    except BaseException as error:  # Polars panics at some damage, which is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return "refused"


def main() -> None:
    """Flip, read, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--bits", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = shutil.copytree(given.table, Path(folder) / "table")
        parts = sorted(root.glob("tracks/**/*.parquet"))
        part, draw = parts[len(parts) // 2], random.Random(1)
        sound, reading = part.read_bytes(), readers(root)
        true = {name: read() for name, read in reading.items()}
        counts: dict[str, Counter[str]] = {name: Counter() for name in reading}
        for _ in range(given.bits):
            content = bytearray(sound)
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            part.write_bytes(content)
            for name, read in reading.items():
                counts[name][outcome(read, true[name])] += 1
        part.write_bytes(b"")
        print("| reader | refused | wrong rows, not a word | right rows | a part of 0 bytes |")
        print("| --- | --: | --: | --: | --- |")
        for name, read in reading.items():
            found = counts[name]
            print(
                f"| {name} | {found['refused']} | {found['wrong']} | {found['right']} | {outcome(read, true[name])} |"
            )


if __name__ == "__main__":
    main()
