"""What Ray writes to the descriptors goes to a log; what Python's own code prints still reaches the person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def noise_to(log: Path) -> Iterator[None]:
    """What is written to descriptors 1 and 2 goes to a file; what Python's own code prints still reaches the person.

    Ray's processes and C++ core write to the descriptors, which no logging level silences. Python's streams get
    descriptors of their own, unless they have them already, as in a notebook.
    """
    try:
        saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    except OSError:  # closed, as in some daemons
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    streams = sys.stdout, sys.stderr
    ours = [
        os.fdopen(os.dup(descriptor), "w", buffering=1) if _descriptor(stream) == descriptor else stream
        for descriptor, stream in zip(saved, streams, strict=True)
    ]
    with log.open("ab") as file:
        try:
            sys.stdout, sys.stderr = ours
            for descriptor in saved:
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for (descriptor, original), stream, before in zip(saved.items(), ours, streams, strict=True):
                if stream is not before:
                    stream.close()
                os.dup2(original, descriptor)
                os.close(original)


def _descriptor(stream: TextIO) -> int | None:
    """The descriptor that a stream writes to; None where a notebook or a test has replaced it."""
    try:
        return stream.fileno()
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return None
