"""BCF files: the same records as of the VCF that they were made from, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.batch.storage import Store
from pipeline.inputs.vcf import open_vcf
from sptx_core.errors import InputError

TEXT = """##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##contig=<ID=chr1,length=1000>
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tchild
chr1\t101\trs1\tA\tC,<DEL>\t.\tPASS\tDP=3\tGT\t0|1
chr1\t205\t.\tacg\tA\t.\tPASS\t.\tGT\t1
"""


@pytest.fixture
def bcf(tmp_path: Path) -> Path:
    """`TEXT` as BCF, under a name that does not say so."""
    bcftools = pytest.importorskip("pysam.bcftools")
    text, made = tmp_path / "in.vcf", tmp_path / "in.dat"
    text.write_text(TEXT)
    bcftools.view("--no-version", "--output-type", "b", "--output", str(made), str(text), catch_stdout=False)
    return made


def test_a_bcf_reads_as_its_vcf(bcf: Path, cache: Path) -> None:
    Store("memory://bcf").write_atomic("in.dat", bcf.read_bytes())
    for uri in (str(bcf), "memory://bcf/in.dat"):
        with open_vcf(uri) as vcf:
            assert (vcf.header.text, vcf.header.contigs) == (TEXT[: TEXT.index("chr1\t")], {"chr1": 1000})
            found = list(vcf.records())
        assert b"".join(record.raw for record in found).decode() == TEXT[TEXT.index("chr1\t") :]
        assert [record.genotype(9).alleles for record in found] == [(0, 1), (1,)]


def test_a_cut_bcf_is_refused(bcf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bcf.read_bytes()
    for size in (len(content) - 28, len(content) - 60, 200, 60):
        bcf.write_bytes(content[:size])
        with pytest.raises(InputError, match="is a damaged or cut") as refused, open_vcf(str(bcf)) as vcf:
            list(vcf.records())
        assert str(refused.value).startswith(str(bcf))
    assert capfd.readouterr() == ("", "")


def test_without_pysam_a_bcf_is_refused(bcf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysam", None)
    with pytest.raises(InputError, match=r"is BCF, which needs pysam: install sptx\[vcf\]"), open_vcf(str(bcf)):
        pass
