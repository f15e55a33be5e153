"""The path `reference`: the network as it is, window by window, in micro-batches of one fixed size.

In: jobs of stretches, uint8 codes (A C G T N = 0..4) [(n - 1) * stride + core + 2 * context], 5' to 3'. Out: logits
[rows, core, channels] on the device, of all windows of all stretches in order. Windows are gathered across stretches
into micro-batches of exactly `batch`; the last one is filled up with windows of N, whose rows are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor

from sptx_core.alphabet import N_CODE, Codes
from sptx_core.model import SpTransformerModel
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
            codes = np.full((self.batch, self.spec.width), N_CODE, dtype=np.uint8)
            codes[: len(rows)] = rows
            yield self.model(torch.from_numpy(codes).to(self.device), flanked=True).logits[: len(rows)]

    def recorded(self, stretch: Codes) -> tuple[Tensor, Tensor]:
        """Logits and chosen buckets of a stretch's windows, one by one, for comparisons.

        Returns
        -------
        tuple of Tensor
            [n, core, channels] and int64 [n, layers, Sinkhorn heads, buckets].
        """
        rows = torch.from_numpy(cut(stretch, self.spec).copy()).to(self.device)
        outputs = [self.model(row[None], flanked=True, output_choices=True) for row in rows]
        return torch.cat([of.logits for of in outputs]), torch.cat([of.choices.bucket for of in outputs])
