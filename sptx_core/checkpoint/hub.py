"""Checkpoint folders from and to the Hugging Face hub.

In and out: repository ids "owner/name" and folders on this machine. The address of the hub, the cache folder and the
user's token come from huggingface_hub's own settings. Of a hub that does not answer, and in its offline mode, the copy
in that cache is used if there is one. Whatever else the hub refuses, or the way to it, is an `InputError` of one line:
what the hub says, or which part of the way is closed, and what to do.
"""

from __future__ import annotations

import http.client
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sptx_core.errors import InputError
from sptx_core.words import counted

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

Token = str | bool | None
"""A token of the hub; None for that of the login or of HF_TOKEN, if there is one; True to insist on it; False for none.
"""

COMMIT_MESSAGE = "Checkpoint of sptx"
NO_CONNECTION = ("ConnectError", "ConnectTimeout", "ConnectionError")  # of httpx and requests; Python's own is hf_xet's
ACCESS = "give a token that has access (token=, HF_TOKEN or `hf auth login`)"


def download(repository: str, files: Sequence[str], *, revision: str | None = None, token: Token = None) -> Path:
    """Download files of a repository, or find them in the hub's cache.

    Parameters
    ----------
    repository
        Id "owner/name".
    files
        Names of the files wanted; others are not downloaded, and those that are not there are no error.
    revision
        A branch, a tag or a commit; by default the newest commit of `main`.
    token
        See `Token`.

    Returns
    -------
    Path
        The local folder that holds them, which has the commit for a name.

    Raises
    ------
    InputError
        There is no such repository or revision, it may not be read, or the hub cannot be reached.
    """
    with faults_named(f"cannot load the checkpoint {repository}: there is no such file or folder, and "):
        import huggingface_hub  # late: takes a while, and only hub ids need it

        return Path(
            huggingface_hub.snapshot_download(repository, allow_patterns=list(files), revision=revision, token=token)
        )


def upload(save: Callable[[Path], None], repository: str, *, private: bool, token: Token) -> str:
    """Commit what `save` writes into the folder that it is given; see `PretrainedNetwork.push_to_hub`."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        with faults_named(f"cannot push to {repository}: "):
            import huggingface_hub  # late: see download

            hub = huggingface_hub.HfApi(token=token)
            hub.create_repo(repository, private=private, exist_ok=True)
            commit = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=COMMIT_MESSAGE)
            return str(commit.commit_url)


@contextmanager
def faults_named(failure: str) -> Iterator[None]:
    """Turn faults of the hub and of the way to it into an `InputError` that begins with `failure`."""
    from huggingface_hub.errors import HfHubHTTPError  # late: see download

    # The bases are the errors of the HTTP library, another one in each major version of huggingface_hub. ValueError: an
    # impossible id, or an answer that no hub gives. RuntimeError: some of hf_xet, which moves large files.
    transport = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    faults: tuple[type[Exception], ...] = (OSError, ValueError, RuntimeError, *transport)
    try:
        yield
    except faults as error:
        raise InputError(failure + reason(error)) from error


def reason(error: BaseException) -> str:
    """A fault of the hub, or of the way to it, as a part of a sentence that says what to do."""
    from huggingface_hub import constants, errors  # late: see download

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # why the hub was not asked; around it stands only that the cache has no copy
    kind, words = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hugging Face hub is not asked because HF_HUB_OFFLINE is set: unset it"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error)
    if "Proxy" in kind:
        return f"the proxy refuses the way to the Hugging Face hub ({words}): check HTTPS_PROXY and NO_PROXY"
    if kind in NO_CONNECTION and not isinstance(error, ConnectionError):
        return (
            f"the Hugging Face hub at {constants.ENDPOINT} cannot be reached ({words}): "
            "check the connection, HF_ENDPOINT and HTTPS_PROXY"
        )
    if isinstance(error, json.JSONDecodeError):
        return f"{constants.ENDPOINT} does not answer as a Hugging Face hub does: check HF_ENDPOINT and HTTPS_PROXY"
    if isinstance(error, ConnectionError) or not isinstance(error, OSError | ValueError):
        return f"the connection to the Hugging Face hub broke off ({words or kind}): try again"
    return f"the Hugging Face hub's library says: {words}"


def _refusal(error: HfHubHTTPError) -> str:
    """What the hub itself says, and what to do about it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError  # late: see download

    status, said = error.response.status_code, " ".join((error.server_message or "").split())
    answer = f"the Hugging Face hub answers {status} {http.client.responses.get(status, '')}"
    if said:
        answer += f" ({said})"
    if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
        return f"{answer}: check the name, or if it is private {ACCESS}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{answer}: {ACCESS}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"{answer}: try again {_pause(error.response.headers)}"
    return f"{answer}: try again later" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else answer


def _pause(headers: Mapping[str, str]) -> str:
    """When the hub listens again; RateLimit: "api";r=[requests left];t=[seconds] is its own header."""
    seconds = re.search(r"\bt=(\d+)", headers.get("RateLimit", "")) or re.match(
        r"(\d+)$", headers.get("Retry-After", "")
    )
    return f"after {counted(int(seconds[1]), 'second')}" if seconds else "later"
