"""Every row is answered once: by threads, by actors, and again here where an answer was lost or nothing was read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.batch import actors
from pipeline.batch.readback import UNREAD, Workbench, answers

ROWS = [{"index": index} for index in range(20)]


class Doubler:
    """Answers with twice the index; says of every row in which process or thread it was asked."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        self.threads.add(threading.get_ident())
        return {"index": row["index"], "double": 2 * row["index"], UNREAD: False}


def doubled(found: Iterator[dict[str, Any]]) -> list[int]:
    by_index = sorted((answer["index"], answer["double"]) for answer in found)
    assert [index for index, _ in by_index] == [row["index"] for row in ROWS]
    return [double for _, double in by_index]


def test_without_a_workbench_threads_answer() -> None:
    assert doubled(answers(ROWS, Doubler, None, threads=3)) == list(range(0, 40, 2))
    assert list(answers([], Doubler, Workbench())) == []


def lossy(rows: list[dict[str, Any]], make_call: Callable[[], Any], *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
    """A pool that loses every third answer, gives some twice, and whose storage lacks some rows."""
    call = make_call()
    for row in rows:
        answer = call(row)
        if row["index"] % 3:
            yield answer | ({UNREAD: True, "double": -1} if row["index"] % 5 == 0 else {})
        if row["index"] == 1:
            yield answer


def test_what_actors_did_not_read_or_what_was_lost_is_asked_for_again(
    without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doubled(answers(ROWS, Doubler, Workbench(workers=2))) == list(range(0, 40, 2))
    monkeypatch.setattr(actors, "execute", lossy)
    assert doubled(answers(ROWS, Doubler, Workbench(workers=2))) == list(range(0, 40, 2))
