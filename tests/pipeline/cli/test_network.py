"""Commands about the network alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from material.networks import tiny_network

from sptx_core.engine import variant_bench
from sptx_core.engine.variant_bench import VariantReport


def test_convert_writes_what_from_pretrained_reads(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("convert", example.checkpoint, tmp_path / "converted")
    assert (tmp_path / "converted" / "config.json").exists()
    assert "no checkpoint" in sptx_here("convert", tmp_path / "none.ckpt", tmp_path / "other", code=None).err


def test_bench_tells_a_place_that_it_cannot_write_before_it_measures(sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("bench", "--save", tmp_path / "no" / "bench.json", code=2)
    assert "bench.json cannot be written: there is no folder" in done.err


def test_bench_measures_the_network_of_a_checkpoint(sptx_here: Any, tmp_path: Path) -> None:
    tiny_network(layers=0, members=2).save_pretrained(tmp_path / "network")
    flags = ("--core", "16", "--windows", "2", "--repeats", "1", "--precisions", "float32")
    done = sptx_here("bench", "--checkpoint", tmp_path / "network", *flags)
    assert "2 consecutive windows of 16 bases" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == ["reference", "shared"]


def test_bench_has_one_core_for_variants(sptx_here: Any) -> None:
    assert "--variants has cores of its own" in sptx_here("bench", "--variants", "--core", "16", code=2).err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--paths", "shared,native"), "--variants measures one engine path beside the plain network"),
        (("--compare", "{bench}"), "--compare has no reports of --variants yet"),
    ],
)
def test_what_bench_cannot_do_of_variants_is_told(
    sptx_here: Any, tmp_path: Path, flags: tuple[str, str], message: str
) -> None:
    bench = tmp_path / "bench.json"
    bench.write_text("{}")
    assert message in sptx_here("bench", "--variants", *(flag.format(bench=bench) for flag in flags), code=2).err


def test_bench_of_variants_measures_shows_and_saves(
    sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def measure(**settings: object) -> VariantReport:
        asked.update(settings)
        return VariantReport("a machine", 2, "2.13", 9, 3, ())

    monkeypatch.setattr(variant_bench, "run_variant_bench", measure)
    target = tmp_path / "bench.json"
    done = sptx_here("bench", "--variants", "--windows", 9, "--precisions", "bfloat16", "--save", target)
    assert "9 alleles of each kind, median of 3 turns" in done.out
    assert asked["alleles"] == 9
    assert (asked["path"], asked["precisions"]) == ("auto", ["bfloat16"])
    assert '"alleles": 9' in target.read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--cores", "16,many"), "--cores 16,many: give whole numbers"),
        (("--cores", "16", "--fasta", "x"), "--fasta without --checkpoint shows nothing"),
        (("--cores", "16", "--core", "20"), "--cores measures by itself: leave --core, --variants and --compare out"),
        (("--cores", "16", "--region", "chr1"), "--region is a part of --fasta"),
        (("--cores", "16", "--paths", "shared,native"), "--cores measures one engine path, not 'shared,native'"),
        (("--fasta", "x"), "--fasta is an option of --cores"),
    ],
)
def test_what_bench_cannot_do_of_cores_is_told(sptx_here: Any, flags: tuple[str, ...], message: str) -> None:
    assert message in sptx_here("bench", *flags, code=2).err


def test_bench_of_cores_compares_both_strands_of_a_region(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    inputs = ("--checkpoint", example.checkpoint, "--fasta", example.genome)
    shared = ("--precisions", "float32", "--repeats", 1, "--save", tmp_path / "cores.json")
    done = sptx_here("bench", "--cores", "100,200", *inputs, "--region", "chr1:2,001-2,500", *shared)
    report = json.loads((tmp_path / "cores.json").read_text())
    assert report["bases"] == 2 * 500
    assert [(row["core"], row["shift"]) for row in report["rows"]] == [(100, 0), (100, 50), (200, 0)]
    assert report["rows"][0]["elsewhere"] is None
    assert report["rows"][2]["crossed"] >= 0
    assert "100, shifted by 50" in done.out
    none = sptx_here("bench", "--cores", "100", *inputs, "--region", "chr77:1-9", "--repeats", 1, code=2)
    assert "--region chr77:1-9: " in none.err
    large = sptx_here("bench", "--cores", "100,9000", *inputs, "--repeats", 1, code=2)
    assert "this network predicts 1 to" in large.err
