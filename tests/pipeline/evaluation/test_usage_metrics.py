"""Predicted against measured usage of small tables: which sites are compared, and with what."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from material import genomes, tables
from scipy import stats

from pipeline.evaluation.evaluate import Evaluation
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE, TISSUES
from sptx_core.errors import InputError

Part, Transcript = tables.Part, genomes.Transcript
Evaluated = Callable[..., Evaluation]

EXONS = [(101, 120), (151, 160), (201, 230)]
SPAN = range(101, 231)
HEADER = "contig\tposition\tstrand\tkind\tbrain\tunheard\tliver\n"


def line(pos: int, kind: str, *values: object, contig: str = "chr1", strand: str = "-") -> str:
    return "\t".join(map(str, (contig, pos, strand, kind, *values))) + "\n"


def usage_of(brain: float, liver: float) -> list[float]:
    return [{"brain": brain, "liver": liver}.get(name, 0.9) for name in TISSUES]


PREDICTED = {120: usage_of(0.1, 0.8), 151: usage_of(0.4, 0.3), 160: usage_of(0.6, 0.6), 201: usage_of(0.7, 0.2)}


def test_usage_is_compared_where_table_annotation_and_usage_meet(evaluated: Evaluated) -> None:
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, "")
    given += line(160, "acceptor", 0.4, 1, 0.5) + line(201, "donor", "", 1, 0.1)
    given += line(160, "donor", 0.9, 1, 0.9) + line(201, "donor", 0.9, 1, 0.9, strand="+")  # no such sites
    given += line(130, "donor", 0.9, 1, 0.9) + line(120, "acceptor", 0.3, 1, 0.3, contig="chr9")
    parts = [Part("chr1", "-", SPAN[:60], usage=PREDICTED), Part("chr1", "-", SPAN[60:], usage=PREDICTED)]
    usage = evaluated(parts, Transcript("A", "chr1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert (usage.given, usage.annotated, usage.compared, usage.ignored) == (8, 4, 4, ("unheard",))
    brain, liver, every = usage.by_tissue
    assert (brain.tissue, brain.pairs, liver.pairs, every.pairs, every.specific_pairs) == ("brain", 3, 3, 6, 4)
    assert brain.pearson == pytest.approx(stats.pearsonr([0.1, 0.4, 0.6], [0.2, 0.5, 0.4]).statistic)
    assert brain.spearman == pytest.approx(0.5)
    assert liver.pearson == pytest.approx(stats.pearsonr([0.8, 0.6, 0.2], [0.9, 0.5, 0.1]).statistic)
    assert every.specific_pearson == pytest.approx(
        stats.pearsonr([-0.35, 0, 0.35, 0], [-0.35, -0.05, 0.35, 0.05]).statistic
    )


def test_usage_by_contig_alias(evaluated: Evaluated) -> None:
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9, contig="1")
    parts = [Part("chr1", "-", SPAN, usage=PREDICTED)]
    usage = evaluated(parts, Transcript("A", "1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert usage.compared == 1
    assert usage.by_tissue[0][1:] == (1, None, None, 1, None, None)


def test_usage_of_a_base_in_several_transcripts_is_their_mean(evaluated: Evaluated) -> None:
    def rows(usage: dict[int, list[float]], name: str) -> Any:
        return Part("chr1", "-", SPAN, usage=usage, transcripts=[name] * 130)

    other = {at: usage_of(0.2, 0.2) for at in PREDICTED}
    unspliced = {at: usage_of(1, 1) for at in PREDICTED}
    parts = [rows(PREDICTED, "A"), rows(other, "B"), rows(unspliced, "C")]
    transcripts = [Transcript(name, "chr1", "-", EXONS) for name in "AB"] + [Transcript("C", "chr1", "-", [(101, 230)])]
    given = HEADER + line(120, "acceptor", 0.2, 1, "") + line(151, "donor", 0.5, 1, "") + line(201, "donor", 0.4, 1, "")
    usage = evaluated(parts, *transcripts, usage=given).usage
    assert usage is not None
    assert (usage.compared, usage.by_tissue[0].pairs) == (3, 3)
    assert usage.by_tissue[0].pearson == pytest.approx(stats.pearsonr([0.15, 0.3, 0.45], [0.2, 0.5, 0.4]).statistic)


def test_rounded_usage_keeps_its_ties(evaluated: Evaluated) -> None:
    """0.3 - (0.3 + 0.1) / 2 and 0.9 - (0.9 + 0.7) / 2 are the same step, though not the same float32."""
    predicted = {120: usage_of(0.3, 0.1), 151: usage_of(0.9, 0.7), 160: usage_of(0.5, 0.3)}
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, 0.1)
    given += line(160, "acceptor", 0.2, 1, 0.3)
    parts = [Part("chr1", "-", SPAN, usage=predicted)]
    usage = evaluated(parts, Transcript("A", "chr1", "-", EXONS), usage=given).usage
    assert usage is not None
    assert usage.by_tissue[0].specific_spearman is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            HEADER.replace("brain", "Brain").replace("liver", "x") + line(1, "donor", 0, 0, 0),
            "has no tissue of the tra",
        ),
        (HEADER + line(120, "donor", 0, 0, 0, contig="chrX"), "has no contig of the tracks: it has chrX, they have ch"),
    ],
)
def test_usage_tables_of_something_else(evaluated: Evaluated, given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluated([Part("chr1", "-", SPAN)], Transcript("A", "chr1", "-", EXONS), usage=given)


def test_scores_of_a_network_without_tissues(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tracks, "channels", SPLICE)
    with pytest.raises(InputError, match="holds no usage by tissue that could be compared: leave --usage out"):
        evaluated(
            [Part("chr1", "-", SPAN)],
            Transcript("A", "chr1", "-", EXONS),
            usage=HEADER + line(120, "acceptor", 0.5, 1, 0.5),
        )


def test_usage_without_a_site_in_common_has_no_metrics(evaluated: Evaluated) -> None:
    given = HEADER + line(500, "donor", 0.5, 1, 0.5) + line(120, "donor", 0.5, 1, 0.5)  # 120 is an acceptor
    found = evaluated([Part("chr1", "-", SPAN)], Transcript("A", "chr1", "-", EXONS), usage=given)
    assert found.usage is not None
    assert (found.usage.given, found.usage.annotated, found.usage.compared) == (2, 0, 0)
    assert json.loads(found.to_json())["usage"]["by_tissue"][0]["pearson"] is None


def test_usage_of_an_exon_that_a_transcript_skips_is_told_apart(evaluated: Evaluated) -> None:
    given = HEADER + line(120, "acceptor", 0.2, 1, 0.9) + line(151, "donor", 0.5, 1, 0.3)
    given += line(160, "acceptor", 0.4, 1, 0.5) + line(201, "donor", 0.6, 1, 0.1)
    whole, skipping = (Transcript(str(len(of)), "chr1", "-", of, gene="G") for of in (EXONS, EXONS[::2]))
    found = evaluated([Part("chr1", "-", SPAN, usage=PREDICTED)], whole, skipping, usage=given)
    assert found.usage is not None
    alternative = found.usage.alternative
    assert alternative is not None
    assert (alternative.sites, alternative.pairs) == (2, 4)  # 151 and 160, in brain and liver
    parts = [0.05, -0.05, 0, 0], [0.1, -0.1, -0.05, 0.05]
    assert alternative.network_pearson == pytest.approx(stats.pearsonr(*parts).statistic)
    assert json.loads(found.to_json())["usage"]["alternative"] == alternative._asdict()
