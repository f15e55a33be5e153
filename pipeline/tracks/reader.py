"""The reader: `open_tracks(uri)` gives the rows of a table by region, gene or transcript, or as a LazyFrame.

Frames hold chrom, strand ("+" / "-"), transcript_id (in tables with flanks: transcript), pos (1-based), ref and the
score columns, in the order of the table: contigs as in the FASTA, plus before minus strand, then by position (or by
transcript and position). Only committed parts are read, and of these, by their names, only those that can hold an
answer. A `Tracks` shows what was committed when it was opened. Neither Ray nor PyTorch is imported.

Readers of Parquet do not look at checksums by themselves: a bit that flips on a disk may change a value in silence.
With `verify` each part is read whole and checked before its rows count (`pipeline.tracks.checked_scan`). A tracks part
of 0 bytes is refused in any case.

Regions are 1-based inclusive text (`chr9:214,854-220,000`, `chr9`; see `parse_region`) or an `Interval` (0-based,
half-open); contig names may be aliases (`9`). Genes go by name or id, transcripts by id, ids with or without their
version.

Errors: a place without a table, a part that cannot be read, and an unknown contig, gene, transcript, column or strand
are `InputError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl
import yaml
from pydantic import ValidationError

from pipeline.batch.layout import MANIFEST, SETTINGS_FILE, committed
from pipeline.batch.manifest import Manifest, read_manifest
from pipeline.batch.measures import Measures
from pipeline.batch.published import PublishedStore, is_listed
from pipeline.batch.status import RunStatus, read_status
from pipeline.batch.storage import Store
from pipeline.coordinates import Interval, Strand, parse_region, reconcile_contigs, shortened
from pipeline.inputs.annotation import Annotation
from pipeline.tracks.checked_scan import scan_checked
from pipeline.tracks.header import Header, read_header, read_table
from pipeline.tracks.layout import CONTIGS, LOCI, PLAN, SHARD_PARTS, SITES, TABLES, TRACKS, TRANSCRIPTS, ShardKey
from pipeline.tracks.lookup import genes_called, merged_spans, nearest_name, transcripts_called
from pipeline.tracks.named_sites import scan_named
from pipeline.tracks.scan import frame_types, scan_parts
from pipeline.tracks.settings import RunConfig
from pipeline.tracks.shard_check import Planned, planned_shards
from sptx_core.errors import InputError
from sptx_core.files import reading, reason, tells_of_a_file
from sptx_core.words import counted


class ShardPart(NamedTuple):
    """A committed part of the tracks table: what names its shard, its name below the root, and its size in bytes."""

    key: ShardKey
    name: str
    bytes: int


class Tracks:
    """A table of `sptx run`, as `open_tracks` opens it.

    Methods that return rows give Polars frames with the columns chrom (string), strand ("+" or "-"), transcript_id
    (string; only in tables with `--flanks transcript`), pos (int32, 1-based), ref (string, the base of the plus strand)
    and the score columns (float32, 0 to 1). `columns` chooses score columns (default: all). `strand` is "+" or "-"
    (default: both, or that of the gene or transcript). `sites=True` reads only the likely splice sites, with unrounded
    scores. They raise `InputError` for an unknown contig, gene, transcript, column or strand, and for a part that
    cannot be read.
    """

    def __init__(self, store: Store, *, verify: bool = False) -> None:
        self.store = store
        self.header = read_header(store)
        self.verify = verify
        found = committed(store, TRACKS, self.fingerprint, SHARD_PARTS).values()
        self.parts = tuple(ShardPart(ShardKey.of(part), part.name, part.bytes) for part in found)
        if verify:
            self._require_parts()

    @classmethod
    def open(cls, uri: str | Path, *, verify: bool = False) -> Self:
        """Open a table; as `open_tracks`."""
        return cls(PublishedStore(uri), verify=verify)

    def _require_parts(self) -> None:
        """Refuse a table that lacks parts which its manifest lists."""
        missing = sorted(self._recorded.keys() - {part.key.index for part in self.parts})
        if missing:
            lost = counted(len(missing), f"part that {MANIFEST} lists is", f"parts that {MANIFEST} lists are")
            raise InputError(
                f"{self.store.uri()}: {lost} missing, the first of shard {missing[0]}; the same `sptx run` computes "
                "what is missing"
            )

    @property
    def _side_files(self) -> Mapping[str, str]:
        """Name -> SHA-256 of the small tables that are to be checked: all that come from a web server."""
        checked = self.verify or not is_listed(self.store)
        return self._manifest.side_files if checked and self._manifest else {}

    @property
    def fingerprint(self) -> str:
        """Digest (64 hexadecimal digits) of everything that defines the table."""
        return self.header.fingerprint

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the score columns in stored order."""
        return tuple(column.name for column in self.header.schema.scores)

    @cached_property
    def settings(self) -> RunConfig:
        """The merged settings that the run was started with."""
        where = self.store.uri(SETTINGS_FILE)
        with reading(where):
            values = yaml.safe_load(self.store.read_bytes(SETTINGS_FILE))
        try:
            return RunConfig.model_validate(values)
        except ValidationError as error:
            raise InputError(f"{where} does not hold the settings of a run ({error.errors()[0]['msg']})") from error

    @cached_property
    def contigs(self) -> pl.DataFrame:
        """Contigs of the table: chrom, length, annotation_name."""
        return read_table(self.store, CONTIGS, self._side_files)

    @cached_property
    def loci(self) -> pl.DataFrame:
        """Predicted stretches: locus, chrom, strand, start, end (1-based inclusive), transcripts."""
        return read_table(self.store, LOCI, self._side_files)

    @cached_property
    def transcripts(self) -> pl.DataFrame:
        """Selected transcripts with their exons (1-based inclusive) and the loci that hold them."""
        return read_table(self.store, TRANSCRIPTS, self._side_files)

    @cached_property
    def plan(self) -> pl.DataFrame:
        """Shards: shard, chrom, strand, first, last (1-based inclusive), windows, rows, pieces."""
        return read_table(self.store, PLAN, self._side_files)

    def scan(
        self, columns: Sequence[str] | None = None, *, strand: str | None = None, chrom: str | None = None
    ) -> pl.LazyFrame:
        """All finished rows as a LazyFrame.

        Give `strand` and `chrom` here if you need only one: files of the others are then not opened, which a filter on
        the frame may not achieve.
        """
        return self._scan(self._parts_of(strand, chrom), columns, sites=False)

    def sites(
        self,
        columns: Sequence[str] | None = None,
        *,
        strand: str | None = None,
        chrom: str | None = None,
        named: bool = False,
        annotation: Annotation | None = None,
        threshold: float | None = None,
    ) -> pl.LazyFrame:
        """Likely splice sites as a LazyFrame: rows with an acceptor or donor score from the run's threshold (0.01) on.

        Parameters
        ----------
        columns, strand, chrom
            As for `scan`.
        named
            Return one row for each called or annotated site instead, with its genes, exons and motif (the columns of
            `sptx sites`).
        annotation
            Annotation that names the sites (default: the transcripts of the run).
        threshold
            Score from which a named site is called; 0.1 when None.

        """
        parts = self._parts_of(strand, chrom)
        if named:
            keys = [part.key for part in parts]
            return scan_named(self, keys, annotation, threshold, lambda held: self._wanted(columns, held))
        if annotation is not None or threshold is not None:
            raise InputError("sites(): annotation and threshold are for named=True")
        return self._scan(parts, columns, sites=True)

    def rows_where(
        self,
        keys: Sequence[ShardKey],
        holds: pl.Expr,
        *,
        columns: Sequence[str] | None = None,
        sites: bool = False,
    ) -> pl.DataFrame:
        """Rows of some committed shards for which `holds` is true."""
        found = [self._by_key[key] for key in dict.fromkeys(keys) if key in self._by_key]
        parts = sorted(found, key=lambda part: part.key.index)
        return self._collected(self._scan(parts, columns, sites=sites).filter(holds))

    def region(
        self,
        region: str | Interval,
        *,
        strand: str | None = None,
        columns: Sequence[str] | None = None,
        sites: bool = False,
    ) -> pl.DataFrame:
        """Rows in a region: text such as "chr9:214,854-220,000" (1-based inclusive), or an `Interval` (0-based)."""
        wanted = self._interval(region) if isinstance(region, str) else region
        pos = pl.col("pos") > wanted.start
        if wanted.end is not None:
            pos &= pl.col("pos") <= wanted.end
        parts = [
            part
            for part in self._parts_of(strand, wanted.contig)
            if part.key.last > wanted.start and (wanted.end is None or part.key.first <= wanted.end)
        ]
        return self._collected(self._scan(parts, columns, sites=sites).filter(pos))

    def gene(
        self, gene: str, *, strand: str | None = None, columns: Sequence[str] | None = None, sites: bool = False
    ) -> pl.DataFrame:
        """Rows within the transcripts of a gene, by name or id; of all genes with that name if there are several."""
        found = genes_called(self.transcripts, gene)
        if found.is_empty():
            raise self._unknown("gene", gene, ["gene_name", "gene_id"])
        return self._of_transcripts(found, strand, columns, sites=sites)

    def transcript(
        self, transcript: str, *, strand: str | None = None, columns: Sequence[str] | None = None, sites: bool = False
    ) -> pl.DataFrame:
        """Rows from the first to the last base of a transcript, given by id with or without its version."""
        found = transcripts_called(self.transcripts, transcript)
        if found.is_empty():
            raise self._unknown("transcript", transcript, ["transcript_id"])
        return self._of_transcripts(found, strand, columns, sites=sites)

    def query(
        self, what: str, *, strand: str | None = None, columns: Sequence[str] | None = None, sites: bool = False
    ) -> pl.DataFrame:
        """Rows of what `what` names: a region, a contig, a gene or a transcript, tried in this order."""
        found = self.find(what)
        if isinstance(found, Interval):
            return self.region(found, strand=strand, columns=columns, sites=sites)
        return self._of_transcripts(found, strand, columns, sites=sites)

    def find(self, what: str) -> Interval | pl.DataFrame:
        """What `what` names: an `Interval` for a region or contig, or else rows of `transcripts`."""
        name = what.strip()
        if not name:
            raise InputError("nothing is asked for: name a region, a contig, a gene or a transcript")
        region, fault = self._region_or_fault(name)
        if region is not None and self._contig_called(region.contig) is not None:
            return region._replace(contig=self._contig(region.contig))
        found = genes_called(self.transcripts, name)
        if found.is_empty():
            found = transcripts_called(self.transcripts, name)
        if not found.is_empty():
            return found
        if fault is not None and self._contig_called(name.rpartition(":")[0]) is not None:
            raise fault
        if region is not None and region != Interval(name, 0, None):
            self._contig(region.contig)  # which tells the contigs that there are
        raise self._unknown("contig, gene or transcript", name, ["gene_name", "gene_id", "transcript_id"])

    def contigs_of(self, names: Sequence[str]) -> dict[str, str]:
        """Find contig names of another file in the table.

        Parameters
        ----------
        names
            Contig names of an annotation or of a usage table.

        Returns
        -------
        dict
            Name -> name in the table, for each name that the table has itself, has under an alias, or recorded from the
            annotation that it was made with. Two names never stand for one contig.

        """
        mapping = reconcile_contigs(names, self.contigs["chrom"]).mapping
        taken = set(mapping.values())
        recorded = dict(self.contigs.select("annotation_name", "chrom").iter_rows())
        return mapping | {
            name: recorded[name]
            for name in names
            if name not in mapping and name in recorded and recorded[name] not in taken
        }

    def status(self) -> RunStatus:
        """Which shards are finished, missing and failed at this moment."""
        return status_of(self.store, self.header)

    @cached_property
    def _by_key(self) -> dict[ShardKey, ShardPart]:
        return {part.key: part for part in self.parts}

    @cached_property
    def _planned(self) -> dict[int, Planned]:
        """The shards of the plan, which is checked where the manifest has its checksum."""
        files = self._manifest.side_files if self._manifest else {}
        plan = read_table(self.store, PLAN, files)
        return {shard.key.index: shard for shard in planned_shards(self.store, self.header, plan, files)}

    @cached_property
    def _manifest(self) -> Manifest | None:
        return self.store.manifest if isinstance(self.store, PublishedStore) else read_manifest(self.store)

    @cached_property
    def _recorded(self) -> dict[int, Measures]:
        """What the manifest says of the parts; nothing for a table that is not complete."""
        return self._manifest.measures(TABLES) if self._manifest else {}

    def _scan(self, parts: Sequence[ShardPart], columns: Sequence[str] | None, *, sites: bool) -> pl.LazyFrame:
        table = SITES if sites else TRACKS
        if self.verify and parts:
            shards = [self._planned_as(part) for part in parts]
            frame = scan_checked(self.store, self.header, table, shards, self._recorded)
        else:
            for part in parts:
                if not part.bytes and not sites:
                    raise InputError(f"{self.store.uri(part.name)} is damaged: it has 0 bytes{self._remedy}")
            paths = [(part.key, part.key.part_name(table, self.fingerprint)) for part in parts]
            frame = scan_parts(self.store, self.header.schema, paths)
        return frame.select(self._wanted(columns, list(frame_types(self.header.schema))))

    def _planned_as(self, part: ShardPart) -> Planned:
        planned = self._planned.get(part.key.index)
        if planned is None or planned.key != part.key:
            raise InputError(f"{self.store.uri(part.name)} is not a part of the plan{self._remedy}")
        return planned

    @property
    def _remedy(self) -> str:
        return f"; `sptx verify {self.store.uri()}` names what is damaged"

    def _wanted(self, columns: Sequence[str] | None, held: Sequence[str]) -> list[str]:
        """Of the columns held those that are no scores, then those asked for; all when None."""
        if columns is None:
            return list(held)
        unknown = next((name for name in columns if name not in held), None)
        if unknown is not None:
            nearest = difflib.get_close_matches(unknown, held, n=1)
            hint = f"the nearest is {nearest[0]}" if nearest else f"it has {', '.join(self.channels)}"
            raise InputError(f"{self.store.uri()} has no column {unknown}; {hint}")
        return list(dict.fromkeys([*(name for name in held if name not in self.channels), *columns]))

    def _parts_of(self, strand: str | None, contig: str | None) -> list[ShardPart]:
        if strand is not None and strand not in tuple(Strand):
            raise InputError(f"strand {strand!r} is not known; write + or -")
        chrom = None if contig is None else self._contig(contig)
        return [part for part in self.parts if strand in (None, part.key.strand) and chrom in (None, part.key.chrom)]

    def _contig(self, name: str) -> str:
        """The table's name of a contig given by that name or an alias."""
        found = self._contig_called(name)
        if found is None:
            held = shortened(self.contigs["chrom"].to_list())
            raise InputError(f"{self.store.uri()} has no contig {name}; it has {held}")
        return found

    def _contig_called(self, name: str) -> str | None:
        named_so = self.contigs.filter(pl.col("annotation_name") == name)["chrom"]
        return reconcile_contigs([name], self.contigs["chrom"]).mapping.get(name, next(iter(named_so), None))

    def _interval(self, region: str) -> Interval:
        """`region` as an interval; a contig's name alone may hold colons (`HLA-A*01:01`)."""
        return parse_region(region, self._whole_names(region))

    def _whole_names(self, region: str) -> list[str]:
        """The text itself if it is the name of a contig, nothing else."""
        name = region.strip()
        return [] if self._contig_called(name) is None else [name]

    def _region_or_fault(self, text: str) -> tuple[Interval | None, InputError | None]:
        """`text` as an interval, or why it is none: it may be an id, which may hold colons too."""
        names = self._whole_names(text)  # outside, for a table that cannot be read is no answer to the question
        try:
            return parse_region(text, names), None
        except InputError as error:
            return None, error

    def _collected(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """The rows; `InputError` when a part that holds them is damaged or missing."""
        try:
            return rows.collect()
        except Exception as error:
            if not tells_of_a_file(error):
                raise
            raise InputError(f"a part of {self.store.uri()} cannot be read ({reason(error)}){self._remedy}") from error

    def _unknown(self, kind: str, name: str, columns: Iterable[str]) -> InputError:
        closest = nearest_name(self.transcripts, name, columns)
        hint = f"; the nearest is {closest}" if closest else ""
        return InputError(f"{self.store.uri()} has no {kind} {name}{hint}")

    def _of_transcripts(
        self, found: pl.DataFrame, strand: str | None, columns: Sequence[str] | None, *, sites: bool
    ) -> pl.DataFrame:
        """Rows between the ends of the transcripts `found`, each once, in the order of the table."""
        parts = self._parts_of(strand, None)
        if self.header.schema.by_transcript:
            holding = self._shards_of(found["locus"].explode().drop_nulls())
            frame = self._scan([part for part in parts if part.key.index in holding], columns, sites=sites)
            return self._collected(frame.filter(pl.col("transcript_id").is_in(found["transcript_id"].to_list())))
        spans = {place: merged_spans(group) for place, group in found.group_by("chrom", "strand")}
        places = dict.fromkeys((part.key.chrom, part.key.strand) for part in parts)
        frames = [self._scan((), columns, sites=sites)]
        for place in filter(spans.__contains__, places):
            within = [
                part
                for part in parts
                if (part.key.chrom, part.key.strand) == place
                and any(part.key.first <= end and part.key.last >= start for start, end in spans[place])
            ]
            if within:
                inside = reduce(or_, (pl.col("pos").is_between(start, end) for start, end in spans[place]))
                frames.append(self._scan(within, columns, sites=sites).filter(inside))
        return self._collected(pl.concat(frames))

    def _shards_of(self, loci: pl.Series) -> set[int]:
        """Shards that hold rows of the loci."""
        pieces = self.plan.select("shard", "pieces").explode("pieces").unnest("pieces")
        return set(pieces.filter(pl.col("locus").is_in(loci.to_list()))["shard"])


def open_tracks(uri: str | Path, *, verify: bool = False) -> Tracks:
    """Open a table; parameters and errors as of `pipeline.open_tracks`, whose tables can also be browsed."""
    return Tracks.open(uri, verify=verify)


def status_of(store: Store, header: Header) -> RunStatus:
    """What of a table is done, missing and failed at this moment; lists its parts once."""
    return read_status(store, TABLES, header.fingerprint, header.shards, SHARD_PARTS)
