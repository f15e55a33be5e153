"""The whole job on real human genes: `python workflows/demo.py FOLDER`.

Half a megabase of chromosome 9 with its genes and a trained network: tracks, a picture of a gene, evaluation, queries
with Polars and DuckDB, three changes of a base and a picture of one, a report, a page to look at. That network predicts
no usage by tissue; so at the end a generated genome, whose known answer has it. A second time it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl

from pipeline.example.human import GENE, GENES, HumanExample, write_human_example
from pipeline.inputs.annotation import read_annotation
from pipeline.simulation.example import GENE as GENERATED_GENE
from pipeline.simulation.example import write_example
from pipeline.tracks.reader import open_tracks
from pipeline.variants.reader import open_variants

VARIANT = "chr9-154708-C-T"
"""The first base behind an exon of GENE, which lies on the minus strand: the G of the donor's GT becomes A."""
POLARS_QUERY = """\
sites = open_tracks("{tracks}").sites(named=True, annotation=read_annotation("{annotation}"))
sites.filter(pl.col("called") & ~pl.col("annotated")).sort("score", descending=True).head(5).select(
    "chrom", "strand", "pos", "kind", "motif", "score", "nearest_pos", "nearest_distance"
).collect()"""
DUCKDB_QUERY = """\
SELECT strand, count(*) FILTER (acceptor > 0.5) AS acceptors, count(*) FILTER (donor > 0.5) AS donors
FROM read_parquet('{tracks}/sites/**/*.parquet', hive_partitioning = true) GROUP BY strand ORDER BY strand"""


def main() -> None:
    """Write the example, run, draw, evaluate, query, change; then the generated genome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    step("Half a megabase of human chromosome 9, its genes, and a trained network")
    example = write_human_example(folder)
    print(f"written to {folder}. Whose the files are, and their licences: {example.notice}")
    found = real_genes(folder, example)
    pictures = generated_genome(folder / "generated") | found
    step("Look at")
    for path, what in pictures.items():
        print(f"{path!s:<30}  {what}")
    print()
    for path in found:
        if path.suffix == ".html":
            print(path.absolute().as_uri())


def real_genes(folder: Path, example: HumanExample) -> dict[Path, str]:
    """The job on the human genes; returns what to look at."""
    tracks, scores, evaluation = folder / "tracks", folder / "scores", folder / "evaluation"
    picture, before_and_after = folder / "gene.png", folder / "variant.png"
    report, page = folder / "report.html", folder / "page.html"
    genome, annotation, vcf, checkpoint, _ = example
    inputs = ("--fasta", genome, "--gtf", annotation, "--checkpoint", checkpoint)

    step(f"Scores of every base of {' and '.join(GENES)}, a gene on each strand, as Parquet")
    sptx("run", *inputs, "--genes", ",".join(GENES), "--tags", "basic", "--output", tracks)

    step(f"One gene, {GENE}: do the predicted sites meet its exons?")
    sptx("plot", tracks, GENE, "--short-introns", "--to", picture)

    step("How good are they? Against GENCODE's transcripts")
    sptx("evaluate", tracks, "--gtf", annotation, "--to", evaluation)

    step("Called sites that no transcript has, with Polars")
    print(POLARS_QUERY.format(tracks=tracks, annotation=annotation))
    show_novel_sites(tracks, annotation)

    step("Likely sites by strand, with DuckDB")
    sql = DUCKDB_QUERY.format(tracks=tracks)
    print(sql)
    print(duckdb.sql(sql))

    step(f"Three changes of a base in {GENE}: two break a donor, one lies in the middle of an exon")
    print(vcf.read_text(), end="")
    sptx("variants", "--vcf", vcf, *inputs, "--output", scores, "--sites", "--quiet")
    with pl.Config(float_precision=3, tbl_cols=-1):
        print(open_variants(scores).gene(GENE).select("pos", "id", "d_splice", "ds_dl", "ds_dg", "dg_pos", "ds_al"))
    sptx("plot", scores, VARIANT, "--gtf", annotation, "--to", before_and_after)

    step("All of the table on one page")
    sptx("report", tracks, "--gtf", annotation, "--to", report)

    step(f"{GENE} in a genome browser, in one file; without --to, `sptx browse` serves all of the table")
    sptx("browse", tracks, scores, GENE, "--gtf", annotation, "--to", page)
    return {
        picture: f"{GENE}: exons of its transcripts above the predicted sites (docs/plot.md)",
        before_and_after: "a broken donor, and the one that takes its place (docs/variants.md)",
        evaluation: "precision and recall, calibration, sequence logos; evaluation.json",
        tracks: "the table: tracks/ has every base, sites/ the likely splice sites (docs/table.md)",
        report: "the report: coverage, scores, called sites, how it was computed (docs/report.md)",
        page: "the page: scores, transcripts, sites and variants, to zoom and pan (docs/browse.md)",
    }


def generated_genome(folder: Path) -> dict[Path, str]:
    """Usage by tissue on a generated genome; returns what to look at."""
    tracks, picture = folder / "tracks", folder / "gene.png"
    step("Usage by tissue, on a generated genome with a known answer and a small network for such genomes")
    genome, annotation, usage, checkpoint = write_example(folder)
    print(f"written to {folder}. It is synthetic: nothing here says anything about real genes.")
    sptx("run", "--fasta", genome, "--gtf", annotation, "--checkpoint", checkpoint, "--output", tracks, "--quiet")
    sptx("plot", tracks, GENERATED_GENE, "--usage", usage, "--to", picture)
    sptx("evaluate", tracks, "--gtf", annotation, "--usage", usage, "--to", folder / "evaluation")
    return {picture: "a generated gene: predicted usage above the known one"}


def show_novel_sites(tracks: Path, annotation: Path) -> None:
    """What `POLARS_QUERY` says."""
    named = open_tracks(tracks).sites(named=True, annotation=read_annotation(str(annotation)))
    novel = named.filter(pl.col("called") & ~pl.col("annotated")).sort("score", descending=True).head(5)
    shown = ("chrom", "strand", "pos", "kind", "motif", "score", "nearest_pos", "nearest_distance")
    with pl.Config(float_precision=3, tbl_cols=-1):
        print(novel.select(shown).collect())


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
