"""Scores of the reference that a table of tracks holds already, so that only alternatives are computed.

They are those that would be computed: the table has the same network, genome and windows, genomic flanks, and values
that are not rounded. A change all of whose reference bases the table holds takes them from there; others are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batch.record import read_record
from pipeline.coordinates import Interval, Strand
from pipeline.inputs.genome import Genome
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.schema import FORMAT_VERSION
from pipeline.tracks.settings import Flanks
from pipeline.variants.geometry import NOWHERE, Geometry, Readings, to_axis
from sptx_core.errors import InputError

Scores = NDArray[np.float32]

JOIN = 10_000
"""Bases between two stretches below which they are read at once."""


def require_fitting(tracks: Tracks, geometry: Geometry, checkpoint: str, genome: Genome) -> None:
    """Check that a table holds what would be computed.

    Parameters
    ----------
    tracks
        The table.
    geometry
        How windows lie here.
    checkpoint
        Digest of the network.
    genome
        What is scored.

    Raises
    ------
    InputError
        It does not; the message says in what they differ.

    """
    spec, where = tracks.header.spec, tracks.store.uri()
    if geometry.centred:
        raise InputError("--tracks holds scores of the tracks' windows: give --windows grid as well")
    record = read_record(tracks.store, FORMAT_VERSION)
    fields = record.fields if record else {}
    same = {
        "checkpoint": (fields.get("checkpoint"), checkpoint),
        "precision": (fields.get("precision"), "float32"),
        "core": (spec.windows.core, geometry.core),
        "context": (spec.windows.context, geometry.context),
        "overlap": (spec.windows.overlap, 0),
        "flanks": (spec.flanks.value, Flanks.GENOMIC.value),
        "exact": (spec.exact, True),
    }
    differing = [f"{name}: there {there}, here {here}" for name, (there, here) in same.items() if there != here]
    if differing:
        raise InputError(
            f"{where} does not hold the scores that would be computed ({'; '.join(differing)}); make it by `sptx run "
            "--exact` with the same network and windows"
        )
    contigs = tracks.contigs["chrom"].to_list()
    if not set(contigs) <= genome.lengths.keys() or genome.digest(contigs) != fields.get("genome"):
        raise InputError(f"{where} was made with another genome than {genome.uri}")


@dataclass(frozen=True)
class KnownScores:
    """What a table holds of stretches of a contig; pickles.

    Parameters
    ----------
    uri
        Root of the table.
    channels
        Names of the scores in the network's order.

    """

    uri: str
    channels: tuple[str, ...]

    @cached_property
    def _tracks(self) -> Tracks:
        return open_tracks(self.uri)

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "channels": self.channels}

    def of(self, contig: str, strand: str, readings: Mapping[Any, Readings]) -> dict[Any, Scores]:
        """Scores [n, channels] at the readings of those changes whose reference bases are all there.

        Parameters
        ----------
        contig
            The FASTA's name.
        strand
            On which the readings lie.
        readings
            By whatever names the changes.

        """
        if contig not in self._tracks.contigs["chrom"]:
            return {}
        spans = {}
        for key, one in readings.items():
            held = one.reference[one.reference != NOWHERE]
            if len(held):
                spans[key] = to_axis(int(held.min()), int(held.max()) + 1, strand)
        found: dict[Any, Scores] = {}
        for start, end, keys in _joined(spans):
            scores = self._read(contig, strand, start, end)
            for key in keys:
                at = readings[key].reference
                own = at != NOWHERE
                places = np.where(own, (-1 - at if strand == Strand.MINUS else at) - start, 0)
                values = np.where(own[:, None], scores[places], np.float32(0))
                if not np.isnan(values).any():
                    found[key] = values
        return found

    def _read(self, contig: str, strand: str, start: int, end: int) -> Scores:
        """Scores [end - start, channels] of bases in genomic order, NaN where the table has none."""
        scores = np.full((end - start, len(self.channels)), np.nan, dtype=np.float32)
        if end > 0 and start < self._length(contig):
            within = Interval(contig, max(start, 0), min(end, self._length(contig)))
            rows = self._tracks.region(within, strand=strand, columns=list(self.channels))
            scores[rows["pos"].to_numpy() - 1 - start] = rows.select(self.channels).to_numpy()
        return scores

    def _length(self, contig: str) -> int:
        lengths = self._tracks.contigs.filter(pl.col("chrom") == contig)["length"]
        return int(lengths[0])


def _joined(spans: Mapping[Any, tuple[int, int]]) -> Iterable[tuple[int, int, list[Any]]]:
    """Stretches that lie near each other as one, with the names of what lies in it."""
    joined: list[tuple[int, int, list[Any]]] = []
    for key, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        if joined and start <= joined[-1][1] + JOIN:
            first, last, keys = joined[-1]
            joined[-1] = (first, max(last, end), [*keys, key])
        else:
            joined.append((start, end, [key]))
    return joined
