"""A Hugging Face hub on this machine's loopback interface, for models and datasets, with its refusals on order.

`hub_server` starts it; `use_hub` leads huggingface_hub to it for a test, with an empty cache and no token. It answers
the calls that snapshot_download, create_repo, upload_folder, create_commit and HfFileSystem make, and records them.
What it says when it refuses is what the hub says: status, `X-Error-Code` and `X-Error-Message`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import huggingface_hub
import pytest
from huggingface_hub import constants
from material.web_server import in_a_thread

PROXIES = [name for kind in ("http", "https", "all", "no") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())]


class Refusal(NamedTuple):
    """What a repository answers to a call whose method and path match."""

    status: int
    code: str = ""
    """`X-Error-Code`."""
    message: str = ""
    """`X-Error-Message`."""
    headers: tuple[tuple[str, str], ...] = ()
    calls: str = ".*"
    """Pattern of the calls that are refused, as "GET /path"."""


NOT_FOUND = Refusal(404, "RepoNotFound", "Repository not found")
NO_LOGIN = Refusal(401, "RepoNotFound", "Invalid username or password.")  # missing, private or gated, without a token
BAD_TOKEN = Refusal(401, "", "Invalid credentials in Authorization header")
GATED = Refusal(
    403,
    "GatedRepo",
    "Access to model is restricted and you are not in the authorized list. Visit its page to ask for access.",
    calls=".*/resolve/.*",  # what a gated repository holds may be listed
)
LIMITED = Refusal(
    429,
    "",
    "We had to rate limit your IP. To continue using our service, create a HF account or login",
    (("RateLimit", '"api";r=0;t=55'), ("RateLimit-Policy", '"fixed window";"api";q=500;w=300')),
)
DOWN = Refusal(503)
DISABLED = Refusal(403, "", "Access to this resource is disabled.")
ODD = Refusal(451, "", "not in your country")
NO_RIGHTS = Refusal(403, "", "You don't have the rights to create a model under this namespace")
LOGIN_PAGE = Refusal(200)  # what the network of a hotel answers
DROPPED = Refusal(0)  # the connection closes without an answer
CUT_OFF = Refusal(-1, calls="GET .*/resolve/.*safetensors")  # it closes in the middle of the file


@dataclass
class Repository:
    """Files by commit, commits by branch."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None


class HubServer(ThreadingHTTPServer):
    """The hub; `repositories` by id "owner/name", `calls` as "METHOD /path", `tokens` of these."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.repositories: dict[str, Repository] = {}
        self.calls: list[str] = []
        self.tokens: set[str | None] = set()
        self.upload_mode = "regular"  # "lfs" sends clients to a storage of large files, which this hub has not

    @property
    def url(self) -> str:
        """Its address, as `HF_ENDPOINT` takes it."""
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Commit files to a branch; returns the commit."""
        place = self.repositories.setdefault(repository, Repository())
        files = place.commits.get(place.branches.get(branch, ""), {}) | files
        commit = hashlib.sha1(repr([branch, sorted(files.items())]).encode(), usedforsecurity=False).hexdigest()
        place.commits[commit], place.branches[branch] = files, commit
        return commit

    def put_folder(self, repository: str, folder: Path, branch: str = "main") -> str:
        """Commit the files of a folder to a branch; returns the commit."""
        return self.put(repository, {path.name: path.read_bytes() for path in folder.iterdir()}, branch)

    def refuse(self, repository: str, refusal: Refusal | None) -> None:
        """Answer calls to a repository so from now on."""
        self.repositories.setdefault(repository, Repository()).refusal = refusal

    def downloaded(self) -> list[str]:
        """Names of the files that were asked for, in order of their names."""
        return sorted(call.rpartition("/")[2] for call in self.calls if re.match("GET .*/resolve/", call))


def hub_server() -> AbstractContextManager[HubServer]:
    """Start an empty hub."""
    return in_a_thread(HubServer())


def use_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead huggingface_hub to another hub, with a cache of its own, no token and no proxy."""
    for name in (*PROXIES, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    huggingface_hub.close_session()  # one that was made for other settings
    huggingface_hub.HfFileSystem.clear_instance_cache()


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            wanted = json.loads(content)
            path = f"/api/models/{wanted['organization']}/{wanted['name']}/create"
            if wanted.get("type") == "dataset":  # a new one has a first commit
                self.server.put(f"{wanted['organization']}/{wanted['name']}", {".gitattributes": b"*.parquet lfs"})
        elif path == "/api/validate-yaml":
            self._send(json.dumps({"errors": [], "warnings": []}).encode())
            return
        kind = "(?:/api/models|/api/datasets|/datasets)?"
        match = re.fullmatch(kind + r"/([\w.-]+/[\w.-]+)(?:/([\w-]+))?(?:/([^/]+))?(?:/(.+))?", path)
        repository, verb, revision, file = match.groups() if match else ("api/", "", "", "")
        if repository.startswith("api/"):  # what huggingface_hub asks for on its own account
            self._refuse(Refusal(404))
            return
        self.server.calls.append(call := f"{self.command} {path}")
        self.server.tokens.add(self.headers.get("Authorization", "").removeprefix("Bearer ") or None)
        place = self.server.repositories.get(repository)
        if place and place.refusal and re.fullmatch(place.refusal.calls, call):
            self._refuse(place.refusal)
        elif verb == "create":
            self.server.repositories.setdefault(repository, Repository())
            self._send(json.dumps({"url": f"{self.server.url}/{repository}"}).encode())
        elif place is None:
            self._refuse(NOT_FOUND)
        elif verb == "preupload":
            mode = self.server.upload_mode
            files = [{"path": x["path"], "uploadMode": mode} for x in json.loads(content)["files"]]
            self._send(json.dumps({"files": [{**x, "shouldIgnore": False} for x in files]}).encode())
        elif verb == "commit":
            lines = [json.loads(line) for line in content.splitlines()]
            new = {x["value"]["path"]: x["value"]["content"] for x in lines if x["key"] == "file"}
            commit = self.server.put(repository, {name: base64.b64decode(text) for name, text in new.items()}, revision)
            url = f"{self.server.url}/{repository}/commit/{commit}"
            self._send(json.dumps({"commitUrl": url, "commitOid": commit}).encode())
        else:
            self._read(repository, place, verb, revision or "main", file)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815  # names of http.server

    def do_CONNECT(self) -> None:
        """Refuse to be a proxy."""
        self._refuse(Refusal(403, "", "this proxy leads nowhere"))

    def _read(self, repository: str, place: Repository, verb: str | None, revision: str, file: str) -> None:
        commit = place.branches.get(revision, revision)
        files = place.commits.get(commit)
        if files is None:
            self._refuse(Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        elif verb in (None, "revision"):
            siblings = [{"rfilename": name} for name in files]
            self._send(json.dumps({"id": repository, "sha": commit, "siblings": siblings}).encode())
        elif verb == "tree":
            listing = [_listed(name, content) for name, content in files.items()]
            self._send(json.dumps(listing).encode())
        elif file not in files:
            self._refuse(Refusal(404, "EntryNotFound", "Entry not found"))
        else:
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = map(int, span.groups()) if span else (0, len(files[file]))
            told = {"X-Repo-Commit": commit, "ETag": f'"{_oid(files[file])}"'}
            self._send(files[file][first : last + 1], told, HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK)

    def _refuse(self, refusal: Refusal) -> None:
        if refusal is CUT_OFF:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"half of the file")
        if refusal.status <= 0:
            self.close_connection = True
            return
        headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message, "X-Request-Id": "Root=1-2"}
        self._send(b"<html>", headers | dict(refusal.headers) | {"Content-Type": "text/html"}, refusal.status)

    def _send(self, content: bytes, headers: dict[str, str] | None = None, status: int = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the tests' own output matters."""


def _listed(name: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it; tables lie in its storage of large files."""
    large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    listed = {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
    return listed | ({"lfs": large} if name.endswith(".parquet") else {})


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
