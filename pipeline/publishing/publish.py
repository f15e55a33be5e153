"""Publish a finished table: `publish(source, to, options, say)`.

The destination gets, in this order: the parts, each held against the SHA-256 in the manifest as it is copied; the files
beside them; `README.md` (`pipeline.publishing.card`), `croissant.json`, `SHA256SUMS`; and `manifest.parquet` last, so
that nothing half-copied is taken for a whole table. What is there already with its size and SHA-256 stays, so the same
call goes on where one was interrupted, and gives the same bytes. Published onto itself a table gets the three files
alone.

`SHA256SUMS` has a line for every file but itself and README.md, which people edit; a README.md that is there and says
something else is kept, which is said. Of settings.yaml a copy without paths is published (`contents.public_settings`);
published onto itself a table keeps its own, which has a line only if it is such a copy.

Errors: `UnfinishedError` for an unfinished table and when storage fails on the way; `InputError` for an unsound table,
a place that holds another one, and a place that cannot be written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pipeline.batch import web
from pipeline.batch.layout import MANIFEST, RUN_FILE, SETTINGS_FILE
from pipeline.batch.progress import Progress
from pipeline.batch.published import PublishedStore
from pipeline.batch.record import RunRecord
from pipeline.batch.storage import StorageError, Store
from pipeline.publishing.card import CARD, HERE, Publication, card
from pipeline.publishing.contents import Contents, File, read_contents
from pipeline.publishing.croissant import CROISSANT, croissant
from pipeline.publishing.destinations import Destination, HubDestination, StoreDestination
from pipeline.variants.schema import FORMAT_VERSION
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.redaction import HIDDEN, without_secrets

CHECKSUMS = "SHA256SUMS"
THREADS = 4  # parts that are copied at once
_ADDRESS = re.compile(r"[^\s'\"\\`]+")  # what may stand in code as it is

Say = Callable[[str], None]


class Options(NamedTuple):
    """The licence of the published table ("" to leave it open), and where readers will find it ("" for `to` itself)."""

    licence: str = ""
    at: str = ""


class Published(NamedTuple):
    """Names of the files that were written, and of those that were there already."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def publish(source: PublishedStore, to: str, options: Options, say: Say, *, progress: bool = True) -> Published:
    """Publish the table at `source`.

    Parameters
    ----------
    source : PublishedStore
        Root of a table of tracks or of variants.
    to : str
        A folder, a URI such as `s3://bucket/tracks`, or `hf://datasets/OWNER/NAME`; the root of the table itself for
        the card, the metadata and the checksums alone.
    options : Options
        What the card says.
    say : callable
        Called with sentences for a person.
    progress : bool
        Whether to show the progress line, on standard error.

    Returns
    -------
    Published

    Raises
    ------
    InputError
        There is no table, it is unsound, or the place cannot be written or holds something else.
    UnfinishedError
        The table is unfinished, or storage failed on the way; the same call goes on.

    """
    destination: Destination
    if to.startswith(f"{web.HUB}://"):
        destination, in_place, where = HubDestination(to), False, to
    else:
        place = Store(to)
        destination, in_place = StoreDestination(place), _is_same(source, place)
        where = HERE if place.is_local else to
    publication = Publication(_address(where, options.at), options.licence.strip())
    contents = read_contents(source)
    held = destination.begin([table.name for table in contents.tables])
    if in_place:
        if source.read_bytes(SETTINGS_FILE) != contents.beside[SETTINGS_FILE]:
            del contents.beside[SETTINGS_FILE]  # whichever run restores it writes how that one was executed
            say(f"{SETTINGS_FILE} stays as it is; publish to another folder to leave the paths of this machine out")
    else:
        _require_room(contents, destination, held, to)
    done = _Publishing(contents, destination, publication, set(held), say)
    try:
        done.copy_parts(progress=progress, in_place=in_place)
        done.write_beside()
    except StorageError as error:
        raise UnfinishedError(f"{error}; the same command goes on from there") from error
    if isinstance(destination, HubDestination) and destination.is_new:
        say(f"{destination.repository} was made for you alone; its settings on the hub open it to others")
    if not publication.licence:
        say("the card has no licence yet: give --licence, such as CC-BY-4.0, or fill the line in")
    return Published(tuple(done.written), tuple(done.kept))


class _Publishing:
    """One table on its way to one place."""

    def __init__(
        self, contents: Contents, destination: Destination, publication: Publication, held: set[str], say: Say
    ) -> None:
        self.contents, self.destination, self.publication, self.say = contents, destination, publication, say
        self._held = held
        self.written: list[str] = []
        self.kept: list[str] = []

    def copy_parts(self, *, progress: bool, in_place: bool) -> None:
        """Copy the parts that the destination lacks; in place they are read alone."""
        parts = self.contents.parts
        copied = self._read if in_place else self._copied
        total = sum(part.bytes for part in parts)
        with Progress(total, 0, noun="byte", shown=progress) as line, ThreadPoolExecutor(THREADS) as pool:
            for part, is_new in zip(parts, pool.map(copied, parts), strict=True):
                (self.written if is_new else self.kept).append(part.name)
                line.advance(part.bytes, failures=0)
        self.destination.flush()

    def write_beside(self) -> None:
        """Write the files beside the parts, the manifest last."""
        contents = self.contents
        metadata = croissant(contents, self.publication, contents.beside)
        files = {**contents.beside, CROISSANT: metadata}
        sums = [*contents.parts, *(_file(name, content) for name, content in files.items())]
        sums.append(_file(MANIFEST, contents.manifest))
        files[CHECKSUMS] = "".join(f"{one.sha256}  {one.name}\n" for one in sorted(sums)).encode()
        text = card(contents, self.publication).encode()
        if CARD in self._held and self.destination.read(CARD) != text:
            self.say(f"{CARD} is there and says something else: it is kept; remove it to have it written anew")
        else:
            files[CARD] = text
        for name, content in (*files.items(), (MANIFEST, contents.manifest)):
            if name in self._held and self.destination.read(name) == content:
                self.kept.append(name)
            else:
                self.destination.put(name, content)
                self.written.append(name)
        self.destination.flush()

    def _copied(self, part: File) -> bool:
        """Copy a part, unless it is there; whether it was copied."""
        if part.name in self._held and self.destination.holds(part):
            return False
        self.destination.put(part.name, self._content(part))
        return True

    def _read(self, part: File) -> bool:
        """Look whether a part is sound; it is copied nowhere."""
        self._content(part)
        return False

    def _content(self, part: File) -> bytes:
        store = self.contents.store
        try:
            content = store.read_bytes(part.name)
        except FileNotFoundError:
            raise InputError(f"{store.uri(part.name)} was removed meanwhile; publish again") from None
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise InputError(
                f"{store.uri(part.name)} is damaged: its bytes are not those that {MANIFEST} recorded; `sptx verify` "
                "says what to do"
            )
        return content


def _file(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def _address(to: str, at: str) -> str:
    """What the card calls the place."""
    where = without_secrets((at.strip() or to).rstrip("/"))
    if HIDDEN in where:
        raise InputError(f"{where} holds a secret, which is no part of a card; give the address without it with --at")
    if not _ADDRESS.fullmatch(where):
        raise InputError(f"{where} cannot stand in code: give an address without spaces and quotes with --at")
    return where


def _is_same(source: Store, to: Store) -> bool:
    if not (source.is_local and to.is_local):
        return source.root == to.root
    table, place = Path(source.path()).resolve(), Path(to.path()).resolve()
    if table in place.parents:
        raise InputError(f"--to {to.uri()} lies within the table; give a folder elsewhere, or the table itself")
    return table == place


def _require_room(contents: Contents, destination: Destination, held: dict[str, int], to: str) -> None:
    """The place holds nothing that would be read with the table: no other table, no parts of one."""
    if RUN_FILE in held:
        there = RunRecord.from_json(destination.read(RUN_FILE), f"{to}/{RUN_FILE}", FORMAT_VERSION)
        if there.fingerprint != contents.fingerprint:
            raise InputError(
                f"{to} holds another table (fingerprint {there.fingerprint[:12]}, this one has "
                f"{contents.fingerprint[:12]}); choose another --to"
            )
    names = {part.name for part in contents.parts}
    folders = tuple(f"{table.name}/" for table in contents.tables)
    foreign = sorted(name for name in held if name.startswith(folders) and name not in names)
    if foreign:
        raise InputError(f"{to} holds {foreign[0]}, which is no part of this table; choose another --to, or remove it")
