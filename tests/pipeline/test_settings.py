"""Settings: lists and locations as people type them, YAML below flags, and refusals that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import mutations

from pipeline.settings import INPUTS, JobSettings, Names, Regions, Settings, absolute, ray_address, setting
from sptx_core.errors import InputError


class Some(Settings):
    """Settings of a test."""

    names: Names = setting((), INPUTS, "names")
    regions: Regions = setting((), INPUTS, "regions")
    size: int = setting(..., INPUTS, "size", ge=1)


@pytest.mark.parametrize(
    ("given", "names"),
    [("A", ("A",)), ("A,B", ("A", "B")), (["A , B", "C"], ("A", "B", "C")), (",A,,", ("A",)), ([], ()), (9, ("9",))],
)
def test_names_come_one_by_one_or_separated_by_commas(given: object, names: tuple[str, ...]) -> None:
    assert Some(names=given, size=1).names == names  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "regions"),
    [
        ("chr9:214,854-220,000", ("chr9:214,854-220,000",)),
        ("chr9:1-2,chr1:3,000-4,000,chrX", ("chr9:1-2", "chr1:3,000-4,000", "chrX")),
        (["9", "1,100"], ("9", "1", "100")),  # contigs: no range, no thousands
        (["chr1:1-5", "7"], ("chr1:1-5", "7")),
        ("1:5-100,2", ("1:5-100", "2")),  # no thousand: the next region
        ("chr1:3,100-,chr2:-1,234,567", ("chr1:3,100-", "chr2:-1,234,567")),
    ],
)
def test_a_comma_before_three_digits_is_a_thousands_separator(given: object, regions: tuple[str, ...]) -> None:
    assert Some(regions=given, size=1).regions == regions  # type: ignore[arg-type]


def test_locations_are_absolute_and_uris_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/b.fa") == str(tmp_path / "a" / "b.fa")
    assert absolute("s3://bucket/tracks/") == "s3://bucket/tracks"
    assert absolute("simplecache::https://host/x.fa") == "simplecache::https://host/x.fa"
    assert absolute("a::b.fa") == str(tmp_path / "a::b.fa")  # no protocol in it: a path
    assert JobSettings(output="out").output == str(tmp_path / "out")


def test_flags_that_are_given_win_over_yaml(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("size: 3\nnames: [A, B]\n")
    assert Some.load(str(path), {"size": None, "names": []}) == Some(size=3, names=("A", "B"))
    assert Some.load(str(path), {"size": 7}).size == 7
    path.write_text("")
    assert Some.load(str(path), {"size": 7}) == Some(size=7)
    path.write_bytes(b"\xef\xbb\xbfsize: 3\n")
    assert Some.load(str(path), {}).size == 3


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("size: many\n", "setting `size` = 'many'"),
        ("{}\n", "setting `size` is required (--size)"),
        ("size: 1\nsizes: 3\n", "unknown setting `sizes`; known are names, regions, size"),
        ("- a list\n", "must hold `name: value` lines, not a list"),
        ("size: [\n", "is not valid YAML"),
        ("size: 2001-13-01\n", "is not valid YAML"),  # which YAML takes for a date
        (f"size: {'[' * 500}\n", "is not valid YAML"),
        (b"size: 1 # \xff\n", "is not valid YAML"),
        (None, "does not exist"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_name(tmp_path: Path, yaml: str | bytes | None, told: str) -> None:
    path = tmp_path / "some.yaml"
    if yaml is not None:
        path.write_bytes(yaml.encode() if isinstance(yaml, str) else yaml)
    with pytest.raises(InputError) as refused:
        Some.load(str(path), {})
    assert told in str(refused.value)
    assert "some.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"size: \xff\n", "is not valid YAML"),
        (b"size: 2001-13-45\n", "is not valid YAML: month must be in 1..12"),
        (b"[" * 600, "is not valid YAML"),
        (b"\x00\x01", "is not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_one_sentence_with_its_name(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^settings file {path} {told}"):
        Some.load(str(path), {})


def test_yaml_is_read_from_any_path_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a::b*.yaml"
    path.write_bytes(b"\xef\xbb\xbfsize: 3\n")
    assert Some.load(str(path), {}).size == 3
    with pytest.raises(InputError, match=rf"^settings file {tmp_path} is a folder"):
        Some.load(str(tmp_path), {})


def test_the_cluster_is_the_settings_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_address(None) is None
    assert ray_address("host:1") == "host:1"
    monkeypatch.setenv("RAY_ADDRESS", "host:2")
    assert ray_address(None) == "host:2"
    assert ray_address("local") is None
    with pytest.raises(InputError, match=r"ray job submit --address http://host:8265 .*ray\[default\]"):
        ray_address("http://host:8265")


YAML = [
    b"names: [A, B]\nregions: chr1:1-9,000\nsize: 7\n",
    b"size: 1\nnames:\n- A\n- 2001-01-01\n",
    b"a: &x {size: 1}\nb: *x\n",
]


@settings(max_examples=mutations.INPUTS, deadline=None)
@given(content=mutations.mutated(YAML, b" \t\n\r:-[]{}&*!|>'\"%@`,#?.0123456789anx\x00\x07\xef\xbb\xbf\xff"))
def test_no_file_ends_in_anything_but_settings_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "some.yaml"
    path.write_bytes(content)
    refused = ""
    try:
        found = Some.load(str(path), {})
    except InputError as error:
        refused = str(error)
    if refused:
        assert "some.yaml" in refused
    else:
        assert Some.model_validate(found.model_dump()) == found
        assert found.size >= 1


def test_secrets_of_uris_are_not_saved() -> None:
    output = "https://me:pass@host/out?X-Amz-Signature=0a1b"
    assert JobSettings(output=output).output == output
    assert "output: https://***@host/out?***\n" in JobSettings(output=output).to_yaml()
    assert "- https://***@host/x" in Some(names=("https://me:pass@host/x",), size=1).to_yaml()


@settings(max_examples=mutations.INPUTS, deadline=None)
@given(
    names=st.lists(st.text("ABC;=' ", min_size=1).map(str.strip).filter(bool), max_size=3),
    size=st.integers(1, 10**6),
    order=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_order_blank_lines_and_line_ends_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], size: int, order: bool, newline: str
) -> None:
    lines = [line for line in Some(names=tuple(names), size=size).to_yaml().splitlines() if line != "regions: []"]
    blocks = [lines[:-1], lines[-1:]]
    path = tmp_path_factory.mktemp("settings") / "some.yaml"
    text = newline.join(["# a comment", *blocks[order], "", *blocks[not order], "", ""])
    path.write_bytes(b"\xef\xbb\xbf" * order + text.encode())
    assert Some.load(str(path), {}) == Some(names=tuple(names), size=size)
