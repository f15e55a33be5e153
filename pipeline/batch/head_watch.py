"""Ends the process with a sentence when the head of Ray's cluster is gone, or Ray's own process on this node.

Ray's own core ends a process that has not reached the head for a minute: in C++, without a word that says what to do,
and where no Python can catch it. So a thread asks the head's port every few seconds, and is first. It bears with a
short cut of the network, which Ray survives as well. Workers have the same watch, which is more patient: where the head
has vanished without a word, Ray's process on a node lets them run for five minutes and more. No Ray here.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

UNFINISHED = 3  # exit code
ASK_SECONDS = 3.0  # between two questions, and until one counts as not answered
# Ray's own setting, and its default.
RAYS_PATIENCE = float(os.environ.get("RAY_gcs_rpc_server_reconnect_timeout_s") or 60)  # noqa: SIM112  # Ray's spelling
PATIENCE = RAYS_PATIENCE * 2 / 3  # Ray's node processes give up after all of it, and end at once what runs on them
WORKER_PATIENCE = 2 * PATIENCE  # longer than the driver's: a worker is of use as long as there is a driver
KEPT = "Nothing that was committed is lost"
SHOW_CURSOR = "\x1b[?25h"  # which a progress line on a terminal may have hidden


@contextmanager
def watch(
    address: str, raylet: psutil.Process | None, end: Callable[[str], None], *, patience: float | None = None
) -> Iterator[None]:
    """Within the block, call `end` from a thread with a sentence once the head is silent for too long.

    Parameters
    ----------
    address
        `host:port` of the head.
    raylet
        Ray's process on this node, whose end Ray does not survive either.
    end
        Is to end the process, see `end_process`; it may return, and the watch is over then.
    patience
        Seconds for which the head may be silent; `PATIENCE` if not given.

    """
    left = threading.Event()
    watcher = start(address, raylet, end, patience or PATIENCE, left)
    try:
        yield
    finally:
        left.set()
        watcher.join()


def raylet_at(path: str) -> psutil.Process | None:
    """Ray's process that listens at the socket `path`: those of other nodes on the machine add a number to it."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet" and f"--raylet_socket_name={path}" in (process.info["cmdline"] or ()):
            return process
    return None


def own_raylets() -> set[psutil.Process]:
    """Ray's node processes that this process has started."""
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # others of this program's processes end when they like
            if child.name() == "raylet":
                found.add(child)
    return found


def below(raylets: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes that Ray's node processes have started, and those that these have."""
    found = []
    for raylet in raylets:
        with suppress(psutil.NoSuchProcess):
            found += raylet.children(recursive=True)
    return found


def start(
    address: str, raylet: psutil.Process | None, end: Callable[[str], None], patience: float, left: threading.Event
) -> threading.Thread:
    """As `watch`, until `left` is set; the thread that watches."""
    arguments = (address, raylet, end, patience, left)
    watcher = threading.Thread(target=_watch, args=arguments, name="head watch", daemon=True)
    watcher.start()
    return watcher


def _watch(
    address: str, raylet: psutil.Process | None, end: Callable[[str], None], patience: float, left: threading.Event
) -> None:
    silent_since: float | None = None
    pause = min(ASK_SECONDS, patience / 3)
    while not left.wait(pause):
        if raylet is not None and _has_ended(raylet):
            sentence = (
                f"Ray's process on this node (raylet {raylet.pid}) has ended, as by a memory limit or `ray stop`. "
                f"{KEPT}: the same command goes on, once the node has Ray again"
            )
            break
        if _answers(address, pause):
            silent_since = None
            continue
        silent_since = silent_since or time.monotonic()
        silent = time.monotonic() - silent_since
        if silent >= patience:
            sentence = (
                f"the head of the Ray cluster, {address}, has not answered for {silent:.0f} s: its node, its process "
                f"or the network to it is gone. {KEPT}: start the cluster, or repair the network, and the same command "
                "goes on"
            )
            break
    else:
        return
    if not left.is_set():
        end(sentence)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _answers(address: str, seconds: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except socket.gaierror:
        return True  # that names cannot be looked up says nothing of the head, which Ray has looked up long ago
    except OSError:
        return False
    return True


def end_process(sentence: str, clean_up: Callable[[], None] = lambda: None) -> None:
    """Print the sentence and end the process at once: without its head Ray neither goes on nor shuts down.

    `clean_up` ends other processes.
    """
    with suppress(Exception):  # whatever happens here, the process ends
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
        print(f"{cursor}\nsptx: {sentence}" if cursor else f"sptx: {sentence}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    with suppress(Exception):
        clean_up()
    os._exit(UNFINISHED)
