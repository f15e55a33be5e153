"""What the files of an export are called, and the two text files that tell browsers of them.

`hub_text` is a track hub of the UCSC Genome Browser in one file, `session_text` a session of IGV. Both name the other
files relative to themselves, so that the folder can be moved and published as it is, and hold nothing of where or when
it was made. The page that describes the hub is made in `pipeline.exporting.description`.

Every signal is drawn from 0 to 1, on both strands, and by its greatest value where a pixel is many bases wide. Negative
limits for the minus strand would make it vanish in igv.js, which reads hubs too.

Formats: https://genome.ucsc.edu/goldenPath/help/hgTrackHubHelp.html (hub.txt, useOneFile) and
https://genome.ucsc.edu/goldenPath/help/trackDb/trackDbHub.html; sessions as IGV 2 saves them
(https://igv.org/doc/desktop/#UserGuide/sessions/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from pipeline.coordinates import Strand
from pipeline.inputs.splice_sites import KINDS

HUB, HUB_PAGE = "hub.txt", "hub.html"
SESSION, SITES_FILE, COVERED_FILE = "igv-session.xml", "sites.bb", "covered.bb"
COLOURS = {"acceptor": "0,114,178", "donor": "213,94,0"}  # Okabe and Ito's blue and vermilion: all can tell them apart
USAGE_COLOUR, COVERED_COLOUR = "0,158,115", "120,120,120"
EMAIL = "unset@example.org"  # UCSC requires one; whoever publishes a hub enters theirs


@dataclass(frozen=True)
class Signal:
    """A bigWig: `channel` is a column of the table, `tag` its name as far as files and hubs may have it."""

    channel: str
    tag: str
    strand: Strand

    @property
    def is_usage(self) -> bool:
        """Whether it is the usage of a tissue, at sites alone."""
        return self.channel not in KINDS

    @property
    def file(self) -> str:
        """Name below the root of the export."""
        folder = "usage/" if self.is_usage else ""
        return f"{folder}{self.tag}.{self.strand.partition}.bw"

    @property
    def label(self) -> str:
        """A few words for people."""
        return f"{self.tag.replace('_', ' ')} {self.strand}"

    @property
    def title(self) -> str:
        """A line for people."""
        words = self.tag.replace("_", " ")
        what = f"Usage of likely sites in {words}" if self.is_usage else f"Probability of a splice {words}"
        return f"{what}, {self.strand.partition} strand"

    @property
    def colour(self) -> str:
        """Red, green and blue, 0 to 255."""
        return COLOURS.get(self.channel, USAGE_COLOUR)


def signals_of(tissues: Sequence[str]) -> list[Signal]:
    """All bigWigs of a table with these tissues, in the order in which they are shown."""
    tags = dict(zip((*KINDS, *tissues), tags_of((*KINDS, *tissues)), strict=True))
    return [Signal(channel, tag, strand) for channel, tag in tags.items() for strand in Strand]


def tags_of(names: Sequence[str]) -> list[str]:
    """Names as file names and hubs may have them: letters, digits and `_`, a letter first, each once."""
    tags: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain[:1].isalpha() else f"t_{plain}"
        tag, count = plain, 1
        while tag.lower() in (taken.lower() for taken in tags):
            count += 1
            tag = f"{plain}_{count}"
        tags.append(tag)
    return tags


def hub_text(genome: str, signals: Sequence[Signal], unfinished: str = "") -> str:
    """The track hub.

    Parameters
    ----------
    genome
        UCSC's id of the genome, such as hg38.
    signals
        The bigWigs to show.
    unfinished
        What is missing of the table, in a few words; empty when nothing is.

    """
    note = f" ({unfinished})" if unfinished else ""
    splice = [signal for signal in signals if not signal.is_usage]
    usage = [signal for signal in signals if signal.is_usage]
    stanzas = [
        {
            "hub": "sptx",
            "shortLabel": "Splice sites",
            "longLabel": f"Splice sites{' and their usage in tissues' if usage else ''}, predicted from sequence{note}",
            "useOneFile": "on",
            "email": EMAIL,
            "descriptionUrl": HUB_PAGE,
        },
        {"genome": genome},
        *_composite("sptx_splice", "Splice sites", f"Probability of a splice site{note}", splice, "full", 1),
        {
            "track": "sptx_sites",
            "bigDataUrl": SITES_FILE,
            "shortLabel": "Likely sites",
            "longLabel": f"Likely splice sites{note}",
            "type": "bigBed 9 +",
            "itemRgb": "on",
            "visibility": "dense",
            "priority": "2",
            "html": HUB_PAGE,
        },
        *_composite("sptx_usage", "Usage", f"Usage of likely splice sites by tissue{note}", usage, "hide", 3),
        {
            "track": "sptx_covered",
            "bigDataUrl": COVERED_FILE,
            "shortLabel": "Computed",
            "longLabel": f"Bases that were computed; elsewhere nothing is known{note}",
            "type": "bigBed 6",
            "color": COVERED_COLOUR,
            "visibility": "pack",  # the strands below each other
            "priority": "4",
            "html": HUB_PAGE,
        },
    ]
    return "\n".join("".join(f"{key} {value}\n" for key, value in stanza.items()) for stanza in stanzas)


def _composite(
    name: str, short: str, long: str, signals: Sequence[Signal], visibility: str, priority: int
) -> Iterator[dict[str, str]]:
    """The stanzas of a group of bigWigs, sorted by channel and strand; the page of the group is that of its tracks."""
    if not signals:
        return
    channels = " ".join(dict.fromkeys(f"{signal.tag}={signal.tag}" for signal in signals))
    yield {
        "track": name,
        "compositeTrack": "on",
        "shortLabel": short,
        "longLabel": long,
        "type": "bigWig 0 1",
        "subGroup1": f"channel Channel {channels}",
        "subGroup2": "strand Strand plus=plus minus=minus",
        "dimensions": "dimX=strand dimY=channel",
        "sortOrder": "channel=+ strand=-",  # as words: plus before minus
        "autoScale": "off",
        "viewLimits": "0:1",
        "maxHeightPixels": "100:32:8",
        "windowingFunction": "maximum",
        "visibility": visibility,
        "priority": str(priority),  # without it UCSC sorts by shortLabel
        "html": HUB_PAGE,
    }
    for signal in signals:
        yield {
            "track": f"sptx_{signal.tag}_{signal.strand.partition}",
            "parent": f"{name} on",
            "bigDataUrl": signal.file,
            "shortLabel": signal.label,
            "longLabel": signal.title,
            "type": "bigWig 0 1",
            "subGroups": f"channel={signal.tag} strand={signal.strand.partition}",
            "viewLimits": "0:1",
            "color": signal.colour,
        }


def session_text(genome: str | None, locus: str, signals: Sequence[Signal]) -> str:
    """The session of IGV.

    Parameters
    ----------
    genome
        Id of the genome; None for the one that IGV shows when it opens the session.
    locus
        The region to show first, 1-based inclusive text.
    signals
        The bigWigs to show.

    """
    session = ElementTree.Element("Session", {"genome": genome} if genome else {}, locus=locus, version="8")
    resources = ElementTree.SubElement(session, "Resources")
    panel = ElementTree.SubElement(session, "Panel", name="DataPanel")
    for signal in signals:
        ElementTree.SubElement(resources, "Resource", path=signal.file)
        drawn = {"autoScale": "false", "renderer": "BAR_CHART", "windowFunction": "max", "height": "40"}
        shown = {"id": signal.file, "name": signal.label, "color": signal.colour, "visible": "true"}
        track = ElementTree.SubElement(panel, "Track", shown | drawn)
        limits = {"minimum": "0.0", "baseline": "0.0", "maximum": "1.0", "drawBaseline": "true", "type": "LINEAR"}
        ElementTree.SubElement(track, "DataRange", limits)
    sites = {"id": SITES_FILE, "name": "likely sites", "displayMode": "COLLAPSED"}  # which have colours of their own
    computed = {"id": COVERED_FILE, "name": "computed", "displayMode": "EXPANDED", "color": COVERED_COLOUR}
    for shown in (sites, computed):
        ElementTree.SubElement(resources, "Resource", path=shown["id"])
        ElementTree.SubElement(panel, "Track", shown, visible="true")
    ElementTree.indent(session, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(session, encoding="unicode") + "\n"
