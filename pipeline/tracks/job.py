"""The tracks job, as the workbench runs it: its units, the fields of its fingerprint, its worker and its tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import yaml

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Job, Say, Worker
from pipeline.batch.layout import RUN_FILE, SETTINGS_FILE, Part
from pipeline.batch.record import Execution, RunRecord, fingerprint
from pipeline.batch.units import Unit
from pipeline.coordinates import ContigMap
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import Network
from pipeline.tracks.digests import loci_digest, transcripts_digest
from pipeline.tracks.execution import choose_execution, execution_in, on_disk
from pipeline.tracks.layout import SHARD_PARTS, TABLES, manifest_columns
from pipeline.tracks.plan import Plan
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from pipeline.tracks.settings import RunConfig, TableSpec, differing_settings
from pipeline.tracks.side_tables import SIDE_TABLES, same_table, tables_of
from pipeline.tracks.worker import TracksWorker, WorkOrder
from sptx_core.words import counted


@dataclass(frozen=True, eq=False)
class TracksJob(Job):
    """A checked run: what to compute, from what. `contigs` maps names of the annotation to those of the genome."""

    tables: ClassVar[tuple[str, ...]] = TABLES
    parts_named: ClassVar[re.Pattern[str]] = SHARD_PARTS
    side_names: ClassVar[tuple[str, ...]] = SIDE_TABLES
    called: ClassVar[str] = "shard"
    counted: ClassVar[str] = "base"
    format_version: ClassVar[int] = FORMAT_VERSION

    settings: RunConfig
    plan: Plan
    spec: TableSpec
    network: Network
    genome: Genome
    contigs: ContigMap

    @property
    def units(self) -> int:  # type: ignore[override]  # computed here
        """Shards of the plan."""
        return int(self.plan.pieces["shard"].max()) + 1  # type: ignore[arg-type]  # a column of integers

    @property
    def size(self) -> int:  # type: ignore[override]  # computed here
        """Bases of the plan, counted on each strand."""
        return self.plan.bases

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Bases of each contig of the plan."""
        return dict(zip(self.plan.contigs["chrom"], self.plan.contigs["length"], strict=True))

    @cached_property
    def fields(self) -> Mapping[str, Any]:  # type: ignore[override]  # computed here, when it is first asked for
        """All that defines the table, and nothing of how it is executed."""
        settings, plan, windows = self.settings, self.plan, self.spec.windows
        return {
            "checkpoint": self.network.digest(),
            "precision": settings.precision.value,
            "core": windows.core,
            "context": windows.context,
            "overlap": windows.overlap,
            "flanks": self.spec.flanks.value,
            "genome": self.genome.digest(list(self.lengths)),
            "transcripts": transcripts_digest(plan.transcripts),
            "loci": loci_digest(plan.loci),
            "windows_per_shard": settings.windows_per_shard,
            "exact": self.spec.exact,
            "sites_threshold": self.spec.sites_threshold,
            "channels": ",".join(self.spec.channels),
            "encoding": TrackSchema(self.spec).digest,
            "format_version": FORMAT_VERSION,
        }

    def iter_units(self, wanted: list[int]) -> Iterator[Unit]:
        """The shards of these numbers as units of work."""
        return (shard.to_unit() for shard in self.plan.iter_shards(wanted))

    def make_worker(self, execution: Execution) -> Callable[[], Worker]:
        """What makes a worker in an actor."""
        return partial(TracksWorker, self.work_order(execution))

    def work_order(self, execution: Execution) -> WorkOrder:
        """What a worker needs to know."""
        return WorkOrder(
            fasta=self.settings.fasta,
            checkpoint=self.network.pinned or self.settings.checkpoint,
            checkpoint_digest=self.fields["checkpoint"],
            fingerprint=fingerprint(self.fields),
            spec=self.spec,
            execution=execution,
            lengths=self.lengths,
        )

    def describe(self) -> str:
        """Bases and loci."""
        return f"{counted(self.size, 'base')} in {counted(len(self.plan.loci), 'locus', 'loci')}"

    def about(self) -> Mapping[str, Any]:
        """The layout of the table, and of a checkpoint from the hub its commit."""
        pinned = self.network.pinned
        return {**self.spec.about(), **({"checkpoint_revision": pinned} if pinned else {})}

    def side_files(self) -> Mapping[str, bytes]:
        """The plan's small tables."""
        return self._tables

    @cached_property
    def _tables(self) -> Mapping[str, bytes]:
        return tables_of(self.plan)

    def agrees(self, name: str, content: bytes) -> bool:
        """Whether a small table holds the plan, run.json describes the layout of this table, and settings give it."""
        if name == SETTINGS_FILE:
            return not differing_settings(RunConfig.model_validate(yaml.safe_load(content)), self.fields)
        if name != RUN_FILE:
            return same_table(name, content, self._tables[name])
        record = RunRecord.from_json(content, name, FORMAT_VERSION)
        try:
            return TableSpec.from_record(record.fields, record.about) == self.spec
        except (KeyError, TypeError, ValueError):
            return False

    def execution_of(self, part: bytes) -> Execution | None:
        """How a tracks part says that it was computed."""
        return execution_in(part)

    def manifest_columns(self, part: Part) -> Mapping[str, Any]:
        """Contig and strand of a shard."""
        return manifest_columns(part)

    def local_inputs(self) -> list[str]:
        """Genome and checkpoint, as far as they lie on a disk (a hub id does not)."""
        return on_disk((self.settings.fasta, self.settings.checkpoint))

    def choose_execution(self, pool: Pool, stored: Execution | None, say: Say) -> Execution:
        """The stored execution where the run began on the same hardware, else one measured where the work is done."""
        precision = self.settings.precision
        return choose_execution(self.network, self.spec.windows, self.settings, precision, pool, stored, say)
