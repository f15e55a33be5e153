"""Saved states of a training, from which a training that was killed goes on.

`states/step-<number>.pt` below the output appears whole or not at all and holds all that the next step depends on:
weights, optimizer, position in the epochs, history, and the best network so far. The newest two are kept. They are
read without running pickled code. `history.json` beside the folder holds the metrics of every validation.

Errors: as `pipeline.batch.storage` raises them.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pipeline.batch.storage import Store

FOLDER, HISTORY_FILE = "states/", "history.json"
KEPT_STATES = 2


@dataclass
class State:
    """A training after a number of steps; the field names are keys of the files.

    Attributes
    ----------
    step : int
        Number of steps taken.
    epoch, batch : int
        Position of the next step: number of the epoch, and of the batch in it, from 0.
    network : dict of str to Tensor
        State dict of the network.
    optimizer : dict
        State dict of the optimizer.
    best : dict of str to Tensor
        State dict of the network with the lowest validation loss, on the CPU; empty before the first validation.
    history : list of dict
        Metrics of each validation (`pipeline.finetuning.validation`), with `step` and `epoch`.
    stale : int
        Validations since the best one.

    """

    step: int
    epoch: int
    batch: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor]
    history: list[dict[str, float | None]]
    stale: int


def save(store: Store, state: State) -> None:
    """Write a state and `history.json`, and delete the states that are no longer kept.

    Parameters
    ----------
    store : Store
        The output of the training.
    state : State
        The state.

    """
    content = io.BytesIO()
    torch.save(asdict(state), content)
    store.write_atomic(f"{FOLDER}step-{state.step:09d}.pt", content.getvalue())
    store.write_atomic(HISTORY_FILE, (json.dumps(state.history, indent=1) + "\n").encode())
    for name in list(store.list(FOLDER))[:-KEPT_STATES]:
        store.delete(name)


def load_newest(store: Store) -> State | None:
    """Read the state with the most steps.

    Parameters
    ----------
    store : Store
        The output of the training.

    Returns
    -------
    State or None
        The state, with all tensors on the CPU; None if no state was saved.

    """
    names = list(store.list(FOLDER))
    if not names:
        return None
    content = torch.load(io.BytesIO(store.read_bytes(names[-1])), map_location="cpu", weights_only=True)
    return State(**{field.name: content[field.name] for field in fields(State)})
