"""What workers that run the network share: the genome and the checkpoint of the plan, and the engine made ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from pipeline.batch.job import Worker
from pipeline.batch.record import Execution
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import load_network
from sptx_core.engine import Predictor, hardware, is_device_lost
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


@dataclass(frozen=True, kw_only=True)
class NetworkOrder(ABC):
    """What every worker of a run needs to know; travels once to each.

    `lengths` are bases by contig of the plan's genome, `checkpoint_digest` and `fingerprint` hexadecimal digests. A job
    adds what its workers need besides.
    """

    fasta: str
    checkpoint: str
    checkpoint_digest: str
    fingerprint: str
    execution: Execution
    lengths: Mapping[str, int]

    @property
    @abstractmethod
    def windows(self) -> WindowSpec:
        """How windows lie."""


class NetworkWorker(Worker):
    """A worker that predicts with the network; a job says what is read, computed and encoded.

    Raises
    ------
    InputError
        Genome or checkpoint on this node are not those of the plan.

    """

    def __init__(self, order: NetworkOrder) -> None:
        self._network_order = order
        self.genome = Genome(order.fasta)
        for chrom, length in order.lengths.items():
            if self.genome.lengths.get(chrom) != length:
                raise InputError(f"{order.fasta} on this node is not the genome of the plan: {chrom} differs")
        # A cluster may mix hardware: a part says what really computed it.
        self.execution = replace(order.execution, hardware=hardware(order.execution.device))

    def open(self) -> None:
        """Load the network and make the engine ready, on the thread that will use it."""
        order, execution = self._network_order, self.execution
        torch.set_num_threads(execution.threads)
        network = load_network(order.checkpoint)
        if network.digest() != order.checkpoint_digest:
            raise InputError(f"{order.checkpoint} on this node is not the checkpoint of the plan")
        self.predictor = self.make_predictor(network.model)
        self.execution = replace(execution, engine=self.predictor.path)

    def make_predictor(self, model: SpTransformerModel) -> Predictor:
        """The engine that the run's execution names; what measures the pipeline alone puts another in its place."""
        execution = self._network_order.execution
        return Predictor.planned(
            model,
            self._network_order.windows,
            path=execution.engine,
            precision=execution.precision,
            device=execution.device,
            batch=execution.batch,
        )

    def is_fatal(self, error: Exception) -> bool:
        """Whether the GPU is lost to this process."""
        return is_device_lost(error)
