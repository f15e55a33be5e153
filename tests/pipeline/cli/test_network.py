"""Commands about the network alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_convert_writes_what_from_pretrained_reads(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("convert", example.checkpoint, tmp_path / "converted")
    assert (tmp_path / "converted" / "config.json").exists()
    assert "no checkpoint" in sptx_here("convert", tmp_path / "none.ckpt", tmp_path / "other", code=None).err
