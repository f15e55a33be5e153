"""The server of the page: `Session` by HTTP/1.1 on loopback, and the files of `static/`.

`serve(session)` gives a `PageServer` that is bound and answers once `serve_forever` runs (in a thread, or not).

    GET or HEAD  ``, `index.html`      the page
                 `static/NAME`         a file of the page, with an ETag
                 `api/QUESTION?...`    JSON, a method of `Session`

Errors have a body `{"error": sentence}`: 400 bad parameter, 403 another Host than this server's, 404 unknown address or
contig, 405 other methods, 503 a table that cannot be read.
"""

from __future__ import annotations

from http.server import ThreadingHTTPServer

from pipeline.browsing.session import Session


class PageServer(ThreadingHTTPServer):
    """A server that is bound; `url` is the page's address."""

    @property
    def url(self) -> str:
        """Address of the page."""
        raise NotImplementedError


def serve(session: Session, *, host: str = "127.0.0.1", port: int = 0) -> PageServer:
    """Bind a server of a session; port 0 takes a free one."""
    raise NotImplementedError(session, host, port)
