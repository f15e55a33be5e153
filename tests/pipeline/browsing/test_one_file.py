from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.browsing.one_file import MAX_BASES, MIN_SCORE, answers, page_of, write_page
from pipeline.browsing.session import Session
from pipeline.coordinates import Interval
from sptx_core.errors import InputError

LOCUS = Interval("chr1", 1_000, 4_000)
BLOCK = re.compile(r'<script type="application/json" id="embedded">(.*?)</script>', re.DOTALL)


@pytest.mark.slow
def test_it_holds_what_the_session_answers(session: Session) -> None:
    held = answers(session, LOCUS)
    assert held["region"] == {"chrom": "chr1", "start": 1_000, "end": 4_000}
    assert held["sites"][1] == {key: session.sites(1, *LOCUS, 0.01, 10**6)[key] for key in ("columns", "rows")}
    assert held["usage"]["0-"] == session.usage(0, "chr1", "-", 1_000, 4_000, 0.01, 10**6)
    assert held["introns"]["0+"] == session.introns(0, "chr1", "+", 1_000, 4_000)["introns"]
    assert held["transcripts"] == session.transcripts(*LOCUS)
    assert held["sequence"] == session.sequence(0, *LOCUS)
    scores, asked = held["scores"]["1+"], session.scores(1, "chr1", "+", 1_000, 4_000, 3_000)
    seen = [k for k, pair in enumerate(zip(asked["acceptor"], asked["donor"], strict=True)) if max(pair) >= MIN_SCORE]
    assert {**asked, **{name: [asked[name][k] for k in seen] for name in ("bin", "acceptor", "donor")}} == scores


@pytest.mark.slow
def test_what_is_read_in_steps_is_joined(session: Session) -> None:
    wide = answers(session, Interval("chr1", 0, 800_000))
    assert wide["scores"]["0+"]["loci"] == [[1_000, 4_500], [261_000 - 1, 263_500], [700_000, 701_000]]
    assert len(wide["sequence"]["sequence"]) == 800_000
    introns = wide["introns"]["0+"]
    assert len({tuple(one[:2]) for one in introns}) == len(introns)
    assert [262_300, 700_100] in [one[:2] for one in introns]
    near = answers(session, LOCUS)["scores"]["0+"]["bin"]
    assert {at + 1_000 for at in near} <= set(wide["scores"]["0+"]["bin"])


def test_it_tells_no_place_of_a_disk(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "gene.html"
    write_page(session, LOCUS, path)
    page = path.read_text()
    assert str(tmp_path.parent.parent) not in page
    (block,) = BLOCK.findall(page)
    assert json.loads(block)["config"]["tables"][0]["name"] == "one"


def test_the_same_page_twice(session: Session) -> None:
    assert page_of(answers(session, LOCUS)) == page_of(answers(session, LOCUS))


def test_a_name_ends_no_script(session: Session) -> None:
    held = answers(session, LOCUS)
    plain = page_of(held)
    held["config"]["tables"][0]["name"] = "</script><!--<script>"
    (block,) = BLOCK.findall(page_of(held))
    assert json.loads(block) == held
    assert page_of(held).count("<script") == plain.count("<script")


def test_a_locus_that_is_too_long_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match=f"at most {MAX_BASES:,}"):
        answers(session, Interval("chr1", 0, MAX_BASES + 1))


def test_a_page_that_cannot_be_written_is_one_sentence(session: Session, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        write_page(session, LOCUS, tmp_path / "missing" / "gene.html")
    assert list(tmp_path.iterdir()) == []
