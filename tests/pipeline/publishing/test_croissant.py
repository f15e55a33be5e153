"""croissant.json holds what Croissant 1.0 asks for, and tells of the files what is there."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pipeline.batch.published import PublishedStore
from pipeline.publishing.card import Publication
from pipeline.publishing.contents import Contents, read_contents
from pipeline.publishing.croissant import croissant

REQUIRED = {"@context", "@type", "conformsTo", "name", "description", "license", "distribution"}  # and url, see below
BARE = Publication()


def written(contents: Contents, publication: Publication = BARE) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(croissant(contents, publication, contents.beside))
    return body


def test_what_the_format_asks_for_is_there(either: PublishedStore) -> None:
    contents = read_contents(either)
    body = written(contents, Publication("https://host/table", "CC0-1.0"))
    assert body.keys() >= {*REQUIRED, "url", "recordSet"}
    assert (body["@type"], body["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    assert (body["url"], body["license"]) == ("https://host/table", "CC0-1.0")
    ids = [one["@id"] for one in (*body["distribution"], *body["recordSet"])]
    ids += [field["@id"] for records in body["recordSet"] for field in records["field"]]
    assert len(set(ids)) == len(ids)
    sets = {one["@id"] for one in body["distribution"] if one["@type"] == "cr:FileSet"}
    for records in body["recordSet"]:
        assert {field["source"]["fileSet"]["@id"] for field in records["field"]} <= sets
    assert "url" not in written(contents)


def test_files_have_their_checksums_and_sets_the_parts(either: PublishedStore) -> None:
    contents = read_contents(either)
    body = written(contents)
    for one in body["distribution"]:
        if one["@type"] == "cr:FileObject":
            content = contents.beside[one["contentUrl"]]
            assert one["sha256"] == hashlib.sha256(content).hexdigest()
            assert one["contentSize"] == f"{len(content)} B"
        else:
            (found,) = (found for found in contents.tables if one["@id"] == f"{found.name}-parts")
            held = {part.name for part in contents.parts if fnmatch.fnmatch(part.name, one["includes"])}
            assert held == {part.name for part in found.parts}


def test_columns_of_folders_are_found_in_paths(table: Path) -> None:
    contents = read_contents(PublishedStore(table))
    (records, _) = written(contents)["recordSet"]
    fields = {field["name"]: field for field in records["field"]}
    part = contents.tables[0].parts[0].name
    for name, value in (("chrom", "chr9"), ("strand", "plus")):
        match = re.match(fields[name]["source"]["transform"]["regex"], f"/elsewhere/{part}")
        assert match
        assert match[1] == value
    assert fields["pos"]["source"]["extract"] == {"column": "pos"}
    assert [fields[name]["dataType"] for name in ("pos", "ref", "acceptor")] == ["sc:Integer", "sc:Text", "sc:Float"]


def test_lists_are_repeated(scores: Path) -> None:
    fields = {field["name"]: field for field in written(read_contents(PublishedStore(scores)))["recordSet"][0]["field"]}
    assert fields["tissues"]["repeated"] is True
    assert fields["tie"]["dataType"] == "sc:Boolean"
