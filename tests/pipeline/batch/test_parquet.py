"""Small tables come back, and damaged ones raise errors that can be caught."""

from __future__ import annotations

import io
import random

import polars as pl
import pyarrow as pa
import pytest

from pipeline.batch.parquet import from_parquet, part_format
from pipeline.batch.storage import Store

FRAME = pl.DataFrame(
    {"id": [f"T{i}" for i in range(50)], "starts": [[i, i + 1] for i in range(50)], "at": [{"a": i} for i in range(50)]}
)


def content() -> bytes:
    buffer = io.BytesIO()
    FRAME.write_parquet(buffer)
    return buffer.getvalue()


def test_a_frame_comes_back_with_its_types() -> None:
    assert from_parquet(content()).equals(FRAME)
    assert from_parquet(content()).schema == FRAME.schema


@pytest.mark.parametrize("damaged", [b"", b"PAR1", content()[:-20], content()[100:]])
def test_what_is_cut_is_an_error(damaged: bytes) -> None:
    with pytest.raises((OSError, pa.ArrowException)):
        from_parquet(damaged)


def test_flipped_bits_are_errors_or_rows_but_never_a_panic() -> None:
    draw, sound, refused = random.Random(3), content(), 0
    for _ in range(400):
        flipped = bytearray(sound)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        try:
            from_parquet(bytes(flipped))
        except (OSError, UnicodeError, pa.ArrowException):
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("root", "checked"), [("https://host/table", True), ("hf://datasets/a/b", True), ("/t", False)]
)
def test_pages_that_come_from_a_server_are_checked(root: str, checked: bool) -> None:
    options = part_format(Store(root)).default_fragment_scan_options
    assert options.page_checksum_verification is checked
