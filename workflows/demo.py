"""The main job on a made-up genome, then two queries of the table: `python workflows/demo.py FOLDER`."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import duckdb
import polars as pl

from pipeline.example import write_example
from pipeline.tracks import open_tracks

POLARS_QUERY = """\
open_tracks("{tracks}").gene("ALPHA1").sort("donor", descending=True).select("pos", "ref", "donor", "brain").head(3)"""
DUCKDB_QUERY = """\
SELECT chrom, strand, count(*) AS bases, round(max(acceptor), 4) AS best_acceptor, round(avg(liver), 4) AS mean_liver
FROM read_parquet('{tracks}/tracks/**/*.parquet', hive_partitioning = true) GROUP BY ALL ORDER BY ALL"""


def main() -> None:
    """Generate, run, query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    tracks = folder / "tracks"
    genome, annotation, checkpoint = write_example(folder)
    print("Note: the demo's checkpoint is untrained, so its scores mean nothing.")
    command = ["sptx", "run", "--fasta", genome, "--gtf", annotation, "--checkpoint", checkpoint, "--output", tracks]
    print("$", *command, flush=True)
    subprocess.run(list(map(str, command)), check=True)

    print(f"\nPolars: {POLARS_QUERY.format(tracks=tracks)}")
    best = open_tracks(str(tracks)).gene("ALPHA1").sort("donor", descending=True)
    with pl.Config(tbl_hide_dataframe_shape=True):
        print(best.select("pos", "ref", "donor", "brain").head(3))
    sql = DUCKDB_QUERY.format(tracks=tracks)
    print(f"\nDuckDB: {sql}")
    print(duckdb.sql(sql))


if __name__ == "__main__":
    main()
