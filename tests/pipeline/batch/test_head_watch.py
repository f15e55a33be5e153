"""The head of a cluster, a listening socket here: silent for a while, and for too long."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from material.processes import PATIENCE

from pipeline.batch import head_watch


def listen(port: int = 0) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


class End:
    """Takes the place of the process's end; keeps the sentences."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.called = threading.Event()

    def __call__(self, sentence: str) -> None:
        self.told.append(sentence)
        self.called.set()


def test_a_head_that_is_silent_for_too_long_is_told_in_one_sentence() -> None:
    end = End()
    with listen() as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
    with head_watch.watch(address, None, end, patience=0.3):
        assert end.called.wait(10)
    assert len(end.told) == 1
    assert address in end.told[0]
    assert "the same command goes on" in end.told[0]


def test_the_end_of_the_nodes_own_process_is_told_at_once() -> None:
    end = End()
    with listen() as head, subprocess.Popen(["sleep", "60"]) as raylet:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with head_watch.watch(address, psutil.Process(raylet.pid), end, patience=0.3):
            assert not end.called.wait(0.5)
            raylet.kill()
            assert end.called.wait(10)
    assert f"(raylet {raylet.pid}) has ended" in end.told[0]


STEP = 2**-7  # seconds of the clock below between two questions
SILENT, UNKNOWN = ConnectionRefusedError(), socket.gaierror()


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        ([*[SILENT] * 4, None, *[SILENT] * 4, None], False),
        ([*[SILENT] * 4, UNKNOWN, *[SILENT] * 4, None], False),  # no name service says nothing of the head
        ([*[SILENT] * 5], True),
        ([*[SILENT] * 4, None, *[TimeoutError()] * 5], True),
    ],
)
def test_a_head_that_comes_back_in_time_is_borne_with(
    monkeypatch: pytest.MonkeyPatch, heard: list[OSError | None], *, told: bool
) -> None:
    """By a clock that stands still between two questions, for a patience of four of its steps."""
    asked, all_asked, end = 0, threading.Event(), End()

    def connect(address: tuple[str, int], timeout: float) -> SimpleNamespace:
        nonlocal asked
        assert (address, 0 < timeout < 1) == (("::1", 9), True)
        answer = heard[asked] if asked < len(heard) else None
        asked += 1
        if asked > len(heard):
            all_asked.set()
        if answer is not None:
            raise answer
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(head_watch, "socket", SimpleNamespace(create_connection=connect, gaierror=socket.gaierror))
    monkeypatch.setattr(head_watch, "time", SimpleNamespace(monotonic=lambda: asked * STEP))
    with head_watch.watch("[::1]:9", None, end, patience=4 * STEP):
        assert (end.called if told else all_asked).wait(60)
    assert len(end.told) == told
    assert asked == len(heard) or not told


def test_nothing_is_told_once_the_block_has_ended() -> None:
    told: list[str] = []
    with listen() as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with head_watch.watch(address, None, told.append, patience=0.3):
            pass
    time.sleep(0.6)
    assert not told


@pytest.mark.parametrize("clean_up", ["lambda: print('cleaned')", "lambda: 1 / 0"])
def test_the_process_ends_with_3_whatever_happens_as_it_cleans_up(clean_up: str) -> None:
    program = f"""
from pipeline.batch.head_watch import end_process
try:
    end_process("the head is gone", {clean_up})
finally:
    print("never")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3
    assert done.stderr == "sptx: the head is gone\n"
    assert "never" not in done.stdout


@pytest.fixture
def raylet(tmp_path: Path) -> Path:
    """A program that has the name of Ray's node process, says that it has begun, and waits."""
    program = tmp_path / "raylet"
    program.write_text(f"#!/bin/sh\n{WAIT}\n")
    program.chmod(0o755)
    return program


WAIT = "echo; read line"


@contextmanager
def running(*command: str | Path) -> Iterator[psutil.Process]:
    """A process that has begun: until then the system does not know its name and words. It is ended afterwards."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
        process.kill()


def test_rays_process_is_told_from_those_of_other_nodes_on_the_machine(raylet: Path, tmp_path: Path) -> None:
    own = str(tmp_path / "sockets" / "raylet")
    with ExitStack() as stack:
        started = {}
        for path in (f"{own}.1", own, f"{own}.2"):  # processes are looked at in their numbers' order
            started[path] = stack.enter_context(running(raylet, f"--raylet_socket_name={path}"))
        assert {path: head_watch.raylet_at(path) for path in started} == started
    assert head_watch.raylet_at(own) is None


def test_a_process_that_names_the_socket_is_not_rays(tmp_path: Path) -> None:
    """As a search for it: `grep -- --raylet_socket_name=...`."""
    own = str(tmp_path / "raylet")
    with running("sh", "-c", WAIT, "raylet", f"--raylet_socket_name={own}") as process:
        assert process.cmdline()[-1] == f"--raylet_socket_name={own}"
        assert head_watch.raylet_at(own) is None


def test_processes_that_end_meanwhile_are_left_out(raylet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a pool that the program has of its own."""
    with running("sh", "-c", WAIT) as ended:
        pass
    children = psutil.Process.children
    monkeypatch.setattr(psutil.Process, "children", lambda *given, **how: [ended, *children(*given, **how)])
    with running(raylet) as process:
        own = head_watch.own_raylets()
    assert process in own
    assert ended not in own
    monkeypatch.undo()
    assert head_watch.below([ended]) == []
