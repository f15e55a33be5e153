"""Usage tables: every form of the same table, unknowns, and each fault in one sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.mutations import INPUTS, mutated

from pipeline.inputs.usage import check_target, read_usage, write_usage
from sptx_core.errors import InputError

HEADER = "contig\tposition\tstrand\tkind\tbrain\theart\n"
TEXT = HEADER + "chr1\t7\t+\tdonor\t0.5\t\n1\t9\t-\tacceptor\t\t1\n"


def expected() -> pl.DataFrame:
    columns = {"contig": ["chr1", "1"], "strand": ["+", "-"], "kind": ["donor", "acceptor"], "pos": [7, 9]}
    nan = float("nan")
    frame = pl.DataFrame({**columns, "brain": [0.5, nan], "heart": [nan, 1.0]})
    return frame.with_columns(pl.col("pos").cast(pl.Int32))


def write(folder: Path, content: bytes | str) -> str:
    path = folder / "usage"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_text_and_gzip_with_unknowns(tmp_path: Path) -> None:
    plain, blank = TEXT.encode(), TEXT.replace("\n", "\n\n").encode()
    marked = b"\xef\xbb\xbf" + plain
    spaced = TEXT.replace("\t", " \t ").encode()
    for content in (plain, gzip.compress(plain), plain.replace(b"\n", b"\r\n"), marked, blank, spaced):
        assert read_usage(write(tmp_path, content)).equals(expected())


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_parquet_with_nulls_or_nan(tmp_path: Path, unknown: float | None) -> None:
    frame = (
        expected().rename({"pos": "position"}).with_columns(pl.col("brain", "heart").cast(pl.Float32).fill_nan(unknown))
    )
    frame.write_parquet(tmp_path / "usage")
    assert read_usage(str(tmp_path / "usage")).equals(expected())


def test_a_tissue_that_is_unknown_in_thousands_of_rows(tmp_path: Path) -> None:
    lines = [f"chr1\t{at}\t+\tdonor\t\t{'0.25' if at == 5000 else ''}\n" for at in range(1, 5001)]
    usage = read_usage(write(tmp_path, HEADER + "".join(lines)))
    assert usage["heart"][-1] == 0.25
    assert np.isnan(usage["brain"].to_numpy()).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.replace("position", "pos"), "has no column position; a usage table has contig, position, strand, kind"),
        (TEXT.replace("\tbrain\theart", "").replace("\t0.5\t", "").replace("\t\t1", ""), "has no column of a tissue"),
        (HEADER, "holds no site"),
        (TEXT.replace("chr1", ""), "row 1: contig is '', not a name"),
        (TEXT.replace("-", "minus"), r"row 2: strand is 'minus', not \+ or -"),
        (TEXT.replace("donor", "5ss"), "row 1: kind is '5ss', not acceptor or donor"),
        (TEXT.replace("\t9\t", "\t0\t"), "row 2: position is '0', not a whole number from 1"),
        (TEXT.replace("\t9\t", "\tx\t"), "row 2: position is 'x', not a whole number from 1"),
        (TEXT.replace("\t9\t", "\t9.5\t"), "row 2: position is '9.5', not a whole number from 1"),
        (TEXT.replace("heart", "pos"), "column pos is no tissue; beside contig, position, strand, kind leave only"),
        (TEXT.replace("0.5", "50"), "row 1: brain is '50', not a usage from 0 to 1, or empty"),
        (TEXT.replace("0.5", "high"), "row 1: brain is 'high', not a usage from 0 to 1, or empty"),
        (TEXT + "chr1\t7\t+\tdonor\t0.5\t0.5\n", r"row 3: the donor at chr1:7 \(\+\) was already given"),
        (TEXT + "chr1\t7\t+\tdonor\t0.5\t0.5\t7\t8\n", "cannot be read as Parquet or tab-separated text"),
        (TEXT.replace("heart", "brain"), "column brain is given twice"),
        (TEXT.replace("heart", ""), "column 6 has no name"),
        (TEXT.replace("chr1", '"chr1'), "cannot be read as Parquet or tab-separated text"),
        (TEXT.replace("chr1", '"chr1').replace("\n1", '\n"'), "row 1: "),
        (TEXT.encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        (b"PAR1 and no more", "cannot be read as Parquet or tab-separated text"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "is a damaged or cut gzip file"),
        ("", "cannot be read as Parquet or tab-separated text"),
    ],
)
def test_faults(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as refused:
        read_usage(path)
    assert str(refused.value).startswith(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv"):
        read_usage(str(tmp_path / "none.tsv"))


@pytest.mark.parametrize("name", ["usage.tsv", "usage.parquet"])
def test_a_written_table_reads_back(tmp_path: Path, name: str) -> None:
    table = expected().with_columns(pl.Series("brain", [1 / 3, float("nan")]))
    for _ in range(2):  # over what is there
        write_usage(table, tmp_path / name)
        assert read_usage(str(tmp_path / name)).equals(table)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "usage.tsv").mkdir()
    with pytest.raises(InputError, match=r"usage\.tsv cannot be written: Is a directory"):
        write_usage(expected(), tmp_path / "usage.tsv")


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("usage.csv", "is neither named .parquet nor .tsv; the name's ending chooses the format"),
        ("none/usage.tsv", "cannot be written: there is no folder .*none"),
    ],
)
def test_targets_that_are_refused(tmp_path: Path, to: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_target(tmp_path / to)
    check_target(tmp_path / "usage.tsv")


# Whatever a file holds

SITES = st.tuples(
    st.sampled_from(["chr1", "1", "HLA:01"]),
    st.integers(1, 99),
    st.sampled_from("+-"),
    st.sampled_from(["donor", "acceptor"]),
)


@pytest.mark.slow
@settings(max_examples=INPUTS, deadline=None)
@given(
    sites=st.dictionaries(SITES, st.tuples(*[st.none() | st.integers(0, 100)] * 2), min_size=1, max_size=9),
    shuffle=st.randoms(),
)
def test_order_spaces_blank_lines_and_line_ends_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    sites: dict[tuple[str, int, str, str], tuple[int | None, int | None]],
    shuffle: Any,
) -> None:
    names = ["contig", "position", "strand", "kind", "brain", "heart"]
    table = [names] + [
        [*map(str, site), *("" if value is None else str(value / 100) for value in values)]
        for site, values in sites.items()
    ]
    order = list(range(len(names)))
    shuffle.shuffle(order)
    lines = [
        "\t".join(shuffle.choice(["", " "]) + row[at] + shuffle.choice(["", "  "]) for at in order) for row in table
    ]
    header, *rest = lines
    rest += [""] * shuffle.randrange(3)
    shuffle.shuffle(rest)
    content = shuffle.choice(["\n", "\r\n"]).join([header, *rest, ""]).encode()
    content = shuffle.choice([b"", b"\xef\xbb\xbf"]) + content
    path = write(tmp_path_factory.mktemp("usage"), gzip.compress(content) if shuffle.random() < 0.5 else content)
    found = read_usage(path).select("contig", "pos", "strand", "kind", "brain", "heart").fill_nan(None)
    expected = {
        (*site, *(None if value is None else value / 100 for value in values)) for site, values in sites.items()
    }
    assert set(found.rows()) == expected


@settings(max_examples=INPUTS, deadline=None)
@given(
    content=mutated(
        [TEXT.encode(), (HEADER + "chr1\t7\t+\tdonor\t1e-1\t1\n").encode()],
        b' \t\n\r",.+-0123456789aecnt\x00\xef\xbb\xbf\xff\x1f\x8b',
    )
)
def test_no_file_ends_in_anything_but_its_sites_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    refused = ""
    try:
        usage = read_usage(path)
    except InputError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(path)
    else:
        assert len(usage) <= content.count(b"\n") + content.count(b"\r") or content.startswith(b"\x1f\x8b")
        assert usage["pos"].min() >= 1  # type: ignore[operator]
        assert usage["strand"].is_in(["+", "-"]).all()
