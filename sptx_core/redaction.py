"""Text as it may be shown and saved: the URIs in it without what gives access to them.

A URI can hold secrets in two places: before its host (`https://user:password@host/x`) and in its query (a presigned
`https://host/x?X-Amz-Signature=...`, a shared `?sv=...&sig=...` of Azure, a `?token=...`). Both are replaced by `***`.
Which words of a query are secret differs from server to server, so all of it goes, but for the version of an object
(`?versionId=...`). The result says which file it is; it need not open it any more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_USER = re.compile(r"(?P<before>\b(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*)://)(?P<user>[^/\s?#\"'<>]*)@")
# A quote ends a URI, unless what is quoted is a value of the query (filename='x'&...).
_QUERY = re.compile(
    r"(://[^\s?\"'<>]*)\?(?!versionId=[\w.-]+(?![\w.&=-]))"
    r"(?:[^\s\"'<>]|[\"'](?=[^\s\"'<>]*[\"']?&))*[^\s\"'<>.,;:)\]}]"
)
_PASSWORDLESS = frozenset({"http", "https"})  # where a user without a password is a token


def without_secrets(text: str) -> str:
    """Hide the secrets of every URI in a text.

    Parameters
    ----------
    text : str
        A URI, or any text with URIs in it: a message, a traceback, YAML or JSON.

    Returns
    -------
    str
        The same with `***` in place of a user with a password and of a query.

    """
    return _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub(_hide_user, text)) if "://" in text else text


def shown(value: Any) -> Any:
    """A plain value (of JSON or YAML) with every text in it as `without_secrets` gives it."""
    if isinstance(value, Mapping):
        return {name: shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return list(map(shown, value))
    return without_secrets(value) if isinstance(value, str) else value


def _hide_user(found: re.Match[str]) -> str:
    # A user alone is no secret elsewhere: abfs://container@account.dfs.core.windows.net names a container.
    if ":" in found["user"] or found["protocol"].lower() in _PASSWORDLESS:
        return f"{found['before']}{HIDDEN}@"
    return found[0]
