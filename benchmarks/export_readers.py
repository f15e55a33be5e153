"""An export held against its table in three independent readers, with its time and size.

    python benchmarks/export_readers.py TABLE

Exports a table of genomic flanks to a temporary folder, as usual and with `--every-base`. Compares each bigWig with the
table in UCSC's reader (pybbi), libBigWig (pyBigWig) and bigtools (pybigtools): every base of every contig, and the
greatest value of every bin of the zoom levels; ends with an error at the first that differs. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bbi
import numpy as np
import polars as pl
import pybigtools
import pyBigWig

from pipeline import open_tracks
from pipeline.coordinates import Strand
from pipeline.exporting.browsers import signals_of
from pipeline.exporting.zoom import level_bases
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE

Floats = np.ndarray[Any, np.dtype[np.float32]]
Read = Callable[[str, str, int, int | None], Any]  # file, contig, end, bins -> values, or the greatest of each bin


def in_ucsc(path: str, contig: str, end: int, bins: int | None) -> Any:
    """As UCSC's code reads it."""
    return bbi.fetch(path, contig, 0, end, bins=-1 if bins is None else bins, summary="max", missing=np.nan)


def in_libbigwig(path: str, contig: str, end: int, bins: int | None) -> Any:
    """As libBigWig reads it."""
    with pyBigWig.open(path) as file:
        if bins is None:
            return file.values(contig, 0, end)
        found = file.stats(contig, 0, end, type="max", nBins=bins)
        return [np.nan if value is None else value for value in found]


def in_bigtools(path: str, contig: str, end: int, bins: int | None) -> Any:
    """As bigtools reads it."""
    return pybigtools.open(path).values(contig, 0, end, bins=bins, summary="max", fillna=None)


READERS: tuple[Read, ...] = (in_ucsc, in_libbigwig, in_bigtools)


def wanted(tracks: Tracks, contig: str, length: int, strand: str, channel: str, least: float) -> Floats:
    """Values of every base by the table's rows; NaN where the export has none."""
    rows = tracks.region(contig, strand=strand, columns=[channel])
    if channel not in SPLICE:
        likely = tracks.region(contig, strand=strand, columns=[channel], sites=True)
        rows = rows.filter(pl.col("pos").is_in(likely["pos"].implode()))
    found = np.full(length, np.nan, np.float32)
    found[rows["pos"].to_numpy() - 1] = rows[channel].to_numpy()
    found[found < np.float32(least)] = np.nan
    return found


def _require_equal(got: Any, right: Floats, what: str) -> None:
    if not np.array_equal(np.asarray(got, np.float32), right, equal_nan=True):
        raise SystemExit(f"{what} differs from the table")


def check(tracks: Tracks, root: Path, least: float) -> int:
    """Compare every bigWig in every reader; how many values were compared in each."""
    compared = 0
    tissues = [channel for channel in tracks.channels if channel not in SPLICE]
    for signal in signals_of(tissues):
        for contig, length in tracks.contigs.select("chrom", "length").iter_rows():
            values = wanted(tracks, contig, length, Strand(signal.strand).value, signal.channel, least)
            path = str(root / signal.file)
            bins = {bases: length // bases for bases in level_bases(length) if length >= bases}
            for read in READERS:
                _require_equal(read(path, contig, length, None), values, f"{path}: {contig} in {read.__name__}")
                for bases, count in bins.items():
                    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of bins without a value
                        right = np.nanmax(values[: count * bases].reshape(count, bases), axis=1)
                    got = read(path, contig, count * bases, count)
                    _require_equal(got, right, f"{path}: {contig} in {read.__name__}, bins of {bases} bases")
            compared += int((~np.isnan(values)).sum())
    return compared


def main() -> None:
    """Export, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    table = parser.parse_args().table
    tracks = open_tracks(table)
    print("| options | CPU s | files, bytes | acceptor and donor, bytes | values equal in three readers |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for options, least in (([], 0.001), (["--every-base"], 0.0)):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "export"
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = ["sptx", "export", table, "--to", str(root), "--genome", "hg38", "--quiet", *options]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            sizes = {path: path.stat().st_size for path in root.rglob("*") if path.is_file()}
            splice = sum(size for path, size in sizes.items() if path.name.startswith(("acceptor", "donor")))
            figures = (f"{seconds:.1f}", f"{sum(sizes.values()):,}", f"{splice:,}", f"{check(tracks, root, least):,}")
            print(f"| {' '.join(options)} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
