"""Structures have the fields that Python fills in, at the same places."""

import ctypes

import pytest
import torch

from sptx_core.engine.native import library
from sptx_core.engine.native.library import ConvolutionArguments, LayerArguments


@pytest.mark.parametrize(
    ("name", "structure"), [("layer_offsets", LayerArguments), ("convolution_offsets", ConvolutionArguments)]
)
def test_fields_lie_where_python_puts_them(pieces, name: str, structure: type[ctypes.Structure]) -> None:
    offsets = torch.full((len(structure._fields_),), -1, dtype=torch.int32)
    getattr(pieces, name)(offsets)
    assert offsets.tolist() == [getattr(structure, name).offset for name, _ in structure._fields_]


def test_a_sequence_is_a_row_of_the_table(pieces) -> None:
    offsets = torch.full((7,), -1, dtype=torch.int32)
    pieces.sequence_offsets(offsets)
    columns = (library.GIVEN, library.POSITIONS, library.ADDED, library.ADDED_POSITIONS, library.RESULT, library.LENGTH)
    assert offsets.tolist() == [8 * column for column in (*columns, library.COLUMNS)]
