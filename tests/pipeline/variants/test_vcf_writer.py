"""The written VCF: the input's lines byte for byte, our INFO added, again and again; what other tools read of it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.mutations import INPUTS

from pipeline.batch.storage import Store
from pipeline.inputs.bgzip import has_end
from pipeline.inputs.vcf import is_record, open_vcf
from pipeline.variants.vcf_fields import SEVERITY
from pipeline.variants.vcf_notes import RecordNotes, SiteChange, SpTxEntry, VcfNotes
from pipeline.variants.vcf_writer import WrittenVcf, require_target, write_vcf
from sptx_core.errors import InputError

BARE = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
HEADER = b"""##fileformat=VCFv4.2
##contig=<ID=1,length=1000>
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tchild
"""
RECORDS = (
    b"1\t101\trs1\tA\tG,T\t50\tPASS\tDP=3\tGT\t0|1\n"
    b"1\t102\t.\tC\t.\t.\t.\t.\tGT\t0/0\n"
    b"1\t103\t.\tC\t<DEL>,*\t.\t.\tDP=4\tGT\t0/1\n"
)
needs_bcftools = pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
needs_tabix = pytest.mark.skipif(shutil.which("tabix") is None, reason="tabix is not installed")


def notes(**values: Any) -> VcfNotes:
    given = {"checkpoint": "ab12", "distance": 100, "mask": "both", "flanks": "genomic", "precision": "float32"}
    return VcfNotes(**{**given, "version": "0.2.0", **values})


def scored(alt_index: int, gene: str, ag: float, dl: float) -> SpTxEntry:
    sites = {event: SiteChange(ds=ds, ds_masked=ds) for event, ds in {"ag": ag, "al": 0.0, "dg": 0.0, "dl": dl}.items()}
    return SpTxEntry(
        alt_index=alt_index,
        status="scored",
        gene_name=gene,
        sites=sites,
        d_splice=max(ag, dl),
        tissues=("brain",),
        z=(2.0,),
    )


def annotations(uri: str) -> Iterator[RecordNotes | None]:
    """Bases are scored in two genes, anything else is not; None for a malformed line."""
    with open_vcf(uri) as vcf:
        for record in vcf.records():
            if record.problem:
                yield None
                continue
            is_scored = [alt.isalpha() for alt in record.alts]
            entries = [
                scored(index, gene, ag, 0.25 * index)
                for index, good in enumerate(is_scored, 1)
                for gene, ag in (("A|1", 0.9), ("B", 0.0))
                if good
            ]
            yield RecordNotes(["scored" if good else "symbolic" for good in is_scored], entries)


def write(folder: Path, content: bytes, name: str = "in.vcf") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def annotated(source: str, target: Path | str, **values: Any) -> WrittenVcf:
    return write_vcf(source, str(target), notes(**values), annotations(source))


def without_ours(content: bytes) -> bytes:
    """The text with our lines and fields taken out again."""
    kept = []
    for line in content.splitlines(keepends=True):
        if line.startswith((b"##SpTx=", b"##INFO=<ID=SpTx", b"##INFO=<ID=SpliceAI")):
            continue
        columns = line.split(b"\t")
        if is_record(line) and len(columns) >= 8:
            end = columns[7][len(columns[7].rstrip(b"\r\n")) :]
            fields = columns[7].rstrip(b"\r\n").split(b";")
            ours = [not field.startswith((b"SpTx", b"SpliceAI=")) for field in fields]
            columns[7] = (b";".join(field for field, keep in zip(fields, ours, strict=True) if keep) or b".") + end
        kept.append(b"\t".join(columns))
    return b"".join(kept)


def run(*command: object) -> str:
    """Standard output of a tool that must end well and say nothing else."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


# Lines


@pytest.mark.parametrize(
    "content",
    [
        HEADER + RECORDS,
        BARE,
        BARE + b"1\t5\t.\tA\tC\t.\t.\t.\n",  # case 13: neither contig nor INFO lines
        BARE + b"1\t5\t.\tA\tC\t.\t.\tX;Y=a,b;;Z= 1;SPTX=3\n",
        b"##x=SpTx\n\n##SpTxOther=1\n" + BARE + b"# a comment\n\n1\t5\t.\tA\tC\t.\t.\tDP=1\n#CHROM again\n",
        HEADER + b"1\t101\t.\n" + b"x\ty\n" + RECORDS + b"1\tx\t.\tA\tC\t.\t.\tDP=1\tGT\t0\n",  # malformed
        HEADER + b"1\t9\t\xff\tA\tC\t.\t.\tDP=\xe9\tGT\t0\n1\t1\t.\tA\tC\t.\t.\tDP=2\n",
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_stay_as_they_are_and_a_second_run_changes_nothing(
    tmp_path: Path, content: bytes, end: bytes, last: bool
) -> None:
    content = content.replace(b"\n", end)
    content = content if last else content.removesuffix(end)
    source = write(tmp_path, content)
    annotated(source, tmp_path / "once.vcf", spliceai_field="SpliceAI")
    once = (tmp_path / "once.vcf").read_bytes()
    assert without_ours(once) == content
    assert once.count(b"\r\n") == (once.count(b"\n") if b"\r\n" in content else 0)
    with open_vcf(source) as vcf:
        sound = sum(record.problem is None for record in vcf.records())
    assert once.count(b"SpTx_status=") == sound
    annotated(str(tmp_path / "once.vcf"), tmp_path / "twice.vcf", spliceai_field="SpliceAI")
    assert (tmp_path / "twice.vcf").read_bytes() == once


def test_info_is_ours_alone_where_it_was_empty_and_follows_what_was_there(tmp_path: Path) -> None:
    lines = [b"1\t5\t.\tA\t<X>\t.\t.\t%s\n" % info for info in (b".", b"", b"DP=3", b"DP=3;")]
    annotated(write(tmp_path, BARE + b"".join(lines)), tmp_path / "out.vcf")
    found = [line.split(b"\t")[7] for line in (tmp_path / "out.vcf").read_bytes().splitlines() if b"<X>" in line]
    assert found == [b"SpTx_status=symbolic"] * 2 + [b"DP=3;SpTx_status=symbolic"] * 2


def test_a_run_with_other_settings_replaces_everything_of_the_one_before(tmp_path: Path) -> None:
    source = write(tmp_path, HEADER + RECORDS)
    annotated(source, tmp_path / "once.vcf", spliceai_field="SpliceAI", distance=500)
    annotated(source, tmp_path / "other.vcf")
    annotated(str(tmp_path / "once.vcf"), tmp_path / "twice.vcf")
    assert b'Distance="500"' in (tmp_path / "once.vcf").read_bytes()
    assert (tmp_path / "twice.vcf").read_bytes() == (tmp_path / "other.vcf").read_bytes()


def test_a_record_that_gets_nothing_loses_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    source = write(tmp_path, BARE + b"1\t5\t.\tA\tC\t.\t.\t.\n1\t6\t.\tA\tC\t.\t.\tDP=1\n")
    annotated(source, tmp_path / "once.vcf")
    write_vcf(str(tmp_path / "once.vcf"), str(tmp_path / "twice.vcf"), notes(), [None, None])
    assert without_ours((tmp_path / "twice.vcf").read_bytes()) == Path(source).read_bytes()
    assert b"SpTx_status=" not in (tmp_path / "twice.vcf").read_bytes()


INFO = st.lists(st.sampled_from([b"DP=3", b"SpTx_DS=0.1", b"SpTx", b"X", b"", b"SpTxy=2", b"a b=;"]), max_size=4)
LINE = st.builds(
    lambda alt, info, rest: b"\t".join([b"1", b"7", b".", b"A", alt, b".", b".", b";".join(info), *rest]),
    st.sampled_from([b"C", b"C,GG", b"<DEL>", b".", b"*,C"]),
    INFO,
    st.sampled_from([(), (b"GT", b"0/1"), (b"", b"")]),
)


@settings(max_examples=INPUTS)
@given(
    lines=st.lists(st.one_of(LINE, st.sampled_from([b"", b"#x", b"1\t2"])), max_size=6),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_whatever_stands_in_info_a_second_run_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes
) -> None:
    folder = tmp_path_factory.mktemp("vcf")
    source = write(folder, BARE.replace(b"\n", end) + b"".join(line + end for line in lines))
    annotated(source, folder / "once.vcf")
    annotated(str(folder / "once.vcf"), folder / "twice.vcf")
    once = (folder / "once.vcf").read_bytes()
    assert (folder / "twice.vcf").read_bytes() == once
    body = once[once.index(BARE.strip()) :].splitlines()[1:]
    assert [len(line.split(b"\t")) for line in body] == [len(line.split(b"\t")) for line in lines]
    assert all(line.count(b"SpTx_status=") == (line.count(b"\t") > 1) for line in body)


# Files


def test_bgzip_and_plain_hold_the_same(tmp_path: Path) -> None:
    source = write(tmp_path, gzip.compress(HEADER + RECORDS), "in.vcf.gz")
    for name in ("out.vcf", "out.vcf.gz", "out.vcf.bgz"):
        annotated(source, tmp_path / name)
    plain = (tmp_path / "out.vcf").read_bytes()
    for name in ("out.vcf.gz", "out.vcf.bgz"):
        assert gzip.decompress((tmp_path / name).read_bytes()) == plain
        assert has_end(tmp_path / name)


def test_a_line_longer_than_a_block_that_does_not_shrink(tmp_path: Path) -> None:
    noise = os.urandom(200_000).translate(None, b"\t\n\r;=\0")
    source = write(tmp_path, BARE + b"1\t5\t.\tA\tC\t.\t.\tX=" + noise + b"\n")
    annotated(source, tmp_path / "out.vcf.gz")
    assert without_ours(gzip.decompress((tmp_path / "out.vcf.gz").read_bytes())) == Path(source).read_bytes()


def test_the_target_may_be_the_input(tmp_path: Path) -> None:
    source = write(tmp_path, HEADER + RECORDS)
    annotated(source, tmp_path / "out.vcf")
    annotated(source, source)
    assert Path(source).read_bytes() == (tmp_path / "out.vcf").read_bytes()


def test_an_object_store_gets_the_file_and_its_index(tmp_path: Path) -> None:
    source, store = write(tmp_path, HEADER + RECORDS), Store("memory://written")
    annotated(source, tmp_path / "out.vcf.gz")
    for name in ("out.vcf.gz", "out.vcf"):
        require_target(f"memory://written/{name}")
        assert not store.list("out.vcf")
        annotated(source, f"memory://written/{name}")
        index = {"out.vcf.gz.tbi"} if name.endswith(".gz") and "pysam" in sys.modules else set()
        assert set(store.list("out.vcf")) == {name, *index}
        assert store.read_bytes(name) == (tmp_path / "out.vcf.gz").read_bytes() or name == "out.vcf"
        for held in store.list("out.vcf"):
            store.delete(held)


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.bcf"])
def test_nothing_half_written_looks_whole(tmp_path: Path, name: str) -> None:
    if name.endswith(".bcf"):
        pytest.importorskip("pysam")
    source = write(tmp_path, HEADER + RECORDS)
    before = set(tmp_path.iterdir())

    def broken() -> Iterator[RecordNotes | None]:
        yield from [None, None]
        raise FileNotFoundError("of the table")

    with pytest.raises(FileNotFoundError, match="of the table"):  # not taken for a fault of input or output
        write_vcf(source, str(tmp_path / name), notes(), broken())
    assert set(tmp_path.iterdir()) == before


def test_an_old_index_goes_and_a_sorted_file_has_a_new_one(tmp_path: Path) -> None:
    pytest.importorskip("pysam")
    target = tmp_path / "out.vcf.gz"
    for suffix in (".tbi", ".csi"):
        (tmp_path / f"out.vcf.gz{suffix}").write_bytes(b"old")
    done = annotated(write(tmp_path, HEADER + RECORDS), target)
    assert done == WrittenVcf(3, f"{target}.tbi", None)
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.vcf.gz", "out.vcf.gz.tbi"]
    assert Path(f"{target}.tbi").stat().st_mtime_ns >= target.stat().st_mtime_ns
    done = annotated(write(tmp_path, HEADER + RECORDS + RECORDS), target)
    assert (done.records, done.index_uri) == (6, None)
    assert done.note == f"{target} has no index: line 9 lies before the line above it; sort it (bcftools sort)"
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.vcf.gz"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"1\t5\t.\tA\tC\t.\t.\t.\n2\t1\t.\tA\tC\t.\t.\t.\n1\t9\t.\tA\tC\t.\t.\t.\n", "line 4 goes back to a contig"),
        (b"1\t5\n1\t6\t.\tA\tC\t.\t.\t.\n", "line 2 is malformed"),
    ],
)
def test_why_a_file_has_no_index(tmp_path: Path, body: bytes, why: str) -> None:
    done = annotated(write(tmp_path, BARE + body), tmp_path / "out.vcf.gz")
    assert done.index_uri is None
    assert done.note is not None
    assert why in done.note


def test_without_pysam_there_is_no_index_and_no_bcf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysam", None)
    source = write(tmp_path, HEADER + RECORDS)
    done = annotated(source, tmp_path / "out.vcf.gz")
    assert done.note == f"{tmp_path / 'out.vcf.gz'} has no index: pysam makes one; install sptx[vcf], or run tabix"
    with pytest.raises(InputError, match=r"out\.bcf is BCF, which needs pysam: install sptx\[vcf\]"):
        require_target(str(tmp_path / "out.bcf"))


@pytest.mark.slow
def test_twenty_thousand_lines_in_little_memory(tmp_path: Path) -> None:
    line = b"1\t5\t.\tA\t<X>\t.\t.\tX=" + b"a" * 1000 + b"\n"
    source = write(tmp_path, gzip.compress(BARE + line * 20_000, 1))
    once = RecordNotes(["symbolic"])
    tracemalloc.start()
    done = write_vcf(source, str(tmp_path / "out.vcf.gz"), notes(), (once for _ in range(20_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.records == 20_000
    assert peak < 16 << 20  # of 21 MB of text


# What is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([RecordNotes(["scored"] * 2)], r"in\.vcf line 7 is a record more than were scored"),
        ([RecordNotes(["scored"])] * 3, r"in\.vcf line 6 has other ALTs than those that were scored"),
        ([None] * 4, r"in\.vcf has fewer records than were scored"),
    ],
)
def test_an_input_that_has_changed_is_refused(tmp_path: Path, given: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_vcf(write(tmp_path, HEADER + RECORDS), str(tmp_path / "out.vcf"), notes(), given)
    assert not (tmp_path / "out.vcf").exists()


def test_a_field_of_another_tool_is_not_written_over(tmp_path: Path) -> None:
    described = b'##INFO=<ID=SpliceAI,Number=.,Type=String,Description="SpliceAI">\n' + BARE
    bare = BARE + b"1\t5\t.\tA\tC\t.\t.\tDP=1;SpliceAI=C|X|0|0|0|0|1|1|1|1\n"
    for content, place in ((described, r"in\.vcf"), (bare, r"in\.vcf line 2")):
        with pytest.raises(InputError, match=rf"{place} has INFO/SpliceAI of another tool"):
            annotated(write(tmp_path, content), tmp_path / "out.vcf", spliceai_field="SpliceAI")
    with pytest.raises(InputError, match=r"in\.vcf has INFO/SpliceAI of another tool"):  # before any work
        require_target(str(tmp_path / "out.vcf"), write(tmp_path, described), "SpliceAI")
    with pytest.raises(InputError, match="--spliceai-field SpTx: give the name"):
        require_target(str(tmp_path / "out.vcf"), write(tmp_path, described), "SpTx")
    annotated(write(tmp_path, bare), tmp_path / "out.vcf", spliceai_field="mine")


def test_a_target_is_checked_before_any_work(tmp_path: Path) -> None:
    for name in ("out.txt", "out.vcf.bz2", "out.gz", "vcf"):
        with pytest.raises(
            InputError, match=r"does not say what to write: name it \.vcf, \.vcf\.gz, \.vcf\.bgz or \.bcf"
        ):
            require_target(str(tmp_path / name))
    with pytest.raises(InputError, match="there is no folder"):
        require_target(str(tmp_path / "none" / "out.vcf"))
    with pytest.raises(InputError, match="cannot be committed atomically"):
        require_target("http://127.0.0.1:1/out.vcf")
    require_target(str(tmp_path / "out.vcf.gz"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    source = write(tmp_path, HEADER + RECORDS)
    for name in ("out.vcf", "out.vcf.gz"):
        (tmp_path / name).symlink_to("/dev/full")
        with pytest.raises(InputError, match=rf"{name} cannot be written: No space left on device"):
            annotated(source, tmp_path / name)


# Other tools


@needs_bcftools
@needs_tabix
def test_bcftools_and_tabix_read_what_is_written(tmp_path: Path) -> None:
    pytest.importorskip("pysam")
    source = write(tmp_path, HEADER + RECORDS)
    targets = [tmp_path / name for name in ("out.vcf", "out.vcf.gz", "out.bcf")]
    for target in targets:
        assert annotated(source, target, spliceai_field="SpliceAI").records == 3
    run("bgzip", "--test", targets[1])
    assert [line.split("\t")[1] for line in run("tabix", targets[1], "1:102-200").splitlines()] == ["102", "103"]
    views = [run("bcftools", "view", "--no-header", target) for target in targets]
    assert views[0] == views[1] == views[2]
    assert run("bcftools", "view", "--no-header", "--regions", "1:102", targets[2]).startswith("1\t102")
    kept = run("bcftools", "filter", "-i", "SpTx_dSplice>0.5", targets[0])
    assert [line.split("\t")[1] for line in kept.splitlines() if line[0] != "#"] == ["101"]
    kept = run("bcftools", "filter", "-i", 'SpTx_status="symbolic"', targets[2])
    assert [line.split("\t")[1] for line in kept.splitlines() if line[0] != "#"] == ["102", "103"]
    assert "SpTx_status=symbolic,symbolic" in run("bcftools", "merge", "--force-samples", *targets[1:])
    again = annotated(str(targets[2]), tmp_path / "again.bcf", spliceai_field="SpliceAI")
    assert again.records == 3
    assert run("bcftools", "view", "--no-version", tmp_path / "again.bcf") == run(
        "bcftools", "view", "--no-version", targets[2]
    )


@needs_bcftools
def test_split_vep_takes_the_entries_apart(tmp_path: Path) -> None:  # case 22
    target = tmp_path / "out.vcf"
    annotated(write(tmp_path, HEADER + RECORDS), target)
    split = ("bcftools", "+split-vep", "--annotation", "SpTx", "--severity", SEVERITY)
    shown = run(*split, "--duplicate", "-f", "%POS %Allele %Consequence %SYMBOL %d_splice %tissues\n", target)
    assert shown.splitlines() == [
        "101 G acceptor_gain&donor_loss A%7C1 0.9000 brain",
        "101 G donor_loss B 0.2500 brain",
        "101 T acceptor_gain&donor_loss A%7C1 0.9000 brain",
        "101 T donor_loss B 0.5000 brain",
    ]
    worst = run(*split, "--select", "worst", "-f", "%POS %Consequence %ds_dl\n", target)
    assert len(worst.splitlines()) == 1
    numbers = run(*split, "-c", "d_splice:Float", "-i", "d_splice>0.4", "--duplicate", "-f", "%POS %d_splice\n", target)
    assert numbers.splitlines()[0] == "101 0.9"
