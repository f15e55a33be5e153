"""How many requests a run sends to an object store: a server of the S3 protocol on this machine, which counts them.

The driver and one worker run in this process, without Ray, which sends no requests of its own.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from rehearsal_job import RehearsedJob
from werkzeug.serving import make_server

from pipeline.batch import actors, cluster
from pipeline.batch.layout import STRIKES
from pipeline.batch.run import run_job
from pipeline.tracks.layout import TRACKS
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import RunConfig

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Counting:
    """A WSGI application that notes what it is asked for, and has another one answer."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.asked: list[tuple[str, str]] = []  # kind of request, folder below the table

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        kind = "LIST" if "list-type" in query else environ["REQUEST_METHOD"]
        key = query["prefix"][0] if kind == "LIST" else environ["PATH_INFO"].strip("/").partition("/")[2]
        self.asked.append((kind, key.removeprefix("table").strip("/")))
        return self.application(environ, start)


def requests_of_a_run(settings: RunConfig, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run a job against a new server; requests in all, and by kind for each shard."""
    application = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.port}")
    from s3fs import S3FileSystem

    S3FileSystem().mkdir("rehearsal")
    job = RehearsedJob.of(prepare(settings, say), folder / "region")
    here = cluster.Cluster(embedded=True, nodes=1, cpus=2, cpus_per_node=2, gpus=0, log=folder / "ray.log")
    with (
        mock.patch.object(cluster, "session", return_value=nullcontext(here)),
        mock.patch.object(actors, "execute", lambda rows, make_call, *_, **__: map(make_call(), rows)),
    ):
        outcome = run_job(job, say, progress=False)
    if not outcome.complete:
        raise SystemExit(f"incomplete: {outcome}")
    server.shutdown()
    return {
        "shards": outcome.units,
        "bytes": outcome.bytes,
        "rows": outcome.size,
        **counted(application.asked, outcome.units),
    }


def counted(asked: list[tuple[str, str]], shards: int) -> dict[str, Any]:
    """Requests before, for and after the shards; the shards' work begins with a strike and ends with a tracks part."""
    puts = [at for at, (kind, key) in enumerate(asked) if kind == "PUT" and key.startswith((STRIKES, f"{TRACKS}/"))]
    first, last = puts[0], puts[-1]
    after = next(at for at, (kind, _) in enumerate(asked) if at > last and kind in ("LIST", "GET"))
    within = Counter(f"{kind} {key.partition('/')[0] or 'root'}" for kind, key in asked[first:after])
    return {
        "requests": len(asked),
        "requests a shard": (after - first) / shards,
        "by kind": {kind: round(count / shards, 2) for kind, count in sorted(within.items())},
        "before": first,
        "after": len(asked) - after,
    }
