"""Have something read and answered for each of many rows: in threads of this process, or on the workbench.

`answers(rows, make_call, workbench)` yields one answer for each row, in any order, whatever becomes of actors and
nodes. Rows and answers are plain columns; `index` tells which answer is whose. An answer whose column `UNREAD` is true
says that storage did not give what was asked. Such rows, and those whose answer was lost, are asked for once more in
this process: a node may lack the disk that the driver sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from pipeline.batch import actors, cluster
from pipeline.settings import ray_address

READERS = 4  # rows that this process answers at once
OBJECT_STORE_MB = 100  # of an embedded Ray: answers are small
UNREAD = "unread"

Row = dict[str, Any]


class Workbench(NamedTuple):
    """Where to spread work: so many actors (None: one a core) of the Ray at `address` (None: an embedded one)."""

    workers: int | None = None
    address: str | None = None


def answers(
    rows: Sequence[Row],
    make_call: Callable[[], Callable[[Row], Row]],
    workbench: Workbench | None,
    *,
    threads: int = READERS,
) -> Iterator[Row]:
    """Answer `rows`.

    Parameters
    ----------
    rows
        Plain columns each, with an `index` of its own.
    make_call
        Pickles; what it returns is called with one row after another, from several threads.
    workbench
        Where; None for `threads` threads of this process.
    threads
        How many rows this process answers at once.

    Raises
    ------
    InputError
        There is no such Ray, or the actors do not fit it.

    """
    left = {row["index"]: row for row in rows}
    if workbench is not None and left:
        address = ray_address(workbench.address)
        with cluster.session(address, object_store_mb=OBJECT_STORE_MB, use_gpus=False) as joined:
            pool = cluster.choose_pool(joined, workbench.workers, 1, 0)
            for answer in actors.execute(list(rows), make_call, pool, embedded=joined.embedded):
                if not answer[UNREAD] and left.pop(answer["index"], None) is not None:
                    yield answer
    if left:
        with ThreadPoolExecutor(threads) as readers:
            yield from readers.map(make_call(), left.values())
