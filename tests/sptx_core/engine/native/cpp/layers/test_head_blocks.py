"""Keys by word and values as panels, bit by bit."""

import torch

from sptx_core.engine.native.library import BUCKET, Mode
from sptx_core.engine.native.weights import PANEL, panels


def by_position(pieces, mode: Mode) -> tuple[torch.Tensor, torch.Tensor]:
    """Values [64, 32] and their operands by position."""
    values = torch.randn(BUCKET, PANEL, generator=torch.Generator().manual_seed(0))
    words = torch.empty(BUCKET, mode.words(PANEL), dtype=torch.int32)
    pieces.operands(mode, values, values.numel(), words)
    return values, words


def test_by_word(pieces, mode: Mode) -> None:
    _, words = by_position(pieces, mode)
    found = torch.empty(mode.words(PANEL), BUCKET, dtype=torch.int32)
    pieces.head_block_by_word(mode, words, found)
    assert torch.equal(found, words.T)


def test_as_panel(pieces, mode: Mode) -> None:
    """Values are the right side of a product that sums over positions."""
    values, words = by_position(pieces, mode)
    found = torch.empty(mode.words(BUCKET), PANEL, dtype=torch.int32)
    pieces.head_block_as_panel(mode, words, found)
    expected = panels(values.T, mode)[0].view(torch.int32)
    assert torch.equal(found, expected.reshape(found.shape))
