"""Commands that look at a table: what they print, write and refuse."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import gene, gene_variants, saturated, tables
from material.fault_proxy import BROKEN, NO_BUCKET, REFUSED, faulty_bucket
from material.genomes import write_gtf
from s3fs import S3FileSystem

from pipeline.batch.history import History
from pipeline.batch.storage import StorageError, Store


def test_query_prints_tables_csv_and_parquet(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    region = sptx_here("query", table, "chr1:2,001-2,005", "--strand", "+", "--columns", "acceptor,brain")
    assert "shape: (5," in region.out
    rows = sptx_here("query", table, "ALPHA1", "--columns", "donor", "--format", "csv").out.splitlines()
    assert rows[0] == "chrom,strand,pos,ref,donor"
    assert len(rows) == 1 + 6_200
    target = tmp_path / "rows.parquet"
    sptx_here("query", table, "EXT00000021.1", "--format", "parquet", "--to", target)
    assert pl.read_parquet(target).height == 6_500
    sites = sptx_here("query", table, "ALPHA1", "--sites", "--columns", "donor", "--format", "csv").out.splitlines()
    assert len(sites) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "flags", "told"),
    [
        ("chr1:9-3", (), "chr1:9-3"),
        ("chr7:1-10", (), "chr7"),
        ("ALPHA1", ("--columns", "dono"), "donor"),
        ("ALPHA9", (), "ALPHA1"),
        ("ALPHA1", ("--strand", "x"), "strand"),
    ],
)
def test_query_refuses_clearly(table: Path, sptx_here: Any, what: str, flags: tuple[str, ...], told: str) -> None:
    done = sptx_here("query", table, what, *flags, code=None)
    assert told in done.err
    assert done.code == 2


@pytest.mark.parametrize("flags", [["--gene", "ALPHA1"], ["--min-splice", "0.2"], ["--tissue", "brain"]])
def test_what_is_of_variants_is_refused_for_tracks(table: Path, sptx_here: Any, flags: list[str]) -> None:
    assert "are of variants; this output holds none" in sptx_here("query", table, *flags, code=2).err


def test_an_empty_answer_of_query_says_so(small_table: Path, sptx_here: Any) -> None:
    done = sptx_here("query", small_table, "chr9:9,001-9,002", "--format", "csv", "--strand", "+")
    assert done.err == f"no row: {small_table} holds no computed base of chr9:9,001-9,002 on strand +\n"
    assert len(done.out.splitlines()) == 1  # the header
    done = sptx_here("query", small_table, "chr9:9,001-9,002", "--sites")
    assert done.err == f"no row: {small_table} holds no likely splice site of chr9:9,001-9,002\n"


def test_query_of_tracks_needs_to_know_what(table: Path, sptx_here: Any) -> None:
    assert "say what of the tracks to print" in sptx_here("query", table, code=2).err


def test_looking_at_nothing_is_refused(sptx_here: Any, tmp_path: Path) -> None:
    for command in ("status", "verify", "query"):
        what = ["chr1"] if command == "query" else []
        done = sptx_here(command, tmp_path / "nothing", *what, code=None)
        assert "nothing" in done.err
        assert done.code == 2


@pytest.mark.slow
def test_verify_and_status_of_a_whole_table(table: Path, sptx_here: Any) -> None:
    verified, status = sptx_here("verify", table), sptx_here("status", table)
    assert (verified.code, status.code) == (0, 0)
    assert verified.out.startswith("sound: ")
    assert " 0 missing, 0 failed" in status.out
    assert "wall time" not in status.out


def test_status_tells_how_long_it_took(small_table: Path, tmp_path: Path, sptx_here: Any) -> None:
    table = shutil.copytree(small_table, tmp_path / "table")
    history = History(Store(table), 3, "native engine")
    history.add(100)
    history.close()
    assert "\nwall time: 0 s in 1 start\n" in sptx_here("status", table).out
    (start,) = json.loads(sptx_here("status", table, "--json").out)["history"]
    assert (start["units"], start["size"], start["workers"], start["execution"]) == (1, 100, 3, "native engine")


@pytest.mark.slow
def test_a_script_gets_json(table: Path, tmp_path: Path, sptx_here: Any) -> None:
    status = json.loads(sptx_here("status", table, "--json").out)
    assert status == {"shards": status["done"], "done": 37, "missing": [], "failed": [], "history": []}
    verified = json.loads(sptx_here("verify", table, "--json").out)
    assert (verified["sound"], verified["problems"], verified["rows"]) == (True, [], 34_740)

    damaged = shutil.copytree(table, tmp_path / "damaged")
    part = next(damaged.glob("tracks/**/*.parquet"))
    part.unlink()
    assert len(json.loads(sptx_here("status", damaged, "--json", code=3).out)["missing"]) == 1
    told = json.loads(sptx_here("verify", damaged, "--json", code=3).out)
    assert not told["sound"]
    assert told["problems"] == [f"{part.relative_to(damaged)}: not committed"]
    assert "then run the same command: it computes what is missing" in sptx_here("verify", damaged, code=3).err


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table without a genome, of 950 rows on chr9."""
    root = tmp_path_factory.mktemp("small") / "table"
    tables.write_example(root)
    return root


def test_query_writes_all_rows_in_the_form_that_the_name_says(
    small_table: Path, sptx_here: Any, tmp_path: Path
) -> None:
    for name, read in (("rows.csv", pl.read_csv), ("rows.parquet", pl.read_parquet)):
        assert sptx_here("query", small_table, "chr9", "--to", tmp_path / name).out == ""
        assert read(tmp_path / name).height == 950
    sptx_here("query", small_table, "chr9", "--to", tmp_path / "rows.tsv")
    assert (tmp_path / "rows.tsv").read_text().startswith("chrom\tstrand\tpos\tref\tacceptor\t")
    sptx_here("query", small_table, "chr9", "--format", "table", "--to", tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_text().count("chr9") == 950


@pytest.mark.parametrize(
    ("name", "flags", "told"),
    [
        ("rows.txt", (), "does not tell its form: end its name in .csv, .tsv, .parquet, or give --format"),
        ("rows.csv", ("--format", "parquet"), "is the name of a csv file, but --format is parquet"),
        ("no/rows.csv", (), "cannot be written: there is no folder"),
        (".", ("--format", "csv"), "cannot be written: it is a folder"),
    ],
)
def test_places_that_query_cannot_write_are_told_before_the_table_is_opened(
    sptx_here: Any, tmp_path: Path, name: str, flags: tuple[str, ...], told: str
) -> None:
    done = sptx_here("query", tmp_path / "nothing", "chr9", "--to", tmp_path / name, *flags, code=2)
    assert told in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("", "nothing is asked for: name a region, a contig, a gene or a transcript"),
        ("chr9:x", "region 'chr9:x' cannot be read"),
        ("chr9:0-100", "region 'chr9:0-100' is empty"),
        ("chr9:3200-3100", "region 'chr9:3200-3100' is empty"),
    ],
)
def test_query_and_plot_tell_what_they_cannot_read(
    small_table: Path, sptx_here: Any, tmp_path: Path, what: str, told: str
) -> None:
    assert told in sptx_here("query", small_table, what, code=2).err
    assert told in sptx_here("plot", small_table, what, "--to", tmp_path / "x.png", code=2).err


@pytest.mark.slow
def test_query_and_plot_take_open_regions(small_table: Path, sptx_here: Any, tmp_path: Path) -> None:
    for region, rows in (("chr9:991", 10), ("chr9:991-", 10), ("chr9:-110", 10)):
        assert len(sptx_here("query", small_table, region, "--format", "csv").out.splitlines()) == 1 + rows
    assert sptx_here("plot", small_table, "chr9:901-", "--to", tmp_path / "x.png").code == 0


def test_evaluate_tells_a_place_that_it_cannot_write(
    small_table: Path, sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    done = sptx_here("evaluate", small_table, "--gtf", tmp_path / "x.gtf", "--to", tmp_path / "file", code=2)
    assert "file is no folder to write to" in done.err

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", full)  # root, who may run this, can write anywhere
    done = sptx_here("evaluate", small_table, "--gtf", tmp_path / "x.gtf", "--to", tmp_path, code=2)
    assert f"{tmp_path}/evaluation.json cannot be written: Read-only file system" in done.err


@pytest.mark.slow
def test_storage_that_fails_is_one_sentence_and_no_damage(sptx_here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    with faulty_bucket("looked-at") as (uri, proxy):
        root = f"{uri}/table"
        tables.write_example(root)
        commands = (["status", root], ["verify", root], ["query", root, "chr9:101-200"])
        for fault, told in ((REFUSED, "check the credentials"), (BROKEN, "try again"), (NO_BUCKET, "make the bucket")):
            proxy.fault = lambda _, fault=fault: fault
            for command in commands:
                (line,) = sptx_here(*command, code=2).err.splitlines()
                assert line.startswith(f"sptx: {root} cannot be listed: {fault.code} by the proxy; {told}")
        proxy.fault = lambda asked: REFUSED if "/tracks/" in asked.path else None
        for command in commands[1:]:
            done = sptx_here(*command, code=None)
            assert done.code in (2, 3)
            assert any(word in done.out + done.err for word in ("AccessDenied", "Forbidden"))
            assert "delete" not in done.out + done.err


def test_query_checks_parts_where_it_is_told_to(small_table: Path, sptx_here: Any, tmp_path: Path) -> None:
    damaged = shutil.copytree(small_table, tmp_path / "damaged")
    sound = sptx_here("query", damaged, "chr9:300", "--format", "csv", "--verify").out
    assert sound == sptx_here("query", damaged, "chr9:300", "--format", "csv").out
    part = next(damaged.glob("tracks/chrom=chr9/strand=plus/000000-*"))
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    done = sptx_here("query", damaged, "chr9:300", "--verify", code=2)
    assert str(part) in done.err
    assert "its bytes are not those that manifest.parquet recorded" in done.err


@pytest.mark.slow
def test_verify_reads_with_actors_where_it_is_told_to(small_table: Path, without_ray: None, sptx_here: Any) -> None:
    assert sptx_here("verify", small_table, "--workers", "2").out == sptx_here("verify", small_table).out
    assert "--workers" in sptx_here("verify", small_table, "--workers", "0", code=2).err


def test_verify_says_where_nothing_is_known(small_table: Path, sptx_here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Store.read_bytes

    def flaky(self: Store, name: str) -> bytes:
        if name.startswith("tracks/chrom=chr9/strand=plus/000000-"):
            raise StorageError(f"{name} cannot be read: 503 Slow Down", transient=True)
        return read(self, name)

    monkeypatch.setattr(Store, "read_bytes", flaky)
    done = sptx_here("verify", small_table, code=3)
    assert done.out.splitlines()[-1].startswith("not known to be sound, 1 shard could not be read: 4 parts")
    assert "delete" not in done.err
    assert json.loads(sptx_here("verify", small_table, "--json", code=3).out)["unread"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "folders"),
    [
        (("status",), ["failures/", "history/", "sites/", "tracks/"]),
        (("verify",), ["sites/", "tracks/"]),
        (("query", "chr9:300"), ["tracks/"]),
        (("query", "chr9:300", "--verify"), ["tracks/"]),
    ],
)
def test_a_command_lists_each_folder_once(
    small_table: Path, sptx_here: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], folders: list[str]
) -> None:
    listed: list[str] = []
    listing = Store.list
    monkeypatch.setattr(Store, "list", lambda self, prefix="": listed.append(prefix) or listing(self, prefix))
    sptx_here(command[0], small_table, *command[1:])
    assert sorted(listed) == folders


@pytest.mark.slow
def test_plot_draws_a_variant_and_a_map_of_changes(sptx_here: Any, tmp_path: Path) -> None:
    gene_variants.write(tmp_path / "one", "-")
    saturated.write(tmp_path / "many")
    gtf = write_gtf(tmp_path / "genes.gtf", gene.transcripts("-"))
    drawn = sptx_here("plot", tmp_path / "one", gene_variants.SNV, "--gtf", gtf, "--to", tmp_path / "one.png")
    assert drawn.err == f"{gene_variants.SNV}, GENE (-), d_splice 0.70: drawn in {tmp_path}/one.png\n"
    drawn = sptx_here("plot", tmp_path / "many", "chr1:1,093-1,097", "--to", tmp_path / "many.svg")
    assert drawn.err == f"chr1:1,093-1,097 (+), 15 changes: drawn in {tmp_path}/many.svg\n"
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (tmp_path / "many.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "flags", "told"),
    [
        (gene_variants.SNV, ("--short-introns",), "--usage and --short-introns are of tracks"),
        (gene_variants.SNV, ("--gene", "NONE"), "has no row of NONE"),
        (gene_variants.UNSCORED, (), "was not scored: ref_mismatch"),
        ("NONE", (), "has no variant in a gene NONE"),
    ],
)
def test_plot_of_variants_refuses_clearly(
    sptx_here: Any, tmp_path: Path, what: str, flags: tuple[str, ...], told: str
) -> None:
    gene_variants.write(tmp_path / "table")
    assert told in sptx_here("plot", tmp_path / "table", what, *flags, "--to", tmp_path / "x.png", code=2).err
    assert not (tmp_path / "x.png").exists()


def test_flags_of_variants_are_refused_for_tracks(small_table: Path, sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("plot", small_table, "chr9:101-400", "--gene", "GENE1", "--to", tmp_path / "x.png", code=2)
    assert "--gene is of variants" in done.err
