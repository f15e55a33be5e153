"""The version of sptx, of which the installed package's metadata is the one source."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sptx")
except PackageNotFoundError:  # the sources are on the path and were never installed
    __version__ = "0+unknown"
