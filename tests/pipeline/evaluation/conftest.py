"""Small tables with scores that a test sets, evaluated against an annotation that a test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from material import genomes, tables

from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Evaluation]:
    """Evaluate a table of `parts` against `transcripts` and, if there is any, a usage table as text."""

    def make(parts: list[Any], *transcripts: Any, usage: str | None = None, **options: Any) -> Evaluation:
        tracks = tables.write(tmp_path / "table", parts, **options)
        annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", transcripts))
        if usage is None:
            return evaluate(tracks, annotation)
        (tmp_path / "usage.tsv").write_text(usage)
        return evaluate(tracks, annotation, read_usage(str(tmp_path / "usage.tsv")))

    return make
