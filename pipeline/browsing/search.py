"""A text that a person types -> places on the page: regions, contigs, single bases, genes, transcripts, variants.

Regions are 1-based and inclusive as everywhere (`chr9:214,854-220,000`), contigs may go by an alias (`9`), genes by
name or id and transcripts by id, whatever their case and with or without version. A miss is an empty list. Places are
0-based and half-open.
"""

from __future__ import annotations

import re
from functools import cached_property

from pipeline.browsing.models import Models, Place
from pipeline.browsing.variant_view import VariantView
from pipeline.coordinates import Interval, parse_region, reconcile_contigs
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError

MAX_FOUND = 20
MAX_TEXT = 200  # characters of what is looked for
_MITOCHONDRION = ("M", "MT", "chrM", "chrMT")
_BASE = re.compile(r"(?P<contig>.+):(?P<pos>[0-9][0-9,]{0,20})")


class Search:
    """See the module.

    Parameters
    ----------
    models : Models
        Genes and transcripts.
    tracks : Tracks
        Whose contigs are meant.
    variants : VariantView, optional
        Whose variants may be named.
    """

    def __init__(self, models: Models, tracks: Tracks, variants: VariantView | None) -> None:
        self._models, self._variants = models, variants
        self._lengths: dict[str, int] = dict(tracks.contigs.select("chrom", "length").iter_rows())
        self._annotated = dict(tracks.contigs.select("annotation_name", "chrom").iter_rows())

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Other names of contigs -> their names: with and without `chr`, and those of the run's annotation."""
        other = {name[3:] if name[:3].lower() == "chr" else f"chr{name}": name for name in self._lengths}
        meant = reconcile_contigs([alias for alias in other if alias not in self._lengths], self._lengths).mapping
        found = {alias: name for alias, name in meant.items() if other[alias] == name}
        for alias in _MITOCHONDRION:
            name = self._contig(alias)
            if name is not None and name != alias:
                found[alias] = name
        return found | {name: held for name, held in self._annotated.items() if name not in self._lengths}

    def find(self, text: str) -> list[Place]:
        """What a text names; if nothing, what begins with it; at most `MAX_FOUND`."""
        name = text.strip()
        if not name or len(name) > MAX_TEXT:
            return []
        exact = self._all_exact(name)
        beginning = self._models.beginning(name, MAX_FOUND)
        return list(dict.fromkeys([*exact, *beginning]))[:MAX_FOUND]

    def exact(self, text: str) -> Place | None:
        """The first place that a text names."""
        return next(iter(self._all_exact(text.strip())), None)

    def _all_exact(self, name: str) -> list[Place]:
        if not name or len(name) > MAX_TEXT:
            return []
        stretch = self._stretch(name)
        if stretch is not None:
            return [stretch]
        return self._models.called(name) or self._variant(name)

    def _stretch(self, name: str) -> Place | None:
        """A contig, a base of it, or a region, as far as it lies on the contig."""
        whole = self._contig(name)
        if whole is not None:
            return Place(whole, "contig", whole, 0, self._lengths[whole], None)
        base = _BASE.fullmatch(name)
        try:
            region = parse_region(name)
        except InputError:
            return None
        contig = self._contig(region.contig)
        if contig is None:
            return None
        length = self._lengths[contig]
        if base is not None:
            region = Interval(contig, region.start, region.start + 1)
        end = length if region.end is None else min(region.end, length)
        if region.start >= end:
            return None
        shown = f"{contig}:{region.start + 1:,}" if base is not None else f"{contig}:{region.start + 1:,}-{end:,}"
        return Place(shown, "region" if base is None else "site", contig, region.start, end, None)

    def _variant(self, name: str) -> list[Place]:
        try:
            found = None if self._variants is None else self._variants.place(name)
        except InputError:  # there is none such
            found = None
        return [] if found is None else [Place(name, "variant", *found, None)]

    def _contig(self, name: str) -> str | None:
        found = reconcile_contigs([name], self._lengths).mapping.get(name)
        return found or self._annotated.get(name)
