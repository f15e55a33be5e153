"""The hub keeps UCSC's rules and the session IGV's; names of files can be files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from material import tables
from material.processes import PATIENCE
from material.web_server import web_server

from pipeline.batch.storage import Store
from pipeline.exporting.browsers import (
    COVERED_FILE,
    HUB,
    HUB_PAGE,
    SITES_FILE,
    hub_text,
    session_text,
    signals_of,
    tags_of,
)
from pipeline.exporting.export import export
from pipeline.exporting.record import Options
from pipeline.tracks.reader import Tracks, open_tracks

SIGNALS = signals_of(["brain", "small_intestine", "T-cell / CD4+", "9th"])
FILES = {signal.file for signal in SIGNALS} | {SITES_FILE, COVERED_FILE}


def stanzas(text: str) -> list[dict[str, str]]:
    return [dict(line.split(" ", 1) for line in stanza.splitlines()) for stanza in text.strip().split("\n\n")]


def test_files_are_named_by_channel_and_strand() -> None:
    assert [signal.file for signal in signals_of(["brain"])] == [
        *("acceptor.plus.bw", "acceptor.minus.bw", "donor.plus.bw", "donor.minus.bw"),
        *("usage/brain.plus.bw", "usage/brain.minus.bw"),
    ]


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (["brain", "small_intestine"], ["brain", "small_intestine"]),
        (["a/b", "a b", "a_b"], ["a_b", "a_b_2", "a_b_3"]),
        (["../etc", "9th", "Hirn", "hirn", "Gefäß"], ["t____etc", "t_9th", "Hirn", "hirn_2", "Gef__"]),
    ],
)
def test_tags_are_names_of_files_and_of_hubs(names: list[str], tags: list[str]) -> None:
    assert tags_of(names) == tags
    assert all(re.fullmatch(r"[A-Za-z]\w*", tag, re.ASCII) for tag in tags)


def test_a_hub_is_one_file_that_names_all_others() -> None:
    hub, genome, *tracks = stanzas(hub_text("hg38", SIGNALS))
    assert hub["useOneFile"] == "on"
    assert {"hub", "shortLabel", "longLabel", "email"} <= hub.keys()
    assert next(iter(hub)) == "hub"
    assert re.fullmatch(r"\w+", hub["hub"], re.ASCII)
    assert "@" in hub["email"]
    assert hub["descriptionUrl"] == HUB_PAGE
    assert genome == {"genome": "hg38"}
    assert {track["bigDataUrl"] for track in tracks if "bigDataUrl" in track} == FILES


# Settings that UCSC documents for a track of each kind (trackDb hub, version 3), and what their values may be.
NAME, TAG = r"[A-Za-z]\w*", r"\w+"
COMMON = {
    "track": NAME,
    "shortLabel": r"\S.*",
    "longLabel": r"\S.{,119}",
    "visibility": "hide|dense|squish|pack|full",
    "color": r"\d{1,3},\d{1,3},\d{1,3}",
    "parent": rf"{NAME} (on|off)",
    "bigDataUrl": r"[\w/.-]+",
    "type": r"bigWig 0 1|bigBed (6|9 \+)",
    "priority": r"\d",
    "html": HUB_PAGE,
}
SIGNAL = {
    "autoScale": "off",
    "viewLimits": "0:1",
    "maxHeightPixels": r"\d+:\d+:\d+",
    "windowingFunction": "maximum",
}
MEMBER = {"subGroups": rf"({TAG}={TAG} ?)+"}
COMPOSITE = {
    "compositeTrack": "on",
    "subGroup1": rf"{TAG} {TAG}( {TAG}={TAG})+",
    "subGroup2": rf"{TAG} {TAG}( {TAG}={TAG})+",
    "dimensions": rf"dimX={TAG} dimY={TAG}",
    "sortOrder": rf"({TAG}=[+-] ?)+",
}
KINDS_OF_TRACKS = {"bigWig": COMMON | SIGNAL | MEMBER | COMPOSITE, "bigBed": COMMON | {"itemRgb": "on"}}


@pytest.mark.parametrize("unfinished", ["", "unfinished: 1,234 of 56,789 shards"])
def test_tracks_of_a_hub_have_the_settings_that_ucsc_documents(unfinished: str) -> None:
    hub, _, *tracks = stanzas(hub_text("hg38", SIGNALS, unfinished))
    assert unfinished in hub["longLabel"]
    names = [track["track"] for track in tracks]
    assert len(set(names)) == len(names)
    for track in tracks:
        assert {"track", "shortLabel", "longLabel", "type"} <= track.keys()
        assert next(iter(track)) == "track"  # which begins a stanza
        allowed = KINDS_OF_TRACKS[track["type"].split()[0]]
        for setting, value in track.items():
            assert re.fullmatch(allowed[setting], value, re.ASCII), (setting, value)
        highest, usual, lowest = map(int, track.get("maxHeightPixels", "3:2:1").split(":"))
        assert highest > usual > lowest
        assert all(int(part) < 256 for part in track.get("color", "0").split(","))


def test_a_hub_speaks_of_usage_where_there_is_usage_and_of_no_network() -> None:
    with_usage, without = (hub_text("hg38", signals_of(tissues)) for tissues in (["brain"], []))
    assert "usage in tissues" in stanzas(with_usage)[0]["longLabel"]
    assert "usage" not in without.lower()
    assert "SpTransformer" not in with_usage + without


def test_tracks_of_a_group_are_members_of_all_that_it_sorts_by() -> None:
    """What UCSC's hubCheck asks of composites and of their tracks."""
    tracks = stanzas(hub_text("hg38", SIGNALS))[2:]
    composites = {track["track"]: track for track in tracks if "compositeTrack" in track}
    members = [track for track in tracks if "parent" in track]
    assert {track["parent"].split()[0] for track in members} == composites.keys()
    assert not any("bigDataUrl" in track for track in composites.values())
    assert all(("bigDataUrl" in track) != ("compositeTrack" in track) for track in tracks)
    for track in members:
        parent = composites[track["parent"].split()[0]]
        groups = [parent[key].split() for key in ("subGroup1", "subGroup2")]
        tags = {group[0]: [member.split("=")[0] for member in group[2:]] for group in groups}
        chosen = dict(pair.split("=") for pair in track["subGroups"].split())
        assert chosen.keys() == tags.keys()
        assert all(tag in tags[group] for group, tag in chosen.items())
        for key in ("dimensions", "sortOrder"):
            named = [half for pair in parent[key].split() for half in pair.split("=")]
            assert set(tags) <= set(named)
        assert all(len(set(held)) == len(held) for held in tags.values())


def test_ucsc_lists_tracks_as_the_hub_does() -> None:
    """UCSC sorts by priority, else by shortLabel, and the tracks of a group by its sortOrder, as words."""
    tracks = stanzas(hub_text("hg38", SIGNALS))[2:]
    tops = [track for track in tracks if "parent" not in track]
    assert [int(track["priority"]) for track in tops] == [1, 2, 3, 4]
    assert [track["shortLabel"] for track in tops] == ["Splice sites", "Likely sites", "Usage", "Computed"]
    assert all(track["html"] == HUB_PAGE for track in tops)  # which the tracks of a group inherit
    orders = {top["track"]: dict(pair.split("=") for pair in top.get("sortOrder", "").split()) for top in tops}
    assert {tuple(order) for order in orders.values() if order} == {("channel", "strand")}
    for top in ("sptx_splice", "sptx_usage"):
        members = [track for track in tracks if track.get("parent", "").startswith(f"{top} ")]
        listed = [dict(pair.split("=") for pair in member["subGroups"].split()) for member in members]
        for group, sign in reversed(orders[top].items()):
            listed.sort(key=lambda chosen: chosen[group], reverse=sign == "-")
        assert [chosen["strand"] for chosen in listed] == ["plus", "minus"] * (len(members) // 2)
        channels = [chosen["channel"] for chosen in listed]
        assert channels == sorted(channels)


def test_tracks_are_called_in_words() -> None:
    assert [signal.title for signal in signals_of(["small_intestine"])][1::4] == [
        "Probability of a splice acceptor, minus strand",
        "Usage of likely sites in small intestine, minus strand",
    ]


def test_a_hub_of_one_strand_without_tissues() -> None:
    plus = [signal for signal in signals_of([]) if signal.strand == "+"]
    tracks = stanzas(hub_text("hg38", plus))[2:]
    assert [track["track"] for track in tracks] == [
        *("sptx_splice", "sptx_acceptor_plus", "sptx_donor_plus", "sptx_sites", "sptx_covered"),
    ]


def test_a_session_shows_all_files_on_one_scale() -> None:
    session = ElementTree.fromstring(session_text("hg38", "chr9:1-100", SIGNALS).encode())
    assert (session.get("genome"), session.get("locus")) == ("hg38", "chr9:1-100")
    assert {resource.get("path") for resource in session.iter("Resource")} == FILES
    tracks = {track.get("id"): track for track in session.iter("Track")}
    assert tracks.keys() == FILES
    for signal in SIGNALS:
        limits = tracks[signal.file].find("DataRange")
        assert limits is not None
        assert (limits.get("minimum"), limits.get("maximum")) == ("0.0", "1.0")
        assert (tracks[signal.file].get("autoScale"), tracks[signal.file].get("windowFunction")) == ("false", "max")


def test_a_session_may_leave_the_genome_open() -> None:
    session = ElementTree.fromstring(session_text(None, 'HLA-A*01:01:1-2"<', SIGNALS).encode())
    assert session.get("genome") is None
    assert session.get("locus") == 'HLA-A*01:01:1-2"<'


def test_no_file_name_leads_elsewhere(tmp_path: Path) -> None:
    for signal in signals_of(["../../etc/passwd", "/root", "CON", ".."]):
        assert (tmp_path / signal.file).resolve().is_relative_to(tmp_path)


# UCSC's own checker, a program that is built from its sources: https://hgdownload.soe.ucsc.edu/admin/exe/.
HUBCHECK = os.environ.get("SPTX_HUBCHECK") or shutil.which("hubCheck")
needs_hubcheck = pytest.mark.skipif(
    HUBCHECK is None, reason="UCSC's hubCheck is neither on PATH nor named by SPTX_HUBCHECK"
)


def checked(root: Path, cache: Path) -> tuple[int, str]:
    """What hubCheck ends with and says of the hub in a folder."""
    with web_server(root) as server:
        command = [str(HUBCHECK), f"-udcDir={cache}", f"{server.url}/{HUB}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, done.stdout + done.stderr


def some_table(root: Path, **more: Any) -> Tracks:
    return tables.write(root, [tables.Part("chr9", "-", range(1, 101), acceptor={20: 0.5}, donor={50: 0.5})], **more)


@needs_hubcheck
@pytest.mark.parametrize(
    "options",
    [{}, {"least": 0.0}, {"least": 1.0}, {"regions": ("chr9:10-30",)}, {"genome": "GCA_000001405.29"}],
    ids=["usual", "every base", "empty bigWigs", "a region", "a genome of GenArk"],
)
def test_hubcheck_finds_no_problem(tmp_path: Path, options: dict[str, Any]) -> None:
    tracks = some_table(tmp_path / "table")
    export(tracks, Store(tmp_path / "hub"), Options(**({"genome": "hg38"} | options)), print, progress=False)
    assert checked(tmp_path / "hub", tmp_path / "cache") == (0, "")


@needs_hubcheck
def test_hubcheck_finds_no_problem_in_other_hubs_and_some_in_a_broken_one(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    tables.write_example(tmp_path / "table")
    export(open_tracks(tmp_path / "table"), Store(root), Options(genome="hg38"), print, progress=False)
    assert checked(root, tmp_path / "both strands") == (0, "")
    whole = (root / HUB).read_text()
    (root / HUB).write_text(hub_text("hg38", signals_of([])))
    assert checked(root, tmp_path / "without usage") == (0, "")
    (root / HUB).write_text(whole.replace(" strand=plus", ""))
    assert "not a member of sortOrder subgroup strand" in checked(root, tmp_path / "no strand")[1]
    (root / HUB).write_text(whole)
    (root / HUB_PAGE).unlink()
    (root / "donor.minus.bw").write_bytes(b"no bigWig")
    code, told = checked(root, tmp_path / "broken")
    assert code == 1
    assert "missing description page" in told
    assert "donor.minus.bw" in told
