"""Files of the page (`static/`), which come with the package: its own, and igv.js, pinned.

    index.html, page.css    the page; its addresses are relative
    *.js                    the page's modules, in the order of `MODULES`: each imports only from those before it
    igv.min.js              igv.js as its authors publish it, unchanged (npm package `igv`, file `dist/igv.min.js`)
    NOTICES.txt             licences of igv.js and of what its file contains

igv.js is replaced by taking the file from another version of the package, and its version and digest here.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

IGV = "igv.min.js"
IGV_VERSION = "3.8.10"
IGV_SHA256 = "87b991ae2a720978172e269dd5127c495e56df5af31144dff19c83124e2f5744"

INDEX = "index.html"
STYLE = "page.css"
MODULES = (
    "colours.js",
    "text.js",
    "embedded.js",
    "data.js",
    "track.js",
    "scores.js",
    "genes.js",
    "variants.js",
    "view.js",
    "pictures.js",
    "search.js",
    "sites.js",
    "page.js",
)


def asset(name: str) -> Traversable:
    """A file of the page by its name."""
    return files("pipeline.browsing") / "static" / name
