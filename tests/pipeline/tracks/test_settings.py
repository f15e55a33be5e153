"""The settings of a run, and the layout of its table that follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.tracks.settings import MAX_SHARD_ROWS, MAX_WINDOWS_PER_SHARD, Flanks, RunConfig, TableSpec
from sptx_core.channels import CHANNELS
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

INPUTS = {"fasta": "/in/genome.fa", "gtf": "/in/genes.gtf", "checkpoint": "/in/model.ckpt"}


def test_the_layout_is_that_of_the_settings_and_comes_back_from_the_record() -> None:
    config = RunConfig.load(None, {**INPUTS, "flanks": "transcript", "exact": True, "core": 500, "overlap": 20})
    spec = TableSpec.of(config, CHANNELS, 400)
    assert spec == TableSpec(CHANNELS, Flanks.TRANSCRIPT, True, 0.01, WindowSpec(500, 400, 20))
    fields = {"core": 500, "context": 400, "overlap": 20}
    assert TableSpec.from_record(fields, {**spec.about(), "channels": list(CHANNELS)}) == spec
    with pytest.raises(KeyError):
        TableSpec.from_record({}, spec.about())


def test_settings_written_as_yaml_are_read_back_and_inputs_come_first(tmp_path: Path) -> None:
    config = RunConfig.load(None, {**INPUTS, "genes": "A,B", "regions": "chr1:1,000-2,000,chr2", "workers": 3})
    path = tmp_path / "settings.yaml"
    path.write_text(config.to_yaml())
    assert RunConfig.load(str(path), {}) == config
    names = list(yaml.safe_load(config.to_yaml()))
    assert names[:3] == ["fasta", "gtf", "checkpoint"]
    assert names.index("genes") < names.index("workers")


def test_the_largest_shard_fits_a_part() -> None:
    assert MAX_WINDOWS_PER_SHARD * WindowSpec().stride <= MAX_SHARD_ROWS
    RunConfig.load(None, {**INPUTS, "windows_per_shard": MAX_WINDOWS_PER_SHARD})
    with pytest.raises(InputError, match="windows_per_shard"):
        RunConfig.load(None, {**INPUTS, "windows_per_shard": MAX_WINDOWS_PER_SHARD + 1})
