"""Who commits a unit that two crews work on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pipeline.batch import claims as claims_module
from pipeline.batch.claims import FIRST, SECOND, Claims, Crew

RECEIPT = {"unit": 1, "size": 10}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_claim_holds_for_its_whole_crew() -> None:
    claims = Claims(lease=5.0)
    assert claims.claim(1, SECOND)
    assert not claims.claim(1, FIRST)
    assert claims.claim(1, SECOND)  # tried again after the death of an actor
    assert claims.claim(2, FIRST)


def test_a_claim_that_was_given_back_or_is_too_old_counts_for_nothing() -> None:
    clock = Clock()
    claims = Claims(lease=5.0, clock=clock)
    assert claims.claim(1, SECOND)
    claims.give_back(1, FIRST)  # which has none
    assert not claims.claim(1, FIRST)
    claims.give_back(1, SECOND)
    assert claims.claim(1, FIRST)
    clock.now = 5.0
    assert not claims.claim(1, SECOND)
    clock.now = 5.1
    assert claims.claim(1, SECOND)


def test_a_receipt_is_the_answer_of_the_other_crew_alone() -> None:
    claims = Claims(lease=5.0)
    assert claims.answer(1, FIRST) is None
    claims.committed(1, SECOND, RECEIPT)
    assert claims.answer(1, FIRST) == RECEIPT
    assert claims.answer(1, SECOND) is None  # its own work, whose parts storage is asked for


def test_a_crew_that_is_refused_waits_for_the_receipt(monkeypatch: Any) -> None:
    monkeypatch.setattr(claims_module, "ASK_SECONDS", 0.01)
    claims = Claims(lease=60.0)
    refused = threading.Event()

    def desk(method: str, *arguments: Any) -> Any:
        answer = getattr(claims, method)(*arguments)
        if method == "claim" and not answer:
            refused.set()
        return answer

    first, second = Crew(FIRST, desk), Crew(SECOND, desk)
    assert second.claim(1) is None
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(first.claim(1)))
    waiting.start()
    assert refused.wait(10)
    assert not found
    second.committed(1, RECEIPT)
    waiting.join(10)
    assert found == [RECEIPT]


def test_a_crew_that_is_refused_goes_on_once_the_claim_was_given_back(monkeypatch: Any) -> None:
    monkeypatch.setattr(claims_module, "ASK_SECONDS", 0.0)
    claims = Claims(lease=60.0)
    asked: list[str] = []

    def desk(method: str, *arguments: Any) -> Any:
        asked.append(method)
        if asked.count("claim") == 3:
            claims.give_back(1, SECOND)
        return getattr(claims, method)(*arguments)

    assert claims.claim(1, SECOND)
    assert Crew(FIRST, desk).claim(1) is None
    assert asked.count("claim") == 3


def test_a_claim_is_renewed_while_its_actor_commits(monkeypatch: Any) -> None:
    monkeypatch.setattr(claims_module, "RENEW_SECONDS", 0.01)
    clock = Clock()
    claims = Claims(lease=5.0, clock=clock)
    renewed = threading.Semaphore(0)

    def desk(method: str, *arguments: Any) -> Any:
        answer = getattr(claims, method)(*arguments)
        if method == "claim":
            renewed.release()
        return answer

    second = Crew(SECOND, desk)
    assert second.claim(1) is None
    with second.committing(1):
        clock.now = 4.0
        for _ in range(3):  # of which one may have begun before
            assert renewed.acquire(timeout=10)
        clock.now = 8.0
        assert not claims.claim(1, FIRST)
    clock.now = 100.0
    assert claims.claim(1, FIRST)


def test_a_claim_is_given_back_by_a_commit_that_fails() -> None:
    claims = Claims()

    def desk(method: str, *arguments: Any) -> Any:
        return getattr(claims, method)(*arguments)

    second = Crew(SECOND, desk)
    assert second.claim(1) is None
    with pytest.raises(OSError, match="no room"), second.committing(1):
        raise OSError("no room")
    assert claims.claim(1, FIRST)
