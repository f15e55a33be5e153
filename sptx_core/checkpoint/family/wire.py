"""Protocol buffers' wire format, read without their library or any schema.

A message is a row of fields, each a key (number * 8 + type of wire) and a value: a varint (type 0), 8 bytes (1), a
length and as many bytes (2: strings, messages, packed numbers), or 4 bytes (5). Source:
https://protobuf.dev/programming-guides/encoding. Whatever is no such row raises a ValueError.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sptx_core.words import counted

Value = int | memoryview
"""A varint, or the bytes of anything else."""

MAX_BITS = 64


def fields(message: memoryview) -> dict[int, list[Value]]:
    """All values of each field of a message, in their order."""
    found: dict[int, list[Value]] = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = varint(message, position)
            found[number].append(value)
            continue
        if wire == 2:
            size, position = varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"byte {position:,} has the unknown type of wire {wire}")
        if position + size > len(message):
            raise ValueError(f"it ends within a field of {counted(size, 'byte')}")
        found[number].append(message[position : position + size])
        position += size
    return found


def varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number that begins at a position, and the position behind it."""
    number = 0
    for shift in range(0, MAX_BITS + 6, 7):
        if position >= len(message):
            raise ValueError("it ends within a number")
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("a number has more than 64 bits")


def signed(number: int) -> int:
    """A varint of an int32 or int64, whose negative numbers have their 64-bit two's complement."""
    return number - (1 << MAX_BITS) if number >= 1 << (MAX_BITS - 1) else number


def integers(values: list[Value]) -> Iterator[int]:
    """The numbers of a repeated integer field, packed or not."""
    for value in values:
        if isinstance(value, int):
            yield signed(value)
            continue
        position = 0
        while position < len(value):
            number, position = varint(value, position)
            yield signed(number)
