from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
from material.engine_networks import SMALL, SMALL_SPEC, make_path, random_family, random_stretches, small_network
from torch import Tensor

from sptx_core.alphabet import Codes
from sptx_core.engine.families import Family, PlannedFamily
from sptx_core.engine.reference import ReferencePath
from sptx_core.engine.scheduling import LogitsAndGaps, StretchPath
from sptx_core.engine.streaming import FamilyScores, JobScores, ScoreStream

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = len(SMALL.output_channels)
Job = list[Codes]


def stream_of(path: ReferencePath | StretchPath, queued: int = 0) -> ScoreStream:
    return ScoreStream(path, SMALL_SPEC, channels=CHANNELS, device=torch.device("cpu"), queued=queued)


def noted(jobs: Iterable[Job | None], events: list[str]) -> Iterator[Job | None]:
    """The jobs; each is noted as it is taken."""
    for number, job in enumerate(jobs):
        events.append(f"take {number}")
        yield job


def streamed(stream: ScoreStream, jobs: list[Job | None]) -> list[str]:
    """When jobs were taken and given back, whose scores must be those of each job alone."""
    expected = [next(stream([job])) for job in jobs if job is not None]
    events: list[str] = []
    for number, found in enumerate(stream(noted(jobs, events))):
        events.append(f"give {number}")
        assert not isinstance(found, ArithmeticError)
        assert [scores.tobytes() for scores in found] == [scores.tobytes() for scores in expected[number]]
    assert events.count(f"give {len(expected) - 1}") == 1
    return events


def path_of(name: str) -> ReferencePath | StretchPath:
    model = small_network(max_seq_len=128)
    return (
        ReferencePath(model, SMALL_SPEC, 1)
        if name == "reference"
        else make_path(name, model, SMALL_SPEC, torch.float32, run=2)
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", ["reference", "shared"])
@pytest.mark.parametrize("threads", [1, 2])
def test_jobs_that_do_not_overlap_are_taken_one_by_one(path: str, threads: int) -> None:
    torch.set_num_threads(threads)
    one, two, three, four = random_stretches(SMALL_SPEC, [5, 1, 4, 2])
    events = streamed(stream_of(path_of(path)), [None, [one, two], [], [three], [four], None])
    taken = ["take 1", "give 0", "take 2", "give 1", "take 3", "give 2", "take 4", "give 3"]
    assert events == ["take 0", *taken, "take 5"]


def test_no_jobs_give_no_scores() -> None:
    stream = stream_of(path_of("shared"))
    assert [list(stream(jobs)) for jobs in ([], [None], [[]])] == [[], [], [[]]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("queued", "expected"),
    [
        (0, ["take 0", "give 0", "take 1", "give 1", "take 2", "take 3", "give 2"]),
        (2, ["take 0", "take 1", "give 0", "take 2", "give 1", "take 3", "give 2"]),
    ],
)
def test_micro_batches_queue_as_on_a_gpu(queued: int, expected: list[str]) -> None:
    """Scores are given when so many more micro-batches have begun, or when nothing else can be begun."""
    path = make_path("shared", small_network(max_seq_len=128), SMALL_SPEC, torch.float32, batch=3, run=2)
    one, two, three, four = random_stretches(SMALL_SPEC, [5, 2, 4, 2])
    assert streamed(stream_of(path, queued), [[one, two], [three], None, [four]]) == expected  # 3, 2, 1 micro-batches


@pytest.mark.slow
@pytest.mark.parametrize("path", ["reference", "shared"])
def test_families_come_in_order_each_as_soon_as_it_is_complete(path: str) -> None:
    """An empty one among them, and moments without any."""
    some = random_family(SMALL_SPEC)
    nothing = Family(some.codes)
    stream, events = stream_of(path_of(path)), []

    def taken() -> Iterator[Family | None]:
        for number, family in enumerate((some, None, nothing, some)):
            events.append(f"take {number}")
            yield family

    found = []
    for scores in stream.families(taken()):
        events.append(f"give {len(found)}")
        found.append(scores)
    assert events == ["take 0", "give 0", "take 1", "take 2", "give 1", "take 3", "give 2"]
    first, second, third = found
    assert second.references.shape == second.alternatives.shape == (0, SMALL_SPEC.core, CHANNELS)
    assert [part.tobytes() for part in first] == [part.tobytes() for part in third]


def test_a_family_whose_scores_are_not_finite_fails_alone() -> None:
    class Broken(ReferencePath):
        """Gives NaN for the second window."""

        def family_logits(self, families: Iterable[PlannedFamily | None]) -> Iterator[LogitsAndGaps]:
            for family in families:
                assert family is not None
                windows = len(family)
                logits = torch.zeros(windows, SMALL_SPEC.core, CHANNELS)
                logits[1:2] = torch.nan
                yield LogitsAndGaps(logits, torch.zeros(windows))

    codes = random_family(SMALL_SPEC).codes
    stream = stream_of(Broken(small_network(), SMALL_SPEC, 1))
    one, two, three = stream.families([Family(codes, at) for at in ([0], [0, 1], [2])])
    assert isinstance(two, ArithmeticError)
    assert isinstance(one, FamilyScores)
    assert isinstance(three, FamilyScores)


def test_a_job_whose_scores_are_not_finite_fails_alone() -> None:
    class Broken:
        """Gives NaN for the second window."""

        overlaps_jobs = True

        def logits(self, jobs: Iterable[Job | None]) -> Iterator[Tensor]:
            for number, _ in enumerate(codes for job in list(jobs) for codes in job or ()):
                yield torch.full((1, SMALL_SPEC.core, CHANNELS), torch.nan if number == 1 else 0.0)

    stream = ScoreStream(Broken(), SMALL_SPEC, channels=CHANNELS, device=torch.device("cpu"))
    first, second, third = stream([[codes] for codes in random_stretches(SMALL_SPEC, [1, 1, 1])])
    assert isinstance(second, ArithmeticError)
    assert "not finite" in str(second)
    assert np.isfinite(first[0]).all()
    assert np.array_equal(first[0], third[0])


def test_delivery_can_be_replaced() -> None:
    waited: list[int] = []

    def deliver(logits: Tensor) -> object:
        number = len(waited)
        waited.append(-1)

        def wait() -> Tensor:
            waited[number] = number
            return torch.full(logits.shape, float(number))

        return wait

    path = path_of("reference")
    stream = ScoreStream(path, SMALL_SPEC, channels=CHANNELS, device=torch.device("cpu"), queued=1, deliver=deliver)
    ((scores,),) = stream([random_stretches(SMALL_SPEC, [3])])
    assert waited == [0, 1, 2]
    assert scores[:, 0, 0].tolist() == [0, 1, 2]


def test_scores_of_a_job_are_complete_when_all_windows_are_there() -> None:
    job = JobScores([1, 2], SMALL_SPEC, CHANNELS)
    shape = (SMALL_SPEC.core, CHANNELS)
    job.add(np.zeros((2, *shape), np.float32))
    assert not job.is_complete()
    job.add(np.ones((1, *shape), np.float32))
    assert job.is_complete()
    outcome = job.outcome()
    assert not isinstance(outcome, ArithmeticError)
    assert [len(scores) for scores in outcome] == [1, 2]
    assert outcome[1][:, 0, 0].tolist() == [0, 1]
    assert JobScores([], SMALL_SPEC, CHANNELS).outcome() == []
