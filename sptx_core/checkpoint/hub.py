"""Checkpoint folders from and to the Hugging Face hub.

In and out: repository ids "owner/name" and folders on this machine. The address of the hub, the cache folder and the
user's token come from huggingface_hub's own settings. Whatever the hub refuses is an `InputError` with its first line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sptx_core.errors import InputError

COMMIT_MESSAGE = "Checkpoint of sptx"


def download(repository: str, files: Sequence[str]) -> Path:
    """Download files of a repository, or find them in the hub's cache.

    Parameters
    ----------
    repository
        Id "owner/name".
    files
        Names of the files wanted; others are not downloaded.

    Returns
    -------
    Path
        The local folder that holds them.

    Raises
    ------
    InputError
        There is no such repository, it may not be read, or the hub cannot be reached.
    """
    import huggingface_hub  # late: takes a while, and only hub ids need it

    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # not found, gated, offline, not a valid id
        raise InputError(
            f"there is no checkpoint {repository}: no such file or folder, "
            f"and the Hugging Face hub says: {_first_line(error)}"
        ) from error


def upload(save: Callable[[Path], None], repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Commit a folder to a repository, which is made if there is none.

    Parameters
    ----------
    save
        Writes the files into the folder that it is given.
    repository
        Id "owner/name".
    private
        Whether a new repository is private.
    token
        Token of the hub; by default that of huggingface_hub's login.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    InputError
        The user may not write there, the id is not valid, or the hub cannot be reached.
    """
    import huggingface_hub  # late: see download

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            hub = huggingface_hub.HfApi(token=token)
            hub.create_repo(repository, private=private, exist_ok=True)
            commit = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=COMMIT_MESSAGE)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot push to {repository}: the Hugging Face hub says: {_first_line(error)}") from error
    return str(commit)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
