"""The command `report`: what it writes and says, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from material import reported
from material.genomes import Transcript, write_gtf


@pytest.mark.slow
def test_a_report_is_written_and_told(sptx_here: Any, tmp_path: Path) -> None:
    reported.write(tmp_path / "table")
    write_gtf(tmp_path / "genes.gtf.gz", [Transcript("X", "chr1", "+", [(1_010, 1_100), (1_200, 1_300)])])
    page = tmp_path / "report.html"
    done = sptx_here("report", tmp_path / "table", "--to", page)
    assert done.out == f"{page.stat().st_size:,} bytes written: {page}\n"
    assert done.err == ""
    plain = page.read_text()
    sptx_here("report", tmp_path / "table", "--to", page, "--gtf", tmp_path / "genes.gtf.gz", "--threshold", "0.5")
    assert "1 transcript of an annotation" in page.read_text()
    assert "score of 0.5 or more" in page.read_text()
    assert "score of 0.1 or more" in plain


@pytest.mark.slow
def test_an_unfinished_table_ends_with_3(sptx_here: Any, tmp_path: Path) -> None:
    reported.write(tmp_path / "table", shards=9)
    done = sptx_here("report", tmp_path / "table", "--to", tmp_path / "report.html", code=3)
    assert "unfinished: 4 of 9 shards; finish it with the same `sptx run`" in done.err
    assert "The table is unfinished: 4 of 9 shards." in (tmp_path / "report.html").read_text()


def test_refusals(sptx_here: Any, tmp_path: Path) -> None:
    assert "holds no table" in sptx_here("report", tmp_path, "--to", tmp_path / "report.html", code=2).err
    reported.write(tmp_path / "table")
    flags = ("--to", tmp_path / "report.html", "--threshold", "0.001")
    assert (
        "--threshold 0.001: give a score from 0.01 to 1" in sptx_here("report", tmp_path / "table", *flags, code=2).err
    )
    assert not (tmp_path / "report.html").exists()
