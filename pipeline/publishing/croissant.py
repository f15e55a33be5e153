"""croissant.json of a published table: metadata that programs read (MLCommons Croissant 1.0).

The files beside the parts are single objects with their SHA-256; the parts of a table are one set of files, of which
SHA256SUMS and the manifest have the checksums. A record set has the columns: those of the folders are found in the
files' paths. No date: the same table gives the same bytes.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html; its JSON-LD context is that of the
specification.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.publishing.card import CITATION, HERE, TO_FILL_IN, Publication, summary, title
from pipeline.publishing.columns import Column
from pipeline.publishing.contents import Contents, Table
from sptx_core.words import counted

CROISSANT = "croissant.json"
CONFORMS = "http://mlcommons.org/croissant/1.0"
PARQUET, JSON, YAML = "application/x-parquet", "application/json", "application/yaml"
_ENCODINGS = {"parquet": PARQUET, "json": JSON, "yaml": YAML}
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "float32": "sc:Float",
}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(contents: Contents, publication: Publication, beside: Mapping[str, bytes]) -> bytes:
    """The file; `beside` are the files beside the parts as they are published."""
    at = {} if publication.where == HERE else {"url": publication.where}
    body = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": f"sptx-{contents.job}-{contents.fingerprint[:12]}",
        "alternateName": title(contents),
        "description": summary(contents),
        **at,
        "citeAs": CITATION,
        "license": publication.licence or TO_FILL_IN.replace("*", ""),
        "version": "1.0.0",
        "keywords": ["splicing", "genomics", "splice sites"],
        "isLiveDataset": False,
        "distribution": [
            *(_object(name, content) for name, content in sorted(beside.items())),
            *(_set(table) for table in contents.tables),
        ],
        "recordSet": [_records(table) for table in contents.tables],
    }
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def _object(name: str, content: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": _ENCODINGS[name.rpartition(".")[2]],
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _set(table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table.name}-parts",
        "name": f"{table.name}-parts",
        "description": f"{counted(len(table.parts), 'part')} with {counted(table.rows, 'row')}",
        "encodingFormat": PARQUET,
        "includes": f"{table.name}/{'*/' * table.depth}*.parquet",
    }


def _records(table: Table) -> dict[str, Any]:
    fields = [_field(table, column) for column in table.columns]
    return {"@type": "cr:RecordSet", "@id": table.name, "name": table.name, "field": fields}


def _field(table: Table, column: Column) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{table.name}-parts"}}
    if column.folder:
        source |= {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": f".*{column.name}=([^/]+)/.*"}}
    else:
        source["extract"] = {"column": column.name}
    inner = column.type.removeprefix("list of ")
    return {
        "@type": "cr:Field",
        "@id": f"{table.name}/{column.name}",
        "name": column.name,
        "description": f"{column.meaning} ({column.unit})",
        "dataType": _TYPES[inner],
        **({"repeated": True} if inner != column.type else {}),
        "source": source,
    }
