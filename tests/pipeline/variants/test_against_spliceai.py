"""Variants by SpliceAI's five networks give what SpliceAI's own tests say of them.

Needs the published files (SPTX_FAMILY, as in tests/sptx_core/checkpoint/family/test_convert.py) and the start of
chromosome 10 of GRCh37 in `real/`, kept beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from material.local_run import compute, say
from material.variant_runs import Line, vcf

from pipeline.variants.reader import open_variants
from pipeline.variants.run import prepare
from pipeline.variants.settings import VariantsConfig
from sptx_core.checkpoint.checkpoint import save_checkpoint
from sptx_core.checkpoint.family.convert import read_family

# Of TUBB8, on the minus strand, N beyond the gene, without a mask: gains and losses of acceptors and donors, and where.
KNOWN = {
    Line("chr10", 94077, "A", "C"): ((0.15, 0.27, 0.00, 0.05), (89, -23, -267, 193)),
    Line("chr10", 94555, "C", "T"): ((0.01, 0.18, 0.15, 0.62), (-2, 110, -190, 0)),
}
WHAT = ("ag", "al", "dg", "dl")
ROUNDING = 0.00501  # of two digits, and what float32 adds


@pytest.mark.slow
def test_the_published_scores_of_tubb8_come_out_to_the_base(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    networks = Path(os.environ.get("SPTX_FAMILY", "/nowhere")) / "spliceai"
    real = shared / "real"
    if not networks.is_dir() or not real.is_dir():
        pytest.skip("no published files of SpliceAI (SPTX_FAMILY), or no folder real/ beside the repository")
    save_checkpoint(read_family([networks])[0], tmp_path / "spliceai")
    (tmp_path / "in.vcf").write_text(vcf(KNOWN))
    settings = {
        "vcf": str(tmp_path / "in.vcf"),
        "fasta": str(real / "GRCh37.chr10_110kb.fa.gz"),
        "gtf": str(real / "TUBB8.gtf"),
        "checkpoint": str(tmp_path / "spliceai"),
        "output": str(tmp_path / "scores"),
        "flanks": "gene",
        "distance": 500,
    }
    compute(prepare(VariantsConfig.load(None, settings), say))
    rows = {row["pos"]: row for row in open_variants(str(tmp_path / "scores")).scan().collect().iter_rows(named=True)}
    for line, (changes, places) in KNOWN.items():
        row = rows[line.pos]
        assert [row[f"ds_{what}"] for what in WHAT] == pytest.approx(changes, abs=ROUNDING), line
        assert tuple(row[f"dp_{what}"] for what in WHAT) == places, line
