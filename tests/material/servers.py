"""An object store behind the S3 protocol: moto's server on this machine's loopback interface.

`s3_server` starts it and gives the environment variables that lead fsspec, boto and child processes to it;
`object_store` sets them in this process and adds an empty bucket. The server ends with the `with` statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Environment variables of a new, empty server."""
    from moto.server import ThreadedMotoServer  # late: each process of tests collects all files and runs few

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


@contextmanager
def object_store(bucket: str) -> Iterator[str]:
    """URI of an empty bucket on a new server, which this process reaches through its environment."""
    from s3fs import S3FileSystem

    with s3_server() as env, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        S3FileSystem.clear_instance_cache()  # an instance keeps the endpoint that it was made with
        S3FileSystem().mkdir(bucket)
        try:
            yield f"s3://{bucket}"
        finally:
            S3FileSystem.clear_instance_cache()
