"""Files of the user: faults of reading and writing them as one sentence, and files that appear whole or not at all.

`reading(name)` and `writing(name)` stand around the lines that read or write one file. Whatever the system, a codec or
a library of file formats raises there becomes an `InputError` with the file's name; anything else is a bug and stays
the exception that it is. `require_writable` asks the same question before any work is done.

`write_atomic` and `replacing` write a file on a local disk under its name at once and whole, so that it outlives a
power cut. Until then it has a hidden name,

    .<name>.<boot>-<process>-<start>-<count>.tmp

which tells its writer: a digest of the machine's boot (with the name spaces that numbers of processes belong to), the
number of the process, when it started (field 22 of /proc/<process>/stat, proc(5)), and how many it had written; all
hexadecimal. `is_abandoned` looks the writer up.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import re
import shutil
import stat
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sptx_core.errors import InputError
from sptx_core.redaction import without_secrets

Name = str | os.PathLike[str]
"""A path or URI as the user wrote it."""

_FAULTS = (OSError, EOFError, UnicodeError, zlib.error, struct.error, json.JSONDecodeError)
# Packages whose own exceptions tell of a file or of the way to it. They are known by name, so that none is imported.
_FORMATS = ("polars", "pyarrow", "yaml", "safetensors")
_SERVERS = ("fsspec", "s3fs", "botocore", "aiobotocore", "gcsfs", "google", "adlfs", "azure", "huggingface_hub")
_CONNECTIONS = ("aiohttp", "http", "httpx", "paramiko", "requests", "urllib3")
_LIBRARIES = frozenset((*_FORMATS, *_SERVERS, *_CONNECTIONS))
_MAX_REASON = 300  # letters of a library's message that a sentence quotes
_WRITER = re.compile(r"\..+\.(?P<boot>[0-9a-f]{12})-(?P<process>[0-9a-f]+)-(?P<start>[0-9a-f]+)-[0-9a-f]+\.tmp")
_written = itertools.count()


@contextmanager
def reading(name: Name, *, parsed: bool = True) -> Iterator[None]:
    """Turn what reading a file raises into one sentence.

    Parameters
    ----------
    name
        The file, as the sentence calls it.
    parsed
        Whether a library parses the file inside, so that its exceptions are about the content. False where the lines
        inside do more than that: an exception of Polars there may as well be a bug.

    Raises
    ------
    InputError
        `name` does not exist, is a folder, may not be read, or its content is damaged. An `InputError` raised inside
        stays as it is.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{os.fspath(name)} does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{os.fspath(name)} is a folder, not a file") from error
    except Exception as error:
        if not tells_of_a_file(error, parsed=parsed):
            raise
        raise InputError(f"{os.fspath(name)} cannot be read: {reason(error)}") from error


@contextmanager
def writing(name: Name) -> Iterator[None]:
    """Turn what writing a file raises into one sentence.

    Parameters
    ----------
    name
        The file or folder, as the sentence calls it.

    Raises
    ------
    InputError
        `name` cannot be written. An `InputError` raised inside stays as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not tells_of_a_file(error):
            raise
        raise InputError(f"{os.fspath(name)} cannot be written: {reason(error)}") from error


def tells_of_a_file(error: BaseException, *, parsed: bool = True) -> bool:
    """Whether an exception says what is wrong with a file or the way to it, rather than with the program.

    `parsed` is as in `reading`.
    """
    libraries = _LIBRARIES if parsed else _LIBRARIES.difference(_FORMATS)
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, _FAULTS) or not packages.isdisjoint(libraries)


def reason(error: BaseException) -> str:
    """What an exception says, on one line: the system's words, or a library's message."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # all files that a tree could not copy
        error = OSError(error.args[0][0][2])
    text = " ".join((getattr(error, "strerror", None) or str(error)).split()) or type(error).__name__
    text = without_secrets(text)  # before it is cut: half a secret would not be known as one
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]} ..."


def require_writable(path: Path) -> None:
    """Check, before any work is done, that a file can be written; nothing is left there.

    Parameters
    ----------
    path
        Where the file is to appear.

    Raises
    ------
    InputError
        It is a folder, lies in none, or the file or its folder may not be written.
    """
    with writing(path):  # folders that may not be searched raise at each question
        if path.is_dir():
            raise InputError(f"{path} cannot be written: it is a folder; give the name of a file")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise InputError(f"{path} cannot be written: there is no folder {folder}; make it first")
        if path.exists() and not path.is_file():  # a device or a pipe, which is written in place
            if not os.access(path, os.W_OK):
                raise InputError(f"{path} cannot be written: permission denied")
            return
        probe = _beside(path)
        probe.touch(exist_ok=False)  # permissions alone do not tell: file systems may be read-only or full
        probe.unlink()


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: under a temporary name, flushed to the disk, then renamed.

    Parameters
    ----------
    path
        Where the file appears; a file that is there is replaced. Its folder must exist.
    content
        The whole content.

    Raises
    ------
    OSError
        As the file system raises it. Nothing is left behind then; what a killed process leaves is hidden and ends in
        `.tmp`.
    """
    with _renamed_to(path) as temporary, temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let a library write a file that then appears whole or not at all.

    Parameters
    ----------
    path
        Where the file appears; a file that is there is replaced, and a link is followed. What is no file (`/dev/null`,
        a pipe) is written in place. Its folder must exist.

    Yields
    ------
    Path
        What to write to.

    Raises
    ------
    OSError
        As the file system raises it; then nothing is left behind.
    """
    target = path.resolve()
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        yield target
        return
    with _renamed_to(target) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def _renamed_to(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` for a file that is renamed to it at the end, or removed after an error."""
    temporary = _beside(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def is_abandoned(name: str) -> bool:
    """Whether the process that writes a file under this hidden name has ended.

    Parameters
    ----------
    name
        Name of the file, without its folder.

    Returns
    -------
    bool
        False also where that cannot be known: the writer is or was on another machine, in another container or before
        this machine was started, or the name is not one that `write_atomic` makes now.
    """
    writer = _WRITER.fullmatch(name)
    if writer is None or writer["boot"] != _boot():
        return False
    process = int(writer["process"], 16)
    try:
        os.kill(process, 0)  # asks alone; /proc may hide what other users run
    except ProcessLookupError:
        return True
    except OSError:
        return False
    start = _start_of(process)
    return start is not None and start != int(writer["start"], 16)


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that nobody else uses."""
    process, boot = os.getpid(), _boot()
    start = _start_of(process)
    writer = uuid.uuid4().hex
    if boot is not None and start is not None:
        writer = f"{boot}-{process:x}-{start:x}-{next(_written):x}"
    return path.with_name(f".{path.name}.{writer}.tmp")


@cache
def _boot() -> str | None:
    """Digest, 12 digits, of all within which number and start of a process name it; None where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time")]  # noqa: PTH115  # no path
    except OSError:  # not Linux, or one that hides them
        return None
    return hashlib.sha256("\n".join((platform.node(), boot, *spaces)).encode()).hexdigest()[:12]


def _start_of(process: int) -> int | None:
    """When a process started, in ticks since the machine did."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except (OSError, UnicodeError):
        return None
    return int(text.rpartition(")")[2].split()[19])  # its name, in parentheses, may hold anything
