"""Protocol buffers' wire format."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from material.tensorflow_graphs import graph_class

from sptx_core.checkpoint.family.wire import fields, integers, signed, varint


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_as_protobuf_writes_them(number: int) -> None:
    message = memoryview(wrappers_pb2.Int64Value(value=number).SerializeToString())
    assert list(integers(fields(message)[1])) == ([number] if number else [])


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_numbers_are_read_as_well(numbers: list[int]) -> None:
    graph = graph_class()()
    graph.node.add().attr.add().value.list.i.extend(numbers)
    message = memoryview(graph.SerializeToString())
    for number in (1, 5, 2, 1):
        message = fields(message)[number][0]
        assert isinstance(message, memoryview)
    assert list(integers(fields(message)[3])) == numbers


@given(st.text("xäß\n"), st.floats(width=32))
def test_all_types_of_wire_are_passed_by(text: str, number: float) -> None:
    value = struct_pb2.Struct()
    value.fields["x"].string_value = text
    entry = fields(fields(memoryview(value.SerializeToString()))[1][0])
    assert bytes(entry[1][0]) == b"x"
    assert bytes(fields(entry[2][0])[3][0]) == text.encode()
    double = fields(memoryview(wrappers_pb2.DoubleValue(value=number or 1).SerializeToString()))
    assert len(double[1][0]) == 8


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\x0a\x05abc", "ends within a field of 5 bytes"),
        (b"\x08\x80", "ends within a number"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x0b", "unknown type of wire 3"),
        (b"\x0d\x01", "ends within a field of 4 bytes"),
    ],
)
def test_what_is_no_message_is_told(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        fields(memoryview(content))


def test_negative_numbers_have_ten_bytes() -> None:
    number, end = varint(memoryview(b"\xfd" + b"\xff" * 8 + b"\x01"), 0)
    assert (signed(number), end) == (-3, 10)
