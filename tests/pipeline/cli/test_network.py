"""Commands about the network alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_convert_writes_what_from_pretrained_reads(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("convert", example.checkpoint, tmp_path / "converted")
    assert (tmp_path / "converted" / "config.json").exists()
    assert "no checkpoint" in sptx_here("convert", tmp_path / "none.ckpt", tmp_path / "other", code=None).err


def test_bench_tells_a_place_that_it_cannot_write_before_it_measures(sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("bench", "--save", tmp_path / "no" / "bench.json", code=2)
    assert "bench.json cannot be written: there is no folder" in done.err
