"""The whole job on a generated genome with a known answer: `python workflows/demo.py FOLDER`.

Example, tracks, evaluation, picture of a gene, a query with Polars and one with DuckDB. A second time it goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl

from pipeline.simulation.example import GENE, write_example
from pipeline.tracks.reader import open_tracks

POLARS_QUERY = """\
open_tracks("{tracks}").sites().filter(
    (pl.col("donor") > 0.5) & (pl.col("heart") > pl.col("liver") + 0.3)
).select("chrom", "strand", "pos", "donor", "heart", "liver").collect()"""
DUCKDB_QUERY = """\
SELECT strand, count(*) FILTER (acceptor > 0.5) AS acceptors, count(*) FILTER (donor > 0.5) AS donors,
       round(avg(brain) FILTER (donor > 0.5), 3) AS brain_usage_of_donors
FROM read_parquet('{tracks}/sites/**/*.parquet', hive_partitioning = true) GROUP BY strand ORDER BY strand"""


def main() -> None:
    """Generate, run, evaluate, draw, query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    tracks, evaluation, picture = folder / "tracks", folder / "evaluation", folder / "gene.png"

    step(
        "A generated genome of one contig, its genes, the known usage of its splice sites, and a small trained network"
    )
    genome, annotation, usage, checkpoint = write_example(folder)
    print(f"written to {folder}. It is synthetic: nothing here says anything about real genes.")

    step("Splice-site and usage scores of every base of every gene, as Parquet")
    sptx("run", "--fasta", genome, "--gtf", annotation, "--checkpoint", checkpoint, "--output", tracks)

    step("How good are they? Against the known answer")
    sptx("evaluate", tracks, "--gtf", annotation, "--usage", usage, "--to", evaluation)

    step(f"One gene, {GENE}: scores, and predicted usage above the known one")
    sptx("plot", tracks, GENE, "--usage", usage, "--to", picture)

    step("Donors that heart uses more than liver, with Polars")
    print(POLARS_QUERY.format(tracks=tracks))
    sites = open_tracks(tracks).sites()
    found = sites.filter((pl.col("donor") > 0.5) & (pl.col("heart") > pl.col("liver") + 0.3))
    with pl.Config(tbl_rows=6, float_precision=3):
        print(found.select("chrom", "strand", "pos", "donor", "heart", "liver").collect())

    step("Likely sites by strand, with DuckDB")
    sql = DUCKDB_QUERY.format(tracks=tracks)
    print(sql)
    print(duckdb.sql(sql))

    step("Look at")
    for path, what in (
        (picture, f"the picture of {GENE}"),
        (evaluation, "precision and recall, calibration, sequence logos, usage by tissue; evaluation.json"),
        (tracks, "the table: tracks/ has every base, sites/ the likely splice sites (docs/table.md)"),
    ):
        print(f"{path!s:<18}  {what}")


def step(title: str) -> None:
    """Announce what comes next."""
    print(f"\n== {title}", flush=True)


def sptx(*arguments: object) -> None:
    """Show and run a command of `sptx`; what fails there has said why."""
    words = ["sptx", *map(str, arguments)]
    print("$", *words, flush=True)
    done = subprocess.run(words, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
