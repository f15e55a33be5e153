"""The page's modules as one script, and igv.js, pinned.

`static/` has

    index.html, page.css    the page; its addresses are relative
    *.js                    the page's modules, in the order of `MODULES`: each imports only from those before it
    igv.min.js              igv.js as its authors publish it, unchanged (npm package `igv`, file `dist/igv.min.js`)
    NOTICES.txt             licences of igv.js and of what its file contains

igv.js is renewed by taking the file of another version of the package, and its version and digest here.
"""

from __future__ import annotations

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
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


_IMPORT = re.compile(r'^import \{(?P<names>[^}]+)\} from "\./(?P<module>[^"]+)"$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?P<kind>const|class|function|async function) (?P<name>\w+)", re.MULTILINE)


def text_of(name: str) -> str:
    """A file of the page."""
    return (STATIC / name).read_text("utf-8")


def bundle() -> str:
    """The modules as one script: each in a function of its own, which returns what it exports."""
    parts = ['"use strict"', "const modules = {}"]
    for name in MODULES:
        source = text_of(name)
        exported = [found["name"] for found in _EXPORT.finditer(source)]
        body = _IMPORT.sub(lambda found: f'const {{{found["names"]}}} = modules["{found["module"]}"]', source)
        body = _EXPORT.sub(lambda found: f"{found['kind']} {found['name']}", body)
        parts.append(f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exported)} }}\n}})()')
    return "\n".join(parts)
