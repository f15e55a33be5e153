"""Which of the places that a person names are tables, which holds variants, and what is the locus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from material import browsed, tables, variant_tables
from material.servers import object_store
from material.web_server import web_server

from pipeline.browsing.opening import open_session, split_locus
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("variants") / "v"
    variant_tables.write(root, [variant_tables.scored("chr1", 1_500, "A", "C")])
    return str(root)


def test_the_last_place_is_a_locus_unless_it_holds_a_run(root: Path, variants: str) -> None:
    table = str(root)
    assert split_locus([table]) == ([table], None)
    assert split_locus([table, "DOCK8"]) == ([table], "DOCK8")
    assert split_locus([table, variants, "chr9:214,854-220,000"]) == ([table, variants], "chr9:214,854-220,000")
    assert split_locus([table, variants]) == ([table, variants], None)
    assert split_locus([table, "s3://bucket/t"]) == ([table, "s3://bucket/t"], None)
    assert split_locus([table, "other/table"]) == ([table, "other/table"], None)
    assert split_locus(["nothing"]) == (["nothing"], None)


def test_a_table_of_variants_is_told_by_its_record(root: Path, variants: str) -> None:
    for places in ([str(root), variants], [variants, str(root)]):
        session = open_session(places, locus="chr1-1500-A-C")
        assert len(session.tables) == 1
        assert session.config()["variants"]["place"] == variants
        assert session.locus.start == 1_499


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (("nothing",), "holds no table: there is no run.json"),
        (("variants",), "holds variants: give the table of tracks beside which to show them"),
        (("table", "variants", "variants"), "a page shows the variants of one table"),
        (("table", "table", "table"), "a page shows one or two tables of tracks; 3 were given"),
        (("table", "nothing"), "holds no table"),
    ],
)
def test_what_does_not_fit_is_refused(root: Path, variants: str, tmp_path: Path, places: Any, told: str) -> None:
    held = {"table": str(root), "variants": variants, "nothing": str(tmp_path / "nothing")}
    with pytest.raises(InputError, match=told):
        open_session([held[place] for place in places])


def answers(place: str) -> list[Any]:
    """What is asked of a table, near and far."""
    session = open_session([place])
    near: dict[str, Any] = {"table": 0, "chrom": "chr1", "start": 1_000, "end": 4_000}
    wide = near | {"start": 0, "end": 10**6}
    found: list[Any] = [session.sites(**near), session.sequence(**near), session.config()["locus"]]
    for strand in "+-":
        found += [session.scores(**view, strand=strand, bins=500) for view in (near, wide)]
        found += [session.usage(**near, strand=strand), session.introns(**wide, strand=strand)]
    return found


@pytest.mark.slow
def test_a_published_table_is_shown_as_on_a_disk(tmp_path: Path) -> None:
    tables.write_manifest_of(browsed.write(tmp_path / "t").store)
    with web_server(tmp_path) as server:
        assert answers(f"{server.url}/t") == answers(str(tmp_path / "t"))


@pytest.mark.slow
def test_a_table_in_an_object_store_is_shown_as_on_a_disk(root: Path) -> None:
    from s3fs import S3FileSystem  # late: few tests need it

    with object_store("browsed") as bucket:
        S3FileSystem().put(f"{root}/", f"{bucket.removeprefix('s3://')}/t/", recursive=True)
        assert answers(f"{bucket}/t") == answers(str(root))
