"""The reader: `open_variants(uri)` gives the rows of a table by region, gene or variant, or as a LazyFrame.

Frames hold `chrom` (as the variants' file has it) and the columns of `pipeline.variants.schema`, in the order of the
table: contigs as in the FASTA, then by position. Only committed parts are read. Neither Ray nor PyTorch is imported.

Regions are 1-based inclusive text; a row lies in one where its POS, as written, does. Genes go by name or id, with or
without version. A variant is `chrom-pos-ref-alt`, as it is written in the file or in its normal form.

Errors: a place without a table, a part that cannot be read, and an unknown contig, gene or tissue are `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from pipeline.batch.layout import committed
from pipeline.batch.parquet import part_format
from pipeline.batch.published import PublishedStore
from pipeline.batch.status import RunStatus, read_status
from pipeline.batch.storage import Store
from pipeline.coordinates import Interval, parse_region, reconcile_contigs, shortened
from pipeline.inputs.selection import nearest
from pipeline.tracks.lookup import of_gene
from pipeline.variants.header import Header, read_header
from pipeline.variants.layout import SHARD_PARTS, ShardKey
from pipeline.variants.schema import SITES, VARIANTS
from sptx_core.errors import InputError
from sptx_core.files import reason, tells_of_a_file

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_VARIANT_PARTS = 4  # of chrom-pos-ref-alt; a contig's name may hold more dashes


class Variants:
    """A table of `sptx variants` or `sptx saturate`, as `open_variants` opens it.

    Methods that return rows give Polars frames with one row for each record, ALT and gene; docs/variants.md describes
    the columns. Positions are 1-based. With `sites=True` they give a row for each base around each change instead,
    which needs a table that was made with `--sites`. They raise `InputError` for an unknown contig, gene or variant,
    and for a part that cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.header: Header = read_header(store)
        found = committed(store, VARIANTS, self.header.fingerprint, SHARD_PARTS).values()
        self.parts = tuple((ShardKey.of(part), part.name) for part in found)

    @property
    def tissues(self) -> tuple[str, ...]:
        """Names of the tissues of the network."""
        return self.header.schema.tissues

    @cached_property
    def contigs(self) -> tuple[str, ...]:
        """Names of the contigs, as in the VCF."""
        return tuple(dict.fromkeys(key.chrom for key, _ in self.parts))

    def status(self) -> RunStatus:
        """Which shards are finished, missing and failed at this moment."""
        return status_of(self.store, self.header)

    def scan(self, *, sites: bool = False) -> pl.LazyFrame:
        """All finished rows as a LazyFrame."""
        return self._scan(self.parts, sites=sites)

    def of(self, parts: Sequence[tuple[ShardKey, str]]) -> pl.LazyFrame:
        """Rows of some of `parts`."""
        return self._scan(parts, sites=False)

    def collected(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Collect a query of `scan`, with a clear error for a damaged part.

        Raises
        ------
        InputError
            A part that is read is damaged or missing.

        """
        try:
            return rows.collect()
        except Exception as error:
            if not tells_of_a_file(error):
                raise
            raise InputError(
                f"a part of {self.store.uri()} cannot be read ({reason(error)}); `sptx verify {self.store.uri()}` "
                "names what is damaged"
            ) from error

    def region(self, region: str | Interval, *, sites: bool = False) -> pl.DataFrame:
        """Rows with POS in a region: text such as "chr9:214,900-215,100" (1-based inclusive), or an `Interval`."""
        wanted = parse_region(region, self.contigs) if isinstance(region, str) else region
        chrom = self._contig(wanted.contig)
        first, last = wanted.start + 1, wanted.end
        parts = [
            (key, name)
            for key, name in self.parts
            # The bases about a change may lie far beyond the span that names its part.
            if key.chrom == chrom and (sites or (key.last >= first and (last is None or key.first <= last)))
        ]
        inside = pl.col("pos") >= first
        if last is not None:
            inside &= pl.col("pos") <= last
        return self.collected(self._scan(parts, sites=sites).filter(inside))

    def gene(self, name: str) -> pl.DataFrame:
        """Rows of a gene, given by name or id (with or without version)."""
        if not name.strip():
            raise InputError("nothing is asked for: name a region, a gene or a variant")
        rows = self.collected(self.scan().filter(of_gene(name)))
        if rows.is_empty():
            genes = self.collected(self.scan().select("gene_id", "gene_name").unique())
            held = pl.concat([genes["gene_name"].alias("name"), genes["gene_id"].alias("name")]).drop_nulls()
            closest = nearest(name, held)
            hint = f"; the nearest is {closest}" if closest else ""
            raise InputError(f"{self.store.uri()} has no variant in a gene {name}{hint}")
        return rows

    def variant(self, variant: str, *, sites: bool = False) -> pl.DataFrame:
        """Rows of a variant such as "chr9-214900-G-A", written as in the VCF or normalised; one for each gene."""
        texts = variant.rsplit("-", _VARIANT_PARTS - 1)
        if len(texts) != _VARIANT_PARTS or not texts[1].isdigit():
            raise InputError(f"{variant!r} is no variant: write chrom-pos-ref-alt, as in 9-214900-G-A")
        chrom, pos = self._contig(texts[0]), int(texts[1])
        ref, alt = (pl.lit(text.upper()) for text in texts[2:])
        written = (pl.col("pos") == pos) & (pl.col("ref").str.to_uppercase() == ref)
        written &= pl.col("alt").str.to_uppercase() == alt
        normal = (pl.col("norm_pos") == pos) & (pl.col("norm_ref") == ref) & (pl.col("norm_alt") == alt)
        parts = [(key, name) for key, name in self.parts if key.chrom == chrom]
        rows = self.collected(self._scan(parts, sites=False).filter(written | normal))
        if rows.is_empty():
            raise InputError(f"{self.store.uri()} has no variant {variant}")
        if not sites:
            return rows
        keys = ["chrom", "record", "alt_index"]
        return self.collected(
            self._scan(parts, sites=True).join(rows.select(keys).unique().lazy(), on=keys, how="semi")
        )

    def called_in(self, tissue: str) -> pl.Expr:
        """Filter for `scan`: the rows in which a tissue is called.

        Raises
        ------
        InputError
            There is no such tissue, or the network's tissues are not called.

        """
        if not self.tissues:
            raise InputError(f"{self.store.uri()} has no tissue {tissue}: its network predicts no usage by tissue")
        if tissue not in self.tissues:
            raise InputError(f"{self.store.uri()} has no tissue {tissue}; it has {', '.join(self.tissues)}")
        if not self.header.schema.has_z:
            raise InputError(
                f"no tissue is called in {self.store.uri()}: the constants for it are of SpTransformer's 15 tissues; "
                f"filter the column d_{tissue} instead"
            )
        return pl.col("tissues").list.contains(tissue).fill_null(value=False)

    def query(self, what: str) -> pl.DataFrame:
        """Rows of what `what` names: a variant, a region or a gene, tried in this order."""
        if self.names_variant(what):
            return self.variant(what)
        if self._contig_called(what) or (":" in what and self._contig_called(what.rsplit(":", 1)[0])):
            return self.region(what)
        try:
            return self.gene(what)
        except InputError:
            contig = _contig_in(what)
            if contig is not None:
                self._contig(contig)  # which says what contigs there are
            raise

    def names_variant(self, what: str) -> bool:
        """Whether a text names a variant (`chrom-pos-ref-alt` on a contig of the table), and not a region or gene."""
        texts = what.rsplit("-", _VARIANT_PARTS - 1)
        return len(texts) == _VARIANT_PARTS and texts[1].isdigit() and self._contig_called(texts[0]) is not None

    def _contig(self, name: str) -> str:
        found = self._contig_called(name)
        if found is None:
            raise InputError(f"{self.store.uri()} has no contig {name}; it has {shortened(self.contigs)}")
        return found

    def _contig_called(self, name: str) -> str | None:
        return reconcile_contigs([name], self.contigs).mapping.get(name)

    def _scan(self, parts: Sequence[tuple[ShardKey, str]], *, sites: bool) -> pl.LazyFrame:
        if sites and SITES not in self.header.tables:
            raise InputError(f"{self.store.uri()} holds no sites: they are stored with --sites")
        schema = self.header.schema.sites() if sites else self.header.schema.variants()
        types = dict(pl.from_arrow(schema.empty_table()).schema)  # type: ignore[union-attr]  # of a table
        if not parts:
            return pl.LazyFrame(schema={"chrom": pl.String(), **types})
        table = SITES if sites else VARIANTS
        names = [(key, name.replace(f"{VARIANTS}/", f"{table}/", 1)) for key, name in parts]
        if self.store.is_local and "=" not in self.store.path():
            paths = [self.store.path(name) for _, name in names]
            hive = {"chrom": pl.String()}
            frame = pl.scan_parquet(paths, schema=types, hive_partitioning=True, hive_schema=hive, glob=False)
        else:
            frame = pl.scan_pyarrow_dataset(self._dataset(names, schema))
        return frame.select("chrom", *types)

    def _dataset(self, parts: Sequence[tuple[ShardKey, str]], schema: pa.Schema) -> ds.FileSystemDataset:
        import pyarrow.dataset as ds  # late: loads pandas

        files, form = self.store.arrow_filesystem(), part_format(self.store)
        fragments = [
            form.make_fragment(
                self.store.path(name), filesystem=files, partition_expression=ds.field("chrom") == key.chrom
            )
            for key, name in parts
        ]
        whole = pa.schema([pa.field("chrom", pa.string()), *schema])
        return ds.FileSystemDataset(fragments, whole, form, files)


def _contig_in(what: str) -> str | None:
    """The contig that a text names as a region or a variant does, None where it is neither."""
    texts = what.rsplit("-", _VARIANT_PARTS - 1)
    if len(texts) == _VARIANT_PARTS and texts[1].isdigit():
        return texts[0]
    with suppress(InputError):
        return parse_region(what).contig if ":" in what else None
    return None


def open_variants(uri: str | Path) -> Variants:
    """Open a table of variants.

    Parameters
    ----------
    uri : str or Path
        Its root: a folder or an fsspec URI such as `s3://bucket/scores`, or `https://host/scores` of a finished table.

    Raises
    ------
    InputError
        There is no table of variants.

    """
    return Variants(PublishedStore(uri))


def status_of(store: Store, header: Header) -> RunStatus:
    """What of a table is done, missing and failed at this moment."""
    return read_status(store, header.tables, header.fingerprint, header.shards, SHARD_PARTS)
