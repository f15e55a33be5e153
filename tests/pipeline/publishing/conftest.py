"""A finished table of tracks and one of variants, to publish."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from material import tables, variant_tables
from material.variant_tables import around, scored

from pipeline.batch.layout import MANIFEST, held
from pipeline.batch.manifest import make_manifest
from pipeline.batch.measures import measure
from pipeline.batch.published import PublishedStore
from pipeline.batch.storage import Store

SETTINGS = """\
fasta: /home/somebody/GRCh38.fa.gz
gtf: https://host/files/gencode.gtf.gz?***
checkpoint: /home/somebody/model
regions: ["chr9:101-1,000"]
output: /home/somebody/table
workers: 3
"""


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of tracks."""
    store = tables.write_example(tmp_path_factory.mktemp("publishing") / "table")
    tables.put(store, "settings.yaml", SETTINGS.encode())
    return Path(store.path())


@pytest.fixture(scope="session")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of variants, with the bases about them."""
    root = tmp_path_factory.mktemp("publishing") / "scores"
    row = scored("chr9", 214_901, "G", "A", d_splice=0.7, tissues=["brain"], calibrated=True)
    found = variant_tables.write(root, [row], around(row, {}, {}))
    store, names = Store(root), found.header.tables
    done = held(store, names, found.header.fingerprint).done
    measures = {unit: tuple(measure(store.read_bytes(part.name)) for part in parts) for unit, parts in done.items()}
    digests = {"run.json": hashlib.sha256(store.read_bytes("run.json")).hexdigest()}
    manifest = make_manifest(names, done, measures, lambda part: {"chrom": part.place.partition("=")[2]}, digests)
    tables.put(store, MANIFEST, manifest.to_parquet())
    tables.put(store, "settings.yaml", f"vcf: /home/somebody/in.vcf.gz\n{SETTINGS}".encode())
    return root


@pytest.fixture(params=["tracks", "variants"])
def either(request: pytest.FixtureRequest) -> PublishedStore:
    """Both of them, one after the other."""
    return PublishedStore(request.getfixturevalue({"tracks": "table", "variants": "scores"}[request.param]))
