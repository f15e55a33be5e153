"""Folders from and to the Hugging Face hub, which a folder of this machine stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from sptx_core.checkpoint.hub import download, upload
from sptx_core.errors import InputError


class Hub:
    """A repository is a folder below `root`; calls are recorded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, token: str | None = None) -> Hub:
        self.calls.append(("token", token))
        return self

    def snapshot_download(self, repository: str, *, allow_patterns: list[str]) -> str:
        self.calls.append(("download", repository, allow_patterns))
        if not (self.root / repository).is_dir():
            raise FileNotFoundError(f"Repository Not Found: {repository}\nmore words")
        return str(self.root / repository)

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        if repository == "someone/elses":
            raise OSError("403 Forbidden\nmore about it")
        self.calls.append(("create", repository, private, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
        assert commit_message
        self.calls.append(("upload", repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
        return f"address of {repo_id}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def write(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def test_a_repository_is_downloaded_without_its_other_files(hub: Hub) -> None:
    (hub.root / "someone" / "network").mkdir(parents=True)
    assert download("someone/network", ("config.json",)) == hub.root / "someone" / "network"
    assert hub.calls == [("download", "someone/network", ["config.json"])]


def test_an_unknown_repository_says_what_the_hub_says(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"the Hugging Face hub says: Repository Not Found: someone/else$"):
        download("someone/else", ["config.json"])


def test_a_folder_is_uploaded_to_a_new_or_old_repository(hub: Hub) -> None:
    assert upload(write, "ours/network", private=True, token="t") == "address of ours/network"
    assert hub.calls == [
        ("token", "t"),
        ("create", "ours/network", True, True),
        ("upload", "ours/network", ["config.json"]),
    ]


def test_what_the_hub_refuses_is_an_input_error(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"cannot push to someone/elses: the Hugging Face hub says: 403 Forbidden$"):
        upload(write, "someone/elses")
    assert hub.calls == [("token", None)]
