"""Features of changed windows, computed anew only where the change reaches.

A window in which positions [start, start + size) are replaced has other features than the window as it is, but after
convolutions that reach `reach` positions to either side only in its span, positions [start - reach, start + size +
reach), as far as these are kept (`sptx_core.engine.features`). `ChangedFeatures` holds the features of that span for
changes whose spans are of one length at every layer (`ChangeGroup`); all other positions are those of the reference.
A convolution of a span reads the features of the span before it and reference features around it (`within`).

All this is exact: only the order of summation may differ from that of the network. Intervals are half-open; positions
are those of a window, 5' to 3'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.families import FamilyRun, Rows
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.machine import to_device


@dataclass(frozen=True, eq=False)
class ChangeGroup:
    """Changes whose spans have one length, and lie alike around the replaced bases, at every layer."""

    rows: Rows
    """[N], the number of each changed window in its run."""
    windows: Rows
    """[N], the window that is changed."""
    starts: Rows
    """[N], the first position that is replaced."""
    size: int
    """Positions that are replaced."""
    width: int
    """Positions of a window."""

    def span(self, reach: int, margin: int) -> tuple[Rows, int]:
        """First positions [N] of the spans at a reach, without positions that are not kept, and their length."""
        first = np.maximum(margin, self.starts - reach)
        end = np.minimum(self.width - margin, self.starts + self.size + reach)
        return first, int(end[0] - first[0])


def group_changes(run: FamilyRun, layers: Sequence[tuple[int, int]]) -> list[ChangeGroup]:
    """Changes of a run by the shape of their spans.

    Parameters
    ----------
    run : FamilyRun
        Windows, changed or not.
    layers : sequence of (int, int)
        Reach and margin of the features at every layer.
    """
    reach, margin = np.array(layers, dtype=np.int64).reshape(-1, 2).T
    found: dict[tuple[int, bytes], list[int]] = {}
    for row, (_, change) in enumerate(run.windows):
        if change is not None:
            low = np.maximum(margin - change.start, -reach)
            high = np.minimum(run.width - margin - change.start, change.end - change.start + reach)
            found.setdefault((len(change.bases), low.tobytes() + high.tobytes()), []).append(row)
    return [_group(run, rows, size) for (size, _), rows in found.items()]


def _group(run: FamilyRun, rows: list[int], size: int) -> ChangeGroup:
    some = [run.windows[row] for row in rows]
    starts = [change.start for _, change in some if change is not None]
    return ChangeGroup(np.array(rows), np.array([window for window, _ in some]), np.array(starts), size, run.width)


@dataclass(frozen=True, eq=False)
class ChangedFeatures:
    """Features of the spans of a group of changes."""

    group: ChangeGroup
    rows: Tensor
    """[N, length, C]."""
    first: Rows
    """[N], the first position of each span."""

    @classmethod
    def begin(cls, group: ChangeGroup, bases: Tensor) -> ChangedFeatures:
        """Features [N, size, C] of the replaced bases, before any convolution."""
        return cls(group, bases, group.starts)

    def after(self, rows: Tensor, first: Rows) -> ChangedFeatures:
        """Features of the same changes at a later layer."""
        return replace(self, rows=rows, first=first)

    def within(self, reference: SharedFeatures, first: Rows, length: int) -> Tensor:
        """Positions [first, first + length) of each changed window.

        Parameters
        ----------
        reference : SharedFeatures
            The windows as they are, at the layer of these features.
        first : int64 array [N]
            First positions.
        length : int
            Positions. The spans may be longer: positions of them that are not wanted are left out.

        Returns
        -------
        Tensor
            [N, length, C]; zeros at positions that the window has not.
        """
        before = int(self.first[0] - first[0])
        rows = self.rows[:, max(0, -before) : max(0, length - before)]
        span = np.maximum(first, self.first)
        around = around_spans(reference, self.group, span, rows.shape[1], first, length)
        before = max(0, before)
        around[:, before : before + rows.shape[1]] = rows
        return around


def around_spans(
    reference: SharedFeatures, group: ChangeGroup, span: Rows, size: int, first: Rows, length: int
) -> Tensor:
    """Positions [first, first + length) of each window of a group as they are, but for the spans, which are left open.

    Parameters
    ----------
    reference : SharedFeatures
        The windows.
    group : ChangeGroup
        The changes.
    span, first : int64 array [N]
        First positions of the spans, and of what is wanted.
    size, length : int
        Positions of a span, and those wanted.

    Returns
    -------
    Tensor
        [N, length, C]; zeros at positions that a window has not.
    """
    inner = reference.inner
    if inner.device.type != "cpu":
        return gather_around(reference, group, first, length)
    around = inner.new_empty(len(group.windows), length, inner.shape[1])
    before = int(span[0] - first[0])
    after = before + size
    for out, window, start in zip(around, group.windows.tolist(), first.tolist(), strict=True):
        for part, at in ((out[:before], start), (out[after:], start + after)):
            if at < reference.margin or at + len(part) > reference.width - reference.margin:
                part.zero_()
            reference.copy(window, at, part)
    return around


def gather_around(reference: SharedFeatures, group: ChangeGroup, first: Rows, length: int) -> Tensor:
    """Positions [first, first + length) of each window of a group as they are; zeros where none are kept.

    `around_spans` by a gather for the whole group, for a GPU, on which a copy for each window would take longer than
    what is copied.
    """
    inner, kept = reference.inner, reference.reach - reference.margin
    left, right = reference.left.flatten(0, 1), reference.right.flatten(0, 1)
    table = torch.cat((inner, left, right, inner.new_zeros(1, inner.shape[1])))
    places = np.stack((first, group.windows, reference.offsets[group.windows]))
    at, window, offset = to_device(torch.from_numpy(places), inner.device)[..., None].unbind()
    at = at + torch.arange(length, device=inner.device)
    beyond = reference.width - reference.reach
    in_left, in_right = window * kept + at - reference.margin, len(left) + window * kept + at - beyond
    in_end = len(inner) + torch.where(at < reference.reach, in_left, in_right)
    row = torch.where((at < reference.reach) | (at >= beyond), in_end, offset + at - reference.reach)
    is_kept = (at >= reference.margin) & (at < reference.width - reference.margin)
    return F.embedding(torch.where(is_kept, row, len(table) - 1), table)


def outside(first: Rows, length: int, width: int) -> tuple[Rows, Rows]:
    """How many of positions [first, first + length) lie before a window of `width` positions, and how many beyond it.

    Parameters
    ----------
    first : int64 array [N]
        First positions.
    length, width : int
        Positions.
    """
    return np.maximum(0, -first), np.maximum(0, first + length - width)


def zero_outside(rows: Tensor, first: Rows, width: int) -> Tensor:
    """Set rows [N, length, C] to zero, in place, at the positions [first, first + length) that a window has not."""
    before, beyond = outside(first, rows.shape[1], width)
    for row, low, high in zip(rows, before.tolist(), beyond.tolist(), strict=True):
        if low:
            row[:low] = 0
        if high:
            row[len(row) - high :] = 0
    return rows


def replaced_bases(run: FamilyRun, group: ChangeGroup) -> Tensor:
    """Codes of the replaced bases of a group, uint8 [N, size]."""
    changes: Iterable[np.ndarray] = (
        change.bases for change in (run.windows[row].change for row in group.rows.tolist()) if change is not None
    )
    return torch.from_numpy(np.stack(list(changes)))
