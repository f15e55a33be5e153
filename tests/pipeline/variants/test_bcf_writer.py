"""BCF of any VCF: what its header lacked is described, what it cannot hold is refused; indexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.inputs.vcf import open_vcf
from pipeline.variants.bcf_writer import MAX_TBI_POS, index_of, missing_definitions, write_bcf
from pipeline.variants.vcf_notes import RecordNotes, VcfNotes
from pipeline.variants.vcf_writer import write_vcf
from sptx_core.errors import InputError

BARE = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tchild\n"
RECORDS = "1\t5\t.\tA\tG\t.\tq10;PASS\tDP=3;FLAG;X=;END=5\tGT:AD\t0|1:4,5\nHLA:01*01\t7\t.\tA\tG\t.\t.\tDP=3\tGT\t1\n"


def write(folder: Path, text: str, name: str = "in.vcf") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_what_a_header_lacks(tmp_path: Path) -> None:
    unknown = 'Description="Not described in the input"'
    assert missing_definitions(write(tmp_path, BARE + RECORDS), {"1": 1000, "2": 9}) == [
        "##contig=<ID=1,length=1000>",
        f"##FILTER=<ID=q10,{unknown}>",
        f"##INFO=<ID=DP,Number=.,Type=String,{unknown}>",
        f"##INFO=<ID=FLAG,Number=0,Type=Flag,{unknown}>",
        f"##INFO=<ID=X,Number=0,Type=Flag,{unknown}>",
        '##INFO=<ID=END,Number=1,Type=Integer,Description="End position">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        f"##FORMAT=<ID=AD,Number=.,Type=String,{unknown}>",
        "##contig=<ID=HLA:01*01>",
    ]


def test_what_a_header_describes_is_not_missing(tmp_path: Path) -> None:
    lacking = missing_definitions(write(tmp_path, BARE + RECORDS), {})
    assert missing_definitions(write(tmp_path, "\n".join([*lacking, BARE + RECORDS])), {}) == []


def test_a_bare_vcf_becomes_bcf_and_is_annotated_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pysam")
    notes = VcfNotes(
        checkpoint="ab", distance=100, mask="both", flanks="genomic", precision="float32", contig_lengths={"1": 1000}
    )
    source = write(tmp_path, f"\n{BARE}# comment\n\n{RECORDS}".replace("\n", "\r\n"))
    for name in ("once.bcf", "twice.bcf"):
        target = str(tmp_path / name)
        done = write_vcf(source, target, notes, [RecordNotes(["too_long"])] * 2)
        assert (done.records, done.index_uri, done.note) == (2, f"{target}.csi", None)
        source = target
    once, twice = (tmp_path / name for name in ("once.bcf", "twice.bcf"))
    with open_vcf(str(once)) as vcf, open_vcf(str(twice)) as again:
        assert vcf.header.contigs == {"1": 1000, "HLA:01*01": None}
        assert vcf.header.text == again.header.text
        lines = list(vcf.lines())
        assert lines == list(again.lines())
    fields = "DP=3;FLAG;X;END=5;SpTx_status=too_long"
    assert lines[0].decode() == f"1\t5\t.\tA\tG\t.\tq10;PASS\t{fields}\tGT:AD\t0|1:4,5\n"
    assert capfd.readouterr() == ("", "")


def test_a_malformed_record_is_named_before_anything_is_written(tmp_path: Path) -> None:
    source = write(tmp_path, BARE + RECORDS + "1\tx\t.\tA\tG\t.\t.\t.\n")
    with pytest.raises(
        InputError, match=r"in\.vcf line 4: POS is 'x'.*; BCF cannot hold such a record, write a \.vcf\.gz"
    ):
        missing_definitions(source, {})


def test_what_htslib_refuses_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pysam")
    text = write(tmp_path, "##fileformat=VCFv4.2\n##contig=<ID=1>\n" + BARE + "1\t5\t.\tA\tG\t.\t.\t.\tGT\n")
    with pytest.raises(InputError, match=r"^out\.bcf cannot be written as BCF: .*; write a \.vcf\.gz") as refused:
        write_bcf(Path(text), tmp_path / "out.tmp", "out.bcf")
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_indexes_by_kind_and_length_of_contigs(tmp_path: Path) -> None:
    bgzf = pytest.importorskip("Bio.bgzf")
    pytest.importorskip("pysam")
    blocked = tmp_path / "in.vcf.gz"
    with bgzf.BgzfWriter(str(blocked), "wb") as file:
        file.write((BARE + RECORDS).encode())
    assert index_of(blocked, is_bcf=False, last=7)[0] == ".tbi"  # type: ignore[index]  # not None
    assert index_of(blocked, is_bcf=False, last=MAX_TBI_POS + 1)[0] == ".csi"  # type: ignore[index]  # not None
    assert [path.name for path in tmp_path.iterdir()] == ["in.vcf.gz"]
    assert index_of(Path(write(tmp_path, BARE, "cut.bcf")), is_bcf=True, last=7) is None
