"""The variants job, as the workbench runs it: its units, the fields of its fingerprint, its worker and its tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Job, Say, Worker
from pipeline.batch.layout import Part
from pipeline.batch.record import Execution, fingerprint
from pipeline.batch.units import Unit
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import Network
from pipeline.tracks.execution import choose_execution, execution_in, on_disk
from pipeline.tracks.reader import open_tracks
from pipeline.variants.geometry import Geometry
from pipeline.variants.known import KnownScores, require_fitting
from pipeline.variants.layout import SHARD_PARTS, ShardKey
from pipeline.variants.plan import Plan
from pipeline.variants.schema import FORMAT_VERSION, JOB, SITES, VARIANTS, VariantSchema
from pipeline.variants.settings import Beyond, ScoringConfig
from pipeline.variants.worker import VariantsWorker, WorkOrder
from sptx_core.channels import SPLICE
from sptx_core.windows import WindowSpec
from sptx_core.words import counted


@dataclass(frozen=True, eq=False)
class VariantsJob(Job):
    """A checked run: which alleles to score, with what."""

    parts_named: ClassVar[re.Pattern[str]] = SHARD_PARTS
    called: ClassVar[str] = "shard"
    counted: ClassVar[str] = "allele"
    format_version: ClassVar[int] = FORMAT_VERSION

    settings: ScoringConfig
    plan: Plan
    geometry: Geometry
    network: Network
    genome: Genome

    @property
    def tables(self) -> tuple[str, ...]:  # type: ignore[override]  # one more where it was asked for
        """Folders of the parts."""
        return (VARIANTS, SITES) if self.settings.sites else (VARIANTS,)

    @property
    def units(self) -> int:  # type: ignore[override]  # computed here
        """Shards of the plan."""
        return self.plan.units

    @property
    def size(self) -> int:  # type: ignore[override]  # computed here
        """Alleles of the plan."""
        return len(self.plan.entries)

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the network's tissues."""
        return tuple(name for name in self.network.channels if name not in SPLICE)

    @cached_property
    def fields(self) -> Mapping[str, Any]:  # type: ignore[override]  # computed here, when it is first asked for
        """All that defines the tables, and nothing of how they are computed."""
        settings, geometry = self.settings, self.geometry
        return {
            "job": JOB,
            "checkpoint": self.network.digest(),
            "genome": self.genome.digest(self.plan.contigs),
            "alleles": self.plan.digest,
            "distance": geometry.distance,
            "windows": settings.windows.value,
            "core": geometry.core,
            "context": geometry.context,
            "flanks": settings.flanks.value,
            "precision": settings.precision.value,
            "sites": settings.sites,
            "alleles_per_shard": settings.alleles_per_shard,
            "reference": "computed" if self._known is None else open_tracks(self._known.uri).fingerprint,
            "encoding": VariantSchema(self.tissues).digest,
            "format_version": FORMAT_VERSION,
        }

    def iter_units(self, wanted: list[int]) -> Iterator[Unit]:
        """The shards of these numbers."""
        return self.plan.iter_units(wanted)

    def make_worker(self, execution: Execution) -> Callable[[], Worker]:
        """What makes a worker in an actor."""
        return partial(VariantsWorker, self.work_order(execution))

    def work_order(self, execution: Execution) -> WorkOrder:
        """What a worker needs to know."""
        return WorkOrder(
            fasta=self.settings.fasta,
            checkpoint=self.network.pinned or self.settings.checkpoint,
            checkpoint_digest=self.fields["checkpoint"],
            fingerprint=fingerprint(self.fields),
            geometry=self.geometry,
            by_gene=self.settings.flanks is Beyond.GENE,
            sites=self.settings.sites,
            tissues=self.tissues,
            execution=execution,
            lengths={name: self.genome.lengths[name] for name in self.plan.contigs},
            known=self._known,
        )

    @cached_property
    def _known(self) -> KnownScores | None:
        """Scores of the reference that a table of tracks holds, after a look whether it fits."""
        if self.settings.tracks is None:
            return None
        tracks = open_tracks(self.settings.tracks)
        require_fitting(tracks, self.geometry, self.network.digest(), self.genome)
        return KnownScores(self.settings.tracks, self.network.channels)

    def describe(self) -> str:
        """Alleles and how many of them are scored."""
        return f"{counted(self.size, 'allele')} ({self.plan.statuses.get('scored', 0):,} to be scored)"

    def about(self) -> Mapping[str, Any]:
        """What run.json says besides: the tissues, how many alleles have which status, and of a hub id its commit."""
        pinned = self.network.pinned
        said = {"tissues": list(self.tissues), "statuses": self.plan.statuses}
        return {**said, **({"checkpoint_revision": pinned} if pinned else {})}

    def execution_of(self, part: bytes) -> Execution | None:
        """How a part says that it was computed."""
        return execution_in(part)

    def manifest_columns(self, part: Part) -> Mapping[str, Any]:
        """Contig of a shard."""
        return {"chrom": ShardKey.of(part).chrom}

    def local_inputs(self) -> list[str]:
        """What workers read, as far as it lies on a disk (a hub id does not)."""
        given = (self.settings.fasta, self.settings.checkpoint, self.settings.tracks)
        return on_disk(uri for uri in given if uri)

    def choose_execution(self, pool: Pool, stored: Execution | None, say: Say) -> Execution:
        """The stored execution where the run began on the same hardware, else one measured where the work is done."""
        spec = WindowSpec(core=self.geometry.core, context=self.geometry.context)
        return choose_execution(self.network, spec, self.settings, self.settings.precision, pool, stored, say)
