"""A worker of the variants job: the sequences of a shard's alleles read, their windows predicted, their rows encoded.

In: a unit whose columns hold entries and the genes that these touch (`pipeline.variants.plan`). Alleles that are alike
on one strand, before one reference, are looked at once, whatever records and genes they are of. Between: families of
windows, then the scores of each. Out: the bytes of the shard's part in each table.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.batch.units import Unit
from pipeline.coordinates import Strand
from pipeline.tracks.network_worker import NetworkOrder, NetworkWorker
from pipeline.variants.alleles import Allele, Status
from pipeline.variants.entries import allele_of, blockwise
from pipeline.variants.geometry import Change, Geometry, Reference, Window, to_axis
from pipeline.variants.known import KnownScores
from pipeline.variants.plan import shard_of
from pipeline.variants.rows import Row, entry_row, gene_row, score_row, site_table
from pipeline.variants.schema import FORMAT_VERSION, SITES, VARIANTS, VariantSchema, to_parquet, to_table
from pipeline.variants.scoring import Look, Place, Scores, families
from sptx_core.alphabet import N_CODE, Codes, reverse_complement
from sptx_core.engine import Family, FamilyScores
from sptx_core.windows import WindowSpec

AUTHORS_DISTANCE, AUTHORS_CONTEXT = 100, 4000
TIE_GAP = 1.5e-5  # in float32, good to a few 1e-6: what is within 1e-5 in float64, the definition of a tie, is below


@dataclass(frozen=True, kw_only=True)
class WorkOrder(NetworkOrder):
    """What every worker of a run needs to know.

    `by_gene` says that N lies beyond a gene's ends, `sites` that the table of sites is written.
    """

    geometry: Geometry
    by_gene: bool
    sites: bool
    tissues: tuple[str, ...]
    known: KnownScores | None = None
    """Where the reference's scores are taken from."""

    @property
    def windows(self) -> WindowSpec:
        """How a single window lies."""
        return WindowSpec(core=self.geometry.core, context=self.geometry.context)

    @property
    def authors_own(self) -> bool:
        """Whether single-base changes are scored as the authors score them, so that their constants hold."""
        geometry = self.geometry
        windows = (geometry.centred, geometry.distance, geometry.context)
        return (
            windows == (True, AUTHORS_DISTANCE, AUTHORS_CONTEXT)
            and not self.by_gene
            and self.execution.precision == "float32"
        )


class Sight(NamedTuple):
    """What an allele is looked at before: a strand of a contig, and the gene beyond which N lies (None: no gene)."""

    strand: str
    gene: int | None


class Task(NamedTuple):
    """A shard's entries and genes, its looks, and their families with the places of each one's scores."""

    contig: str | None
    entries: list[Row]
    genes: dict[int, Row]
    looks: dict[tuple[Sight, Allele], Look]
    known: dict[tuple[Sight, Allele], Scores]
    families: list[Family]
    places: list[list[tuple[tuple[Sight, Allele], Place]]]


class VariantsWorker(NetworkWorker):
    """Computes shards; see the module."""

    def __init__(self, order: WorkOrder) -> None:
        super().__init__(order)
        self.order, self.schema = order, VariantSchema(order.tissues)

    def read(self, unit: Unit) -> Task:
        """The shard's alleles, and the sequences of their windows."""
        contig, entries, genes = shard_of(unit)
        looks: dict[tuple[Sight, Allele], Look] = {}
        by_sight: dict[Sight, list[tuple[Sight, Allele]]] = {}
        for entry in entries:
            if entry["status"] != Status.SCORED:
                continue
            allele = allele_of(entry)
            for sight in {self._sight(strand, gene): None for strand, gene in _targets(entry, genes)}:
                key = (sight, allele)
                if key not in looks:
                    looks[key] = Look.at(Change.of(allele, sight.strand), self.order.geometry)
                    by_sight.setdefault(sight, []).append(key)
        task = Task(contig, entries, genes, looks, {}, [], [])
        if contig is None:
            return task
        for sight, keys in by_sight.items():
            reference = self._reference(contig, sight, genes)
            task.known.update(self._known(contig, sight, {key: looks[key] for key in keys}))
            known = {n for n, key in enumerate(keys) if key in task.known}
            for family, placed in families([looks[key] for key in keys], self.order.geometry, reference, known):
                task.families.append(family)
                task.places.append([(keys[place.look], place) for place in placed])
        return task

    def compute(self, inputs: Iterator[Task | None]) -> Iterator[list[FamilyScores] | ArithmeticError]:
        """Scores of each shard's families."""
        counts: deque[int] = deque()
        # A shard without work has a window of N predicted: whatever computes answers in turn, and only where it worked.
        idle = Family(np.full(self.order.windows.width, N_CODE, dtype=np.uint8), [0])

        def fed() -> Iterator[Family | None]:
            for task in inputs:
                if task is None:
                    yield None
                    continue
                counts.append(max(1, len(task.families)))
                yield from task.families or [idle]

        held: list[FamilyScores] = []
        failed: ArithmeticError | None = None
        done = 0
        for found in self.predictor.stream_families(fed()):
            done += 1
            if isinstance(found, ArithmeticError):
                failed = failed or found
            else:
                held.append(found)
            if done == counts[0]:
                counts.popleft()
                yield failed or held
                held, failed, done = [], None, 0

    def encode(self, unit: Unit, inputs: Task, outputs: list[FamilyScores]) -> dict[str, bytes]:
        """The shard's part of each table."""
        scores: dict[tuple[Sight, Allele], dict[Window, Scores]] = {key: {} for key in inputs.looks}
        ties: set[tuple[Sight, Allele]] = set()
        for placed, found in zip(inputs.places, outputs, strict=False):
            for key, place in placed:
                held = found.alternatives if place.is_alternative else found.references
                scores[key][place.window] = held[place.at]
                gaps = found.alternative_gaps if place.is_alternative else found.reference_gaps
                if gaps[place.at] < TIE_GAP:
                    ties.add(key)
        rows: list[Row] = []
        sites = [self.schema.sites().empty_table()]
        for entry in inputs.entries:
            scored = entry["status"] == Status.SCORED
            allele = allele_of(entry) if entry["start"] is not None else None
            shared = entry_row(entry, allele)
            if not scored or allele is None:
                rows.append(shared)
                continue
            for strand, number in _targets(entry, inputs.genes):
                gene = None if number is None else inputs.genes[number]
                key = (self._sight(strand, number), allele)
                look = inputs.looks[key]
                both = look.gather(scores[key], inputs.known.get(key))
                calibrated = self.order.authors_own and allele.is_snv and not entry["joint"]
                row = {**shared, **gene_row(gene, strand), "tie": key in ties}
                row |= score_row(look, both, allele, strand, gene, self.schema, calibrated=calibrated)
                rows.append(row)
                if self.order.sites:
                    sites.append(site_table(look, both, row, allele, strand, self.schema))
        metadata = self._metadata(unit)
        parts = {VARIANTS: to_parquet(to_table(rows, self.schema.variants()), metadata)}
        if self.order.sites:
            parts[SITES] = to_parquet(pa.concat_tables(sites).combine_chunks(), metadata)
        return parts

    def _metadata(self, unit: Unit) -> dict[str, str]:
        execution = json.dumps(asdict(self.execution), sort_keys=True)
        return {
            "sptx.format_version": str(FORMAT_VERSION),
            "sptx.fingerprint": self.order.fingerprint,
            "sptx.coordinates": "1-based positions on the plus strand",
            "sptx.shard": str(unit.index),
            "sptx.execution": execution,
        }

    def _sight(self, strand: str, gene: int | None) -> Sight:
        return Sight(strand, gene if self.order.by_gene else None)

    def _known(
        self, contig: str, sight: Sight, looks: Mapping[tuple[Sight, Allele], Look]
    ) -> dict[tuple[Sight, Allele], Scores]:
        """Scores of the reference that need not be computed."""
        if self.order.known is None:
            return {}
        return self.order.known.of(contig, sight.strand, {key: look.readings for key, look in looks.items()})

    def _reference(self, contig: str, sight: Sight, genes: Mapping[int, Row]) -> Reference:
        """What reads the reference on a strand's axis, with N beyond the gene if there is one."""
        fetch = blockwise(lambda start, end: self.genome.fetch(contig, start, end))

        def read(first: int, end: int) -> Codes:
            low, high = to_axis(first, end, sight.strand)
            codes = fetch(low, high)
            if sight.gene is not None:
                codes = codes.copy()
                gene = genes[sight.gene]
                codes[: max(0, gene["start"] - low)] = N_CODE
                codes[max(0, gene["end"] - low) :] = N_CODE
            return reverse_complement(codes) if sight.strand == Strand.MINUS else codes

        return read


def _targets(entry: Mapping[str, Any], genes: Mapping[int, Row]) -> list[tuple[str, int | None]]:
    """Strands and genes that a scored entry has a row for."""
    if entry["both_strands"]:
        return [(Strand.PLUS.value, None), (Strand.MINUS.value, None)]
    return [(genes[number]["strand"], number) for number in entry["genes"]]
