"""Places that take a table: what they hold, and the hub's commits."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from material.hub_server import NO_LOGIN, NO_RIGHTS, Refusal

from pipeline.batch.storage import StorageError, Store
from pipeline.publishing import destinations
from pipeline.publishing.contents import File
from pipeline.publishing.destinations import HubDestination, StoreDestination
from sptx_core.errors import InputError

DYING = """
import os, signal, sys
from pathlib import Path
from sptx_core.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def file(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def test_a_folder_holds_a_file_of_the_same_bytes_alone(tmp_path: Path) -> None:
    place = StoreDestination(Store(tmp_path / "new"))
    assert place.begin(["tracks"]) == {}
    place.put("tracks/a.parquet", b"abc")
    (tmp_path / "new" / ".tracks.tmp").touch()
    with subprocess.Popen([sys.executable, "-c", DYING, str(tmp_path / "new" / "run.json")]) as writer:
        assert writer.wait() == -signal.SIGKILL
    assert len(list((tmp_path / "new").glob(".run.json.*"))) == 1
    place = StoreDestination(Store(tmp_path / "new"))
    assert place.begin(["tracks"]) == {"tracks/a.parquet": 3}
    assert place.holds(file("tracks/a.parquet", b"abc"))
    assert not place.holds(file("tracks/a.parquet", b"abd"))
    assert not place.holds(file("tracks/a.parquet", b"abcd"))
    assert not place.holds(file("tracks/b.parquet", b"abc"))
    assert (tmp_path / "new" / ".tracks.tmp").exists()  # of somebody else
    assert not list((tmp_path / "new").glob(".run.json.*"))


def test_a_dataset_of_the_hub_is_made_and_committed_to(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "MAX_COMMIT_BYTES", 5)
    place = HubDestination("hf://datasets/me/splicing/v1/")
    assert place.begin(["tracks"]) == {}
    assert place.is_new
    for name, content in (("a.parquet", b"abc"), ("b.parquet", b"de"), ("c=1/d.parquet", b"f")):
        place.put(name, content)
    assert sum("commit" in call for call in hub.calls) == 1
    place.flush()
    place.flush()
    assert sum("commit" in call for call in hub.calls) == 2
    held = hub.repositories["me/splicing"].commits[hub.repositories["me/splicing"].branches["main"]]
    assert held.pop(".gitattributes")
    assert held == {"v1/a.parquet": b"abc", "v1/b.parquet": b"de", "v1/c=1/d.parquet": b"f"}
    again = HubDestination("hf://datasets/me/splicing/v1")
    assert again.begin(["tracks"]) == {"a.parquet": 3, "b.parquet": 2, "c=1/d.parquet": 1}
    assert not again.is_new
    assert again.holds(file("a.parquet", b"abc"))
    assert not again.holds(file("a.parquet", b"abx"))
    assert again.read("b.parquet") == b"de"


@pytest.mark.parametrize("uri", ["hf://datasets/me", "hf://me/model", "hf://spaces/me/x/y", "hf://buckets/me/x"])
def test_another_place_on_the_hub_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"is no place on the hub: give hf://datasets/OWNER/NAME"):
        HubDestination(uri)


@pytest.mark.parametrize(("refusal", "told"), [(NO_LOGIN, "401 Unauthorized"), (Refusal(403), "403 Forbidden")])
def test_a_dataset_that_may_not_be_read_is_told(hub: Any, refusal: Refusal, told: str) -> None:
    hub.put("me/splicing", {"x.txt": b""})
    hub.refuse("me/splicing", refusal)
    with pytest.raises(StorageError, match=rf"^hf://datasets/me/splicing cannot be written: .*answers {told}"):
        HubDestination("hf://datasets/me/splicing").begin(["tracks"])


def test_a_dataset_that_may_not_be_written_is_told(hub: Any) -> None:
    hub.put("me/splicing", {"x.txt": b""})
    hub.refuse("me/splicing", NO_RIGHTS._replace(calls=".*commit.*"))
    place = HubDestination("hf://datasets/me/splicing")
    place.begin(["tracks"])
    place.put("a.parquet", b"abc")
    with pytest.raises(StorageError, match=r"cannot be written: .* answers 403 Forbidden .You don't have the rights"):
        place.flush()
