"""What of a family has to be computed."""

from __future__ import annotations

import numpy as np
import pytest
from material.engine_networks import SMALL_SPEC, family_windows, random_family

from sptx_core.engine.families import Alternative, Change, Family, PlannedFamily, plan_family

WIDTH = 20


def coded(bases: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in bases], dtype=np.uint8)


CODES = coded("ACGTTGCAACGGTCATTACGAGCCTAGATTTCGCAACTGTGAACCGGTAT")


def planned(
    references: list[int], alternatives: list[tuple[int, int, str]], *, largest: int = 48, evenly: bool = False
) -> PlannedFamily:
    changes = [Alternative(offset, start, coded(bases)) for offset, start, bases in alternatives]
    return plan_family(Family(CODES, references, changes), WIDTH, largest, evenly=evenly)


def shifts(plan: PlannedFamily) -> list[tuple[int, ...]]:
    return [run.starts for run in plan.runs]


@pytest.mark.parametrize("evenly", [False, True])
@pytest.mark.parametrize("largest", [1, 3, 48])
def test_each_window_wanted_is_among_those_computed(largest: int, evenly: bool) -> None:
    family = random_family(SMALL_SPEC)
    plan = plan_family(family, SMALL_SPEC.width, largest, evenly=evenly)
    computed = np.stack([codes for run in plan.runs for codes in run.changed_codes()])
    assert len(np.unique(computed, axis=0)) == len(computed) == len(plan)
    found = computed[np.concatenate((plan.references, plan.alternatives))]
    assert np.array_equal(found, family_windows(family, SMALL_SPEC).numpy())
    assert max(len(run.windows) for run in plan.runs) <= largest


def test_a_replacement_that_changes_nothing_is_the_window_as_it_is() -> None:
    plan = planned([3], [(3, 1, "TGC"), (5, 0, "")])
    assert [window.change for run in plan.runs for window in run.windows] == [None, None]
    assert plan.references.tolist() == plan.alternatives[:1].tolist() == [0]


def test_only_what_differs_is_replaced() -> None:
    """CODES[3:8] is TTGCA."""
    plan = planned([], [(3, 0, "TAGCA"), (3, 1, "A"), (3, 0, "TACCA")])
    first, second = (window.change for window in plan.runs[0].windows)
    assert first == Change(1, coded("A"))
    assert second is not None
    assert (second.start, second.bases.tolist(), second.end) == (1, coded("AC").tolist(), 3)
    assert plan.alternatives.tolist() == [0, 0, 1]


def test_windows_far_apart_are_encoded_apart() -> None:
    assert shifts(planned([0, 30, 10, 11], [])) == [(0, 10, 11), (0,)]
    assert shifts(planned([0, 1, 3, 4, 5, 9], [], evenly=True)) == [(0, 1), (0, 1, 2), (0,)]
    assert shifts(planned([0, 2, 4], [(0, 1, "T"), (2, 1, "A"), (4, 3, "N")], evenly=True)) == [(0, 2, 4)]


def test_nothing_wanted_is_nothing_to_compute() -> None:
    plan = planned([], [])
    assert (len(plan), plan.runs, len(plan.references), len(plan.alternatives)) == (0, (), 0, 0)


@pytest.mark.parametrize(("references", "alternatives"), [([-1], []), ([31], []), ([], [(31, 0, "A")])])
def test_a_window_beyond_the_stretch_is_refused(
    references: list[int], alternatives: list[tuple[int, int, str]]
) -> None:
    with pytest.raises(ValueError, match="is not within a stretch of 50"):
        planned(references, alternatives)


@pytest.mark.parametrize("start", [-1, 19])
def test_bases_beyond_their_window_are_refused(start: int) -> None:
    with pytest.raises(ValueError, match="are not within a window of 20 bases"):
        planned([], [(0, start, "AC")])
