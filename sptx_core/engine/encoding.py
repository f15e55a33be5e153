"""The convolutional part of the network: each base of a stretch is encoded once.

In: codes of a stretch of n consecutive windows, uint8 [(n - 1) * stride + width], 5' to 3', or of windows anywhere in a
stretch and changes of them (`sptx_core.engine.families`). Out: for each window what its attention layers read, the sum
of fused features and position embedding, [S, hidden] with S = max_seq_len, in the precision of the residual stream; for
a network without attention the logits, with S the core (`sptx_core.engine.folding`).

`sptx_core.engine.folding` takes the network apart; `StretchEncoder` runs the parts. The paths `shared`, `native` and
`triton` each give it their own residual blocks and skips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.changes import ChangedFeatures, group_changes, replaced_bases
from sptx_core.engine.families import FamilyRun
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.folding import FoldedBlock, FoldedEncoders, fold_encoders
from sptx_core.engine.geometry import AttendedSpan
from sptx_core.engine.machine import to_device
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


class Block(Protocol):
    """A residual block of an engine path; features are [., C]."""

    def __call__(self, x: SharedFeatures) -> SharedFeatures:
        """Features after the block."""

    def traced(self, x: SharedFeatures) -> tuple[SharedFeatures, SharedFeatures]:
        """Features after the block, and between its convolutions in the form that `changed` takes."""

    def changed(self, changed: ChangedFeatures, x: SharedFeatures, middle: SharedFeatures) -> ChangedFeatures:
        """Features of changed windows after the block.

        Parameters
        ----------
        changed : ChangedFeatures
            Features before the block.
        x : SharedFeatures
            Those of the windows as they are.
        middle : SharedFeatures
            From `traced` of `x`.
        """


class Skip(Protocol):
    """A linear map of features, added to the fused features."""

    def __call__(self, fused: SharedFeatures, x: SharedFeatures, margin: int) -> SharedFeatures:
        """Fused features with those of `x` added, at their reach and this margin. May overwrite `fused`."""

    def add_rows(self, fused: Tensor, x: Tensor, threads: int = 1) -> Tensor:
        """Fused features [N, length, hidden] with those of x [N, length, C] added. May overwrite `fused`."""


class PositionTable:
    """What is added to the fused features of a window, and what stands in their place outside the window."""

    def __init__(self, span: AttendedSpan, position: Tensor, padding: Tensor) -> None:
        self.span, self.position, self.padding = span, position, padding


Placement = Callable[[SharedFeatures, int, PositionTable, Tensor], None]
"""(fused, first, table, x) -> x [n, S, hidden] is filled for windows `first`, `first` + 1, ..."""


@dataclass(frozen=True, eq=False)
class _Stage:
    """A stage in the form that a path computes with."""

    encoder: int
    blocks: list[Block]
    skip: Skip


class StretchEncoder:
    """Encodes stretches; blocks, skips and the placement of windows are those of one engine path.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64.
    spec : WindowSpec
        How the windows lie.
    wide : torch.dtype
        Precision of the residual stream.
    block : callable
        Makes a residual block from its folded weights.
    skip : callable
        Makes a skip from its weight [hidden, C].
    place : callable, optional
        Puts windows together; by default by PyTorch's operators.
    divides_work : bool
        Whether blocks and skips use as many threads as the features say, and give the same bytes for any number.
    evenly : bool
        Whether the windows of a run of a family must be equally far apart.
    filled_up : callable, optional
        How many channels fused features are to have, as for `fold_encoders`.
    """

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        wide: torch.dtype,
        *,
        block: Callable[[FoldedBlock], Block],
        skip: Callable[[Tensor], Skip],
        place: Placement | None = None,
        divides_work: bool = False,
        evenly: bool = False,
        filled_up: Callable[[int], int] | None = None,
    ) -> None:
        folded = fold_encoders(model, spec, filled_up)
        self.spec, self.divides_work, self.evenly = spec, divides_work, evenly
        self.span = AttendedSpan.of(model.sizes, spec)
        self.input_tables = [table.to(wide).contiguous() for table in folded.input_tables]
        self.fused_table = folded.fused_table.to(wide).contiguous()
        self.stages = [
            _Stage(stage.encoder, [block(one) for one in stage.blocks], skip(stage.skip)) for stage in folded.stages
        ]
        self.layers = _reaches_and_margins(folded, self.span.margin)
        self.positions = PositionTable(self.span, folded.position.to(wide), folded.padding.to(wide))
        self.place = place or place_windows

    @property
    def device(self) -> torch.device:
        """Where codes are to be and features will be."""
        return self.fused_table.device

    def __call__(self, codes: Tensor, threads: int = 1) -> EncodedStretch:
        """Encode a stretch.

        Parameters
        ----------
        codes : Tensor
            uint8 [(n - 1) * stride + width], codes of n windows, on the device.
        threads : int
            Threads to use where the encoder divides the work itself (`divides_work`); PyTorch's operators use as many
            as `torch.set_num_threads` says.
        """
        ids = codes.long()
        layout = self.spec.count(len(codes)), self.spec.width, self.spec.stride, threads
        features = [SharedFeatures.begin(F.embedding(ids, table), *layout) for table in self.input_tables]
        fused = SharedFeatures.begin(F.embedding(ids, self.fused_table), *layout)
        for stage in self.stages:
            x = features[stage.encoder]
            for block in stage.blocks:
                x = block(x)
            features[stage.encoder] = x
            fused = stage.skip(fused, x, min(self.span.margin, x.reach))
        return EncodedStretch(fused, self.positions, self.place)

    def encode_family(self, run: FamilyRun, threads: int = 1) -> EncodedFamily:
        """Encode windows anywhere in a stretch, and changed windows as far as their change reaches.

        Parameters
        ----------
        run : FamilyRun
            The windows, on the host.
        threads : int
            As for `__call__`.
        """
        groups = group_changes(run, self.layers)
        ids = to_device(torch.from_numpy(run.codes.copy()), self.device).long()
        replaced = [to_device(replaced_bases(run, group), self.device).long() for group in groups]

        def begin(table: Tensor) -> tuple[SharedFeatures, list[ChangedFeatures]]:
            reference = SharedFeatures.begin(F.embedding(ids, table), len(run.starts), run.width, 0, threads)
            bases = (F.embedding(codes, table) for codes in replaced)
            return _placed(reference, run.starts), [*map(ChangedFeatures.begin, groups, bases)]

        features = [begin(table) for table in self.input_tables]
        fused, changed_fused = begin(self.fused_table)
        for stage in self.stages:
            x, changed = features[stage.encoder]
            for block in stage.blocks:
                y, middle = block.traced(x)
                changed = [block.changed(some, x, middle) for some in changed]
                x = y
            features[stage.encoder] = x, changed
            margin = min(self.span.margin, x.reach)
            changed_fused = [
                _changed_skip(stage.skip, fused, of_fused, of_x, x.reach, margin)
                for of_fused, of_x in zip(changed_fused, changed, strict=True)
            ]
            fused = stage.skip(fused, x, margin)
        return EncodedFamily(fused, self.positions, self.place, run, changed_fused)


def _placed(x: SharedFeatures, starts: tuple[int, ...]) -> SharedFeatures:
    """Features of windows that begin at `starts`, as windows a stride apart where they are."""
    steps = {b - a for a, b in pairwise(starts)} or {0}
    return replace(x, stride=steps.pop()) if len(steps) == 1 else replace(x, starts=starts)


def _changed_skip(
    skip: Skip, fused: SharedFeatures, of_fused: ChangedFeatures, x: ChangedFeatures, reach: int, margin: int
) -> ChangedFeatures:
    """Fused features of changed windows with those of `x` added, at this reach and margin.

    `fused` are those of the windows as they are, to which nothing has been added yet.
    """
    first, length = x.group.span(reach, margin)
    before = int(first[0] - x.first[0])
    rows = of_fused.within(fused, first, length)
    return of_fused.after(skip.add_rows(rows, x.rows[:, before : before + length], fused.threads), first)


def _reaches_and_margins(folded: FoldedEncoders, margin: int) -> list[tuple[int, int]]:
    """Reach and margin of features at every layer, by which spans of changes differ."""
    found = {(0, 0)}
    reaches = [0] * len(folded.input_tables)
    for stage in folded.stages:
        for block in stage.blocks:
            for kept in (block.margin1, block.margin2):
                reaches[stage.encoder] += block.radius
                found.add((reaches[stage.encoder], kept))
        found.add((stage.reach, min(margin, stage.reach)))
    return sorted(found)


class EncodedStretch:
    """The fused features of a stretch, from which the input of the attention layers is put together at each call."""

    def __init__(self, fused: SharedFeatures, positions: PositionTable, place: Placement) -> None:
        self.fused, self._positions, self._place = fused, positions, place

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.fused.left)

    def put(self, first: int, x: Tensor) -> None:
        """Fill x [n, S, hidden] with the attended positions of windows `first`, ..., `first` + n - 1.

        Raises
        ------
        IndexError
            The stretch has no such windows.
        """
        if not 0 <= first <= first + len(x) <= len(self):
            raise IndexError(f"windows {first} to {first + len(x) - 1} of {len(self)}")
        self._fill(first, x)

    def _fill(self, first: int, x: Tensor) -> None:
        self._place(self.fused, first, self._positions, x)

    def windows(self, first: int = 0, count: int | None = None) -> Tensor:
        """A new tensor [count, S, hidden] of the windows from `first` on, by default all of them."""
        like = self._positions.position
        x = like.new_empty(len(self) - first if count is None else count, *like.shape)
        self.put(first, x)
        return x


class EncodedFamily(EncodedStretch):
    """The windows of a run of a family, in the order of their results; changed ones are put together at each call."""

    def __init__(
        self,
        fused: SharedFeatures,
        positions: PositionTable,
        place: Placement,
        run: FamilyRun,
        changed: list[ChangedFeatures],
    ) -> None:
        super().__init__(fused, positions, place)
        self._windows, self._starts = [window for window, _ in run.windows], run.starts
        self._spans = {
            row: (first, rows)
            for some in changed
            for row, first, rows in zip(some.group.rows.tolist(), some.first.tolist(), some.rows, strict=True)
        }

    def __len__(self) -> int:
        """Number of windows, changed or not."""
        return len(self._windows)

    def _fill(self, first: int, x: Tensor) -> None:
        for row, out in enumerate(x, start=first):
            self._place(self._alone(self._windows[row]), 0, self._positions, out[None])
            if row in self._spans:
                self._put_span(*self._spans[row], out)

    def _alone(self, window: int) -> SharedFeatures:
        """The features of one window as it is."""
        of, start = self.fused, self._starts[window]
        inner = of.inner[start : start + of.width - 2 * of.reach]
        left, right = (ends[window : window + 1] for ends in (of.left, of.right))
        return replace(of, inner=inner, left=left, right=right, starts=None, stride=0)

    def _put_span(self, first: int, rows: Tensor, out: Tensor) -> None:
        """Put rows [length, hidden] at positions [first, first + length) of a window among the attended ones, `out`."""
        at = first - self._positions.span.first
        low, high = max(0, at), min(len(out), at + len(rows))
        if low < high:
            torch.add(rows[low - at : high - at], self._positions.position[low:high], out=out[low:high])


def place_windows(fused: SharedFeatures, first: int, table: PositionTable, x: Tensor) -> None:
    """Fill x [n, S, hidden] with fused features and position embedding of windows `first`, `first` + 1, ..."""
    span = table.span
    if span.is_padded:
        x.copy_(table.padding)
    at = fused.margin - span.first  # attended position of the first one that is kept
    for parts in (fused.left, fused.slices(0, fused.width - 2 * fused.reach), fused.right):
        kept = parts[first : first + len(x), max(0, -at) : max(0, span.size - at)]
        where = slice(max(0, at), max(0, at) + kept.shape[1])
        torch.add(kept, table.position[where], out=x[:, where])
        at += parts.shape[1]
