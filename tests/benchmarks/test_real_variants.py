"""A trained network on real genes: broken splice sites are lost, synonymous changes do nothing; a few of them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from material.local_run import compute, say
from material.scripts import load_script

from pipeline.inputs.genome import Genome
from pipeline.variants.run import prepare
from pipeline.variants.settings import VariantsConfig

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_variants.py"
BROKEN, SILENT = "CBWD1", "DOCK8"  # the first on the minus strand, the second on the plus strand


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


@pytest.mark.slow
def test_known_changes_have_the_known_effect(
    shared: Path, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = shared / "real" / "ci-spliceai"
    if not network.is_dir():
        pytest.skip(f"the trained network, {network.relative_to(shared.parent)}, is not beside the repository")
    fasta, gtf = (str(shared / "data" / name) for name in ("GRCh38.chr9_1Mb.fa.gz", "gencode.chr9_1Mb.gtf.gz"))
    genome = Genome(fasta)
    broken = list(script.broken_sites(script.longest_ccds(gtf, BROKEN), genome))
    silent = list(script.synonymous(gtf, script.longest_ccds(gtf, SILENT), genome))
    assert (len(broken), len(silent)) == (28, 46)
    assert {(one.ref, one.alt) for one in broken} == {("C", "G")}  # the G of GT and AG, on the minus strand
    script.write_vcf(tmp_path / "changes.vcf", "chr9", [*broken[::8], *broken[1::8], *silent[::12]])
    config = VariantsConfig(
        vcf=str(tmp_path / "changes.vcf"),
        fasta=fasta,
        gtf=gtf,
        genes=(BROKEN, SILENT),
        checkpoint=str(network),
        output=str(tmp_path / "scores"),
        sites=True,
        engine="shared",
        batch=1,
    )
    compute(prepare(config, say))
    assert script.judged(tmp_path / "scores", []), capsys.readouterr().out
    told = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0].split() for line in told] == [
        ["all", "donor", "4", "broken"],
        ["all", "acceptor", "4", "broken"],
        ["all", "synonymous", "4", "changes"],
    ]
