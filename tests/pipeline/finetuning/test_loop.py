"""The loop of one worker, without Ray: resumed to the last bit, shared to rounding, ended when it should."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from material.groups import CPU, learned
from material.networks import tiny_network
from torch import Tensor

from pipeline.batch import patience
from pipeline.batch.storage import StorageError, Store
from pipeline.finetuning import loop, states
from pipeline.finetuning.loop import PROGRESS_METRICS, Step, Training, TrainingOrder, Worker
from pipeline.finetuning.optimizer import learning_rate_factor
from pipeline.finetuning.states import State
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

pytestmark = pytest.mark.slow

Order = Callable[..., TrainingOrder]
Result = tuple[dict[str, Tensor], Any, list[Any], dict[str, Tensor]]
TwoWorkers = list[tuple[Any, list[Result]]]


def ignore(_: object) -> None:
    pass


def training(
    order: TrainingOrder, say: Callable[[str], None] = ignore, on_step: Callable[[Step], None] = ignore
) -> Training:
    return Training(order, Worker(0, 1, CPU), say, on_step)


class Killed(Exception):  # noqa: N818  # no error: it stands for SIGKILL
    pass


def kill_after(steps: int) -> Callable[[Step], None]:
    """For `on_step`: let a training take so many steps and no more."""
    taken: list[Step] = []

    def count(step: Step) -> None:
        taken.append(step)
        if len(taken) == steps:
            raise Killed

    return count


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    for name, x in one.items():
        assert torch.equal(x, other[name]), name


@pytest.fixture(scope="module")
def undisturbed(order: Order, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, State]:
    """A training of 24 steps with two validations, and its last saved state."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    result = learned(training(order(folder)))
    last = states.load_newest(Store(folder))
    assert last is not None
    return result, last


@pytest.mark.parametrize("steps", [[1], [5], [8, 3], [16], [23]])
def test_killed_and_resumed_it_learns_the_same_to_the_last_bit(
    order: Order, undisturbed: tuple[Result, State], tmp_path: Path, steps: list[int]
) -> None:
    same = order(tmp_path)
    for before_the_kill in steps:
        with pytest.raises(Killed):
            training(same, on_step=kill_after(before_the_kill)).run()
    said: list[str] = []
    again = learned(training(same, said.append))
    (best, test, history, gradients), last = undisturbed
    assert_same(again[0], best)
    assert_same(again[3], gradients)
    assert again[1] == test
    assert again[2] == history
    found = states.load_newest(Store(tmp_path))
    assert found is not None
    assert_same(found.network, last.network)
    assert found.optimizer["param_groups"] == last.optimizer["param_groups"]
    for number, moments in last.optimizer["state"].items():
        assert_same(found.optimizer["state"][number], moments)
    assert ("goes on after step" in said[0]) == (sum(steps) >= 4)


def test_a_state_is_saved_at_each_validation_and_every_few_steps_between(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[int, int, int, int]] = []
    save = states.save

    def noted(store: Store, state: State) -> None:
        saved.append((state.step, state.epoch, state.batch, len(state.history)))
        save(store, state)

    monkeypatch.setattr(states, "save", noted)
    settings = order(tmp_path, validate_every=6, test=())
    training(settings).run()
    first, second = (settings.train.epoch(1, number, 1.0).size // 8 for number in range(2))
    steps = first + math.ceil(second / 2)
    assert {step for step, *_ in saved} == {*range(4, steps, 4), *range(6, steps, 6), first, steps}
    for step, epoch, batch, judged in saved:
        assert step == (steps if epoch == 2 else epoch * first + batch)
        assert judged == len({at for at in (*range(6, steps, 6), first, steps) if at <= step})


def test_storage_that_fails_for_a_time_is_waited_for(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = Store.write_atomic, []

    def refuses_twice(store: Store, name: str, content: bytes) -> None:
        if len(refused) < 2:
            refused.append(name)
            raise StorageError(f"{name}: refused", transient=True)
        write(store, name, content)

    monkeypatch.setattr(Store, "write_atomic", refuses_twice)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    said: list[str] = []
    with pytest.raises(Killed):
        training(order(tmp_path), said.append, kill_after(5)).run()
    assert len(refused) == 2
    assert any("refused; waiting for it for up to 5 min" in line for line in said)
    saved = states.load_newest(Store(tmp_path))
    assert saved is not None
    assert saved.step == 4


def test_the_best_network_is_kept_and_patience_ends_it(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, seen = iter([3.0, 2.0, 2.5, 2.0, 1.0]), []

    def measure(network: SpTransformerModel, *_: Any, **__: Any) -> dict[str, float | None]:
        seen.append({name: x.clone() for name, x in network.state_dict().items()})
        return dict.fromkeys(PROGRESS_METRICS) | {"loss": next(losses)}

    monkeypatch.setattr(loop, "validate", measure)
    settings, said = order(tmp_path, validate_every=1, patience=2, test=()), []
    ended = training(settings, said.append)
    best, _ = ended.run()
    assert [past["loss"] for past in ended.state.history] == [3.0, 2.0, 2.5, 2.0]
    assert_same(best, seen[1])
    assert "no lower loss in 2 validations" in said[-1]
    again = training(settings)  # its end is in the state: run again it takes no further step
    assert_same(again.run()[0], best)
    assert again.state.step == 4


@pytest.mark.parametrize(
    ("what", "still"),
    [("encoders", ("encoders", "input_path")), ("body", ("encoders", "input_path", "fusion", "position", "layers"))],
)
def test_frozen_parts_stay_as_they_are_with_the_statistics_of_their_norms(
    order: Order, start: Path, tmp_path: Path, what: str, still: tuple[str, ...]
) -> None:
    settings = {"network": None, "checkpoint": str(start), "freeze": what, "epochs": 0.5, "test": ()}
    before = SpTransformerModel.from_pretrained(start).state_dict()
    ended = training(order(tmp_path, **settings))
    ended.run()
    after = ended.network.state_dict()
    changed = {name for name, x in before.items() if not torch.equal(x, after[name])}
    assert not [name for name in changed if name.startswith(still)]
    assert any("running_mean" in name for name in before if name.startswith(still))
    assert {"splice_head.weight", "splice_head.bias", "usage_head.weight", "usage_head.bias"} <= changed


def test_encoders_of_a_new_network_stay_where_they_are_frozen(order: Order, start: Path, tmp_path: Path) -> None:
    sizes = {"max_seq_len": 128, "hidden_size": 16, "heads": 4, "bucket_size": 16, "input_path_channels": 5}
    settings = {"network": sizes, "encoders": str(start), "freeze": "encoders", "epochs": 0.5, "test": ()}
    ended = training(order(tmp_path, **settings))
    path = ended.network.state_dict()["input_path.0.weight"].clone()
    best, _ = ended.run()
    trained = SpTransformerModel.from_pretrained(start).encoders.state_dict()
    assert all(torch.equal(x, best[f"encoders.{name}"]) for name, x in trained.items())
    assert not torch.equal(path, best["input_path.0.weight"])


def test_tissues_without_usage_learn_nothing(order: Order, start: Path, tmp_path: Path) -> None:
    settings = {"network": None, "checkpoint": str(start), "usage": None, "epochs": 0.5, "test": ()}
    best, _ = training(order(tmp_path, **settings, weight_decay=0.5)).run()
    for name, x in SpTransformerModel.from_pretrained(start).usage_head.state_dict().items():
        assert torch.equal(best[f"usage_head.{name}"], x), name


def test_a_network_without_attention_or_usage_learns(order: Order, tmp_path: Path) -> None:
    tiny_network(context=20, max_seq_len=128, layers=0, tissues=0).save_pretrained(tmp_path / "start")
    before = SpTransformerModel.from_pretrained(tmp_path / "start").state_dict()
    settings = {"network": None, "checkpoint": str(tmp_path / "start"), "usage": None, "epochs": 0.5, "test": ()}
    best, _ = training(order(tmp_path / "output", **settings)).run()
    assert not [name for name, x in before.items() if torch.equal(x, best[name])]


def test_fewer_windows_than_a_batch_are_refused(order: Order, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\d+ windows to train on are less than a batch \(5000\)"):
        training(order(tmp_path, batch=5000)).run()


@pytest.mark.parametrize("settings", [{"validate_every": 1}, {"validate_every": 24}, {"precision": "bfloat16"}])
def test_a_loss_that_is_no_longer_finite_ends_it(order: Order, tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"finite.*lower --learning-rate"):
        training(order(tmp_path, learning_rate=1e30, **settings)).run()


def test_mixed_precision_learns_with_weights_in_float32(order: Order, tmp_path: Path) -> None:
    ended = training(order(tmp_path, precision="bfloat16", epochs=0.3, test=()))
    best, _ = ended.run()
    assert {x.dtype for x in best.values() if x.is_floating_point()} == {torch.float32}
    assert all(past["loss"] is not None and math.isfinite(past["loss"]) for past in ended.state.history)


@pytest.fixture(scope="module")
def one_worker(
    shared_orders: Callable[..., list[TrainingOrder]], tmp_path_factory: pytest.TempPathFactory
) -> list[Result]:
    """What one worker learns: in one step, and in several."""
    torch.set_num_threads(1)
    return [learned(training(order)) for order in shared_orders(tmp_path_factory.mktemp("alone"), 1)[:2]]


def test_two_workers_have_the_gradients_of_one(one_worker: list[Result], two_workers: TwoWorkers) -> None:
    (_, _, _, alone), shared = one_worker[0], [results[0] for _, results in two_workers]
    for _, _, _, gradients in shared:
        assert list(gradients) == list(alone)
        for name, x in alone.items():
            torch.testing.assert_close(gradients[name], x, rtol=1e-3, atol=1e-6, msg=name)


def test_two_workers_learn_what_one_learns(one_worker: list[Result], two_workers: TwoWorkers, start: Path) -> None:
    (best, _, history, _), (first, second) = one_worker[1], (results[1] for _, results in two_workers)
    assert_same(first[0], second[0])
    assert first[2] == second[2]
    before = SpTransformerModel.from_pretrained(start).state_dict()
    for name, x in best.items():
        learned_by = (x - before[name]).abs().max().item() if x.is_floating_point() else 0.0
        assert (first[0][name] - x).abs().max().item() <= 0.1 * learned_by, name
    for mine, theirs in zip(history, first[2], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-3)


def test_workers_whose_norms_see_parts_of_a_batch_end_with_the_same_network(two_workers: TwoWorkers) -> None:
    first, second = (results[2] for _, results in two_workers)
    assert_same(first[0], second[0])
    assert first[2] == second[2]


def test_steps_take_the_learning_rate_of_their_progress(order: Order, tmp_path: Path) -> None:
    taken: list[tuple[float, set[float]]] = []

    def note(step: Step) -> None:
        taken.append((step.progress, {group["lr"] for group in noted.optimizer.param_groups}))

    noted = training(order(tmp_path, warmup=0.25, test=()), on_step=note)
    noted.run()
    assert len(taken) == noted.state.step
    progress = [done for done, _ in taken]
    assert all(0 < b - a < 0.1 for a, b in pairwise(progress))
    assert 1.0 <= progress[-1] < 1.0 + 1 / len(progress)
    assert [rates for _, rates in taken] == [{0.01 * learning_rate_factor(done, 0.25)} for done in progress]
    assert max(max(rates) for _, rates in taken) > 0.009


def test_steps_are_numbered_and_tell_their_loss(order: Order, tmp_path: Path) -> None:
    steps: list[Step] = []
    with pytest.raises(Killed):
        training(order(tmp_path), on_step=kill_after(5)).run()
    training(order(tmp_path, epochs=0.5, test=()), on_step=steps.append).run()
    assert [step.number for step in steps] == list(range(5, 5 + len(steps)))
    assert all(step.loss.shape == () and step.loss.isfinite() for step in steps)
