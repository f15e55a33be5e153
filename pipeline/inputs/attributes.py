"""The ninth column of GTF and GFF3 lines -> values, by the grammar of the format.

In: a frame with the columns `line` (int64), `feature` and `attributes` (str), one row a line.

    GTF 2.2     `key "value";` or `key value;`. A semicolon within quotes belongs to the value, and a word within quotes
                is no key. A key may repeat. The lines of AUGUSTUS and BRAKER that hold a bare id (`g1.t1`) are read as
                `gene_id "g1"` and `transcript_id "g1.t1"`.
    GFF3 1.26   `key=value,value;`. Semicolons, commas and other letters are percent-encoded within a value; values are
                decoded after they have been told apart. Spaces around keys and values do not count.

(mblab.github.io/GTF2/GTF22.html; github.com/The-Sequence-Ontology/Specifications, gff3.md.)

Out: columns of values, null where a line lacks the key or its value is empty.

Whether a line is ordinary is one match of a regular expression for all lines at once. Only the others, such as those
with a semicolon within quotes, are read pair by pair and written again so that the same expressions serve for all.
Existing readers were tried on the same files: PyRanges 0.1 splits values at `; ` within quotes; oxbow 0.8 (on noodles)
reads the grammar, but gives no line numbers and ends at the first bare id, and at a sequence without `##FASTA`.

Errors: `InputError` with file and line for a GTF line whose quotes do not pair up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import unquote

import polars as pl

from sptx_core.errors import InputError

Dialect = Literal["gtf", "gff3"]

_ORDINARY = r'^ *(?:[^\s";]+ +(?:"[^";]*"|[^\s";]+)(?:; *|$))*$'
# A value in quotes may hold semicolons or quotes, not both: then its end would be a guess.
_PAIR = re.compile(r'([^\s";]+)(?:\s+(?:"([^"]*)"|"([^;]*)"|([^\s";]+(?:\s+[^\s";]+)*)))?\s*(?:;\s*|$)')
_IDS = r'^ *gene_id "([^"]+)"; (?:gene_version "[^"]*"; )?transcript_id "([^"]+)"(?:;|$)'  # how most lines begin
_BARE_IDS = {"gene": "gene_id", "transcript": "transcript_id"}
_MASK = str.maketrans({";": "\ufdd0", '"': "\ufdd1"})  # code points that no text holds: Unicode's noncharacters
_SHOWN = 40  # letters of a faulty line that its message shows


def first_values(lines: pl.DataFrame, names: Sequence[str], dialect: Dialect) -> pl.DataFrame:
    """Read attributes, each as one value.

    Parameters
    ----------
    lines : polars.DataFrame
        Lines as `readable` returns them.
    names : sequence of str
        Keys.
    dialect : {"gtf", "gff3"}
        The format.

    Returns
    -------
    polars.DataFrame
        A str column for each key: its first value in GTF; in GFF3 the decoded text, commas and all.
    """
    if dialect == "gtf":
        frame = lines.select(_text(rf'(?:^|;) *{re.escape(name)} +"?([^";]+)').alias(name) for name in names)
        return frame.with_columns(_unmasked(pl.all())) if _is_masked(lines) else frame
    frame = lines.select(_text(rf"(?:^|;)\s*{re.escape(name)}=\s*([^;]*[^;\s])").alias(name) for name in names)
    return frame.select(decoded(frame[name]) for name in names)


def all_values(lines: pl.DataFrame, name: str, dialect: Dialect) -> pl.Series:
    """Read every value of an attribute.

    Parameters
    ----------
    lines : polars.DataFrame
        Lines as `readable` returns them.
    name : str
        The key.
    dialect : {"gtf", "gff3"}
        The format.

    Returns
    -------
    polars.Series
        List of str, in the order of the line; empty where the line lacks the key.
    """
    key, text = re.escape(name), pl.col("attributes").str
    if dialect == "gtf":
        pairs = text.extract_all(rf'(?:^|;) *{key} +"?[^";]+')
        value = pl.element().str.extract(rf'{key} +"?([^";]+)')
        value = _unmasked(value) if _is_masked(lines) else value
        return lines.select(pairs.list.eval(value).alias(name)).to_series()
    texts = lines.select(text.extract(rf"(?:^|;)\s*{key}=([^;]+)").alias(name))
    stripped = pl.element().str.strip_chars()
    values = pl.col(name).str.split(",").list.eval(stripped.filter(stripped != "")).fill_null([])
    lists, encoded = texts.select(values), _is_encoded(texts[name])
    if not encoded.any():
        return lists[name]
    plain = [[unquote(value) for value in held] for held in lists.filter(encoded)[name]]
    return _replaced(lists, encoded, pl.DataFrame({name: plain}, schema={name: pl.List(pl.String)}))[name]


def ids_of_exons(lines: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Read the transcript and the gene of GTF lines; most lines begin with them, so that nothing else is searched.

    Parameters
    ----------
    lines : polars.DataFrame
        line, feature, attributes as in the file.
    uri : str
        Name of the file, for messages.

    Returns
    -------
    polars.DataFrame
        gene_id, transcript_id (str).

    Raises
    ------
    InputError
        If the attributes of a line cannot be read.
    """
    names = ("gene_id", "transcript_id")
    groups = pl.col("attributes").str.extract_groups(_IDS).struct.rename_fields(names).struct.unnest()
    found = lines.select(groups)
    others = found["transcript_id"].is_null()
    if not others.any():
        return found
    return _replaced(found, others, first_values(readable(lines.filter(others), "gtf", uri), names, "gtf"))


def readable(lines: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """Write the attributes of unusual GTF lines so that `first_values` and `all_values` can read them.

    Parameters
    ----------
    lines : polars.DataFrame
        line, feature, attributes as in the file.
    dialect : {"gtf", "gff3"}
        The format.
    uri : str
        Name of the file, for messages.

    Returns
    -------
    polars.DataFrame
        The same lines.

    Raises
    ------
    InputError
        If the attributes of a line cannot be read.
    """
    if dialect == "gff3":
        return lines
    odd = ~lines["attributes"].str.contains(_ORDINARY)
    if not odd.any():
        return lines
    fields = lines.filter(odd).select("line", "feature", "attributes").iter_rows()
    texts = [_rewritten(line, feature, text, uri) for line, feature, text in fields]
    return _replaced(lines, odd, pl.DataFrame({"attributes": texts}, schema={"attributes": pl.String}))


def decoded(values: pl.Series) -> pl.Series:
    """Decode percent-encoded text of GFF3.

    Parameters
    ----------
    values : polars.Series
        Str; nulls stay.

    Returns
    -------
    polars.Series
    """
    encoded = _is_encoded(values)
    if not encoded.any():
        return values
    plain = pl.Series(values.name, [unquote(value) for value in values.filter(encoded)], dtype=pl.String)
    return _replaced(values.to_frame(), encoded, plain.to_frame()).to_series()


def _is_encoded(values: pl.Series) -> pl.Series:
    return values.str.contains("%", literal=True).fill_null(value=False)


def _rewritten(line: int, feature: str, attributes: str, uri: str) -> str:
    """The pairs of one GTF line, with letters that would end a value masked."""
    pairs, rest = [], attributes.strip().lstrip("; ")
    while rest:
        found = _PAIR.match(rest)
        if found is None:
            raise InputError(
                f"{uri} line {line}: attributes cannot be read from {rest[:_SHOWN]!r} on; GTF has "
                'key "value"; with a pair of quotes around each value'
            )
        value = next((text for text in found.groups()[1:] if text is not None), None)
        pairs.append((found[1], value))
        rest = rest[found.end() :].lstrip("; ")
    if len(pairs) == 1 and pairs[0][1] is None and pairs[0][0] != "." and feature in _BARE_IDS:
        pairs = [(_BARE_IDS[feature], pairs[0][0])]
    return " ".join(f'{key} "{value.translate(_MASK)}";' for key, value in pairs if value)


def _replaced(frame: pl.DataFrame, rows: pl.Series, new: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the columns of `new` in these rows (bool); `new` has a row for each of them."""
    at = frame.select(pl.when(rows).then(rows.cum_sum() - 1)).to_series()
    return frame.with_columns(
        pl.when(rows).then(new[name].gather(at)).otherwise(pl.col(name)).alias(name) for name in new.columns
    )


def _text(pattern: str) -> pl.Expr:
    return pl.col("attributes").str.extract(pattern)


def _is_masked(lines: pl.DataFrame) -> bool:
    return bool(lines["attributes"].str.contains("[\ufdd0\ufdd1]").any())


def _unmasked(values: pl.Expr) -> pl.Expr:
    for letter, mask in _MASK.items():
        values = values.str.replace_all(mask, chr(letter), literal=True)
    return values
