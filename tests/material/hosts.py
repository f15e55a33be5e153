"""Hosts on this machine, by namespaces of Linux: each has its own network, processes, name and temporary folder.

`hosts(count, folder)` makes them, joined by a switch whose cables can be pulled. Files are shared, as on a cluster with
a network disk. Only root may make namespaces; `why_not()` says why a test must be skipped. Everything ends with the
block: the first process of a host is ended, and the kernel ends the others with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# The first process of a host: it waits for those whose parent has ended, and does nothing else.
FIRST_PROCESS = """
import os, sys, time
os.write(1, b"up")
while True:
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        time.sleep(0.2)
"""
MAKE_HOST = 'mount --make-rprivate / && mount --bind "$1" "$2" && hostname "$3" && exec "$4" -c "$5"'
START_SECONDS = 20.0


@cache
def why_not() -> str:
    """Why hosts cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not shutil.which("ip") or not shutil.which("nsenter"):
        return "ip (iproute2) or nsenter (util-linux) is not installed"
    name = f"sptx-try-{os.getpid()}"
    tried = subprocess.run(
        ["unshare", "-n", "-m", "-u", "-p", "-f", "ip", "link", "add", name[:15], "type", "bridge"],
        capture_output=True,
        text=True,
    )
    return f"namespaces cannot be made here: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass
class Host:
    """One host: its address is `address`, its name `name`."""

    number: int
    network: str
    switch: str
    own: Path
    temporary: Path
    first: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @property
    def address(self) -> str:
        return f"10.77.0.{self.number}"

    def boot(self) -> None:
        """Start the host, without what it had in its temporary folder."""
        shutil.rmtree(self.own, ignore_errors=True)
        self.own.mkdir(parents=True)
        unshare = ["ip", "netns", "exec", self.network, "unshare", "-m", "-u", "-p", "-f", "--mount-proc"]
        shell = ["sh", "-c", MAKE_HOST, "sh", self.own, self.temporary, self.name, sys.executable, FIRST_PROCESS]
        command = [*unshare, "--kill-child", *map(str, shell)]
        self.first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.first.stdout is not None
        said = self.first.stdout.read(2)
        assert said == b"up", said + self.first.stdout.read()

    def die(self) -> None:
        """End the host with all its processes, at once."""
        if self.first is not None:
            self.first.kill()
            self.first.wait(START_SECONDS)
            assert self.first.stdout is not None
            self.first.stdout.close()
            self.first = None

    @property
    def first_process(self) -> int:
        """The host's first process, as this machine counts."""
        assert self.first is not None
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        return int(children[0])

    def enter(self, command: Sequence[object]) -> list[str]:
        """The command line that runs `command` on the host."""
        return ["nsenter", "-t", str(self.first_process), "-n", "-m", "-u", "-p", "--", *map(str, command)]

    def processes(self) -> list[str]:
        """The command lines of the host's processes but the first."""
        namespace = Path(f"/proc/{self.first_process}/ns/pid").readlink()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/pid").readlink() == namespace and int(process.name) != self.first_process:
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [line for line in found if line]  # a process that has ended has none

    def plug(self, state: str) -> None:
        """`up` or `down`: the cable between the host and the switch."""
        ip("netns", "exec", self.switch, "ip", "link", "set", f"p{self.number}", state)


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)


@contextmanager
def hosts(count: int, folder: Path) -> Iterator[list[Host]]:
    """So many hosts, booted; `folder` has a short name, because sockets' names in it are limited."""
    token = f"sptx{os.getpid()}"
    switch = f"{token}-sw"
    temporary = folder / "t"
    temporary.mkdir()
    made = [Host(n, f"{token}-h{n}", switch, folder / f"own{n}", temporary) for n in range(1, count + 1)]
    networks = [switch, *(host.network for host in made)]
    try:
        for network in networks:
            ip("netns", "add", network)
        in_switch = ("netns", "exec", switch, "ip")
        ip(*in_switch, "link", "add", "br0", "type", "bridge")
        ip(*in_switch, "link", "set", "br0", "up")
        for host in made:
            on_host = ("netns", "exec", host.network, "ip")
            port = f"p{host.number}"
            ip(*on_host, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
            ip(*in_switch, "link", "set", port, "master", "br0")
            ip(*on_host, "link", "set", "lo", "up")
            ip(*on_host, "addr", "add", f"{host.address}/24", "dev", "eth0")
            ip(*on_host, "link", "set", "eth0", "up")
            host.plug("up")
            host.boot()
        yield made
    finally:
        for host in made:
            host.die()
        for network in networks:
            subprocess.run(["ip", "netns", "delete", network], check=False, capture_output=True)


def start_node(host: Host, head: Host, cpus: int, env: Mapping[str, str]) -> None:
    """Start Ray on `host`, as the head or as a node of the head's cluster."""
    place = (
        ["--head", "--port=6379", "--include-dashboard=false"] if host is head else [f"--address={head.address}:6379"]
    )
    program = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", *place]
    options = [f"--node-ip-address={host.address}", f"--num-cpus={cpus}", "--object-store-memory=80000000"]
    command = host.enter([*program, *options, "--disable-usage-stats"])
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def seconds_until(condition: Callable[[], object], limit: float, run: subprocess.Popen[bytes], log: Path) -> float:
    """How long it takes until `condition()` is true; fails after `limit` seconds, or when `run` ends before."""
    begun = time.monotonic()
    while not condition():
        took = time.monotonic() - begun
        assert took < limit, f"not within {limit} s:\n{log.read_text()}"
        assert run.poll() is None, f"ended too early with {run.returncode}:\n{log.read_text()}"
        time.sleep(0.1)
    return time.monotonic() - begun


def end_group(run: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, with all that it has started there."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(START_SECONDS)
