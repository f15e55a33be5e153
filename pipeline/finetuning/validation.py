"""A network and windows that were held back -> losses and metrics.

In: `Examples` and some of its windows. Each core base that lies in its gene counts once, its scores rounded to the
steps of a table. With several workers each takes every n-th batch, and the counts are summed over the workers, so that
all of them return the same metrics.

Out: a dict of metrics by name, which are also keys of `history.json` and `report.json`:

    loss, site_loss, usage_loss   losses of `sptx_core.losses`, means over all windows
    acceptor_auprc, donor_auprc   average precision (`pipeline.evaluation.ranking`)
    acceptor_top_k, donor_top_k   top-k accuracy
    usage, specific_usage         Spearman's correlation over (site, tissue) pairs, and that of the tissue-specific part
                                  (`pipeline.evaluation.correlation`)

A metric that is not defined (no site, no usage) is None. Errors: `InputError` for a loss that is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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

Metrics = dict[str, float | None]


class MetricCounter:
    """Counts what the metrics are computed from, batch by batch."""

    def __init__(self) -> None:
        self.rankings = {kind: Ranking.empty(ScoreBins(SPLICE_STEPS)) for kind in KINDS}
        self.sums = np.zeros(len(Loss._fields))
        self.predicted: list[npt.NDArray[np.float32]] = []
        self.measured: list[npt.NDArray[np.float32]] = []

    def add(self, logits: Tensor, batch: Batch, site_weight: float) -> None:
        """Count a batch.

        Parameters
        ----------
        logits : [B, core, 3 + tissues]
            Output of the network, before softmax and sigmoid.
        batch : Batch
            The labels.
        site_weight : float
            Weight of a base that is a site in the loss.

        Raises
        ------
        InputError
            The loss is not finite.

        """
        loss = splice_loss(logits, *batch[1:], site_weight=site_weight)
        self.sums += np.array([float(x) for x in loss])
        if not np.isfinite(self.sums).all():  # then scores are not finite either, and have no bin
            raise InputError(
                "the validation loss is not finite: lower --learning-rate and start again in another --output"
            )
        scores = channels.scores(logits).flatten(0, 1)
        classes = batch.classes.flatten().cpu().numpy()
        labelled = classes != UNLABELLED
        splice = scores[:, : len(SPLICE)].cpu().numpy()
        for kind, ranking in self.rankings.items():
            bins = ranking.bins.indices(splice[:, SPLICE.index(kind)])
            true = classes == SPLICE.index(kind)
            ranking.count(bins[true], np.bincount(bins[labelled & ~true], minlength=ranking.bins.count))
        self.predicted.append(scores[batch.sites, len(SPLICE) :].cpu().numpy())
        self.measured.append(batch.usage.cpu().numpy())

    def reduce(self, device: torch.device) -> None:
        """Sum the counts over all workers of the process group; each worker must call it.

        Parameters
        ----------
        device : torch.device
            Device of the worker, for the collective operations.

        """
        counts = [side for ranking in self.rankings.values() for side in (ranking.sites, ranking.others)]
        for values in (self.sums, *counts):
            shared = torch.from_numpy(values).to(device)
            dist.all_reduce(shared)
            values[...] = shared.cpu().numpy()
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, (self.predicted, self.measured))
        self.predicted = [part for predicted, _ in gathered for part in predicted]
        self.measured = [part for _, measured in gathered for part in measured]

    def metrics(self, usage_weight: float) -> Metrics:
        """Compute the metrics of all counted batches, at least one.

        Parameters
        ----------
        usage_weight : float
            Weight of the usage loss in `loss`, where the site loss has 1.

        Returns
        -------
        dict of str to (float or None)
            The metrics that the module lists.

        """
        site, site_weight, usage, usage_pairs = self.sums
        site_loss, usage_loss = site / max(site_weight, 1.0), usage / max(usage_pairs, 1.0)
        metrics: Metrics = {
            "loss": float(site_loss + usage_weight * usage_loss),
            "site_loss": float(site_loss),
            "usage_loss": float(usage_loss) if usage_pairs else None,
        }
        for name, metric in (("auprc", Ranking.average_precision), ("top_k", Ranking.top_k)):
            metrics |= {f"{kind}_{name}": metric(ranking) for kind, ranking in self.rankings.items()}
        predicted = np.concatenate(self.predicted).astype(np.float64)
        measured = np.concatenate(self.measured).astype(np.float64)
        pooled = correlate([""] * measured.shape[1], predicted, measured)[-1]  # without names: only "all" is used
        return metrics | {"usage": pooled.spearman, "specific_usage": pooled.specific_spearman}


@torch.inference_mode()
def validate(
    network: SpTransformerModel,
    examples: Examples,
    windows: Windows,
    *,
    batch_size: int,
    site_weight: float,
    usage_weight: float,
    autocast: torch.autocast,
    rank: int,
    world_size: int,
) -> Metrics:
    """Compute the metrics of a network; every worker of the process group must call it.

    Parameters
    ----------
    network : SpTransformerModel
        The network; it is left in evaluation mode.
    examples : Examples
        Genes that are held back.
    windows : Windows
        Windows of `examples`, the same on every worker.
    batch_size : int
        Windows that a worker computes at once.
    site_weight, usage_weight : float
        Weights of the loss.
    autocast : torch.autocast
        Precision of the forward pass.
    rank, world_size : int
        This worker, and the number of workers.

    Returns
    -------
    dict of str to (float or None)
        The metrics that the module lists, of all windows.

    Raises
    ------
    InputError
        The loss is not finite.

    """
    device = next(network.parameters()).device
    network.eval()
    counter = MetricCounter()
    for number, first in enumerate(range(0, windows.size, batch_size)):
        if number % world_size == rank:
            batch = examples.batch(windows.take(slice(first, first + batch_size))).to(device)
            with autocast:
                logits = network(batch.codes, flanked=True).logits
            counter.add(logits, batch, site_weight)
    if world_size > 1:
        counter.reduce(device)
    return counter.metrics(usage_weight)


def format_metrics(metrics: Metrics, names: Sequence[str] | None = None) -> str:
    """Write metrics on one line.

    Parameters
    ----------
    metrics : dict of str to (float or None)
        The metrics.
    names : sequence of str, optional
        Those to write; without it all.

    Returns
    -------
    str
        Names and values with four decimals, separated by commas; a dash for None.

    """
    chosen = names or tuple(metrics)
    return ", ".join(f"{name} {'-' if metrics[name] is None else format(metrics[name], '.4f')}" for name in chosen)
