"""Saved states: whole, the newest two, and all that the next step depends on, on a disk and in an object store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from material.networks import tiny_network
from material.servers import object_store

from pipeline.batch.storage import Store
from pipeline.finetuning import states
from pipeline.finetuning.states import State
from sptx_core.model import SpTransformerModel

At = Callable[[int], State]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store("states-bucket") as uri:
        yield uri


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store(tmp_path / "training")
    return Store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def learned() -> tuple[SpTransformerModel, torch.optim.AdamW]:
    """A network after a step, so that its optimizer has moments."""
    model = tiny_network().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.98))
    model(torch.randint(0, 4, (2, 16), generator=torch.Generator().manual_seed(0))).logits.square().sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture(scope="module")
def state() -> Callable[[int], State]:
    model, optimizer = learned()
    best = {name: x + 1 for name, x in model.state_dict().items()}
    history = [{"step": 1.0, "epoch": 0.0, "loss": 0.1 + 0.2, "usage": None}]
    return lambda step: State(step, 2, 5, model.state_dict(), optimizer.state_dict(), best, history, 3)


@pytest.mark.slow
def test_a_state_comes_back_to_the_last_bit(store: Store, state: At) -> None:
    saved = state(7)
    states.save(store, saved)
    found = states.load_newest(store)
    assert found is not None
    assert (found.step, found.epoch, found.batch, found.stale) == (7, 2, 5, 3)
    assert found.history == saved.history
    for before, after in ((saved.network, found.network), (saved.best, found.best)):
        assert list(before) == list(after)
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads(store.read_bytes("history.json")) == saved.history


@pytest.mark.slow
def test_an_optimizer_goes_on_as_if_it_had_not_stopped(store: Store) -> None:
    model, optimizer = learned()
    states.save(store, State(1, 0, 1, model.state_dict(), optimizer.state_dict(), {}, [], 0))
    found = states.load_newest(store)
    assert found is not None
    again, other = learned()
    other = torch.optim.AdamW(again.parameters(), lr=0.5)
    again.load_state_dict(found.network)
    other.load_state_dict(found.optimizer)
    for network, steps in ((model, optimizer), (again, other)):
        steps.zero_grad()
        network(torch.zeros(1, 16, dtype=torch.int64)).logits.square().sum().backward()
        steps.step()
    for name, x in model.state_dict().items():
        assert torch.equal(x, again.state_dict()[name]), name


@pytest.mark.slow
def test_the_newest_two_are_kept_and_the_newest_is_read(store: Store, state: At) -> None:
    for step in (8, 9, 10, 100):
        states.save(store, state(step))
    assert list(store.list(states.FOLDER)) == ["states/step-000000010.pt", "states/step-000000100.pt"]
    found = states.load_newest(store)
    assert found is not None
    assert found.step == 100


def test_there_is_none_in_a_new_place(store: Store) -> None:
    assert states.load_newest(store) is None


def test_what_a_killed_writer_left_behind_is_never_read(tmp_path: Path, state: At) -> None:
    store = Store(tmp_path)
    states.save(store, state(3))
    whole = (tmp_path / "states" / "step-000000003.pt").read_bytes()
    (tmp_path / "states" / ".step-000000004.pt.0123.tmp").write_bytes(whole[: len(whole) // 2])
    found = states.load_newest(store)
    assert found is not None
    assert found.step == 3
    for step in (5, 6):
        states.save(store, state(step))
    assert list(store.list(states.FOLDER)) == ["states/step-000000005.pt", "states/step-000000006.pt"]


def test_a_writer_that_is_killed_half_way_changes_nothing(
    tmp_path: Path, state: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    states.save(store, state(3))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            states.save(store, state(4))
    found = states.load_newest(store)
    assert found is not None
    assert found.step == 3
