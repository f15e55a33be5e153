"""The address of a question -> its answer: `scores`, `table=0&chrom=chr9&...` -> what `Session.scores` gives.

The parameters of a question are those of its method, so they stand there alone. Each is checked by its type: whole
numbers from 0 to 2**31 - 1, numbers from 0 to 1 with a point, texts of bounded length. Parameters that a question does
not have are not looked at.

Errors: `UnknownPlaceError` for a question that there is not, `BadQuestionError` for a parameter that is missing, is
there twice, or cannot be meant; and what the session raises.
"""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import parse_qs

from pipeline.browsing.session import BadQuestionError, Session, UnknownPlaceError

QUESTIONS = (
    *("config", "scores", "usage", "sites", "transcripts", "introns", "sequence", "find", "variants", "variant"),
)
MAX_PARAMETERS = 20
MAX_TEXT = 1000  # characters of a name
MAX_NUMBER = 2**31 - 1
LIMITS = {"bins": (1, 20_000), "most": (0, 20_000)}
STRANDS = ("+", "-")


def answer(session: Session, question: str, query: str) -> Any:
    """Ask a session.

    Parameters
    ----------
    session : Session
        Who is asked.
    question : str
        One of `QUESTIONS`.
    query : str
        The address behind its question mark.

    Returns
    -------
    dict or list
        Ready for JSON.
    """
    if question not in QUESTIONS:
        raise UnknownPlaceError(f"there is no question {question[:MAX_TEXT]!r}; there are {', '.join(QUESTIONS)}")
    method = getattr(session, question)
    given = _given(query)
    values = {}
    for name, parameter in inspect.signature(method, eval_str=True).parameters.items():
        if name in given:
            values[name] = _value(name, given[name], parameter.annotation)
        elif parameter.default is parameter.empty:
            raise BadQuestionError(f"api/{question} needs the parameter {name}")
    return method(**values)


def _given(query: str) -> dict[str, str]:
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:  # too many, or no UTF-8
        raise BadQuestionError("the parameters cannot be read") from None
    twice = [name for name, values in found.items() if len(values) > 1]
    if twice:
        raise BadQuestionError(f"the parameter {twice[0][:MAX_TEXT]} is there more than once")
    return {name: values[0] for name, values in found.items()}


def _value(name: str, text: str, kind: type) -> Any:
    if kind is str:
        text = "+" if name == "strand" and text == " " else text  # a plus sign that was not percent-encoded
        if len(text) > MAX_TEXT or (name == "strand" and text not in STRANDS):
            raise BadQuestionError(f"{name} {text[:40]!r} cannot be meant")
        return text
    if kind is int:
        least, most = LIMITS.get(name, (0, MAX_NUMBER))
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NUMBER)) and least <= int(text) <= most):
            raise BadQuestionError(f"{name} {text[:40]!r}: give a whole number from {least} to {most}")
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number <= 1:
        raise BadQuestionError(f"{name} {text[:40]!r}: give a number from 0 to 1")
    return number
