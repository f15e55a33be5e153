"""Whole runs of the variants job in this process, by a scorer whose answers are known, on a genome of known sites.

The scorer: a base is an acceptor (0.9) where the two bases before it are AG, and a donor (0.8) where the two after it
are GT; usage is 0.5 at sites in every tissue, and all else is 0. The genome's background is of A and T alone, which
hold neither on either strand; sites are written into it (`DONOR_MOTIF`, `ACCEPTOR_MOTIF`).

`Place` holds the files of a genome, `Place.score` runs a VCF through the job and opens its table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from material.genomes import Transcript, fasta, gtf
from material.local_run import compute, say
from material.networks import tiny_network
from numpy.typing import NDArray

from pipeline.batch.record import Execution
from pipeline.inputs import annotation
from pipeline.inputs.network import load_network
from pipeline.variants import prepare as preparation
from pipeline.variants.job import VariantsJob
from pipeline.variants.reader import Variants, open_variants
from pipeline.variants.run import prepare
from pipeline.variants.settings import SaturateConfig, ScoringConfig, VariantsConfig
from pipeline.variants.worker import VariantsWorker
from sptx_core.alphabet import Codes, decode, encode, reverse_complement
from sptx_core.channels import CHANNELS
from sptx_core.engine import Family, FamilyScores, hardware

ACCEPTOR, DONOR, USAGE = 0.9, 0.8, 0.5
DONOR_MOTIF, ACCEPTOR_MOTIF = "TGTA", "TAGA"  # the donor is the first base, the acceptor the last
CONTEXT, MAX_CORE = 8, 256  # of the network; the scorer looks two bases far
_runs = itertools.count()
_annotation, _network = cache(annotation.read_annotation), cache(load_network)


def stub_scores(codes: Codes) -> NDArray[np.float32]:
    """Scores of every base of a sequence, float32 [n, 18]; what lies beyond its ends is no site."""
    scores = np.zeros((len(codes), len(CHANNELS)), dtype=np.float32)
    scores[2:, 1] = ACCEPTOR * ((codes[:-2] == 0) & (codes[1:-1] == 2))
    scores[:-2, 2] = DONOR * ((codes[1:-1] == 2) & (codes[2:] == 3))
    scores[:, 3:] = USAGE * (scores[:, 1:3].max(axis=1, keepdims=True) > 0)
    return scores


@dataclass
class StubPredictor:
    """Takes the place of the engine; `scores` gives those of a window with its context."""

    context: int
    scores: Callable[[Codes], NDArray[np.float32]] = stub_scores
    path: str = "stub"

    def stream_families(self, families: Iterable[Family | None]) -> Iterator[FamilyScores | ArithmeticError]:
        for family in families:
            if family is None:
                continue
            width = 2 * self.context + self.core
            windows = [family.codes[offset : offset + width].copy() for offset in family.references]
            changed = []
            for offset, start, bases in family.alternatives:
                window = family.codes[offset : offset + width].copy()
                window[start : start + len(bases)] = bases
                changed.append(window)
            references, alternatives = self._of(windows), self._of(changed)
            if not (np.isfinite(references).all() and np.isfinite(alternatives).all()):
                yield ArithmeticError("scores are not finite")
                continue
            gaps = [np.full(len(one), np.inf, dtype=np.float32) for one in (references, alternatives)]
            yield FamilyScores(references, alternatives, *gaps)

    core: int = 1

    def _of(self, windows: Sequence[Codes]) -> NDArray[np.float32]:
        found = [self.scores(window)[self.context : self.context + self.core] for window in windows]
        return np.array(found, dtype=np.float32).reshape(-1, self.core, len(CHANNELS))


class StubWorker(VariantsWorker):
    """A worker with the scorer."""

    scores = staticmethod(stub_scores)

    def open(self) -> None:
        self.predictor = self.make_predictor(None)
        self.execution = replace(self.execution, engine=self.predictor.path)

    def make_predictor(self, model: Any) -> Any:
        windows = self.order.windows
        return StubPredictor(windows.context, self.scores, core=windows.core)


class StubJob(VariantsJob):
    """A job with such workers, which needs no calibration."""

    worker = StubWorker

    def make_worker(self, execution: Execution) -> Any:
        return partial(self.worker, self.work_order(execution))

    def choose_execution(self, *_: Any) -> Execution:
        return Execution("cpu", hardware("cpu"), "stub", self.settings.precision.value, 1, 1)


def stubbed(job: VariantsJob, kind: type[StubJob] = StubJob) -> StubJob:
    """The job with the scorer in place of the network."""
    return kind(job.settings, job.plan, job.geometry, job.network, job.genome)


def use_scorer(patch: pytest.MonkeyPatch) -> None:
    """Let every job of this process compute by the scorer."""
    patch.setattr(VariantsWorker, "make_predictor", StubWorker.make_predictor)
    patch.setattr(VariantsWorker, "scores", staticmethod(stub_scores), raising=False)
    patch.setattr(VariantsJob, "choose_execution", StubJob.choose_execution)


class Line(NamedTuple):
    """A record of a VCF; `genotypes` are those of its samples, such as `0|1:7` for GT:PS."""

    chrom: str
    pos: int
    ref: str
    alt: str
    id: str = "."
    genotypes: Sequence[str] = ()


def vcf(lines: Iterable[Line], samples: Sequence[str] = ()) -> str:
    """Text of a VCF without contig lines."""
    columns = [
        "#CHROM",
        "POS",
        "ID",
        "REF",
        "ALT",
        "QUAL",
        "FILTER",
        "INFO",
        *(["FORMAT", *samples] if samples else []),
    ]
    rows = ["##fileformat=VCFv4.3", "\t".join(columns)]
    for one in lines:
        fields = [one.chrom, str(one.pos), one.id, one.ref, one.alt, ".", ".", "."]
        rows.append("\t".join([*fields, *(["GT:PS", *one.genotypes] if samples else [])]))
    return "\n".join(rows) + "\n"


class Place(NamedTuple):
    """A folder with genome, annotation and checkpoint."""

    folder: Path
    sequences: Mapping[str, str]
    genes: Sequence[Transcript]

    @property
    def inputs(self) -> dict[str, str]:
        """Settings that name the files."""
        names = {"fasta": "genome.fa", "gtf": "genes.gtf", "checkpoint": "checkpoint"}
        return {name: str(self.folder / file) for name, file in names.items()}

    def job(self, lines: Sequence[Line] | str, samples: Sequence[str] = (), **settings: Any) -> StubJob:
        """A run of `sptx variants` on these lines, or on a text that is a VCF, prepared."""
        number = next(_runs)
        path = self.folder / f"{number}.vcf"
        path.write_text(lines if isinstance(lines, str) else vcf(lines, samples))
        return self.prepared(VariantsConfig, number, vcf=str(path), **settings)

    def score(self, lines: Sequence[Line] | str, samples: Sequence[str] = (), **settings: Any) -> Variants:
        """The table of these lines."""
        return finished(self.job(lines, samples, **settings))

    def saturate(self, **settings: Any) -> Variants:
        """The table of every change."""
        return finished(self.prepared(SaturateConfig, next(_runs), **settings))

    def prepared(self, kind: type[ScoringConfig], number: int, **settings: Any) -> StubJob:
        chosen = {**self.inputs, "output": str(self.folder / f"scores{number}"), **settings}
        with pytest.MonkeyPatch.context() as patch:  # reading them anew would take most of the time of a test
            patch.setattr(annotation, "read_annotation", _annotation)
            patch.setattr(preparation, "load_network", _network)
            return stubbed(prepare(kind.load(None, chosen), say))


def finished(job: StubJob) -> Variants:
    """The table of a job, computed here."""
    compute(job)
    assert job.settings.output is not None
    return open_variants(job.settings.output)


def write_place(folder: Path, sequences: Mapping[str, str], genes: Sequence[Transcript]) -> Place:
    """Write the files of a genome into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genome.fa").write_text(fasta(sequences))
    (folder / "genes.gtf").write_text(gtf(genes))
    if not (folder / "checkpoint").exists():
        tiny_network(tissues=15, context=CONTEXT, max_seq_len=MAX_CORE).save_pretrained(folder / "checkpoint")
    return Place(folder, sequences, genes)


def background(length: int, seed: int = 0) -> str:
    """Bases without sites on either strand."""
    return decode(np.random.default_rng(seed).choice(np.array([0, 3], dtype=np.uint8), length))


def with_motifs(text: str, motifs: Mapping[int, str]) -> str:
    """The text with others in it, whose first bases have these 1-based positions."""
    bases = list(text)
    for pos, motif in motifs.items():
        bases[pos - 1 : pos - 1 + len(motif)] = motif
    return "".join(bases)


def on_minus(motif: str) -> str:
    """A motif as the plus strand has it, of the minus strand."""
    return decode(reverse_complement(encode(motif)))


def mirrored(place: Place, folder: Path) -> Place:
    """The same genome from its other strand."""
    lengths = {name: len(text) for name, text in place.sequences.items()}
    genes = [
        one._replace(
            strand="-" if one.strand == "+" else "+",
            exons=[
                (lengths[one.contig] + 1 - last, lengths[one.contig] + 1 - first) for first, last in one.exons[::-1]
            ],
        )
        for one in place.genes
    ]
    return write_place(folder, {name: on_minus(text) for name, text in place.sequences.items()}, genes)


def mirrored_line(line: Line, place: Place) -> Line:
    """A record on the other strand; the base before an insertion or deletion becomes the one behind it.

    Contigs may lack their `chr`.
    """
    length = len(place.sequences.get(line.chrom) or place.sequences[f"chr{line.chrom}"])
    alts = ",".join(on_minus(alt) if set(alt.upper()) <= set("ACGTN") else alt for alt in line.alt.split(","))
    return line._replace(pos=length + 2 - line.pos - len(line.ref), ref=on_minus(line.ref), alt=alts)
