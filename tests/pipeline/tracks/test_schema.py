"""Rounding to steps, the order of columns, and what decides a table's encoding."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from material import tables

from pipeline.tracks.schema import SPLICE_STEPS, USAGE_STEPS, TrackSchema, ref_letters, round_to_steps
from sptx_core.alphabet import BASES, encode
from sptx_core.channels import CHANNELS, TISSUES
from sptx_core.errors import InputError

FLOAT32_SLACK = 2**-25  # half a unit in the last place just below 1
PROBABILITIES = arrays(np.float32, st.integers(1, 50), elements=st.floats(0, 1, width=32))
STEPS = st.sampled_from([SPLICE_STEPS, USAGE_STEPS])


@pytest.mark.slow
@given(PROBABILITIES, STEPS)
def test_rounding_errs_by_half_a_step_at_most(values: np.ndarray, steps: int) -> None:
    rounded = round_to_steps(values, steps)
    assert rounded.dtype == np.float32
    error = np.abs(rounded.astype(np.float64) - values.astype(np.float64))
    assert error.max() <= 0.5 / steps + FLOAT32_SLACK


@pytest.mark.slow
@given(PROBABILITIES, STEPS)
def test_rounded_values_are_the_float32_of_their_decimals(values: np.ndarray, steps: int) -> None:
    digits = len(str(steps)) - 1
    rounded = round_to_steps(values, steps)
    assert rounded.tolist() == [float(np.float32(f"{value:.{digits}f}")) for value in rounded]
    assert np.array_equal(round_to_steps(rounded, steps), rounded)


@pytest.mark.parametrize("steps", [SPLICE_STEPS, USAGE_STEPS])
def test_a_column_has_no_more_values_than_steps(steps: int) -> None:
    values = np.random.default_rng(0).random(300_000, dtype=np.float32)
    assert len(np.unique(round_to_steps(values, steps))) <= steps + 1
    ends = np.array([0, 1], dtype=np.float32)
    assert np.array_equal(round_to_steps(ends, steps), ends)


def test_columns_in_stored_order() -> None:
    names = ["pos", "ref", "acceptor", "donor", "no_splice", *TISSUES]
    genomic = tables.schema()
    assert [column.name for column in genomic.columns] == names
    assert [column.name for column in genomic.scores] == names[2:]
    transcript = tables.schema(flanks="transcript")
    assert [column.name for column in transcript.columns] == ["transcript_id", *names]
    assert transcript.arrow().field("transcript_id").type == pa.string()
    assert not any(field.nullable for field in transcript.arrow())


@pytest.mark.parametrize(
    "channels",
    [("no_splice", "acceptor"), (*CHANNELS, "brain"), (*CHANNELS, "pos"), (*CHANNELS, "strand")],
    ids=["no donor", "twice", "pos", "strand"],
)
def test_channels_that_cannot_be_columns_are_refused(channels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="cannot be columns"):
        TrackSchema(replace(tables.schema().spec, channels=channels))


def test_metadata_says_what_a_reader_needs() -> None:
    schema = tables.schema()
    found = schema.metadata("f" * 64, 7, {"execution": "{}"}, rounded=True)
    assert found["sptx.fingerprint"] == "f" * 64
    assert found["sptx.shard"] == "7"
    assert found["sptx.flanks"] == "genomic"
    assert found["sptx.execution"] == "{}"
    assert found["sptx.coordinates"].startswith("1-based inclusive")
    assert (found["sptx.step_splice"], found["sptx.step_usage"]) == ("0.0001", "0.001")
    assert list(json.loads(found["sptx.units"])) == [column.name for column in schema.columns]
    unrounded = schema.metadata("f" * 64, 7, {}, rounded=False)
    assert (unrounded["sptx.step_splice"], unrounded["sptx.step_usage"]) == ("0", "0")


def test_digest_tells_encodings_apart() -> None:
    """The digests are in the fingerprints of tables: these are those of 0.1.0."""
    digests = {
        (flanks, exact): tables.schema(flanks=flanks, exact=exact).digest[:12]
        for flanks, exact in (("genomic", False), ("genomic", True), ("transcript", False))
    }
    assert digests == {
        ("genomic", False): "5c3fcc785fb4",
        ("genomic", True): "921a36de6796",
        ("transcript", False): "bf74868dff45",
    }


def test_ref_letters_are_those_of_the_alphabet() -> None:
    assert "".join(ref_letters(encode(BASES)).to_pylist()) == BASES
    with pytest.raises(pa.ArrowIndexError, match="Index 5 out of bounds"):
        ref_letters(np.array([5], dtype=np.uint8))
