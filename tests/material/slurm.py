"""A Slurm cluster on this machine's loopback interface: munge, a controller, and nodes, all in one folder.

`slurm(folder, nodes)` starts them and gives the environment in which Slurm's commands find them; `reason_against` says
why it cannot be had here. Each node is a `slurmd` of its own under another name. Jobs see the real processors, but no
limits are enforced. Everything ends with the `with` statement.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "sinfo")
PATIENCE = 60.0  # seconds

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=5
ReturnToService=2
"""


def reason_against() -> str:
    """Why there can be no cluster here; empty where there can."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=_path()) is None]
    if missing:
        return f"Slurm is not installed: no {', '.join(missing)} (Debian: slurm-wlm)"
    return "" if os.getuid() == 0 else "Slurm's nodes need root"


@contextmanager
def slurm(folder: Path, nodes: Sequence[str]) -> Iterator[dict[str, str]]:
    """Environment variables of a new cluster with nodes of these names, once all are idle."""
    host = socket.gethostname().split(".")[0]
    lines = CONFIGURATION.format(host=host, port=_free_port(), folder=folder).splitlines()
    for name in nodes:
        lines.append(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=2")
    lines.append(f"PartitionName=all Nodes={','.join(nodes)} Default=YES State=UP")
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    (folder / "state").mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    env = {**os.environ, "PATH": _path(), "SLURM_CONF": str(folder / "slurm.conf")}
    munge = ["munged", "--foreground", "--force", "--num-threads=2", f"--key-file={folder / 'key'}"]
    munge += [f"--socket={folder / 'munge.socket'}", f"--pid-file={folder / 'munged.pid'}"]
    munge += [f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}"]
    with ExitStack() as stack:
        stack.enter_context(_running(munge, env, folder))
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        stack.enter_context(_running(["slurmctld", "-D"], env, folder))
        for name in nodes:
            (folder / name).mkdir()
            stack.enter_context(_running(["slurmd", "-D", "-N", name], env, folder))
        _wait(lambda: _idle(env) == len(nodes), folder)
        try:
            yield env
        finally:  # a job of a test that failed would outlive its daemons
            subprocess.run(["scancel", "--user=root"], env=env, check=False)
            _wait(lambda: _idle(env) == len(nodes), folder)


def _idle(env: Mapping[str, str]) -> int:
    """How many nodes wait for work."""
    told = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=env, capture_output=True, text=True, check=False)
    return told.stdout.split().count("idle")


@contextmanager
def _running(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Iterator[None]:
    with (folder / "daemons.log").open("ab") as log:
        started = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(timeout=20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _wait(condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)


def _path() -> str:
    """Where programs are, those of the administrator included."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
