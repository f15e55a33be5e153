"""Where positions of a sequence lie."""

import numpy as np
import torch

from sptx_core.engine.native.library import ADDED, ADDED_POSITIONS, COLUMNS, GIVEN, POSITIONS

SIZE = 32


def test_given_positions_lie_in_three_parts_one_after_the_other(pieces) -> None:
    memory = torch.zeros(100, SIZE)
    row = np.zeros(COLUMNS, dtype=np.int64)
    row[GIVEN : GIVEN + 3] = memory[40:].data_ptr(), 0, memory[10:].data_ptr()
    row[POSITIONS : POSITIONS + 3] = 2, 3, 4
    sequence = torch.from_numpy(row)
    places = [pieces.place_given(sequence, memory, position, SIZE) for position in range(12)]
    rows = [40, 41, None, None, None, 10, 11, 12, 13, None, None, None]  # zeros within and beyond
    assert places == [-1 if place is None else place * SIZE for place in rows]


def test_added_positions_lie_in_two_parts(pieces) -> None:
    memory = torch.zeros(100, SIZE)
    row = np.zeros(COLUMNS, dtype=np.int64)
    row[ADDED : ADDED + 2] = memory[7:].data_ptr(), memory[50:].data_ptr()
    row[ADDED_POSITIONS : ADDED_POSITIONS + 2] = 2, 9
    sequence = torch.from_numpy(row)
    places = [pieces.place_added(sequence, memory, position, SIZE) for position in range(5)]
    assert places == [place * SIZE for place in (7, 8, 50, 51, 52)]
