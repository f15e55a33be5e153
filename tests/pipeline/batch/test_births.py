"""Deaths of workers, counted and explained; real processes where the cause is asked for."""

from __future__ import annotations

import os
import pickle
import signal
from functools import partial

import pytest

from pipeline.batch import births as module
from pipeline.batch.births import ActorLife, Births, Deaths, StepWatch, cause_of_death


class Ray:
    """In place of Ray's list of actors and of storage."""

    def __init__(self, *restarts: int) -> None:
        self.restarts = [0 for _ in restarts]
        self.strikes = 0
        self.births = Births(self.look, lambda: self.strikes)
        self.restarts = list(restarts)

    def look(self) -> list[ActorLife]:
        return [ActorLife(restarts, f"node{n}", wanted=True) for n, restarts in enumerate(self.restarts)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)


def test_three_deaths_of_each_actor_without_an_answer_end_the_run() -> None:
    ray = Ray(2, 3)
    ray.births.check()
    ray.restarts = [2, 4]
    with pytest.raises(Deaths) as raised:
        ray.births.check()
    assert (raised.value.count, raised.value.node) == (6, "node1")


def test_an_answer_makes_the_count_begin_anew() -> None:
    ray = Ray(5, 0)
    ray.births.answered()
    ray.births.check()
    ray.restarts = [8, 2]
    ray.births.check()
    ray.restarts = [8, 3]
    with pytest.raises(Deaths):
        ray.births.check()


def test_actors_that_are_not_wanted_any_more_allow_no_deaths() -> None:
    actors = [ActorLife(0, "a", wanted=False), ActorLife(0, "b", wanted=True)]
    births = Births(lambda: actors, lambda: 0)
    actors[1] = ActorLife(3, "b", wanted=True)
    with pytest.raises(Deaths):
        births.check()


def test_deaths_before_do_not_count() -> None:
    Births(lambda: [ActorLife(9, "a", wanted=True)], lambda: 0).check()


def test_a_strike_excuses_one_death_once() -> None:
    ray = Ray(3)
    ray.strikes = 3  # a unit that has killed its worker, and is given up now
    ray.births.check()
    ray.restarts = [5]
    ray.births.check()
    ray.restarts = [6]
    with pytest.raises(Deaths):
        ray.births.check()


def test_ray_is_not_asked_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    ray = Ray(9)
    ray.births.check()


def test_the_watch_ends_an_execution_and_travels_empty() -> None:
    def refuse() -> None:
        raise Deaths(1, "node")

    watch = StepWatch(refuse)
    with pytest.raises(Deaths):
        watch().on_execution_step(None)
    pickle.loads(pickle.dumps(watch))().on_execution_step(None)


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (partial(int, "seven"), "it raised ValueError: invalid literal"),
        (partial(os._exit, 7), "it ended itself with exit code 7"),
        (partial(signal.raise_signal, signal.SIGILL), "it was ended by an illegal instruction (SIGILL)"),
        (partial(signal.raise_signal, signal.SIGKILL), "it was ended by SIGKILL, as at a memory limit"),
        (partial(signal.raise_signal, signal.SIGSEGV), "it was ended by a crash (SIGSEGV)"),
    ],
)
def test_the_cause_of_a_death_is_found_by_one_more_start(start: partial[object], cause: str) -> None:
    assert cause_of_death(pickle.dumps(start)).startswith(cause)


def test_a_start_that_goes_well_has_no_cause_of_death() -> None:
    assert cause_of_death(pickle.dumps(partial(int, "7"))) == ""
