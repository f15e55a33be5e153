"""The queue of the device: units computed one after the other, each begun while the one before it ends.

An actor is called from several threads, so that reading the input of one unit and writing the part of another overlap
with computing a third. What computes (a GPU, or the cores of a CPU) is used by one thread alone, the device's: it is
never shared, and settings that belong to a thread, such as PyTorch's number of CPU threads, hold for all units.

The device's thread calls `compute` with an iterator of inputs and takes its outputs in the same order. Where `compute`
asks for the next input before it has given all outputs, the next unit is begun early and the device does not wait
between units. An input of None means "no unit waits now": `compute` goes on with those that it has begun.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from pipeline.batch.strikes import Strike, Strikes

POLL_SECONDS = 0.05  # how long the device waits for a unit before it goes on with those that it has begun

Compute = Callable[[Iterator[Any | None]], Iterator[Any]]


@dataclass(eq=False)
class Request:
    """Inputs of a unit that wait for the device, and the future of its outputs."""

    inputs: Any
    strike: Strike
    outputs: Future[Any] = field(default_factory=Future)


class Device:
    """The device's thread and its queue.

    Parameters
    ----------
    open_device
        Called once, on the device's thread; returns `compute`, see the module. What it raises is raised here.
    strikes
        The ledger that says when a unit may begin.
    waiting
        The queue of requests; a test may give one that it watches.

    """

    def __init__(
        self, open_device: Callable[[], Compute], strikes: Strikes, *, waiting: SimpleQueue[Request] | None = None
    ) -> None:
        self._strikes = strikes
        self._waiting = waiting or SimpleQueue()
        self._held: Request | None = None  # taken from the queue, but not allowed to begin yet
        ready: Future[None] = Future()
        threading.Thread(target=self._serve, args=(open_device, ready), name="device", daemon=True).start()
        ready.result()

    def submit(self, inputs: Any, strike: Strike) -> Future[Any]:
        """Queue the inputs of a unit; the future gives its outputs or raises its error.

        The caller ends the strike when the unit is committed or has failed.
        """
        request = Request(inputs, strike)
        with self._strikes.queueing(strike):
            self._waiting.put(request)
        return request.outputs

    def _serve(self, open_device: Callable[[], Compute], ready: Future[None]) -> None:
        try:
            compute = open_device()
        except Exception as error:  # raised where the device is made
            ready.set_exception(error)
            return
        ready.set_result(None)
        while True:
            begun: deque[Request] = deque()
            try:
                for outputs in compute(self._inputs(begun)):
                    request = begun.popleft()
                    if isinstance(outputs, Exception):
                        request.outputs.set_exception(outputs)
                    else:
                        request.outputs.set_result(outputs)
                    del outputs, request  # large, and from here on another thread's
                _fail(begun, RuntimeError("computing ended before all outputs were given"))
            except Exception as error:  # whichever unit caused it: all that were begun are tried again
                traceback.clear_frames(error.__traceback__)  # frees tensors, whose memory the next try needs
                _fail(begun, error)

    def _inputs(self, begun: deque[Request]) -> Iterator[Any | None]:
        """Inputs of one unit after another, each added to `begun`; None while no unit may begin."""
        while True:
            request = self._next(wait=not begun)
            if request is None:
                yield None
                continue
            try:
                self._strikes.begin(request.strike)
            except Exception as error:  # storage failed; only this unit is concerned
                request.outputs.set_exception(error)
            else:
                begun.append(request)
                yield request.inputs
            del request  # the next look at the queue may be long

    def _next(self, *, wait: bool) -> Request | None:
        """The next unit if it may begin now."""
        try:
            request = self._held or self._waiting.get(timeout=POLL_SECONDS)
        except Empty:
            return None
        if self._strikes.may_begin(request.strike):
            self._held = None
            return request
        self._held = request
        if wait:  # for the commit of the unit before it; there is nothing else to do
            time.sleep(POLL_SECONDS)
        return None


def _fail(begun: deque[Request], error: Exception) -> None:
    """Give all requests that were begun this error."""
    while begun:
        begun.popleft().outputs.set_exception(error)
