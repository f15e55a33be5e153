"""How a job that runs the network computes: measured once, where the work is done, before the first commit."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.batch import cluster
from pipeline.batch.cluster import Pool
from pipeline.batch.job import Say
from pipeline.batch.record import Execution
from pipeline.inputs.network import Network
from pipeline.inputs.uris import local_path
from pipeline.settings import JobSettings, Precision
from pipeline.tracks.schema import EXECUTION_KEY
from sptx_core.engine import Calibration, calibrate, hardware
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


def choose_execution(
    network: Network,
    windows: WindowSpec,
    settings: JobSettings,
    precision: Precision,
    pool: Pool,
    stored: Execution | None,
    say: Say,
) -> Execution:
    """The stored execution where a run began on the same hardware, else one measured where the work is done.

    Parameters
    ----------
    network, windows, settings, precision
        What is computed, and what was asked for.
    pool
        The actors.
    stored
        How the run began, if it did.
    say
        Hears a note of the calibration.

    """
    device = "cuda" if pool.gpus else "cpu"
    name = cluster.on_worker(hardware, device, gpus=pool.gpus) if pool.gpus else hardware(device)
    if stored is not None and (stored.device, stored.hardware) == (device, name):
        return stored
    choose: Callable[[SpTransformerModel], Calibration] = partial(
        calibrate,
        spec=windows,
        precision=precision.value,
        device=device,
        path=settings.engine,
        batch=settings.batch,
    )
    if pool.gpus:
        chosen = cluster.on_worker(choose, network.model, gpus=pool.gpus)
    else:
        torch.set_num_threads(pool.threads)
        chosen = choose(network.model)
    if chosen.note:
        say(chosen.note)
    return Execution(device, name, chosen.path, precision.value, chosen.batch, pool.threads)


def execution_in(part: bytes) -> Execution | None:
    """How a part says that it was computed; None where it does not."""
    try:
        stored = pq.read_metadata(pa.BufferReader(part)).metadata or {}
        told = json.loads(stored[EXECUTION_KEY])
        return Execution(**{field.name: told[field.name] for field in dataclasses.fields(Execution)})
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def on_disk(uris: Iterable[str]) -> list[str]:
    """Local paths of those inputs that lie on a disk; a hub id does not."""
    paths = [local_path(uri) for uri in uris if "://" in uri or os.path.isabs(uri)]  # noqa: PTH117
    return [str(path) for path in paths if path is not None]
