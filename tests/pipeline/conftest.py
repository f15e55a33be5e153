"""The example as input, and `sptx` as a process of its own with its real exit code, or in this process."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from material.example import Example
from material.example import write as write_example
from material.local_run import compute_tracks
from material.processes import PATIENCE, SPTX
from material.shared import made_once
from material.standing_ray import StandingRay, standing_ray

from pipeline.batch import actors, cluster
from pipeline.cli import main


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Genome, annotation and checkpoint of the example."""
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment less what would lead Ray or the object store elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "FSSPEC_"))}


@pytest.fixture(scope="session")
def sptx(clean_environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sptx ARGUMENTS` and return the finished process; `code` is the exit code that it must have."""

    def call(
        *arguments: object, code: int | None = 0, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*SPTX, *map(str, arguments)],
            env={**clean_environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture(scope="module")
def standing() -> StandingRay:
    """A Ray to join, which stands from the first file of `JOINING` that needs it to the last one."""
    return standing_ray()


class Finished(NamedTuple):
    """Exit code and output of a command that ran in this process."""

    code: int
    out: str
    err: str


@pytest.fixture
def sptx_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run `sptx ARGUMENTS` in this process, where another one would only cost time.

    `code` is the exit code that it must have, None for any.
    """

    def call(*arguments: object, code: int | None = 0) -> Finished:
        monkeypatch.setattr("sys.argv", ["sptx", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        finished = Finished(int(ended.value.code or 0), captured.out, captured.err)
        assert code is None or finished.code == code, finished
        return finished

    return call


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs that run in this process compute their units in it, one after the other, and start no Ray."""
    here = cluster.Cluster(embedded=True, nodes=1, cpus=2, cpus_per_node=2, gpus=0, log=tmp_path / "log")
    monkeypatch.setattr(cluster, "session", lambda *_, **__: nullcontext(here))
    monkeypatch.setattr(actors, "execute", lambda rows, make_call, *_, **__: map(make_call(), rows))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty hub on loopback (`material.hub_server.HubServer`), which is the hub of this process for a test."""
    from material.hub_server import hub_server, use_hub  # late: loads huggingface_hub, which few tests need

    with hub_server() as server:
        use_hub(server.url, tmp_path / "cache", monkeypatch)
        yield server


@pytest.fixture(scope="session")
def table(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its whole table, computed once, undisturbed, one window a shard."""

    def make(folder: Path) -> Path:
        compute_tracks(example, folder / "table", windows_per_shard=1)
        return folder / "table"

    return made_once("undisturbed", tmp_path_factory, make)


def parts_of(root: Path) -> dict[str, str]:
    """Relative name -> digest of every file of a table but the settings, which hold its own path, and its history.

    Hidden files are what a killed writer leaves behind; nothing reads them and a later run removes them.
    """
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.name != "settings.yaml"
        and path.parent.name != "history"
        and not path.name.startswith(".")
    }


@pytest.fixture(scope="session")
def digests() -> Callable[[Path], dict[str, str]]:
    return parts_of
