"""The modes in which the compiled library multiplies, and how operands lie in memory in each."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """A precision and the units that multiply, vectors or the matrix units (AMX), as in cpp/modes.h.

    Only modes that `library.features` names can be used, and only after it was called.
    """

    FLOAT32 = 0
    BFLOAT16 = 1
    MATRIX_FLOAT32 = 2
    MATRIX_BFLOAT16 = 3

    @property
    def parts(self) -> int:
        """The number of bfloat16 whose sum is an operand of a product; 0 where the operand is a float32."""
        return (0, 1, 3, 1)[self]

    def words(self, elements: int) -> int:
        """Return how many 32-bit words so many operands take, a multiple of 32 of them."""
        return elements // 2 * self.parts if self.parts else elements
