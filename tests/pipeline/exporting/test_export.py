"""A whole export: its values in three readers, its bytes, and what is left of it when something fails."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import tables
from material.big_readers import READERS, Reader
from material.disks import remount, small_disk
from material.fault_proxy import ANSWER_LOST, OVERLOADED, faulty_bucket
from material.processes import PATIENCE

from pipeline.batch.storage import StorageError, Store
from pipeline.exporting.export import Exported, export
from pipeline.exporting.record import Options, Record
from pipeline.settings import JobSettings
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError, UnfinishedError

LENGTHS = {name: length for name, (length, _) in tables.CONTIGS.items()}
STRANDS = {"+": "plus", "-": "minus"}
# Exports a table and is killed when the file of this name is written and not yet there.
KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pipeline.batch.storage import Store
from pipeline.exporting.export import export
from pipeline.exporting.record import Options
from pipeline.tracks.reader import open_tracks

class Deadly(Store):
    @contextmanager
    def replacing(self, name):
        with super().replacing(name) as path:
            yield path
            if name == sys.argv[3]:
                os.kill(os.getpid(), signal.SIGKILL)

export(open_tracks(sys.argv[1]), Deadly(sys.argv[2]), Options(), print)
"""


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """Two contigs, both strands, a table whose loci have gaps."""
    root = tmp_path_factory.mktemp("tracks") / "table"
    tables.write_example(root)
    return open_tracks(root)


@pytest.fixture(scope="module")
def exported(tracks: Tracks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with the usual options and a hub."""
    root = tmp_path_factory.mktemp("exported") / "hub"
    export_to(tracks, root, genome="hg38")
    return root


@pytest.fixture(params=READERS, ids=lambda kind: kind.module)
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param()


def export_to(tracks: Tracks, root: Path | str, say: Callable[[str], None] = print, **options: Any) -> Exported:
    return export(tracks, Store(root), Options(**options), say, progress=False)


def digests(root: Path) -> dict[str, str]:
    """Name -> digest of every file, hidden ones too."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def expected(tracks: Tracks, chrom: str, strand: str, channel: str, least: float, *, sites: bool) -> np.ndarray:
    """Values of every base of a contig by the rows of the table; NaN where there is none to be."""
    found = np.full(LENGTHS[chrom], np.nan, np.float32)
    rows = tracks.scan([channel]).filter((pl.col("chrom") == chrom) & (pl.col("strand") == strand)).collect()
    if sites:
        likely = tracks.sites(["donor"]).filter((pl.col("chrom") == chrom) & (pl.col("strand") == strand))
        rows = rows.join(likely.select("pos").collect(), on="pos")
    found[rows["pos"].to_numpy() - 1] = rows[channel].to_numpy()
    found[found < np.float32(least)] = np.nan
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("options", "least"), [({}, 0.001), ({"least": 0.0}, 0.0), ({"least": 0.5}, 0.5)], ids=str)
def test_values_are_those_of_the_table_and_nothing_else(
    tracks: Tracks, tmp_path: Path, options: dict[str, float], least: float
) -> None:
    export_to(tracks, tmp_path, **options)
    readers = [kind() for kind in READERS]
    for channel, sites in (("acceptor", False), ("donor", False), ("brain", True), ("stomach", True)):
        for strand, word in STRANDS.items():
            path = tmp_path / f"{'usage/' if sites else ''}{channel}.{word}.bw"
            for chrom, length in LENGTHS.items():
                wanted = expected(tracks, chrom, strand, channel, least, sites=sites)
                for reader in readers:
                    assert np.array_equal(reader.values(path, chrom, 0, length), wanted, equal_nan=True)


def test_sites_have_their_values_as_text(tracks: Tracks, exported: Path, reader: Reader) -> None:
    sites = tracks.sites(["donor"]).filter(pl.col("chrom") == "chr9").select("chrom", "strand", "pos")
    rows = tracks.scan().join(sites, on=["chrom", "strand", "pos"]).sort("pos", "strand").collect()
    found = reader.features(exported / "sites.bb", "chr9", 0, LENGTHS["chr9"])
    assert [end for _, end, _ in found] == rows["pos"].to_list()
    for (start, end, texts), row in zip(found, rows.iter_rows(named=True), strict=True):
        name, score, strand, thick_start, thick_end, colour, *values = texts
        assert (name, colour) == max((row["acceptor"], "acceptor", "0,114,178"), (row["donor"], "donor", "213,94,0"))[
            1:
        ]
        assert int(score) == round(1000 * max(row["acceptor"], row["donor"]))
        assert (strand, start, end) == (row["strand"], int(thick_start), int(thick_end))
        assert np.array_equal(
            np.array(values, np.float32), [row[channel] for channel in ("acceptor", "donor", *TISSUES)]
        )


def test_what_was_computed_is_exactly_the_loci(tracks: Tracks, exported: Path, reader: Reader) -> None:
    for chrom, length in LENGTHS.items():
        found = reader.features(exported / "covered.bb", chrom, 0, length)
        loci = tracks.loci.filter(pl.col("chrom") == chrom).select("start", "end", "strand").sort("start", "strand")
        bases = {(at, texts[2]) for start, end, texts in found for at in range(start + 1, end + 1)}
        assert bases == {(at, strand) for start, end, strand in loci.iter_rows() for at in range(start, end + 1)}
        assert sum(end - start for start, end, _ in found) == len(bases)


def test_the_same_table_gives_the_same_bytes_anywhere(tracks: Tracks, exported: Path, tmp_path: Path) -> None:
    other = tmp_path / "another" / "place"
    done = export_to(tracks, other, genome="hg38")
    assert digests(other) == digests(exported)
    assert set(done.written) | {"export.json"} == digests(exported).keys()
    export_to(tracks, "memory://elsewhere", genome="hg38")
    store = Store("memory://elsewhere")
    assert {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in store.list()} == digests(exported)
    told = [str(place).encode() for place in (exported, exported.parent.name, tracks.store.root)]
    assert not [path for path in exported.rglob("*.*") if any(name in path.read_bytes() for name in told)]


def test_without_a_genome_there_is_no_hub_and_all_else(tracks: Tracks, exported: Path, tmp_path: Path) -> None:
    export_to(tracks, tmp_path)
    assert digests(tmp_path).keys() == digests(exported).keys() - {"hub.txt", "hub.html"}


def test_the_hub_tells_how_many_columns_its_bigbeds_have(exported: Path) -> None:
    """UCSC's hubCheck holds `type bigBed 9 +` against the file."""
    stanzas = [stanza.splitlines() for stanza in (exported / "hub.txt").read_text().split("\n\n")]
    held = [dict(line.split(" ", 1) for line in stanza) for stanza in stanzas]
    told = {track["bigDataUrl"]: track["type"] for track in held if track.get("type", "").startswith("bigBed")}
    for name, kind in told.items():
        columns, standard = struct.unpack_from("<HH", (exported / name).read_bytes(), 32)
        assert kind == f"bigBed {standard}{' +' if columns > standard else ''}"
    assert told.keys() == {"sites.bb", "covered.bb"}


def test_contigs_of_ensembl_get_ucscs_names(tmp_path: Path) -> None:
    parts = [tables.Part(chrom, "+", range(1, 101), donor={50: 0.5}) for chrom in ("10", "2", "GL000220.1")]
    said: list[str] = []
    export_to(tables.write(tmp_path / "table", parts), tmp_path / "hub", said.append, genome="hg38")
    assert said[0].startswith("UCSC's names are not known of GL000220.1")
    for kind in READERS:
        for name in ("chr10", "chr2", "GL000220.1"):
            assert kind().features(tmp_path / "hub" / "covered.bb", name, 0, 1000)[0][:2] == (0, 100)
    assert 'locus="GL000220.1:1-100"' in (tmp_path / "hub" / "igv-session.xml").read_text()


def test_browsers_are_shown_the_strands_that_there_are(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [tables.Part("chr1", "-", range(1, 101), donor={50: 0.5})])
    done = export_to(tracks, tmp_path / "hub", genome="hg38")
    assert "acceptor.plus.bw" in done.written
    for name in ("hub.txt", "igv-session.xml"):
        text = (tmp_path / "hub" / name).read_text()
        assert "donor.minus.bw" in text
        assert "plus.bw" not in text


def test_a_gene_alone(tracks: Tracks, tmp_path: Path) -> None:
    export_to(tracks, tmp_path, genes=("GENE4",), least=0.0)
    for kind in READERS:
        values = kind().values(tmp_path / "donor.minus.bw", "chr9", 0, 2000)
        assert np.flatnonzero(~np.isnan(values)).tolist() == list(range(400, 650))
        assert np.isnan(kind().values(tmp_path / "donor.plus.bw", "chr9", 0, 2000)).all()


def test_an_unfinished_table_is_told_and_written_anew_when_it_has_grown(tmp_path: Path) -> None:
    parts = [tables.Part("chr1", "+", range(at, at + 100), donor={at + 5: 0.5}) for at in (1, 201)]
    unfinished = tables.write(tmp_path / "table", parts[:1], shards=2)
    done = export_to(unfinished, tmp_path / "hub", genome="hg38")
    assert done.unfinished == "unfinished: 1 of 2 shards"
    assert "(unfinished: 1 of 2 shards)" in (tmp_path / "hub" / "hub.txt").read_text()
    page = (tmp_path / "hub" / "hub.html").read_text()
    assert "The table is unfinished: 1 of 2 shards." in page
    assert f"the usage of likely sites in {TISSUES[0].replace('_', ' ')}, " in page
    said: list[str] = []
    done = export_to(tables.write(tmp_path / "table", parts), tmp_path / "hub", said.append, genome="hg38")
    assert "the table had 1 shard when" in said[0]
    assert (done.unfinished, done.kept) == ("", ())
    assert not any("unfinished" in (tmp_path / "hub" / name).read_text() for name in ("hub.txt", "hub.html"))


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes, as on a disk that has no more room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["disk", "memory"])
def test_where_there_is_no_room_files_are_whole_or_absent(
    tracks: Tracks, exported: Path, tmp_path: Path, place: str
) -> None:
    root = tmp_path / "full" if place == "disk" else f"memory://{tmp_path.name}"
    store, whole = Store(root), Store(exported)
    too_large = whole.list()["usage/brain.plus.bw"] - 1
    with files_of_at_most(too_large), pytest.raises(UnfinishedError, match=r"File too large.*the same command goes on"):
        export_to(tracks, root, genome="hg38")
    held = store.list()
    assert "usage/brain.plus.bw" not in held
    assert all(store.read_bytes(name) == whole.read_bytes(name) for name in held)
    if place == "disk":
        assert digests(tmp_path / "full").keys() == held.keys()
    done = export_to(tracks, root, genome="hg38")
    assert set(done.kept) == held.keys() - {"export.json"}
    assert all(store.read_bytes(name) == whole.read_bytes(name) for name in whole.list())


@pytest.mark.slow
def test_killed_it_leaves_whole_files_and_goes_on(tracks: Tracks, tmp_path: Path) -> None:
    root = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, tracks.store.root, str(root), "usage/adipose_tissue.minus.bw"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = digests(root)
    hidden = {name for name in left if name.rsplit("/", 1)[-1].startswith(".")}
    assert hidden
    kept = set(export_to(tracks, root).kept)
    assert kept == left.keys() - hidden - {"export.json"}
    assert {"donor.minus.bw", "usage/brain.plus.bw"} <= kept
    export_to(tracks, tmp_path / "undisturbed")
    assert digests(root) == digests(tmp_path / "undisturbed")


def test_a_folder_that_cannot_be_is_refused(tracks: Tracks, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        export_to(tracks, tmp_path / "file" / "hub")
    with pytest.raises(InputError, match="is the table itself"):
        export_to(tracks, tracks.store.root)


def test_a_damaged_part_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path / "table")
    part = next(name for name in store.list("tracks/") if "minus" in name)
    content = store.read_bytes(part)
    store.write_atomic(part, content[:100] + bytes(100) + content[200:])
    with pytest.raises(InputError, match=r"`sptx verify .*` names what is damaged"):
        export_to(open_tracks(tmp_path / "table"), tmp_path / "hub")
    assert (tmp_path / "hub" / "donor.plus.bw").exists()
    assert not list((tmp_path / "hub").glob("*minus*"))


def test_hidden_files_of_others_stay(tracks: Tracks, tmp_path: Path) -> None:
    hidden = tmp_path / ".mine.tmp"
    hidden.write_text("old")
    os.utime(hidden, (0, 0))
    export_to(tracks, tmp_path, genes=("GENE4",))
    assert hidden.exists()


@pytest.mark.slow
@pytest.mark.parametrize("workbench", [None, JobSettings(workers=1, threads=1)], ids=["one process", "pieces"])
def test_a_disk_that_fills_up_or_cannot_be_written_ends_it_in_a_sentence(
    tracks: Tracks, exported: Path, tmp_path: Path, without_ray: None, workbench: JobSettings | None
) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        root, options = disk / "hub", Options(genome="hg38")
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(200_000))
        with pytest.raises(UnfinishedError, match=f"{root}/.* No space left on device; make room there; .*goes on"):
            export(tracks, Store(root), options, print, progress=False, workbench=workbench)
        whole = digests(exported)
        assert all(whole[name] == digest for name, digest in digests(root).items() if not name.startswith("."))
        ballast.unlink()
        remount(disk, "ro,size=3m")
        with pytest.raises(StorageError, match=f"{root} cannot be written: Read-only file system; see to it"):
            export(tracks, Store(root), options, print, progress=False, workbench=workbench)
        with pytest.raises(StorageError, match=f"{disk}/new cannot be written: Read-only file system"):
            export(tracks, Store(disk / "new"), options, print, progress=False, workbench=workbench)
        remount(disk, "rw")
        export(tracks, Store(root), options, print, progress=False, workbench=workbench)
        assert digests(root) == whole


@pytest.mark.slow
def test_an_object_store_gets_each_file_at_once_or_not(tracks: Tracks, exported: Path) -> None:
    whole = digests(exported)
    with faulty_bucket("hubs") as (uri, proxy):
        proxy.fault = lambda asked: OVERLOADED if asked.method == "PUT" and "stomach.plus" in asked.path else None
        with pytest.raises(UnfinishedError, match=r"s3://hubs/hub/usage/stomach.plus.bw cannot be written: .* goes on"):
            export_to(tracks, f"{uri}/hub", genome="hg38")
        left = in_store(f"{uri}/hub")
        assert "acceptor.minus.bw" not in left
        assert left.items() <= whole.items()

        proxy.requests.clear()
        proxy.fault = lambda asked: (
            ANSWER_LOST
            if "sites.bb" in asked.path and asked.method == "PUT" and proxy.requests.count(asked) == 1
            else None
        )
        done = export_to(tracks, f"{uri}/hub", genome="hg38")
        assert set(done.kept) == left.keys() - {"export.json"}
        assert in_store(f"{uri}/hub") == whole
        written = Counter(asked.path.removeprefix("/hubs/hub/") for asked in proxy.requests if asked.method == "PUT")
        assert {name: written[name] for name in done.written} == dict.fromkeys(done.written, 1) | {"sites.bb": 2}


def in_store(uri: str) -> dict[str, str]:
    store = Store(uri)
    return {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in store.list()}


def test_a_bit_that_flipped_in_a_part_is_found_where_parts_are_checked(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path / "table")
    part = next(name for name in store.list("tracks/") if "minus" in name)
    content = bytearray(store.read_bytes(part))
    content[len(content) // 3] ^= 1
    store.write_atomic(part, bytes(content))
    with pytest.raises(InputError, match=part):
        export_to(open_tracks(tmp_path / "table", verify=True), tmp_path / "hub")


def test_another_export_at_the_same_time_ends_one_of_them(tracks: Tracks, tmp_path: Path) -> None:
    class Shared(Store):
        @contextmanager
        def replacing(self, name: str) -> Iterator[Path]:
            if name == "usage/brain.plus.bw":  # what another process does after it saw an empty folder
                Store(self.root).write_atomic("export.json", Record.of(tracks, Options(least=0.5)).to_json())
            with super().replacing(name) as path:
                yield path

    with pytest.raises(InputError, match="is being written by another export, too; choose another --to"):
        export(tracks, Shared(tmp_path / "hub"), Options(), print, progress=False)
    assert "usage/brain.plus.bw" not in digests(tmp_path / "hub")
