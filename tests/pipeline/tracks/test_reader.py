"""The reader against the rows that were committed, on a disk and behind the S3 protocol; DuckDB beside it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import polars as pl
import pytest
from material import tables
from material.servers import object_store
from material.web_server import web_server
from s3fs import S3FileSystem

from pipeline.batch.status import Failure, RunStatus
from pipeline.coordinates import Interval
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.schema import round_to_steps
from pipeline.tracks.settings import RunConfig
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

FINGERPRINT = tables.FINGERPRINT
KEYS = ["chrom", "strand", "pos", "ref"]
SCORES = ["acceptor", "donor", "no_splice", *TISSUES]
NO_TORCH = """
import sys
from pipeline.tracks.reader import open_tracks
tracks = open_tracks(sys.argv[1])
assert len(tracks.gene("GENE3")) and len(tracks.sites().collect()) and tracks.status().done and tracks.settings.fasta
print(sorted({"ray", "torch", "pyranges", "duckdb"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store("tracks") as uri:
        yield uri


@pytest.fixture(scope="module", params=["disk", "disk below a partition", "s3", "memory", "http"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/run"
    elif request.param == "memory":
        yield "memory://tracks"
    elif request.param == "http":
        folder = tmp_path_factory.mktemp("tracks")
        tables.write_example(folder / "strand=other" / "x y+")
        with web_server(folder) as server:
            yield f"{server.url}/strand=other/x y+"
    else:
        folder = tmp_path_factory.mktemp("tracks")
        yield str(folder / ("table" if request.param == "disk" else "strand=other/x=y"))


@pytest.fixture(scope="module")
def tracks(root: str) -> Tracks:
    if not root.startswith("http"):
        tables.write_example(root)
    return open_tracks(root)


@pytest.fixture(scope="module")
def own_tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """A table with flanks: transcript."""
    return Tracks(tables.write_example(tmp_path_factory.mktemp("own"), flanks="transcript"))


def committed_rows(*, flanks: str = "genomic", sites: bool = False) -> pl.DataFrame:
    """All rows as they were given, in the order of shards."""
    schema, frames = tables.schema(flanks=flanks), []
    for shard in tables.shards(flanks):
        rows = tables.rows(shard, flanks)
        columns = {"pos": rows.pos, "ref": np.array(list("ACGTN"))[rows.ref]}
        if flanks == "transcript":
            columns = {"transcript_id": rows.transcript_id, **columns}
        for column in schema.scores:
            values = rows.scores[:, schema.channels.index(column.name)]
            columns[column.name] = values if sites else round_to_steps(values, column.steps)
        place = [pl.lit(shard.key.chrom).alias("chrom"), pl.lit(shard.key.strand).alias("strand")]
        frames.append(pl.DataFrame(columns).select(*place, pl.all()))
    frame = pl.concat(frames)
    return frame.filter(pl.max_horizontal("acceptor", "donor") >= tables.THRESHOLD) if sites else frame


def span(chrom: str, strand: str, first: int, last: int) -> pl.Expr:
    return (pl.col("chrom") == chrom) & (pl.col("strand") == strand) & pl.col("pos").is_between(first, last)


def test_scan_gives_all_rows_in_the_order_of_the_table(tracks: Tracks) -> None:
    assert tracks.scan().collect().equals(committed_rows())
    assert tracks.scan().collect_schema() == committed_rows().schema


def test_sites_are_the_likely_rows_unrounded(tracks: Tracks) -> None:
    found = tracks.sites().collect()
    assert found.equals(committed_rows(sites=True))
    assert len(found) == 10


@pytest.mark.slow
def test_scan_with_columns_strand_and_contig(tracks: Tracks) -> None:
    rows = committed_rows()
    assert tracks.scan(["brain", "acceptor"]).collect().equals(rows.select(*KEYS, "brain", "acceptor"))
    assert tracks.scan(["pos"]).collect().columns == KEYS
    assert tracks.scan(strand="-").collect().equals(rows.filter(pl.col("strand") == "-"))
    assert tracks.scan(chrom="9").collect().equals(rows.filter(pl.col("chrom") == "chr9"))
    assert tracks.sites(["donor"], strand="-", chrom="HLA-A").collect().equals(rows.select(*KEYS, "donor").clear())


@pytest.mark.slow
def test_a_lazy_frame_is_filtered_and_summarised(tracks: Tracks) -> None:
    wanted = (pl.col("strand") == "+") & (pl.col("donor") >= 0.5) & (pl.col("brain") > pl.col("kidney") / 2)
    assert tracks.scan().filter(wanted).collect().equals(committed_rows().filter(wanted))
    summary = tracks.scan().group_by("chrom", "strand").agg(pl.col("brain").max()).sort("chrom", "strand").collect()
    assert summary.equals(
        committed_rows().group_by("chrom", "strand").agg(pl.col("brain").max()).sort("chrom", "strand")
    )
    assert tracks.scan().head(3).collect().equals(committed_rows().head(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("chr9:350-450", span("chr9", "+", 350, 450) | span("chr9", "-", 350, 450)),
        ("chr9:400-400", span("chr9", "+", 400, 400)),
        ("chr9:401-401", span("chr9", "+", 401, 401) | span("chr9", "-", 401, 401)),
        ("9:650-1,000", span("chr9", "+", 650, 1000) | span("chr9", "-", 650, 1000)),
        ("chr9:701-900", pl.lit(value=False)),
        ("chr9:1001-2000", pl.lit(value=False)),
        ("HLA-A*01:01:20-30", span("HLA-A*01:01", "+", 20, 30)),
        ("HLA-A*01:01", pl.col("chrom") == "HLA-A*01:01"),
        ("HLA-A", pl.col("chrom") == "HLA-A*01:01"),
        ("HLA-A:20-30", span("HLA-A*01:01", "+", 20, 30)),
        ("chr9:640", span("chr9", "+", 640, 1000) | span("chr9", "-", 640, 650)),
        ("9:640-", span("chr9", "+", 640, 1000) | span("chr9", "-", 640, 650)),
        ("chr9:-410", span("chr9", "+", 101, 410) | span("chr9", "-", 401, 410)),
        (f"chr9:640-{10**17}", span("chr9", "+", 640, 1000) | span("chr9", "-", 640, 650)),
        ("HLA-A*01:01:50", span("HLA-A*01:01", "+", 50, 60)),
        (Interval("chr9", 399, 400), span("chr9", "+", 400, 400)),
        (Interval("chr9", 899, None), span("chr9", "+", 900, 1000)),
    ],
)
def test_region(tracks: Tracks, region: str | Interval, expected: pl.Expr) -> None:
    assert tracks.region(region).equals(committed_rows().filter(expected))
    assert tracks.region(region, sites=True).equals(committed_rows(sites=True).filter(expected))
    minus = tracks.region(region, strand="-", columns=["donor"])
    assert minus.equals(committed_rows().filter(expected, pl.col("strand") == "-").select(*KEYS, "donor"))


GENE_1 = span("chr9", "+", 101, 300) | span("chr9", "+", 500, 700)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gene", "expected"),
    [
        ("GENE3", span("chr9", "+", 901, 1000)),
        ("ENSG0001.7", GENE_1),
        ("ENSG0001", GENE_1),
        ("ENSG0004.1", span("chr9", "-", 401, 650)),
        ("GENE1", GENE_1 | (pl.col("chrom") == "HLA-A*01:01")),
        ("CLIPPED", pl.lit(value=False)),
    ],
)
def test_gene(tracks: Tracks, gene: str, expected: pl.Expr) -> None:
    assert tracks.gene(gene).equals(committed_rows().filter(expected))
    assert tracks.query(gene, columns=["skin"]).equals(committed_rows().filter(expected).select(*KEYS, "skin"))
    assert tracks.gene(gene, sites=True).equals(committed_rows(sites=True).filter(expected))
    assert tracks.gene(gene, strand="-").equals(committed_rows().filter(expected, pl.col("strand") == "-"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ENST0001.3", "ENST0001", "ENST0001.3_2"])
def test_transcript(tracks: Tracks, name: str) -> None:
    assert tracks.transcript(name).equals(committed_rows().filter(span("chr9", "+", 101, 300)))
    assert tracks.query(name).equals(tracks.transcript(name))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["chr9:350-450", "chr9", "HLA-A*01:01", "HLA-A:20", "9:500-", "chr9:-500", " chr9 "])
def test_query_takes_regions_and_contigs(tracks: Tracks, what: str) -> None:
    assert tracks.query(what, strand="+", sites=True).equals(tracks.region(what, strand="+", sites=True))


def test_names_that_the_table_does_not_hold(tracks: Tracks) -> None:
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: tracks.gene("GENE33"), "has no gene GENE33; the nearest is GENE3"),
        (lambda: tracks.transcript("ENST0001.4"), "has no transcript ENST0001.4; the nearest is ENST0001.3"),
        (lambda: tracks.region("chr8:1-10"), r"has no contig chr8; it has chr9, HLA-A\*01:01"),
        (lambda: tracks.region("chr9:10-1"), "region 'chr9:10-1' is empty"),
        (lambda: tracks.scan(chrom="chr8"), "has no contig chr8"),
        (lambda: tracks.scan(["brian"]), "has no column brian; the nearest is brain"),
        (lambda: tracks.region("chr9", columns=["?"]), r"has no column \?; it has acceptor, donor"),
        (lambda: tracks.gene("GENE3", strand="plus"), r"strand 'plus' is not known; write \+ or -"),
        (lambda: tracks.query("chr9:x"), "region 'chr9:x' cannot be read: write contig, contig:first-last"),
        (lambda: tracks.query("HLA-A*01:01:0-5"), r"region 'HLA-A\*01:01:0-5' is empty"),
        (lambda: tracks.query("chr9:3200-3100"), "region 'chr9:3200-3100' is empty"),
        (lambda: tracks.query("chr8:5-9"), r"has no contig chr8; it has chr9, HLA-A\*01:01"),
        (lambda: tracks.query("chr8:5"), r"has no contig chr8; it has chr9, HLA-A\*01:01"),
        (lambda: tracks.query("gene:ENSG0003"), "has no contig, gene or transcript gene:ENSG0003; the nearest is"),
        (lambda: tracks.query(""), "nothing is asked for: name a region"),
        (lambda: tracks.query("  "), "nothing is asked for: name a region"),
        (lambda: tracks.gene(""), "has no gene $"),
        (lambda: tracks.transcript(""), "has no transcript $"),
    ]
    for ask, message in refused:
        with pytest.raises(InputError, match=message):
            ask()


@pytest.mark.slow
def test_parts_that_cannot_answer_are_never_opened(tmp_path: Path, bucket: str) -> None:
    for root in (str(tmp_path), f"{bucket}/opened"):
        store = tables.write_example(root)
        tracks, rows = open_tracks(root), committed_rows()
        for shard in (0, 2, 3):
            store.write_atomic(tables.SHARDS[shard].key.part_name("tracks", FINGERPRINT), b"not Parquet")
        assert tracks.region("chr9:401-900", strand="+").equals(rows.filter(span("chr9", "+", 401, 900)))
        assert tracks.gene("GENE3").equals(rows.filter(span("chr9", "+", 901, 1000)))
        assert tracks.transcript("ENST0002").equals(rows.filter(span("chr9", "+", 500, 700)))
    lazily = tracks.scan().filter(pl.col("strand") == "+", pl.col("chrom") == "chr9", pl.col("pos") > 400)
    assert lazily.collect().equals(rows.filter(span("chr9", "+", 401, 1000)))


@pytest.mark.slow
def test_parts_that_are_damaged_are_told_with_what_to_do(tmp_path: Path, bucket: str) -> None:
    for root in (str(tmp_path), f"{bucket}/damaged"):
        store = tables.write_example(root)
        tracks = open_tracks(root)
        for key in (shard.key for shard in tables.SHARDS):
            store.write_atomic(key.part_name("tracks", FINGERPRINT), b"PAR1 not Parquet PAR1")
        for what in ("chr9", "GENE3", "ENST0001"):
            with pytest.raises(
                InputError, match=rf"a part of {root} cannot be read \(.*\); `sptx verify {root}` names"
            ):
                tracks.query(what)
        store.delete(tables.SHARDS[0].key.part_name("tracks", FINGERPRINT))
        with pytest.raises(InputError, match=r"a part of .* cannot be read"):
            tracks.region("chr9:101-110")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", b"{", r"run\.json is not the record of a run"),
        ("run.json", b"\xff", r"run\.json is not the record of a run"),
        ("contigs.parquet", b"PAR1", r"contigs\.parquet cannot be read: "),
        ("transcripts.parquet", None, r"transcripts\.parquet does not exist"),
        ("settings.yaml", b"fasta: [", r"settings\.yaml cannot be read: "),
        ("settings.yaml", b"fasta: 3", r"settings\.yaml does not hold the settings of a run"),
        ("settings.yaml", None, r"settings\.yaml does not exist"),
        ("failures/000001.json", b"{", r"failures/000001\.json cannot be read: "),
        ("failures/000001.json", b"{}", r"failures/000001\.json is not the record of a failure"),
        ("failures/000001.json", b"[]", r"failures/000001\.json is not the record of a failure"),
    ],
)
def test_damaged_files_beside_the_parts_are_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    store = tables.write_example(tmp_path)
    if content is None:
        store.delete(name)
    else:
        store.write_atomic(name, content)

    def read() -> None:
        tracks = open_tracks(tmp_path)
        tracks.query("GENE3")
        tracks.status()
        assert tracks.settings

    with pytest.raises(InputError, match=message):
        read()


@pytest.mark.parametrize("name", ["a::b", "memory::c", "d*[1]?", "e f%20"])
def test_a_table_may_lie_below_any_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / name / "table"
    tables.write_example(root)
    tracks = open_tracks(root)
    assert tracks.scan().collect().equals(committed_rows())
    assert tracks.gene("GENE3").equals(committed_rows().filter(span("chr9", "+", 901, 1000)))
    assert tracks.status().done == 4


def test_only_committed_parts_are_read(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    folder = tmp_path / "tracks" / "chrom=chr9" / "strand=plus"
    (folder / ".000009-1-2-0123456789ab.parquet.77.tmp").write_bytes(b"half")
    (folder / f"000009-1-2000-{'f' * 12}.parquet").write_bytes(b"of another run")
    store.delete(tables.SHARDS[2].key.part_name("tracks", FINGERPRINT))  # its sites part stays, as after a kill
    tracks = open_tracks(tmp_path)
    assert tracks.scan().collect().equals(committed_rows().filter(pl.col("strand") == "+"))
    assert tracks.sites().collect().equals(committed_rows(sites=True).filter(pl.col("strand") == "+"))


def test_table_without_a_part_has_columns(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    for shard in tables.SHARDS:
        store.delete(shard.key.part_name("tracks", FINGERPRINT))
    tracks = open_tracks(tmp_path)
    for frame in (tracks.scan().collect(), tracks.region("chr9"), tracks.gene("GENE1"), tracks.sites().collect()):
        assert frame.is_empty()
        assert frame.schema == committed_rows().schema


def test_transcripts_with_rows_of_their_own(own_tracks: Tracks) -> None:
    rows = committed_rows(flanks="transcript")
    assert own_tracks.scan().collect().equals(rows)
    assert own_tracks.transcript("ENST0002").equals(rows.filter(pl.col("transcript_id") == "ENST0002.1"))
    of_gene = pl.col("transcript_id").is_in(["ENST0001.3", "ENST0002.1"])
    assert own_tracks.gene("ENSG0001").equals(rows.filter(of_gene))
    assert own_tracks.gene("CLIPPED").equals(rows.clear())
    assert own_tracks.gene("ENSG0001", columns=["donor"], sites=True).columns == [
        *("chrom", "strand", "transcript_id", "pos", "ref", "donor")
    ]
    assert own_tracks.region("chr9:250-550").equals(
        rows.filter(span("chr9", "+", 250, 550) | span("chr9", "-", 250, 550))
    )


def test_what_lies_beside_the_rows(tracks: Tracks) -> None:
    assert tracks.fingerprint == FINGERPRINT
    assert tracks.channels == tuple(SCORES)
    assert tracks.loci["transcripts"].to_list() == [2, 1, 1, 1]
    assert tracks.transcripts["gene_name"].n_unique() == 4
    assert tracks.settings == RunConfig(fasta="/in/genome.fa", gtf="/in/genes.gtf", checkpoint="/in/model.ckpt")


def test_status_counts_afresh_and_tells_failures(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    tracks = open_tracks(tmp_path)
    assert tracks.status() == RunStatus(4, (), ())
    for shard in (1, 2):
        store.delete(tables.SHARDS[shard].key.part_name("tracks", FINGERPRINT))
    for shard in (0, 2):  # the first was tried again and committed since
        failure = {"shard": shard, "error": "RuntimeError: x", "cause": "Traceback", "attempts": 3}
        store.write_atomic(f"failures/{shard:06d}.json", json.dumps(failure).encode())
    assert tracks.status() == RunStatus(2, (1,), (Failure(2, "RuntimeError: x", "Traceback", 3),))


def test_a_place_without_a_table_is_refused(tmp_path: Path, bucket: str) -> None:
    for root in (str(tmp_path / "nothing"), f"{bucket}/nothing"):
        with pytest.raises(InputError, match="holds no table"):
            open_tracks(root)


@pytest.mark.slow
def test_another_process_reads_the_table_without_ray_and_torch(tmp_path: Path, bucket: str) -> None:
    for root in (str(tmp_path), f"{bucket}/elsewhere"):
        tables.write_example(root)
        done = subprocess.run([sys.executable, "-c", NO_TORCH, root], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


DUCKDB_QUERY = """
    SELECT tracks.chrom, tracks.strand, pos, tracks.ref, tracks.donor, sites.donor AS unrounded
    FROM read_parquet('{root}/tracks/*/*/*.parquet', hive_partitioning = true) AS tracks
    JOIN read_parquet('{root}/sites/*/*/*.parquet', hive_partitioning = true) AS sites USING (chrom, strand, pos)
    WHERE tracks.donor >= 0.5
    ORDER BY chrom, strand, pos
"""


def test_the_documented_sql_keeps_contigs_text_where_all_are_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[3] / "docs" / "table.md"
    (sql,) = re.findall(r"```sql\n(.*?);\n```", page.read_text(), re.DOTALL)
    tables.write(tmp_path / "dock8", [tables.Part(chrom, "+", range(1, 9)) for chrom in ("1", "2")])
    monkeypatch.chdir(tmp_path)  # the page's table is the folder `dock8`
    with duckdb.connect() as connection:
        relation = connection.sql(sql)
        assert dict(zip(relation.columns, map(str, relation.types), strict=True))["chrom"] == "VARCHAR"
        assert relation.fetchall() == [("1", 8), ("2", 8)]
        assert connection.sql(f"FROM ({sql}) WHERE chrom = 'X'").fetchall() == []
        guessed = connection.sql(sql.replace(", hive_types = {'chrom': VARCHAR}", ""))
        assert str(guessed.types[0]) == "BIGINT"  # which is why the page gives the type


def in_duckdb(root: str, *filesystems: fsspec.AbstractFileSystem) -> pl.DataFrame:
    with duckdb.connect() as connection:
        for filesystem in filesystems:
            connection.register_filesystem(filesystem)
        columns = connection.execute(DUCKDB_QUERY.format(root=root)).fetchnumpy()
    return pl.DataFrame({name: values.tolist() for name, values in columns.items()})


@pytest.mark.slow
def test_duckdb_reads_the_same_files_by_glob(tmp_path: Path, bucket: str) -> None:
    sites = (
        committed_rows(sites=True)
        .filter(pl.col("donor") >= 0.5)
        .with_columns(pl.col("strand").replace({"+": "plus", "-": "minus"}))
    )
    expected = sites.sort("chrom", "strand", "pos").select("chrom", "strand", "pos", "ref", "donor")
    tables.write_example(tmp_path)
    tables.write_example(f"{bucket}/duckdb")
    remote = S3FileSystem(default_cache_type="none")
    for found in (in_duckdb(str(tmp_path)), in_duckdb(f"{bucket}/duckdb", remote)):
        assert found.select("chrom", "strand", "pos", "ref").equals(
            expected.select("chrom", "strand", pl.col("pos").cast(pl.Int64), "ref")
        )
        assert found["unrounded"].to_list() == pytest.approx(expected["donor"].to_list(), abs=1e-6)
        assert found["donor"].to_list() == pytest.approx(expected["donor"].to_list(), abs=5.1e-5)


def test_an_unfinished_table_over_http_says_so(tmp_path: Path) -> None:
    tables.write_example(tmp_path, manifest=False)
    with web_server(tmp_path) as server, pytest.raises(InputError, match=r"is unfinished, or was copied in part"):
        open_tracks(server.url)


def test_a_small_table_that_is_not_the_manifest_s_is_refused_over_http(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    tables.put(store, "contigs.parquet", open_tracks(tmp_path).contigs.with_columns(length=pl.lit(5, pl.Int64)))
    assert open_tracks(tmp_path).contigs["length"].to_list() == [5, 5]
    with web_server(tmp_path) as server, pytest.raises(InputError, match=r"contigs.parquet was edited"):
        open_tracks(server.url).region("chr9:101-110")
