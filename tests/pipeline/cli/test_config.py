"""Settings files to start from: each setting with its help and default, and the ready ones by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from material.genomes import Transcript
from material.variant_runs import Line, background, vcf, write_place

from pipeline.cli.config import SETTINGS, Configurable
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.settings import ready_settings
from pipeline.tracks.settings import RunConfig

INPUTS = {"fasta": "/g.fa", "gtf": "/a.gtf", "checkpoint": "/c"}
REQUIRED = {
    Configurable.RUN: {},
    Configurable.VARIANTS: {"vcf": "/in.vcf"},
    Configurable.SATURATE: {"genes": "SMN1"},
    Configurable.FINETUNE: {"validation": "chr10", "usage": "/usage.tsv", "output": "/out"},
}


@pytest.mark.parametrize("command", Configurable)
def test_every_setting_is_written_with_its_help_and_its_default(command: Configurable, sptx_here: Any) -> None:
    printed = sptx_here("config", command.value)
    text = " ".join(line.removeprefix("# ") for line in printed.out.splitlines())
    given = yaml.safe_load(printed.out)
    for name, field in SETTINGS[command].model_fields.items():
        assert f"{field.description} " in text, name
        if field.is_required() or field.default in (None, ()):
            assert f"\n# {name}:\n" in printed.out
        else:
            assert given.pop(name) == field.default, name
    assert not given
    ready = {"run": "gpu-cluster", "finetune": "demo-network"}
    assert ready.get(command.value, "by name: none here") in printed.err


@pytest.mark.parametrize("command", Configurable)
def test_the_file_is_read_back_to_the_defaults(command: Configurable, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("config", command.value, "--to", tmp_path / "settings.yaml")
    flags, kind = {**INPUTS, **REQUIRED[command]}, SETTINGS[command]
    assert kind.load(str(tmp_path / "settings.yaml"), flags) == kind.load(None, flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "chosen", "told"),
    [
        ("variants", {"vcf": "in.vcf"}, "1 allele (1 scored), 1 shard"),
        ("saturate", {"regions": "chr1:101-102", "deletions": "1"}, "8 alleles (8 scored), 1 shard"),
    ],
)
def test_a_file_that_is_filled_in_is_all_that_a_command_needs(
    command: str, chosen: dict[str, str], told: str, sptx_here: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    place = write_place(tmp_path / "place", {"chr1": background(400)}, [Transcript("T", "chr1", "+", [(51, 300)])])
    ref = place.sequences["chr1"][100]
    (tmp_path / "in.vcf").write_text(vcf([Line("chr1", 101, ref, "G")]))
    text = sptx_here("config", command).out
    for name, value in {**place.inputs, **chosen}.items():
        text = re.sub(rf"^(# )?{name}:.*$", f"{name}: {value}", text, flags=re.MULTILINE)
    (tmp_path / "settings.yaml").write_text(text)
    assert told in sptx_here(command, "--config", "settings.yaml", "--plan").out


def test_a_file_that_cannot_be_written_is_refused(sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("config", "--to", tmp_path / "settings.yaml")
    nowhere = sptx_here("config", "--to", tmp_path / "no" / "settings.yaml", code=2)
    assert "settings.yaml cannot be written: there is no folder" in nowhere.err
    assert "exists already" in sptx_here("config", "--to", tmp_path / "settings.yaml", code=2).err


def test_ready_settings_are_found_by_name(sptx_here: Any, example: Any, tmp_path: Path, monkeypatch: Any) -> None:
    assert set(ready_settings(RunConfig)) == {"laptop", "gpu-node", "gpu-cluster", "training-flanks"}
    assert set(ready_settings(FinetuneConfig)) == {"demo-network", "training-flanks"}
    inputs = {"fasta": "/g.fa", "gtf": "/a.gtf", "checkpoint": "/c"}
    assert RunConfig.load("gpu-cluster", inputs).address == "auto"
    assert RunConfig.load("laptop", {**inputs, "windows_per_shard": 5}).windows_per_shard == 5
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop").write_text("windows_per_shard: 7\n")  # a file of one's own wins
    assert RunConfig.load("laptop", inputs).windows_per_shard == 7
    refused = sptx_here("plan", *example.inputs, "--config", "lap", code=2)
    assert "settings file lap does not exist; ready ones, by name: " in refused.err
    assert "laptop" in refused.err
