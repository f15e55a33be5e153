"""Every bad input: one clear sentence that says what is wrong and where, exit code 2, no traceback, no table."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import safetensors.torch

from pipeline.cli import main as cli
from sptx_core.engine.bench import BenchReport, BenchRow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def refused(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Call `sptx run` with the example's inputs, some replaced, and return the sentence that it is refused with."""

    def call(*extra: object, command: str = "run", **replaced: object) -> str:
        inputs = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint}
        inputs |= {"output": tmp_path / "table", **replaced}
        flags = [part for name, value in inputs.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr("sys.argv", ["sptx", command, *flags, *map(str, extra)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert not list(tmp_path.glob("table/**/*.parquet"))
        return message

    return call


def gtf_with(example: Any, folder: Path, change: Callable[[list[str]], list[str]]) -> Path:
    lines = gzip.decompress(example.annotation.read_bytes()).decode().splitlines()
    path = folder / "changed.gtf"
    path.write_text("\n".join(change(lines)) + "\n")
    return path


def test_contigs_that_match_nothing_list_both_sides(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.replace("chr", "scaffold_") for line in lines])
    message = refused(gtf=gtf)
    assert "scaffold_1" in message
    assert "chr1" in message


def test_contigs_in_the_other_style_are_reconciled(example: Any, sptx: Run, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.removeprefix("chr") for line in lines])
    plan = sptx("plan", *example.inputs[:2], "--gtf", gtf, *example.inputs[4:])
    assert "2 by alias (1 -> chr1, 2 -> chr2)" in plan.stderr
    assert "34,740 bases" in plan.stdout


def test_a_transcript_beyond_its_contig(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.replace("\t41900\t", "\t61900\t") for line in lines])
    message = refused(gtf=gtf)
    assert "61900" in message
    assert "60000 bases" in message
    assert "line" in message


def test_an_annotation_without_transcripts(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line for line in lines if "\tgene\t" in line or line[0] == "#"])
    assert "transcript" in refused(gtf=gtf)


def test_a_malformed_line_is_named_by_its_number(refused: Any, example: Any, tmp_path: Path) -> None:
    def spoil(lines: list[str]) -> list[str]:
        lines[4] = lines[4].replace("\t", " ", 1)
        return lines

    assert "line 5" in refused(gtf=gtf_with(example, tmp_path, spoil))


@pytest.mark.parametrize(
    ("flag", "value", "nearest"),
    [("--genes", "ALPHA2", "ALPHA1"), ("--tags", "MANE", "MANE_Select"), ("--transcripts", "EXT00000011.9", "EXT")],
)
def test_an_unknown_name_gets_the_nearest(refused: Any, flag: str, value: str, nearest: str) -> None:
    assert nearest in refused(flag, value)


def test_a_selection_that_leaves_nothing(refused: Any) -> None:
    assert "none, of 2 that pass genes ALPHA1, passes contigs chr2" in refused("--genes", "ALPHA1", "--contigs", "chr2")


def test_a_region_that_is_none(refused: Any) -> None:
    assert "chr1:200-100" in refused("--regions", "chr1:200-100")


def test_a_missing_fasta(refused: Any, tmp_path: Path) -> None:
    assert "none.fa" in refused(fasta=tmp_path / "none.fa")


def test_a_plain_gzip_fasta_says_to_use_bgzip(refused: Any, example: Any, tmp_path: Path) -> None:
    fasta = tmp_path / "genome.fa.gz"
    fasta.write_bytes(gzip.compress(example.genome.read_bytes()))
    assert "bgzip" in refused(fasta=fasta)


def test_a_checkpoint_of_the_wrong_shape_names_its_tensors(refused: Any, example: Any, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors = safetensors.torch.load_file(example.checkpoint / "model.safetensors")
    name = next(name for name in tensors if tensors[name].dim() == 3)
    tensors[name] = tensors[name][:, :1].contiguous()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text((example.checkpoint / "config.json").read_text())
    assert name in refused(checkpoint=folder)


def test_a_missing_checkpoint(refused: Any, tmp_path: Path) -> None:
    assert "none.ckpt" in refused(checkpoint=tmp_path / "none.ckpt")


def test_an_output_of_another_run_says_what_differs(example: Any, table: Path, sptx: Run) -> None:
    before = sorted(table.rglob("*"))
    run = sptx("run", *example.inputs, "--output", table, "--genes", "ALPHA1", "--windows-per-shard", 1, code=2)
    assert "holds another run" in run.stderr
    assert "transcripts" in run.stderr
    assert sorted(table.rglob("*")) == before


def test_an_output_that_cannot_be_written(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    assert "a file" in refused(output=tmp_path / "a file" / "table")


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("windows_per_shard: many\n", "windows_per_shard"),
        ("shards: 3\n", "unknown setting `shards`"),
        ("overlap: 1000\n", "smaller than core"),
        ("- a list\n", "must hold"),
        ("flanks: [\n", "not valid YAML"),
    ],
)
def test_bad_settings_name_the_setting(refused: Any, tmp_path: Path, yaml: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml)
    assert told in refused("--config", path)


def test_flags_win_over_yaml_and_the_merged_settings_are_saved(example: Any, sptx: Run, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("windows_per_shard: 5\ngenes: [ALPHA1]\nsites_threshold: 0.5\n")
    flags = ["--config", path, "--genes", "EPSILON5", "--output", tmp_path / "table"]
    sptx("run", *example.inputs, *flags)
    saved = (tmp_path / "table" / "settings.yaml").read_text()
    assert "EPSILON5" in saved
    assert "ALPHA1" not in saved
    assert "windows_per_shard: 5" in saved
    assert json.loads((tmp_path / "table" / "run.json").read_text())["sites_threshold"] == 0.5


def test_plan_counts_and_writes_nothing(example: Any, sptx: Run, tmp_path: Path) -> None:
    plan = sptx("plan", *example.inputs, "--output", tmp_path / "table")
    for part in ("chr1", "chr2", "5 loci", "34,740 bases", "GFLOP"):
        assert part in plan.stdout
    assert not (tmp_path / "table").exists()


def test_plan_tells_hours_from_a_measured_rate(
    example: Any, refused: Callable[..., str], sptx: Run, tmp_path: Path
) -> None:
    row = BenchRow("shared", "float32", 1, 2.0, 3.0, 1e12, 5e11, None, None, None, None, 1)
    report = tmp_path / "bench.json"
    BenchReport("a machine", 2, "2.13", 24, 3, (row,)).save(report)
    plan = sptx("plan", *example.inputs, "--rate", report, "--devices", "1,4").stdout
    found = re.search(r"2 windows/s measured on a machine \(shared, float32\): ([\d.]+) .*; 4 like it: ([\d.]+)", plan)
    windows = int(re.search(r"(\d+) windows", plan).group(1))
    assert [float(x) for x in found.groups()] == [round(windows / 120, 1), round(windows / 480, 1)]

    for wrong, message in (
        (["--devices", "two"], "--devices two: give whole numbers"),
        (["--devices", "0"], "at least 1"),
        (["--precision", "bfloat16"], "no rate of engine path auto in bfloat16; it has shared in float32"),
    ):
        assert message in refused("--rate", report, *wrong, command="plan")


def test_query_prints_tables_csv_and_parquet(table: Path, sptx: Run, tmp_path: Path) -> None:
    region = sptx("query", table, "chr1:2,001-2,005", "--strand", "+", "--columns", "acceptor,brain")
    assert "shape: (5," in region.stdout
    rows = sptx("query", table, "ALPHA1", "--columns", "donor", "--format", "csv").stdout.splitlines()
    assert rows[0] == "chrom,strand,pos,ref,donor"
    assert len(rows) == 1 + 6_200
    target = tmp_path / "rows.parquet"
    sptx("query", table, "EXT00000021.1", "--format", "parquet", "--to", target)
    assert pl.read_parquet(target).height == 6_500
    sites = sptx("query", table, "ALPHA1", "--sites", "--columns", "donor", "--format", "csv").stdout.splitlines()
    assert len(sites) > 1


@pytest.mark.parametrize(
    ("what", "flags", "told"),
    [
        ("chr1:9-3", (), "chr1:9-3"),
        ("chr7:1-10", (), "chr7"),
        ("ALPHA1", ("--columns", "dono"), "donor"),
        ("ALPHA9", (), "ALPHA1"),
        ("ALPHA1", ("--strand", "x"), "strand"),
    ],
)
def test_query_refuses_clearly(table: Path, sptx: Run, what: str, flags: tuple[str, ...], told: str) -> None:
    done = sptx("query", table, what, *flags, code=2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_looking_at_nothing_is_refused(sptx: Run, tmp_path: Path) -> None:
    for command in ("status", "verify"):
        done = sptx(command, tmp_path / "nothing", code=2)
        assert "nothing" in done.stderr
        assert "Traceback" not in done.stderr


def test_convert_writes_what_from_pretrained_reads(example: Any, sptx: Run, tmp_path: Path) -> None:
    sptx("convert", example.checkpoint, tmp_path / "converted")
    assert (tmp_path / "converted" / "config.json").exists()
    assert "no checkpoint" in sptx("convert", tmp_path / "none.ckpt", tmp_path / "other", code=2).stderr
