"""The whole job on a generated genome with a known answer: `python workflows/demo.py FOLDER`.

Example, tracks, evaluation, picture of a gene, a query with Polars and one with DuckDB, a variant and its picture, a
report of the tracks. A second time it goes on where it stopped.
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
from pipeline.variants.reader import open_variants

VARIANT = "chr1-70798-C-G"
"""The first base behind an exon of GENE, which lies on the minus strand: the G of the donor's GT becomes C."""
VCF = """\
##fileformat=VCFv4.3
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
chr1\t70798\tdonor\tC\tG\t.\t.\t.
chr1\t70841\tmiddle_of_the_exon\tA\tT\t.\t.\t.
"""
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
    page = folder / "report.html"

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

    step("Two changes of a base in it: one breaks a donor, one lies in the middle of the exon")
    vcf, scores, before_and_after = folder / "two.vcf", folder / "scores", folder / "variant.png"
    vcf.write_text(VCF)
    print(VCF, end="")
    inputs = ("--vcf", vcf, "--fasta", genome, "--gtf", annotation, "--checkpoint", checkpoint)
    sptx("variants", *inputs, "--output", scores, "--sites", "--quiet")
    with pl.Config(float_precision=3):
        print(open_variants(scores).gene(GENE).select("pos", "id", "d_splice", "ds_dl", "dl_pos", "ds_dg", "dg_pos"))
    sptx("plot", scores, VARIANT, "--gtf", annotation, "--to", before_and_after)

    step("All of the table on one page")
    sptx("report", tracks, "--to", page)

    step("Look at")
    for path, what in (
        (page, "the report: coverage, scores, called sites, usage by tissue, how it was computed (docs/report.md)"),
        (picture, f"the picture of {GENE}"),
        (before_and_after, "the broken donor: scores before and after, usage by tissue (docs/variants.md)"),
        (evaluation, "precision and recall, calibration, sequence logos, usage by tissue; evaluation.json"),
        # The address of `sptx browse` belongs here.
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
