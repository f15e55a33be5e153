"""How well a network does on windows held back: losses, and the figures of `sptx evaluate`.

Every base of a window's core that lies in its gene counts once, with scores in the steps of a table. Several workers
each take every n-th batch and add up what they found, so all of them return the same figures:

    loss, site_loss, usage_loss   of `sptx_core.losses`, means over all windows
    acceptor_auprc, donor_auprc   average precision (`pipeline.evaluation.ranking`)
    acceptor_top_k, donor_top_k   top-k accuracy
    usage, specific_usage         Spearman's correlation over (site, tissue) pairs, and that of the tissue-specific part
                                  (`pipeline.evaluation.correlation`)

A figure without a value (no site, no usage) is None. A loss that is not finite is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.evaluation.correlation import correlate
from pipeline.evaluation.ranking import Ranking, ScoreBins
from pipeline.finetuning.examples import Batch, Examples, Windows
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.schema import SPLICE_STEPS
from sptx_core import channels
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError
from sptx_core.losses import UNLABELLED, Loss, splice_loss
from sptx_core.model import SpTransformerModel

Figures = dict[str, float | None]


class Tally:
    """What was found so far, batch by batch."""

    def __init__(self) -> None:
        self.rankings = {kind: Ranking.empty(ScoreBins(SPLICE_STEPS)) for kind in KINDS}
        self.sums = np.zeros(len(Loss._fields))
        self.predicted: list[np.ndarray[Any, Any]] = []
        self.given: list[np.ndarray[Any, Any]] = []

    def add(self, logits: Tensor, batch: Batch, site_weight: float) -> None:
        """Count a batch with the network's logits [B, core, 3 + tissues]."""
        found = splice_loss(logits, *batch[1:], site_weight=site_weight)
        self.sums += np.array([float(x) for x in found])
        if not np.isfinite(self.sums).all():  # so are scores, which have no bin then
            raise InputError(
                "the loss of windows held back is not finite: lower --learning-rate and begin anew in another --output"
            )
        scores = channels.scores(logits).flatten(0, 1)
        classes = batch.classes.flatten().cpu().numpy()
        labelled = classes != UNLABELLED
        splice = scores[:, : len(SPLICE)].cpu().numpy()
        for kind, ranking in self.rankings.items():
            keys = ranking.bins.indices(splice[:, SPLICE.index(kind)])
            true = classes == SPLICE.index(kind)
            ranking.count(keys[true], np.bincount(keys[labelled & ~true], minlength=ranking.bins.count))
        self.predicted.append(scores[batch.sites, len(SPLICE) :].cpu().numpy())
        self.given.append(batch.usage.cpu().numpy())

    def together(self, device: torch.device) -> None:
        """Add up what all workers found, in each of them."""
        counts = [side for ranking in self.rankings.values() for side in (ranking.sites, ranking.others)]
        for values in (self.sums, *counts):
            shared = torch.from_numpy(values).to(device)
            dist.all_reduce(shared)
            values[...] = shared.cpu().numpy()
        own = (self.predicted, self.given)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, own)
        self.predicted = [part for predicted, _ in gathered for part in predicted]
        self.given = [part for _, given in gathered for part in given]

    def figures(self, usage_weight: float) -> Figures:
        """See the module's contract."""
        site, site_weight, usage, usage_weights = self.sums
        site_loss, usage_loss = site / max(site_weight, 1.0), usage / max(usage_weights, 1.0)
        found: Figures = {
            "loss": float(site_loss + usage_weight * usage_loss),
            "site_loss": float(site_loss),
            "usage_loss": float(usage_loss) if usage_weights else None,
        }
        for name, figure in (("auprc", Ranking.average_precision), ("top_k", Ranking.top_k)):
            found |= {f"{kind}_{name}": figure(ranking) for kind, ranking in self.rankings.items()}
        predicted = np.concatenate(self.predicted).astype(np.float64)
        given = np.concatenate(self.given).astype(np.float64)
        line = correlate(range(given.shape[1]), predicted, given)[-1]  # type: ignore[arg-type]  # names are not used
        return found | {"usage": line.spearman, "specific_usage": line.specific_spearman}


@torch.inference_mode()
def validate(
    network: SpTransformerModel,
    examples: Examples,
    windows: Windows,
    *,
    batch: int,
    site_weight: float,
    usage_weight: float,
    autocast: torch.autocast,
    rank: int,
    world: int,
) -> Figures:
    """Figures of a network, which is left in evaluation mode; see the module's contract."""
    device = next(network.parameters()).device
    network.eval()
    tally = Tally()
    for number, first in enumerate(range(0, windows.size, batch)):
        if number % world == rank:
            some = examples.batch(windows.take(slice(first, first + batch))).to(device)
            with autocast:
                logits = network(some.codes, flanked=True).logits
            tally.add(logits, some, site_weight)
    if world > 1:
        tally.together(device)
    return tally.figures(usage_weight)


def in_words(figures: Figures, names: Sequence[str] | None = None) -> str:
    """Figures on one line."""
    chosen = names or tuple(figures)
    return ", ".join(f"{name} {'-' if figures[name] is None else format(figures[name], '.4f')}" for name in chosen)
