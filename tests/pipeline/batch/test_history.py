"""How long a run has been worked on."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.batch import history as history_module
from pipeline.batch.history import History, Start, in_words, read_history
from pipeline.batch.storage import Store


def start_of(seconds: float, began: str = "2026-01-02T03:04:05+00:00") -> Start:
    return Start(began, seconds, 1, 10, 2, "here")


def test_each_start_is_told_once_however_often_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "SAVE_SECONDS", 0.0)
    store = Store(tmp_path)
    for sizes in ([7, 5, 3], [2]):
        history = History(store, 2, "native engine")
        for size in sizes:
            history.add(size)  # which saves at once
        history.close()
    found = read_history(store)
    assert sorted((start.units, start.size, start.workers, start.execution) for start in found) == [
        (1, 2, 2, "native engine"),
        (3, 15, 2, "native engine"),
    ]
    assert all(start.seconds >= 0 and start.began.endswith("+00:00") for start in found)


def test_a_start_that_committed_nothing_leaves_nothing_and_a_damaged_one_counts_for_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    History(store, 1, "").close()
    assert read_history(store) == ()
    (tmp_path / "history").mkdir()
    sound = asdict(start_of(3.0))
    wrong = [{"seconds": "3"}, {"seconds": math.nan}, {"seconds": -1}, {"began": 1}, {"size": None}, {"units": 1.5}]
    contents = ["{", '{"began": 1}', "[]", *(json.dumps(sound | values) for values in wrong)]
    for at, content in enumerate(contents):
        (tmp_path / "history" / f"{at}.json").write_text(content)
    assert read_history(store) == ()
    (tmp_path / "history" / "sound.json").write_text(json.dumps(sound))
    assert read_history(store) == (start_of(3.0),)


def test_a_store_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("in the way of the folder")
    history = History(Store(tmp_path), 1, "")
    history.add(1)
    history.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([], ""),
        ([3.4], "3 s in 1 start"),
        ([60.0, 59.4], "119 s in 2 starts"),
        ([60.0, 60.0], "2 min in 2 starts"),
        ([3599.0], "1 h 00 min in 1 start"),
        ([3720.0, 1.0, 1.0], "1 h 02 min in 3 starts"),
        ([7_200_000.0], "2,000 h 00 min in 1 start"),
    ],
)
def test_seconds_are_told_as_a_person_would(seconds: list[float], words: str) -> None:
    assert in_words([start_of(value) for value in seconds]) == words
