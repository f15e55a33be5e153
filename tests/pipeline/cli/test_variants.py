"""`sptx variants` and `sptx saturate`: what they print, how they end, and what they refuse; looking at their output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.genomes import Transcript
from material.variant_runs import (
    DONOR_MOTIF,
    Line,
    Place,
    StubWorker,
    background,
    stub_scores,
    use_scorer,
    vcf,
    with_motifs,
    write_place,
)

from pipeline.variants.worker import VariantsWorker
from sptx_core.engine.bench import BenchReport, BenchRow

LINES = (Line("1", 101, "G", "C,*", "rs1"), Line("chr1", 120, "T", "C"), Line("chr7", 1, "A", "C"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Place:
    text = with_motifs(background(400), {100: DONOR_MOTIF, 119: "TTT"})
    return write_place(tmp_path_factory.mktemp("here"), {"chr1": text}, [Transcript("T", "chr1", "+", [(51, 300)])])


@pytest.fixture
def inputs(here: Place, monkeypatch: pytest.MonkeyPatch, without_ray: None) -> list[str]:
    """Flags that name the inputs of a run by a scorer, in this process."""
    use_scorer(monkeypatch)
    (here.folder / "in.vcf").write_text(vcf(LINES))
    named = {**here.inputs, "vcf": str(here.folder / "in.vcf")}
    return [word for name, value in named.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def scores(here: Place) -> Path:
    """A finished table."""
    return Path(here.score(LINES, sites=True).store.root)


@pytest.mark.slow
def test_a_run_says_what_became_of_the_alleles(inputs: list[str], sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("variants", *inputs, "--output", tmp_path / "scores")
    assert done.out == ""
    for part in ("Alleles by status", "spanning_deletion", "done: 4 alleles in 3 parts (3 computed now)"):
        assert part in done.err
    again = sptx_here("variants", *inputs, "--output", tmp_path / "scores", "--quiet")
    assert (again.out, again.err) == ("", "")
    told = json.loads(sptx_here("variants", *inputs, "--output", tmp_path / "scores", "--json").out)
    assert (told["complete"], told["computed"], told["size"]) == (True, 0, 4)
    assert told["statuses"] == {"scored": 2, "spanning_deletion": 1, "unknown_contig": 1}


def test_a_saturation_needs_no_vcf(inputs: list[str], sptx_here: Any, tmp_path: Path) -> None:
    flags = ["--regions", "chr1:100-102", "--deletions", "1-2", "--output", tmp_path / "scores"]
    done = sptx_here("saturate", *inputs[:-2], *flags)
    assert "done: 14 alleles" in done.err
    rows = sptx_here("query", tmp_path / "scores", "--min-splice", "0.5", "--format", "csv").out.splitlines()
    assert len(rows) > 4


def test_the_vcf_is_written_again_with_what_was_found(inputs: list[str], sptx_here: Any, tmp_path: Path) -> None:
    target = tmp_path / "out.vcf"
    done = sptx_here("variants", *inputs, "--output", tmp_path / "scores", "--to", target)
    assert f"3 records written to {target}" in done.err
    lines = [line for line in target.read_text().splitlines() if not line.startswith("#")]
    assert [line.split("\t")[:5] for line in lines] == [
        [one.chrom, str(one.pos), one.id, one.ref, one.alt] for one in LINES
    ]
    assert "SpTx_status=scored,spanning_deletion" in lines[0]
    assert "donor_loss" in lines[0]


@pytest.mark.slow
def test_a_plan_counts_and_writes_nothing(inputs: list[str], sptx_here: Any, tmp_path: Path) -> None:
    chosen = [*inputs, "--output", tmp_path / "scores", "--plan"]
    assert "4 windows: 2 of the reference, 2 of alternatives" in sptx_here("variants", *chosen).out
    assert json.loads(sptx_here("variants", *chosen, "--json").out)["statuses"]["scored"] == 2
    row = BenchRow("native", "float32", 1, 2.0, 3.0, 1e12, 5e11, None, None, None, None, 1)
    BenchReport("a machine", 2, "2.13", 24, 3, (row,)).save(tmp_path / "bench.json")
    assert "windows/s measured on a machine" in sptx_here("variants", *chosen, "--rate", tmp_path / "bench.json").out
    assert not (tmp_path / "scores").exists()


@pytest.mark.slow
def test_shards_that_fail_end_it_with_3_and_are_tried_again(
    inputs: list[str], sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(codes: Any) -> Any:
        return stub_scores(codes) * float("nan")

    command = ["variants", *inputs, "--output", tmp_path / "scores", "--to", tmp_path / "out.vcf"]
    with monkeypatch.context() as patch:
        patch.setattr(VariantsWorker, "scores", staticmethod(broken))
        done = sptx_here(*command, code=3)
    assert "shard 0 failed: ArithmeticError" in done.err
    assert "incomplete: 0 of 3 shards done" in done.err or "incomplete: 1 of 3 shards done" in done.err
    assert not (tmp_path / "out.vcf").exists()
    status = sptx_here("status", tmp_path / "scores", code=3)
    assert "shard 0 failed after 3 tries: ArithmeticError" in status.out
    partly = sptx_here("query", tmp_path / "scores")
    assert "is not complete: only what" in partly.err
    assert sptx_here("verify", tmp_path / "scores", code=3).out.count("not committed") == 1
    assert StubWorker.scores is stub_scores
    sptx_here(*command)
    assert (tmp_path / "out.vcf").exists()
    assert sptx_here("verify", tmp_path / "scores").out.startswith("sound: 3 parts, 4 rows")
    assert "3 of 3 shards done" in sptx_here("status", tmp_path / "scores").out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--rate", "x.json"], "give --plan too"),
        (["--spliceai-field", "SpliceAI"], "give --to as well"),
        (["--to", "out.txt"], "out.txt"),
        (["--haplotypes"], "give --sample"),
        (["--sample", "S"], "has no samples"),
        (["--genes", "NONE"], "NONE"),
        (["--vcf", "/no/such.vcf"], "/no/such.vcf"),
        (["--tracks", "/no/tracks"], "--windows grid"),
        (["--tracks", "/no/tracks", "--windows", "grid", "--core", "100"], "/no/tracks"),
        (["--distance", "-1"], "distance"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    inputs: list[str], sptx_here: Any, tmp_path: Path, flags: list[str], told: str
) -> None:
    done = sptx_here("variants", *inputs, "--output", tmp_path / "scores", *flags, code=2)
    assert told in done.err.replace("\n", " ")
    assert not (tmp_path / "scores").exists()


def test_an_output_is_required_and_is_not_another_runs(inputs: list[str], sptx_here: Any, scores: Path) -> None:
    assert "--output" in sptx_here("variants", *inputs, code=2).err
    done = sptx_here("variants", *inputs, "--output", scores, "--distance", "7", code=2)
    assert "holds another run" in done.err
    assert "distance: there 100, here 7" in done.err


# status, verify and query of the table


@pytest.mark.slow
def test_a_table_of_variants_is_told_from_one_of_tracks(scores: Path, sptx_here: Any) -> None:
    assert "3 of 3 shards done" in sptx_here("status", scores).out
    assert json.loads(sptx_here("status", scores, "--json").out)["missing"] == []
    assert sptx_here("verify", scores).out.startswith("sound: 6 parts")
    assert json.loads(sptx_here("verify", scores, "--json").out)["sound"]


QUERIES: dict[str, tuple[list[str], int]] = {
    "all": ([], 4),
    "a region": (["chr1:101-130"], 1),
    "a variant": (["1-101-G-C"], 1),
    "a gene": (["T"], 2),
    "a gene by its flag": (["--gene", "G_T"], 2),
    "large changes": (["--min-splice", "0.2"], 1),
    "a tissue": (["--tissue", "blood"], 1),
    "a gene and a tissue": (["--gene", "T", "--tissue", "blood", "--min-splice", "0.1"], 1),
    "nothing": (["chr1:1-5"], 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUERIES)
def test_query_prints_the_rows_that_are_asked_for(kind: str, scores: Path, sptx_here: Any) -> None:
    flags, count = QUERIES[kind]
    printed = sptx_here("query", scores, *flags, "--columns", "status,transcripts", "--format", "csv").out.splitlines()
    assert printed[0] == "chrom,pos,id,ref,alt,gene_name,status,transcripts"
    assert len(printed) == 1 + count


def test_query_writes_lists_as_texts_but_to_parquet(scores: Path, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("query", scores, "T", "--to", tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet")["transcripts"].to_list() == [["T"], ["T"]]
    sptx_here("query", scores, "T", "--to", tmp_path / "rows.tsv")
    assert pl.read_csv(tmp_path / "rows.tsv", separator="\t")["transcripts"].to_list() == ["T", "T"]
    assert "shape: (2," in sptx_here("query", scores, "T").out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["chr1", "--strand", "+"], "are of tracks"),
        (["chr1", "--sites"], "are of tracks"),
        (["chr1", "--verify"], "are of tracks"),
        (["chr5:1-7"], "has no contig chr5; it has 1, chr1, chr7"),
        (["T2"], "the nearest is"),
        (["T", "--gene", "T"], "not both"),
        (["1-101-G-T"], "has no variant"),
        (["--tissue", "bone"], "has no tissue bone"),
        (["--columns", "d_bone"], "has no column d_bone"),
    ],
)
def test_query_refuses_clearly(scores: Path, sptx_here: Any, flags: list[str], told: str) -> None:
    assert told in sptx_here("query", scores, *flags, code=2).err


def test_actors_are_of_tracks(scores: Path, sptx_here: Any) -> None:
    assert "are of tracks" in sptx_here("verify", scores, "--workers", "2", code=2).err


def test_a_damaged_part_is_told(scores: Path, sptx_here: Any, tmp_path: Path) -> None:
    damaged = shutil.copytree(scores, tmp_path / "damaged")
    part = sorted(damaged.glob("variants/**/*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:-99])
    assert "unsound" in sptx_here("verify", damaged, code=3).out
    assert "`sptx verify" in sptx_here("query", damaged, code=2).err


def test_a_command_for_tracks_says_that_there_are_none(scores: Path, here: Place, sptx_here: Any) -> None:
    done = sptx_here("evaluate", scores, "--gtf", here.inputs["gtf"], code=2)
    assert "is of `sptx variants`, so there are no tracks" in done.err.replace("\n", " ")
