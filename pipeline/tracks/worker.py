"""A worker of the tracks job: the sequence of a shard read, its windows predicted, its rows put together and encoded.

In: a shard of coordinates (as a unit of work). Between: codes of each run of windows with its flanks, 5' to 3', then
scores of each window. Out: the bytes of the shard's two parts. The engine begins a shard while the one before it ends,
where it can (`Predictor.stream`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.batch.units import Unit
from pipeline.tracks.axis import Axis
from pipeline.tracks.network_worker import NetworkOrder, NetworkWorker
from pipeline.tracks.parts import ShardRows, encode_shard
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.settings import TableSpec
from pipeline.tracks.shards import Shard, Stretch, shard_stretches
from sptx_core.alphabet import N_CODE, Codes
from sptx_core.windows import WindowSpec

Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WorkOrder(NetworkOrder):
    """What every worker of a run needs to know."""

    spec: TableSpec

    @property
    def windows(self) -> WindowSpec:
        """How windows lie."""
        return self.spec.windows


class Task(NamedTuple):
    """A shard, its runs of windows, and the codes of each with its flanks, 5' to 3'."""

    shard: Shard
    stretches: list[Stretch]
    codes: list[Codes]


class TracksWorker(NetworkWorker):
    """Computes shards; see the module."""

    def __init__(self, order: WorkOrder) -> None:
        super().__init__(order)
        self.order, self.schema = order, TrackSchema(order.spec)

    def read(self, unit: Unit) -> Task:
        """The shard's sequence."""
        shard = Shard.from_unit(unit)
        axis = Axis(shard.strand, self.order.spec.flanks)
        stretches = shard_stretches(shard, axis, self.order.spec.windows)
        return Task(shard, stretches, [self._codes(shard.chrom, axis, stretch) for stretch in stretches])

    def compute(self, inputs: Iterator[Task | None]) -> Iterator[list[Scores] | ArithmeticError]:
        """Scores of each shard's stretches, [windows, core, channels] each."""
        return self.predictor.stream(None if task is None else task.codes for task in inputs)

    def encode(self, unit: Unit, inputs: Task, outputs: list[Scores]) -> dict[str, bytes]:  # noqa: ARG002
        """Both parts of the shard."""
        return encode_shard(
            inputs.shard.key,
            self._rows(inputs, outputs),
            self.schema,
            fingerprint=self.order.fingerprint,
            provenance={"execution": json.dumps(asdict(self.execution), sort_keys=True)},
        )

    def _codes(self, chrom: str, axis: Axis, stretch: Stretch) -> Codes:
        """Codes of the stretch with its flanks, 5' to 3'."""
        low, high = self.order.spec.windows.input_span(stretch.k_first, stretch.k_last)
        if axis.genomic:
            return axis.transcribed(self.genome.fetch(chrom, low, high))
        origin = stretch.pieces[0].origin
        codes = np.full(high - low, N_CODE, dtype=np.uint8)
        first, end = max(low, 0), min(high, origin.end - origin.start)  # what lies within the transcript
        codes[first - low : end - low] = axis.transcribed(self.genome.fetch(chrom, *axis.to_genome(first, end, origin)))
        return codes

    def _rows(self, task: Task, values: list[Scores]) -> ShardRows:
        """The shard's rows in the order of its pieces, each base from the window that owns it."""
        shard, spec = task.shard, self.order.spec
        axis = Axis(shard.strand, spec.flanks)
        scores, done = np.empty((shard.rows, len(spec.channels)), dtype=np.float32), 0
        for stretch, predicted in zip(task.stretches, values, strict=True):
            for piece in stretch.pieces:
                rows = scores[done : done + piece.end - piece.start]
                rows[:] = axis.stitch(predicted, spec.windows, stretch.k_first, piece.start, piece.end, piece.origin)
                done += len(rows)
        ids: Any = None
        if not axis.genomic:
            lengths = [piece.end - piece.start for piece in shard.pieces]
            ids = np.repeat([piece.transcript_id for piece in shard.pieces], lengths)
        return ShardRows(
            pos=np.concatenate([np.arange(piece.start + 1, piece.end + 1, dtype=np.int32) for piece in shard.pieces]),
            ref=np.concatenate([self.genome.fetch(shard.chrom, piece.start, piece.end) for piece in shard.pieces]),
            scores=scores,
            transcript_id=ids,
        )
