"""Settings of `sptx variants` and `sptx saturate`: what is refused, and what lengths and regions may look like."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.variants.settings import SaturateConfig, VariantsConfig
from sptx_core.errors import InputError

INPUTS = {"fasta": "/in/g.fa", "gtf": "/in/a.gtf", "checkpoint": "/in/c"}


def saturate(**settings: Any) -> SaturateConfig:
    return SaturateConfig.load(None, {**INPUTS, "genes": "SMN1", **settings})


def variants(**settings: Any) -> VariantsConfig:
    return VariantsConfig.load(None, {**INPUTS, "vcf": "/in/a.vcf", **settings})


@pytest.mark.parametrize(
    ("given", "lengths"), [("", []), ("1", [1]), ("1-4", [1, 2, 3, 4]), ("3-3", [3]), ("1000", [1000])]
)
def test_lengths_of_deletions(given: str, lengths: list[int]) -> None:
    assert list(saturate(deletions=given).deletion_lengths()) == lengths


@pytest.mark.parametrize("given", ["0", "4-1", "a", "1-", "-4", "1-b", "1-2000", "1,2", "²"])
def test_other_lengths_are_refused(given: str) -> None:
    with pytest.raises(InputError, match="give a length or a range, as in 1-4"):
        saturate(deletions=given)


def test_a_saturation_needs_a_place() -> None:
    with pytest.raises(InputError, match="choose genes or regions"):
        SaturateConfig.load(None, INPUTS)
    assert saturate(genes=None, regions="chr9:214,900-215,100").regions == ("chr9:214,900-215,100",)


def test_haplotypes_need_a_sample() -> None:
    with pytest.raises(InputError, match="give --sample"):
        variants(haplotypes=True)
    assert variants(haplotypes=True, sample="S").sample == "S"


@pytest.mark.parametrize(
    ("name", "value"),
    [("distance", -1), ("alleles_per_shard", 0), ("max_length", 0), ("insertions", 4), ("core", 0), ("windows", "x")],
)
def test_values_beyond_their_limits_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name.replace("_", ".")):
        saturate(**{name: value}) if name == "insertions" else variants(**{name: value})


def test_a_table_of_tracks_needs_windows_of_the_grid() -> None:
    with pytest.raises(InputError, match="--windows grid"):
        variants(tracks="/out/tracks")
    with pytest.raises(InputError, match="float32, and alternatives must be"):
        variants(tracks="/out/tracks", windows="grid", precision="bfloat16")


def test_a_shard_that_would_not_fit_into_memory_is_refused_with_one_that_does() -> None:
    with pytest.raises(InputError, match="give --alleles-per-shard 49 or less"):
        variants(distance=100_000)
    assert variants(distance=100_000, alleles_per_shard=49).distance == 100_000
    assert variants(distance=100, alleles_per_shard=20_000).distance == 100


def test_settings_are_read_back_from_their_yaml(tmp_path: Any) -> None:
    chosen = variants(distance=50, sample="S", haplotypes=True, biotypes="lncRNA", output="/out")
    (tmp_path / "settings.yaml").write_text(chosen.to_yaml())
    assert VariantsConfig.load(str(tmp_path / "settings.yaml"), {}) == chosen
