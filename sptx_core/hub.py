"""Networks saved as checkpoint folders, and such folders from and to the Hugging Face hub.

Where it is and who asks come from huggingface_hub's own settings. Every fault of the hub is an `InputError`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError


class SavedNetwork(nn.Module):
    """A network with a configuration, which can be saved and shared."""

    config: SpTransformerConfig

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write `model.safetensors` (float32) and `config.json` into a folder that `from_pretrained` reads."""
        from sptx_core.checkpoint import Checkpoint, save_checkpoint  # late: that module imports this one

        widened = {name: x.float() if x.is_floating_point() else x for name, x in self.state_dict().items()}
        save_checkpoint(Checkpoint(self.config, {name: x.cpu() for name, x in widened.items()}), directory)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Save to a repository "owner/name" of the Hugging Face hub, made if need be; the address of the commit."""
        return upload(self.save_pretrained, repository, private=private, token=token)


def download(repository: str, files: Sequence[str]) -> Path:
    """The local copy of a repository's checkpoint folder."""
    import huggingface_hub  # late: only hub ids need it

    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(files)))
    except (OSError, ValueError) as error:  # not found, gated, offline, not a valid id
        raise InputError(
            f"there is no checkpoint {repository}: no such file or folder, "
            f"and the Hugging Face hub says: {_first(error)}"
        ) from error


def upload(save: Callable[[Path], None], repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Make the repository if need be and commit the folder that `save` writes; the address of the commit."""
    import huggingface_hub  # late: as above

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            hub = huggingface_hub.HfApi(token=token)
            hub.create_repo(repository, private=private, exist_ok=True)
            commit = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="Checkpoint of sptx")
        except (OSError, ValueError) as error:  # no right to write, offline, not a valid id
            raise InputError(f"cannot push to {repository}: the Hugging Face hub says: {_first(error)}") from error
    return str(commit)


def _first(error: Exception) -> str:
    """The first line of what the hub says."""
    return str(error).strip().partition("\n")[0]
