"""The path `reference`: the network as it is, window by window, in micro-batches of one fixed size.

In: jobs of stretches, uint8 codes (A C G T N = 0..4) [(n - 1) * stride + core + 2 * context], 5' to 3'. Out: logits
[rows, core, channels] on the device, of all windows of all stretches in order. Windows are gathered across stretches
into micro-batches of exactly `batch`; the last one is filled up with windows of N, whose rows are dropped. The windows
of families (`sptx_core.engine.families`) go the same way, each by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sptx_core.alphabet import N_CODE, Codes
from sptx_core.engine.families import Family, PlannedFamily, plan_family
from sptx_core.engine.scheduling import LogitsAndGaps, smallest_of
from sptx_core.engine.torch.layers import BucketChoice
from sptx_core.model import Attention, SpTransformerModel
from sptx_core.windows import WindowSpec, cut


class ReferencePath:
    """The network in the precision of its parameters.

    Parameters
    ----------
    model : SpTransformerModel
        The network, on the device to be used.
    spec : WindowSpec
        How the windows lie.
    batch : int
        Windows of a micro-batch.
    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, batch: int) -> None:
        self.model, self.spec, self.batch = model, spec, batch
        self.device = next(model.parameters()).device

    @property
    def overlaps_jobs(self) -> bool:
        """It does not: it is given one job at a time."""
        return False

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor]:
        """Logits [rows, core, channels] of consecutive windows, at most `batch` rows at a time."""
        windows = chain.from_iterable(cut(stretch, self.spec) for job in jobs for stretch in job or ())
        while rows := list(islice(windows, self.batch)):
            yield self.model(self._filled(rows), flanked=True).logits[: len(rows)]

    def family_logits(self, families: Iterable[PlannedFamily | None]) -> Iterator[LogitsAndGaps]:
        """Logits [rows, core, channels] and gaps [rows] of the windows of each family, at most `batch` at a time."""
        runs = (run for family in families if family is not None for run in family.runs)
        windows = chain.from_iterable(run.changed_codes() for run in runs)
        while rows := list(islice(windows, self.batch)):
            with self._gaps_noted() as gaps:
                logits = self.model(self._filled(rows), flanked=True).logits
            yield LogitsAndGaps(logits[: len(rows)], smallest_of(gaps, logits)[: len(rows)])

    def plan(self, family: Family) -> PlannedFamily:
        """The different windows of a family."""
        return plan_family(family, self.spec.width, self.batch)

    def _filled(self, rows: list[Codes]) -> Tensor:
        """A micro-batch of windows, filled up."""
        codes = np.full((self.batch, self.spec.width), N_CODE, dtype=np.uint8)
        codes[: len(rows)] = rows
        return torch.from_numpy(codes).to(self.device)

    @contextmanager
    def _gaps_noted(self) -> Iterator[list[Tensor]]:
        """Within it, the smallest gaps of each attention layer are added to the list: [B]."""
        gaps: list[Tensor] = []

        def note(attention: Attention, given: tuple[Any, ...]) -> None:
            x = given[0]
            choice = BucketChoice(attention, x.dtype)
            choice(torch.unflatten(x, 1, (-1, attention.bucket_size)).mean(2), slice(None), gaps)

        hooks = [part.register_forward_pre_hook(note) for part in self.model.modules() if isinstance(part, Attention)]
        try:
            yield gaps
        finally:
            for hook in hooks:
                hook.remove()

    def recorded(self, stretch: Codes) -> tuple[Tensor, Tensor]:
        """Logits and chosen buckets of a stretch's windows, one by one, for comparisons.

        Returns
        -------
        tuple of Tensor
            [n, core, channels] and int64 [n, layers, Sinkhorn heads, buckets].
        """
        return self._recorded(cut(stretch, self.spec))

    def recorded_family(self, family: PlannedFamily) -> tuple[Tensor, Tensor]:
        """`recorded` for the windows of a family."""
        return self._recorded(np.stack([codes for run in family.runs for codes in run.changed_codes()]))

    def _recorded(self, windows: Codes) -> tuple[Tensor, Tensor]:
        rows = torch.from_numpy(windows.copy()).to(self.device)
        outputs = [self.model(row[None], flanked=True, output_choices=True) for row in rows]
        return torch.cat([of.logits for of in outputs]), torch.cat([of.choices.bucket for of in outputs])
