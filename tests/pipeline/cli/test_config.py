"""Settings files to start from: each setting with its help and default, and the ready ones by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli.config import SETTINGS, Configurable
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.settings import ready_settings
from pipeline.tracks.settings import RunConfig


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
    assert {"run": "gpu-cluster", "finetune": "demo-network"}[command.value] in printed.err


def test_the_file_is_read_back_to_the_defaults(sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("config", "--to", tmp_path / "settings.yaml")
    inputs = {"fasta": "/g.fa", "gtf": "/a.gtf", "checkpoint": "/c"}
    assert RunConfig.load(str(tmp_path / "settings.yaml"), inputs) == RunConfig(**inputs)
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
