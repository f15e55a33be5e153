"""Saved states of a training below its output: what a killed training goes on with.

`states/step-<number>.pt` appears whole or not at all (`Store.write_atomic`) and holds all that the next step depends
on: weights, optimizer, place in the epochs, history, and the best network so far. The newest two are kept. Read without
running pickled code. `history.json` beside the folder shows the figures of every validation.
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
KEPT = 2


@dataclass
class State:
    """After `step` steps, the next of which is number `batch` of epoch `epoch`."""

    step: int
    epoch: int
    batch: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor]
    """The network of the best validation; empty before the first."""
    history: list[dict[str, float | None]]
    """Figures of each validation with `step` and `epoch`."""
    stale: int
    """Validations since the best one."""


def save(store: Store, state: State) -> None:
    """Write a state, and remove those that it makes superfluous."""
    content = io.BytesIO()
    torch.save(asdict(state), content)
    store.write_atomic(f"{FOLDER}step-{state.step:09d}.pt", content.getvalue())
    store.write_atomic(HISTORY_FILE, (json.dumps(state.history, indent=1) + "\n").encode())
    for name in list(store.list(FOLDER))[:-KEPT]:
        store.delete(name)


def newest(store: Store) -> State | None:
    """The state with the most steps, if there is any."""
    names = list(store.list(FOLDER))
    if not names:
        return None
    content = torch.load(io.BytesIO(store.read_bytes(names[-1])), map_location="cpu", weights_only=True)
    return State(**{field.name: content[field.name] for field in fields(State)})
