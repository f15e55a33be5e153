"""What all tests share: the golden network, the real megabase (skipped where it is missing), and their order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's idle threads give their core to other processes

import hypothesis
import pytest
from material.shared import made_once
from material.standing_ray import JOINING, end_standing_ray

if TYPE_CHECKING:
    import torch
    from material.golden_weights import GoldenCase

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config: pytest.Config) -> None:
    """Set PyTorch up, except in the process that only hands tests out to others, which need not wait for it."""
    runs_none = "PYTEST_XDIST_WORKER" not in os.environ and config.getoption("dist", "no") != "no"
    if runs_none:
        return
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported, which PyTorch's FLOP counter does
    if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


def file_of(nodeid: str) -> str:
    """The path of a test's file in the repository."""
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that join one Ray come first, in their order."""
    place = {path: number for number, path in enumerate(JOINING)}
    items.sort(key=lambda item: place.get(file_of(item.nodeid), len(place)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """The Ray that they join ends with the last of them."""
    if nextitem is None or file_of(nextitem.nodeid) not in JOINING:
        end_standing_ray()


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` a process gets whole files, and one process all files that join one Ray."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if file_of(nodeid) in JOINING else file_of(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the GRCh38 megabase in `data/`, kept beside the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real megabase, {SHARED.name}/data, is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden_cases() -> tuple[GoldenCase, ...]:
    """Inputs of the original network and its outputs on the golden weights."""
    from material import golden_weights

    return golden_weights.golden_cases()


@pytest.fixture(scope="session")
def golden_state() -> dict[str, torch.Tensor]:
    """The golden weights as an official state dict."""
    from material import golden_weights

    return golden_weights.golden_state()


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights as an official `.ckpt` file."""
    import torch
    from material import golden_weights

    def make(folder: Path) -> Path:
        path = folder / "SpTransformer_seed0.ckpt"
        torch.save({"state_dict": golden_weights.golden_state()}, path)
        return path

    return made_once("golden", tmp_path_factory, make)
