"""The checkpoint that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from sptx_core import demo
from sptx_core.channels import TISSUES
from sptx_core.checkpoint import load_checkpoint
from sptx_core.demo import demo_checkpoint
from sptx_core.errors import InputError


def test_the_shipped_checkpoint_loads_and_has_the_published_tissues() -> None:
    assert load_checkpoint(demo_checkpoint()).config.tissue_names == TISSUES


def test_its_folder_holds_the_checkpoint_and_its_card_alone() -> None:
    assert sorted(path.name for path in demo_checkpoint().iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_an_installation_without_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint: install sptx again"):
        demo_checkpoint()
