"""Files of a web server or of the Hugging Face hub, which are only read: whole, or the ranges that are asked for.

A range is one request. What comes back is held against what was asked for: a server that sends the whole file instead
of a range (it knows no ranges) is understood, anything else of another length is tried again and then an error, so that
no byte is ever taken for another one. What may pass by itself (a lost connection, an answer that breaks off, 429, 5xx)
is tried `TRIES` times in all; huggingface_hub does that itself.

Addresses: the names below a root are percent-encoded, the root is taken as it is written but for spaces and letters
beyond ASCII, and its query (`?sv=...&sig=...` of Azure) goes behind each name.

Credentials, headers and certificates are fsspec's: its configuration of `https` (and `http`), `~/.netrc`, and the
environment's proxies; `HF_TOKEN` of the hub.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from http import HTTPStatus
from operator import or_
from typing import TypeVar
from urllib.parse import quote

import fsspec

from sptx_core.words import counted

WEB = frozenset({"http", "https"})
HUB = "hf"
NEVER_LISTED = WEB
READ_ONLY = WEB | {HUB}

TRIES = 4
FIRST_PAUSE = 0.5  # seconds before the second try, doubled from one to the next
CONNECT_SECONDS, SILENT_SECONDS = 30.0, 60.0  # until there is a connection; without a byte
TAIL_BYTES = 64 << 10  # what Arrow reads of a file's end to find the footer
_ENDLESS = 0  # aiohttp's status of too many redirects
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # of HTTP: what a later try may change
_KEPT = "/:@!$&'()*+,;=~-._[]%"  # of a root: what an address may hold, and what is encoded already

T = TypeVar("T")


class ShortAnswerError(OSError):
    """A server sent another number of bytes than were asked for."""


def file_system() -> fsspec.AbstractFileSystem:
    """The client of web servers, which is fsspec's."""
    import aiohttp  # late: it takes a quarter of a second

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    own = {"timeout": timeout, "trust_env": True}
    of_user = [fsspec.config.conf.get(protocol, {}).get("client_kwargs", {}) for protocol in ("http", "https")]
    client = reduce(or_, of_user, own)
    return fsspec.filesystem("https", use_listings_cache=False, encoded=True, client_kwargs=client)


def address(root: str, name: str = "") -> str:
    """The URL of a file below a root.

    Parameters
    ----------
    root
        URL of a folder, perhaps with a query.
    name
        Name below it, as a disk has it: `chrom=HLA-A%2A01%3A01/...` is a folder with these percent signs.

    """
    folder, mark, query = root.partition("?")
    folder = quote(folder.rstrip("/"), safe=_KEPT)
    return f"{folder}/{quote(name, safe='/=')}{mark}{query}" if name else f"{folder}{mark}{query}"


def read_whole(files: fsspec.AbstractFileSystem, path: str) -> bytes:
    """All bytes of a file."""
    if files.protocol == HUB:
        with _hub_told(path), files.open(path, "rb", block_size=0) as file:  # else its size is asked for first
            content: bytes = file.read()
            return content
    return patiently(lambda: bytes(files.cat_file(path)))


class RangeFile(io.RawIOBase):
    """A file of a known size of which ranges are read; its end is kept, so that a small file takes one request.

    Parameters
    ----------
    files
        The client.
    path
        The file's address.
    size
        Its bytes; None: the server is asked.

    """

    def __init__(self, files: fsspec.AbstractFileSystem, path: str, size: int | None) -> None:
        super().__init__()
        self._files, self._path = files, path
        self._size = int(files.info(path)["size"]) if size is None else size
        self._place = 0
        self._tail = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as of any file."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """The place where the next read begins."""
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes from the place on, or all; fewer at the end of the file."""
        rest = max(0, self._size - self._place)
        count = rest if size is None or size < 0 else min(size, rest)
        content = self._range(self._place, self._place + count)
        self._place += count
        return content

    def _range(self, start: int, end: int) -> bytes:
        tail_start = max(0, self._size - TAIL_BYTES)
        if start == end:
            return b""
        if start < tail_start:
            return self._fetched(start, end)
        if not self._tail:
            self._tail = self._fetched(tail_start, self._size)
        return self._tail[start - tail_start : end - tail_start]

    def _fetched(self, start: int, end: int) -> bytes:
        try:
            return self._asked_for(start, end)
        except Exception as error:
            answer = "there is no such file" if isinstance(error, FileNotFoundError) else said(error)
            if not answer:
                raise
            raise OSError(f"{self._path}: {answer}") from error

    def _asked_for(self, start: int, end: int) -> bytes:
        if self._files.protocol != HUB:
            return patiently(lambda: self._checked(self._files.cat_file(self._path, start, end), start, end))
        with _hub_told(self._path), self._files.open(self._path, cache_type="none", size=self._size) as file:
            file.seek(start)
            return self._checked(file.read(end - start), start, end)

    def _checked(self, content: bytes, start: int, end: int) -> bytes:
        if len(content) == end - start:
            return content
        if len(content) == self._size:  # of a server that knows no ranges
            return content[start:end]
        raise ShortAnswerError(
            f"the server sent {counted(len(content), 'byte')} where bytes {start:,} to {end - 1:,} of {self._size:,} "
            "were asked for: the file is another one by now, or something on the way cuts answers"
        )


def patiently(call: Callable[[], T]) -> T:
    """The result of `call`, which is tried again after what may pass by itself."""
    pause = FIRST_PAUSE
    for _ in range(TRIES - 1):
        try:
            return call()
        except Exception as error:  # the client's own kinds among them
            if not may_pass(error):
                raise
        time.sleep(pause)
        pause *= 2
    return call()


def may_pass(error: Exception) -> bool:
    """Whether a later try may succeed."""
    status = _status(error)
    if status is not None:
        return status in _PASSING
    if isinstance(error, TimeoutError | ShortAnswerError):
        return True
    # A connection that was lost; one that could not be made (another host, another port) will not be.
    return type(error).__module__.startswith("aiohttp") and not hasattr(error, "host")


def said(error: Exception) -> str:
    """What a web server or the hub answered, in words, perhaps with what to do; empty for what was no answer."""
    if _is_of_hub(error):
        from sptx_core.checkpoint.hub import reason  # late: loads PyTorch

        return reason(error)
    status = _status(error)
    if status == _ENDLESS:
        return "the server redirects without end"
    return "" if status is None else f"the server answers {status} {getattr(error, 'message', '')}".rstrip()


def remedy(error: Exception) -> str:
    """What to do about it, where `said` does not say that."""
    status = _status(error)
    if _is_of_hub(error):
        return ""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "check the address, and who may read it"
    return "try again when the server answers" if status is None or status in _PASSING else ""


def _status(error: Exception) -> int | None:
    """The status of HTTP that an error tells: aiohttp's or huggingface_hub's."""
    status = getattr(error, "status", getattr(getattr(error, "response", None), "status_code", None))
    return status if isinstance(status, int) else None


def _is_of_hub(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("huggingface_hub", "httpx", "httpx2", "requests")


@contextmanager
def _hub_told(path: str) -> Iterator[None]:
    """A file that a repository lacks is a `FileNotFoundError`, a repository that is not there is not."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError  # late: few need it

    try:
        yield
    except EntryNotFoundError as error:
        raise FileNotFoundError(path) from error
    except FileNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):
            raise error.__cause__ from None
        raise
