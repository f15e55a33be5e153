"""URIs are shown without what gives access to them, and otherwise as they are."""

from __future__ import annotations

import pickle

import pytest

from sptx_core.errors import InputError, UnfinishedError
from sptx_core.redaction import shown, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/genome.fa", "https://***@host/genome.fa"),
        ("https://ghp_token@host/genome.fa", "https://***@host/genome.fa"),
        ("ftp://me:p@ss:word@host:21/x", "ftp://***@host:21/x"),
        ("https://host/x.fa?X-Amz-Credential=AK&X-Amz-Signature=0a1b", "https://host/x.fa?***"),
        ("simplecache::https://me:pass@host/x?sig=s%2F1&se=2026", "simplecache::https://***@host/x?***"),
        (
            "URL('https://h/x?token=t') and https://h/y?key=k; do this.",
            "URL('https://h/x?***') and https://h/y?***; do this.",
        ),
        ('{"fasta": "https://h/x?token=t", "n": 1}', '{"fasta": "https://h/x?***", "n": 1}'),
        ("s3://bucket/x?versionId=aB.1_-&token=t", "s3://bucket/x?***"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "abfs://container@account.dfs.core.windows.net/tracks",
        "s3://bucket/a@b/c:d@e.fa",
        "s3://bucket/x.fa?versionId=aB.1_-",
        "https://host:8443/x.fa",
        "/data/what?/me:pass@host",
        "is it at s3://bucket/x? No",
        "is it at s3://bucket/x?",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("kind", [InputError, UnfinishedError])
def test_no_error_shows_a_secret(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("https://me:pass@host/x?sig=1 cannot be read")))
    assert str(error) == "https://***@host/x?*** cannot be read"


def test_plain_values_keep_their_form() -> None:
    given = {"cause": 'GET "https://h/x?sig=abc" failed\nat last', "n": 1, "many": ("https://u:p@h/", None)}
    assert shown(given) == {"cause": 'GET "https://h/x?***" failed\nat last', "n": 1, "many": ["https://***@h/", None]}


def test_a_quoted_value_does_not_end_a_query() -> None:
    assert "abc" not in without_secrets("of https://h/x?filename='x'&X-Amz-Signature=abc now")
