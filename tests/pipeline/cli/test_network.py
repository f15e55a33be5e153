"""Commands about the network alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from material.family_networks import PUBLISHED, openspliceai_state, pangolin_state, random_weights
from material.networks import tiny_network

from sptx_core.checkpoint import load_config
from sptx_core.engine import variant_bench
from sptx_core.engine.variant_bench import VariantReport


@pytest.mark.slow
def test_convert_writes_what_from_pretrained_reads(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("convert", example.checkpoint, tmp_path / "converted")
    assert (tmp_path / "converted" / "config.json").exists()
    assert "no checkpoint" in sptx_here("convert", tmp_path / "none.ckpt", tmp_path / "other", code=None).err


@pytest.fixture
def splice(tmp_path: Path) -> list[Path]:
    """Two networks as OpenSpliceAI publishes them."""
    paths = [tmp_path / f"model_80nt_rs{seed}.pt" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        torch.save(openspliceai_state(random_weights(seed, PUBLISHED[:1], channels=4)), path)
    return paths


def test_convert_makes_members_of_published_files(sptx_here: Any, splice: list[Path], tmp_path: Path) -> None:
    done = sptx_here("convert", *splice, tmp_path / "out")
    assert "written to" in done.err
    assert "(2 members, context 40)" in done.err
    config = load_config(tmp_path / "out")
    assert (config.members, config.layers, config.tissues) == (2, 0, 0)


@pytest.mark.slow
def test_convert_puts_usage_beside_splice_sites(sptx_here: Any, splice: list[Path], tmp_path: Path) -> None:
    usage = tmp_path / "final.1.3.3.v2"
    heads = random_weights(9, channels=3, outputs=12)
    torch.save(pangolin_state(random_weights(8, PUBLISHED, channels=3), heads), usage)
    sptx_here("convert", splice[0], tmp_path / "out", "--usage", usage)
    assert load_config(tmp_path / "out").tissue_names == ("liver",)
    done = sptx_here("convert", *splice, tmp_path / "more", "--usage", usage, code=2)
    assert "networks of splice sites: 2, members of usage" in done.err
    assert not (tmp_path / "more").exists()


def test_convert_says_what_counts_twice(sptx_here: Any, splice: list[Path], tmp_path: Path) -> None:
    done = sptx_here("convert", splice[0], splice[0], tmp_path / "out")
    assert "it counts twice in the mean" in done.err


def test_convert_tells_a_folder_that_was_forgotten(sptx_here: Any, splice: list[Path]) -> None:
    done = sptx_here("convert", *splice, code=2)
    assert "model_80nt_rs2.pt is a file: the last argument is the folder to write to" in done.err


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


@pytest.mark.slow
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


@pytest.mark.slow
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
