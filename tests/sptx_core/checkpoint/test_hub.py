"""Folders from and to the Hugging Face hub, against a server on loopback that plays the hub and each of its faults."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from material import hub_server as material
from material.hub_server import HubServer, Refusal, use_hub

from sptx_core.checkpoint.hub import download, upload
from sptx_core.errors import InputError

NAME = "someone/network"
FILES = {"config.json": b"{}", "model.safetensors": bytes(2000), "README.md": b"words"}
WANTED = ("config.json", "model.safetensors")


@pytest.fixture(autouse=True)
def repository(hub: HubServer) -> None:
    hub.put(NAME, FILES)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def write(folder: Path) -> None:
    for name in WANTED:
        (folder / name).write_bytes(FILES[name])


def refusals() -> list[str]:
    """What a user reads when a repository cannot be downloaded, and when it cannot be pushed to."""
    messages = []
    for call in (lambda: download(NAME, WANTED), lambda: upload(write, NAME, private=False, token=None)):
        with pytest.raises(InputError) as refused:
            call()
        assert "\n" not in str(refused.value)
        messages.append(str(refused.value))
    return messages


# --- without faults --------------------------------------------------------------------------------------------------


def test_a_repository_is_downloaded_without_its_other_files(hub: HubServer) -> None:
    folder = download(NAME, WANTED)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: FILES[name] for name in WANTED}
    assert hub.downloaded() == sorted(WANTED)
    assert hub.tokens == {None}


def test_files_that_the_repository_lacks_are_left_out(hub: HubServer) -> None:
    assert [path.name for path in download(NAME, ["config.json", "index.json"]).iterdir()] == ["config.json"]


def test_a_revision_is_a_branch_or_a_commit(hub: HubServer) -> None:
    first = hub.repositories[NAME].branches["main"]
    hub.put(NAME, {"config.json": b'{"a": 1}'}, "other")
    hub.put(NAME, {"config.json": b'{"a": 2}'})
    for revision, content in ((None, b'{"a": 2}'), ("main", b'{"a": 2}'), ("other", b'{"a": 1}'), (first, b"{}")):
        assert (download(NAME, WANTED, revision=revision) / "config.json").read_bytes() == content


def test_a_folder_has_the_name_of_its_commit(hub: HubServer) -> None:
    assert download(NAME, WANTED).name == hub.repositories[NAME].branches["main"]


def test_a_token_is_sent(hub: HubServer) -> None:
    download(NAME, WANTED, token="mine")
    assert hub.tokens == {"mine"}
    hub.tokens.clear()
    upload(write, "ours/network", private=False, token="ours")
    assert hub.tokens == {"ours"}


def test_what_is_uploaded_can_be_downloaded(hub: HubServer) -> None:
    address = upload(write, "ours/network", private=True, token="t")
    assert address == f"{hub.url}/ours/network/commit/{hub.repositories['ours/network'].branches['main']}"
    assert [*hub.repositories["ours/network"].commits.values()] == [{name: FILES[name] for name in WANTED}]
    assert (download("ours/network", WANTED) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_an_upload_without_changes_is_none(hub: HubServer) -> None:
    upload(write, NAME, private=False, token="t")
    commits = dict(hub.repositories[NAME].commits)
    upload(write, NAME, private=False, token="t")
    assert hub.repositories[NAME].commits == commits


# --- what the hub refuses --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (material.NOT_FOUND, "404 Not Found (Repository not found): check the name, or if it is private give a token"),
        (material.NO_LOGIN, "401 Unauthorized (Invalid username or password.): check the name, or if it is private"),
        (
            material.BAD_TOKEN,
            "401 Unauthorized (Invalid credentials in Authorization header): give a token that",
        ),
        (material.LIMITED, "create a HF account or login): try again after 55 seconds"),
        (material.LIMITED._replace(headers=(("Retry-After", "7"),)), "): try again after 7 seconds"),
        (material.LIMITED._replace(headers=()), "429 Too Many Requests (We had to rate limit your IP. To continue"),
        (material.LIMITED._replace(headers=()), "): try again later"),
        (material.DOWN, "503 Service Unavailable: try again later"),
        (material.DISABLED, "403 Forbidden (Access to this resource is disabled.)"),
        (material.ODD, "451 Unavailable For Legal Reasons (not in your country)"),
    ],
)
def test_what_the_hub_says_is_said(refusal: Refusal, words: str, hub: HubServer) -> None:
    hub.refuse(NAME, refusal)
    for message in refusals():
        assert "the Hugging Face hub answers " in message
        assert words in message
        assert "Root=1-2" not in message  # of use to the hub alone


@pytest.mark.parametrize("status", [401, 403])  # without a token, and with one of somebody who has not asked
def test_a_gated_repository_says_where_to_ask_for_access(status: int, hub: HubServer) -> None:
    hub.refuse(NAME, material.GATED._replace(status=status))
    with pytest.raises(InputError, match=rf"^cannot load the checkpoint {NAME}: .* {status} .*Visit its") as refused:
        download(NAME, WANTED)
    assert "check the name" not in str(refused.value)  # which is right


def test_a_revision_that_is_not_there_is_named(hub: HubServer) -> None:
    with pytest.raises(InputError, match=r"the Hugging Face hub answers 404 Not Found \(Invalid rev id: v9\)$"):
        download(NAME, WANTED, revision="v9")


def test_a_namespace_of_others_is_refused(hub: HubServer) -> None:
    hub.refuse("others/network", material.NO_RIGHTS)
    with pytest.raises(
        InputError, match=r"^cannot push to others/network: .*403 Forbidden \(You don't have the rights"
    ):
        upload(write, "others/network", private=False, token="t")


def test_what_is_no_id_is_refused(hub: HubServer) -> None:
    with pytest.raises(InputError, match=r"cannot push to ours/a--b: the Hugging Face hub's library says: .*a--b"):
        upload(write, "ours/a--b", private=False, token=None)
    assert not hub.calls


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_hub(hub: HubServer) -> None:
    def fail(folder: Path) -> None:
        msg = f"cannot save a checkpoint to {folder.name}"
        raise InputError(msg)

    with pytest.raises(InputError, match=r"^cannot save a checkpoint to"):
        upload(fail, NAME, private=False, token=None)


# --- no way to the hub -----------------------------------------------------------------------------------------------


def test_a_dropped_connection(hub: HubServer) -> None:
    hub.refuse(NAME, material.DROPPED)
    for message in refusals():
        assert "the connection to the Hugging Face hub broke off (Server disconnected" in message


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_drops_within_a_file(hub: HubServer) -> None:
    hub.refuse(NAME, material.CUT_OFF)
    with pytest.raises(InputError, match=r"the connection to the Hugging Face hub broke off \(.*\): try again$"):
        download(NAME, WANTED)
    hub.refuse(NAME, None)
    assert (download(NAME, WANTED) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_storage_of_large_files_that_is_not_there(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "upload_mode", "lfs")
    with pytest.raises(InputError, match=r"^cannot push to ours/network: the connection to the .* broke off \(.*404"):
        upload(write, "ours/network", private=False, token="t")


def test_a_hub_that_is_not_there(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = download(NAME, WANTED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    use_hub(url, tmp_path / "cache", monkeypatch)
    assert download(NAME, WANTED) == folder  # the copy
    use_hub(url, tmp_path / "other", monkeypatch)
    for message in refusals():
        assert f"the Hugging Face hub at {url} cannot be reached (" in message
        assert "HF_ENDPOINT" in message


def test_a_proxy_that_refuses(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub("https://hub.invalid", tmp_path / "cache", monkeypatch)
    monkeypatch.setenv("https_proxy", hub.url)
    for message in refusals():
        assert "the proxy refuses the way to the Hugging Face hub (403" in message
        assert "check HTTPS_PROXY" in message


def test_a_page_that_is_no_answer_of_a_hub(hub: HubServer) -> None:
    hub.refuse(NAME, material.LOGIN_PAGE)
    for message in refusals():
        assert f"{hub.url} does not answer as a Hugging Face hub does" in message


def test_offline_the_cached_copy_is_used(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = download(NAME, WANTED)
    hub.calls.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download(NAME, WANTED) == folder
    assert not hub.calls


def test_offline_without_a_copy(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for message in refusals():
        assert "the Hugging Face hub is not asked because HF_HUB_OFFLINE is set: unset it" in message
    assert not hub.calls


@pytest.mark.slow
def test_the_environment_leads_to_the_hub(hub: HubServer, tmp_path: Path) -> None:
    program = "import sys; from sptx_core.checkpoint.hub import download; print(download(sys.argv[1], sys.argv[2:]))"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", program, NAME, *WANTED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "home")
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert hub.downloaded() == sorted(WANTED)
