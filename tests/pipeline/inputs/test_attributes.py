"""The ninth column: keys outside quotes, values with semicolons, percent-encoding, bare ids, and what is refused."""

from __future__ import annotations

import string
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.attributes import all_values, decoded, first_values, ids_of_exons, readable
from sptx_core.errors import InputError

PRODUCT = 'product "immediate early response gene 5 protein; gene_id x; transcript_id y"; '
IDS = 'gene_id "G"; transcript_id "T";'


def lines(*attributes: str, feature: str = "exon") -> pl.DataFrame:
    return pl.DataFrame({"line": range(1, len(attributes) + 1), "feature": feature, "attributes": attributes})


def gtf(attributes: str, *names: str, feature: str = "exon") -> tuple[str | None, ...]:
    return first_values(readable(lines(attributes, feature=feature), "gtf", "a.gtf"), names, "gtf").row(0)


def gff3(attributes: str, *names: str) -> tuple[str | None, ...]:
    return first_values(readable(lines(attributes), "gff3", "a.gff3"), names, "gff3").row(0)


@pytest.mark.parametrize(
    ("attributes", "gene_name"),
    [
        ('gene_name "CYX3;1";', "CYX3;1"),
        ('gene_id "G"; gene_name "a; b";', "a; b"),
        ('gene_name "a";gene_id "G"', "a"),
        (' gene_name   "a" ;  gene_id "G" ; ', "a"),
        ("gene_name a; level 3;", "a"),
        ("level 3 ; gene_name a ", "a"),
        ('gene_name ""; gene_id "G";', None),
        ('gene_name ""; gene_name "second";', "second"),
        ('gene_name "first"; gene_name "second";', "first"),
        ('note "gene_name wrong"; gene_name "right";', "right"),
        ('note "x; gene_name wrong; y"; gene_name "right";', "right"),
        ('note "x; gene_name wrong; y";', None),
        ('my_gene_name "wrong"; gene_name_2 "wrong";', None),
        ('note "5" end"; gene_name "3" end";', '3" end'),
        ('flag; gene_name "a";', "a"),
        ('gene_name two words; gene_id "G";', "two words"),
        ("", None),
        (".", None),
        (";;", None),
    ],
)
def test_gtf(attributes: str, gene_name: str | None) -> None:
    assert gtf(attributes, "gene_name") == (gene_name,)


def test_unusual_lines_leave_the_others_and_their_order_alone() -> None:
    texts = ['gene_name "a";', 'gene_name "b;c";', 'gene_name "d";', "gene_name e f;"]
    found = first_values(readable(lines(*texts), "gtf", "a.gtf"), ["gene_name"], "gtf")
    assert found["gene_name"].to_list() == ["a", "b;c", "d", "e f"]


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ('gene_id "G; transcript_id "T"; note "x"', "gene_id"),
        ('gene_id "G"; note "open', "note"),
        ('gene_id "G"; note "a "b; c" d";', "note"),
        ('"gene_id ""G""; transcript_id ""T"";"', '"gene_id'),
    ],
)
def test_quotes_that_do_not_pair_up_are_refused_with_the_line(attributes: str, shown: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.gtf line 2: attributes cannot be read from '{shown}"):
        readable(lines('note "fine; this";', attributes), "gtf", "a.gtf")


@pytest.mark.parametrize(
    ("feature", "attributes", "ids"),
    [
        ("gene", "g1", ("g1", None)),
        ("transcript", "g1.t1", (None, "g1.t1")),
        ("transcript", " g1.t1; ", (None, "g1.t1")),
        ("transcript", ".", (None, None)),
        ("transcript", 'g1.t1; gene_id "g1";', ("g1", None)),
        ("exon", "g1.t1", (None, None)),
    ],
)
def test_a_bare_id_names_a_gene_or_a_transcript(
    feature: str, attributes: str, ids: tuple[str | None, str | None]
) -> None:
    assert gtf(attributes, "gene_id", "transcript_id", feature=feature) == ids


@pytest.mark.parametrize(
    ("attributes", "ids"),
    [
        (IDS, ("G", "T")),
        ('gene_id "G"; gene_version "2"; transcript_id "T"; transcript_version "3";', ("G", "T")),
        ('gene_id "G;1"; transcript_id "T;2"; note "x";', ("G;1", "T;2")),
        ('transcript_id "T"; gene_id "G";', ("G", "T")),
        (PRODUCT + IDS, ("G", "T")),
        ('gene_id ""; transcript_id "T";', (None, "T")),
        ('transcript_id "T";', (None, "T")),
        ('gene_id "G"; transcript_id "";', ("G", None)),
        ('gene_id "G";', ("G", None)),
        ("gene_id G; transcript_id T", ("G", "T")),
        ('gene_id "a" b"; transcript_id "T";', ('a" b', "T")),
    ],
)
def test_ids_of_exons(attributes: str, ids: tuple[str | None, str | None]) -> None:
    assert ids_of_exons(lines(IDS, attributes, IDS), "a.gtf").rows() == [("G", "T"), ids, ("G", "T")]


@pytest.mark.parametrize(
    ("attributes", "tags"),
    [
        ('tag "a"; note "x"; tag "b";', ["a", "b"]),
        ('tag "a;b"; note "tag c; tag d"; tag e;', ["a;b", "e"]),
        ('stag "a"; tags "b";', []),
    ],
)
def test_all_values_of_gtf(attributes: str, tags: list[str]) -> None:
    assert all_values(readable(lines(attributes), "gtf", "a.gtf"), "tag", "gtf").to_list() == [tags]


@pytest.mark.parametrize(
    ("attributes", "parents"),
    [
        ("Parent=a,b", ["a", "b"]),
        ("ID=x; Parent=a, b ;Note=y", ["a", "b"]),
        ("Parent=a%2Cb,c", ["a,b", "c"]),
        ("Parent=a%3B%25,,b", ["a;%", "b"]),
        ("Note=Parent=x;Is_Parent=y", []),
        ("Parent=;ID=x", []),
    ],
)
def test_all_values_of_gff3(attributes: str, parents: list[str]) -> None:
    found = all_values(lines("Parent=first", attributes, "ID=last"), "Parent", "gff3")
    assert found.to_list() == [["first"], parents, []]


def test_one_value_of_gff3_is_trimmed_and_decoded() -> None:
    assert gff3("ID=t%2c1; Name= a%20b%2C c ;Note=x", "ID", "Name", "gene") == ("t,1", "a b, c", None)
    assert gff3("Note=see ID=wrong;ID=right", "ID") == ("right",)


def test_decoding_leaves_nulls_and_plain_text() -> None:
    assert decoded(pl.Series(["a%7Cb", None, "plain", "100%"])).to_list() == ["a|b", None, "plain", "100%"]


VALUES = st.text(alphabet=string.ascii_letters + string.digits + " ;=,.:|'()-_/&%", min_size=1, max_size=12)
# Words that look like keys, within values.
TEXTS = VALUES | st.sampled_from(["gene_id x; y", "a; transcript_id b", "tag c", "ID=x;Parent=y", 'the 5" end'])
KEYS = ("gene_id", "transcript_id", "note", "tag")


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(st.sampled_from(KEYS), TEXTS, min_size=1), order=st.randoms(), end=st.booleans())
def test_gtf_gives_back_what_was_written(values: dict[str, str], order: object, end: bool) -> None:
    pairs = [f'{key} "{value}"' for key, value in values.items()]
    order.shuffle(pairs)  # type: ignore[attr-defined]
    text = "; ".join(pairs) + (";" if end else "")
    written = readable(lines(IDS, text), "gtf", "a.gtf")
    found = first_values(written, KEYS, "gtf").row(1, named=True)
    assert found == {key: values.get(key) for key in KEYS}
    assert all_values(written, "note", "gtf")[1].to_list() == ([values["note"]] if "note" in values else [])
    ids = ids_of_exons(lines(text), "a.gtf").row(0, named=True)
    assert ids == {key: values.get(key) for key in ids}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1), spaces=st.sampled_from(["", " ", "  "]))
def test_gff3_gives_back_what_was_written(values: dict[str, str], spaces: str) -> None:
    text = f";{spaces}".join(f"{key}={quote(value, safe='.:|()-_/& ')}" for key, value in values.items())
    found = first_values(lines(text), KEYS, "gff3").row(0, named=True)
    assert found == {key: values[key].strip() or None if key in values else None for key in KEYS}
