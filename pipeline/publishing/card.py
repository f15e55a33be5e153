"""README.md of a published table: a dataset card of the Hugging Face hub, which reads as a page anywhere else.

It holds what the table is, of which genome, annotation and checkpoint (by digest), the columns with their units, the
licence, how to cite, and code that reads the table at `where`: a URI, or "." for the folder that the card lies in. No
date, no path of a machine: the same table gives the same bytes.

Header: https://huggingface.co/docs/hub/datasets-cards (YAML; `configs` says which files are which table).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from pipeline.publishing.contents import Contents, Table
from pipeline.publishing.snippets import snippets
from pipeline.tracks.layout import TRACKS
from sptx_core.channels import CHANNELS, SPLICE
from sptx_core.words import counted

CARD = "README.md"
HERE = "."
# Ids of licences that the hub knows, from huggingface.co/docs/hub/repositories-licenses; others are told by their name.
HUB_LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "odc-by", "odbl", "pddl", "cc0-1.0"),
        *("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    )
)
TO_FILL_IN = "**to be filled in** by whoever publishes this table"
_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))
_LARGE_SIZES = (("10M<n<100M", 10**8), ("100M<n<1B", 10**9), ("1B<n<10B", 10**10))
CITATION = "Cite the network that computed this table, its genome and its annotation, and sptx (CITATION.cff)."
_NETWORK_PAPER = (
    "If the network is SpTransformer: You et al., *SpliceTransformer*, Nature Communications 15, 9129 (2024), "
    "https://doi.org/10.1038/s41467-024-53088-6."
)


class Publication(NamedTuple):
    """How a table is published: where readers find it ("." for beside the card), and its licence ("" for none yet)."""

    where: str = HERE
    licence: str = ""


def card(contents: Contents, publication: Publication) -> str:
    """The text of the card."""
    sections = [
        f"# {title(contents)}",
        _summary(contents),
        "## What it was made from",
        _origin(contents),
        *_tables(contents),
        "## Reading it",
        *_snippets(contents, publication.where),
        "## Checking it",
        "```sh\nsha256sum --check --quiet SHA256SUMS   # in a copy of this folder\nsptx verify "
        f"{publication.where}\n```",
        "## Licence",
        _licence(publication.licence),
        "## How to cite",
        CITATION + (f" {_NETWORK_PAPER}" if tuple(_channels(contents)) == CHANNELS else ""),
    ]
    header = yaml.safe_dump(_header(contents, publication), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n\n".join(sections) + "\n"


def title(contents: Contents) -> str:
    """The name of the dataset, for people."""
    of_tracks = "Splice-site probabilities and usage" if has_usage(contents) else "Splice-site probabilities"
    what = of_tracks if contents.job == TRACKS else "Variants scored for splicing"
    genome = contents.input_name("fasta")
    return f"{what}, {genome}" if genome else what


def summary(contents: Contents) -> str:
    """What it is, in a sentence or two."""
    rows = contents.tables[0].rows
    if contents.job == TRACKS:
        usage = ", and its usage by tissue," if has_usage(contents) else ","
        return (
            f"The probability that a base is a splice acceptor or donor{usage} for {counted(rows, 'base')} of the "
            "transcripts of a genome, each strand by itself."
        )
    usage = ", and changes of their usage by tissue," if has_usage(contents) else ","
    return (
        f"What changes of the genome do to splice sites: gains and losses of acceptors and donors{usage} in "
        f"{counted(rows, 'row')}."
    )


def has_usage(contents: Contents) -> bool:
    """Whether the network gives usage by tissue, beside probabilities of splice sites."""
    return set(_channels(contents)) > set(SPLICE)


def _summary(contents: Contents) -> str:
    return (
        f"{summary(contents)} Computed by a neural network from sequence alone; positions are 1-based, on the plus "
        "strand.\n\nPredictions are no measurements, and no clinical advice."
    )


def _origin(contents: Contents) -> str:
    fields = contents.record.fields
    rows = [
        ("genome", contents.input_name("fasta"), f"SHA-256 of its contigs `{fields.get('genome', '')}`"),
        ("annotation", contents.input_name("gtf"), _digest_of(fields, "transcripts")),
        ("variants", contents.input_name("vcf"), _digest_of(fields, "alleles")),
        ("checkpoint", contents.input_name("checkpoint"), f"SHA-256 of its tensors `{fields.get('checkpoint', '')}`"),
        ("table", "", f"fingerprint `{contents.fingerprint}`"),
    ]
    lines = [f"| {kind} | {_plain(name)} | {digest} |" for kind, name, digest in rows if name or digest]
    kept = ("precision", "core", "context", "overlap", "flanks", "exact", "sites_threshold", "distance", "windows")
    said = ", ".join(f"{name} {str(fields[name]).lower()}" for name in kept if name in fields)
    return (
        "\n".join(["| | file | |", "| --- | --- | --- |", *lines])
        + f"\n\nSettings: {said} (`settings.yaml`, `run.json`)."
    )


def _digest_of(fields: Any, plan: str) -> str:
    return f"SHA-256 of the {plan} `{fields[plan]}`" if plan in fields else ""


def _tables(contents: Contents) -> Iterator[str]:
    folders = {1: "chrom=CONTIG", 2: "chrom=CONTIG/strand=STRAND"}
    for table in contents.tables:
        yield f"## {table.name}"
        yield (
            f"`{table.name}/{folders[table.depth]}/*.parquet`: {counted(table.rows, 'row')} in "
            f"{counted(len(table.parts), 'part')}, "
            f"{sum(part.bytes for part in table.parts):,} bytes. {_purpose(contents, table)}".rstrip()
        )
        lines = [f"| `{one.name}` | {one.type} | {one.unit} | {one.meaning} |" for one in table.columns]
        yield "\n".join(["| column | type | unit | meaning |", "| --- | --- | --- | --- |", *lines])
    if contents.job == TRACKS:
        yield (
            "Beside them: `transcripts.parquet` (the transcripts with their exons), `loci.parquet` (the stretches that "
            "were computed), `contigs.parquet`, `plan.parquet`, and `manifest.parquet`, which lists every part."
        )


def _purpose(contents: Contents, table: Table) -> str:
    if contents.job != TRACKS:
        return ""
    if table.name == TRACKS:
        return "Every base of every locus."
    return f"Likely splice sites alone (acceptor or donor from {contents.record.fields['sites_threshold']}), unrounded."


def _licence(licence: str) -> str:
    return (
        f"Licence of this table: {licence or TO_FILL_IN}. The weights of the network, the genome and the annotation "
        "have licences of their own, which may bind what is computed from them."
    )


def _header(contents: Contents, publication: Publication) -> dict[str, Any]:
    known = publication.licence.lower()
    licence: dict[str, Any] = {"license": known or "unknown"}
    if known and known not in HUB_LICENCES:
        licence = {"license": "other", "license_name": publication.licence}
    configs = [
        {"config_name": table.name, "data_files": f"{table.name}/{'*/' * table.depth}*.parquet"}
        for table in contents.tables
    ]
    configs[0]["default"] = True  # type: ignore[assignment]  # YAML's, of which the rest is text
    rows = contents.tables[0].rows
    size = next((name for name, limit in (*_SIZES, *_LARGE_SIZES) if rows < limit), "10B<n<100B")
    tags = ["biology", "genomics", "splicing", "parquet"]
    return {**licence, "pretty_name": title(contents), "tags": tags, "size_categories": [size], "configs": configs}


def _channels(contents: Contents) -> list[str]:
    about = contents.record.about
    return list(about.get("channels", ()) if contents.job == TRACKS else (*SPLICE, *about["tissues"]))


def _plain(text: str) -> str:
    """A name within a table of Markdown."""
    return f"`{text.replace('|', '&#124;').replace('`', '')}`" if text else ""


def _snippets(contents: Contents, where: str) -> Iterator[str]:
    if where == HERE:
        yield (
            "Run in this folder. Elsewhere put its address in place of `.`; over `https://` nobody can list a folder, "
            "so programs then take the names of the parts from `manifest.parquet`."
        )
    for name, language, text in snippets(contents, where):
        yield f"{name}:\n\n```{language}\n{text}```"
