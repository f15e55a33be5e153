"""Addresses -> answers: parameters are read by their types, and what cannot be meant is one sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.browsing.questions import QUESTIONS, answer
from pipeline.browsing.session import BadQuestionError, Session, UnknownPlaceError

VIEW: dict[str, Any] = {"table": 0, "chrom": "chr1", "strand": "+", "start": 1_000, "end": 2_000, "bins": 100}


def test_an_answer_is_that_of_the_session(session: Session) -> None:
    assert answer(session, "config", "") == session.config()
    assert answer(session, "scores", urlencode(VIEW)) == session.scores(**VIEW)
    assert answer(session, "scores", urlencode(VIEW | {"strand": "-"})) == session.scores(**VIEW | {"strand": "-"})
    assert answer(session, "scores", urlencode(VIEW).replace("%2B", "+")) == session.scores(**VIEW)
    given = VIEW | {"least": "0.25", "most": 3}
    assert answer(session, "usage", urlencode(given)) == session.usage(0, "chr1", "+", 1_000, 2_000, 0.25, 3)
    assert answer(session, "find", "q=DOCK8&other=1") == session.find("DOCK8")


@pytest.mark.parametrize("question", ["", "nothing", "_view", "__init__", "locus", "tables", "config/", "../config"])
def test_there_are_no_other_questions(session: Session, question: str) -> None:
    with pytest.raises(UnknownPlaceError, match="there is no question"):
        answer(session, question, "")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"start": "-1"}, "start '-1': give a whole number"),
        ({"start": "1e3"}, "whole number"),
        ({"start": "١"}, "whole number"),
        ({"end": "9" * 30}, "whole number from 0 to 2147483647"),
        ({"bins": "0"}, "bins '0': give a whole number from 1 to 20000"),
        ({"bins": ""}, "whole number"),
        ({"strand": "x"}, "strand 'x' cannot be meant"),
        ({"table": "2"}, "table 2 is not there: give 0 or 1"),
        ({"start": "2000"}, "no stretch of chr1"),
        ({"start": "1000000", "end": "1000001"}, "no stretch of chr1"),
        ({"chrom": "y" * 2_000}, "cannot be meant"),
    ],
)
def test_what_cannot_be_meant_is_told(session: Session, changed: dict[str, str], told: str) -> None:
    with pytest.raises(BadQuestionError, match=told):
        answer(session, "scores", urlencode(VIEW | changed))


@pytest.mark.parametrize("least", ["nan", "inf", "-0.1", "1.1", "much", ""])
def test_a_score_lies_between_0_and_1(session: Session, least: str) -> None:
    with pytest.raises(BadQuestionError, match="give a number from 0 to 1"):
        answer(session, "usage", urlencode(VIEW | {"least": least}))


def test_parameters_are_there_once_and_not_too_many(session: Session) -> None:
    with pytest.raises(BadQuestionError, match="needs the parameter chrom"):
        answer(session, "transcripts", "start=1&end=2")
    with pytest.raises(BadQuestionError, match="the parameter start is there more than once"):
        answer(session, "transcripts", "chrom=chr1&start=1&start=2&end=3")
    for query in ("&".join(f"a{at}=1" for at in range(30)), "q=%ff"):
        with pytest.raises(BadQuestionError, match="cannot be read"):
            answer(session, "find", query)


def test_an_unknown_contig_is_told(session: Session) -> None:
    with pytest.raises(UnknownPlaceError, match="there is no contig chr2"):
        answer(session, "scores", urlencode(VIEW | {"chrom": "chr2"}))


@pytest.mark.slow
@given(st.sampled_from(QUESTIONS), st.dictionaries(st.sampled_from([*VIEW, "q", "key", "most", "least"]), st.text()))
@settings(max_examples=100)
def test_any_parameters_are_answered_or_refused(session: Session, question: str, given: dict[str, str]) -> None:
    with suppress(BadQuestionError, UnknownPlaceError):
        json.dumps(answer(session, question, urlencode(given)), allow_nan=False)
