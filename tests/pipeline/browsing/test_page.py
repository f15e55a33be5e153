"""The page in a real browser: what it draws and lists against the table, where it goes, and what it never asks for."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import browsed, variant_tables
from material.variant_tables import around, scored

from pipeline.browsing.one_file import answers, page_of, write_page
from pipeline.browsing.server import PageServer, serve
from pipeline.browsing.session import Session
from pipeline.coordinates import Interval
from pipeline.tracks.reader import Tracks
from pipeline.variants.reader import Variants
from sptx_core.channels import TISSUES

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
CHROMIUM = os.environ.get("SPTX_CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian's package, or SPTX_CHROMIUM=path)"),
]

LANES = {"acceptor": (44, [0, 114, 178]), "donor": (96, [213, 94, 0])}  # a row of pixels of each, and its colour
IN_LANE = 0.125  # the score of a bar that covers that row
WINDOW = {"width": 1280, "height": 700}
MARKUP = "<img src=x onerror=alert(1)>"
DOCK8 = "chr1:1,001-4,000"
CHANGED = scored("1", 1_500, "A", "C", gene="DOCK8", d_splice=0.81239, tissues=["brain"]) | {"record": 1}

# Pixels of a track at one height that have a colour, as bases (0-based) of their middles.
BASES_OF_COLOUR = """([key, y, colour]) => {
  const { viewports: [viewport] } = window.sptx.view.loaded.get(key).track.trackView
  const { bpStart, bpPerPixel } = viewport.canvas._data
  const row = Object.assign(document.createElement("canvas"), { width: viewport.canvas.width, height: 1 })
  row.getContext("2d").drawImage(viewport.canvas, 0, -y)
  const { data } = row.getContext("2d").getImageData(0, 0, row.width, 1)
  const found = []
  for (let x = 0; x < viewport.canvas.width; x += 1)
    if (colour.every((value, k) => data[4 * x + k] === value)) found.push(bpStart + (x + 0.5) * bpPerPixel)
  return { found, bpPerPixel }
}"""
SCORES_OF = """(key) => {
  const { viewports: [viewport] } = window.sptx.view.loaded.get(key).track.trackView
  return viewport.featureCache?.features[0] ?? {}
}"""
WHERE_A_BASE_IS = """([key, pos]) => {
  const { viewports: [viewport] } = window.sptx.view.loaded.get(key).track.trackView
  const { left, top } = viewport.viewportElement.getBoundingClientRect()
  const { start, bpPerPixel } = viewport.referenceFrame
  return { x: left + (pos - 0.5 - start) / bpPerPixel, y: top }
}"""
TABLE = """() => [...document.querySelectorAll("#sites tbody tr")]
  .map((row) => [...row.cells].map((cell) => cell.textContent))"""


@dataclass
class Visit:
    """A page in a window of its own; `troubles` are what no page should do."""

    page: Any
    base: str
    troubles: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note requests to others, failed ones, dialogs, and what lands on the console."""
        page = self.page
        page.on("request", lambda request: self.note(not self._is_own(request.url), f"request: {request.url}"))
        page.on("response", lambda reply: self.note(reply.status >= 400, f"{reply.status}: {reply.url}"))
        page.on("console", lambda message: self.note(True, f"console: {message.text}"))
        page.on("pageerror", lambda error: self.note(True, f"error: {error}"))
        page.on("dialog", lambda dialog: (self.note(True, f"dialog: {dialog.message}"), dialog.dismiss()))

    def note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.troubles.append(text)

    def go(self, locus: str = "") -> Visit:
        """Open the page and wait until it is drawn."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}#{locus}" if locus else self.base)
        self.page.wait_for_selector("body[data-ready=yes]")
        return self

    def at(self, locus: str) -> None:
        """Wait until the view is there: `chr1:1001-4000`."""
        self.page.wait_for_selector(f'body[data-place="#{locus}"]')

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.page.evaluate(script, *arguments)

    def _is_own(self, url: str) -> bool:
        return url.startswith((self.base.rpartition("/")[0], "data:", "blob:", "about:"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        options = ["--disable-gpu", *(["--no-sandbox"] if os.getuid() == 0 else [])]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def online(browser: Any) -> Iterator[Any]:
    """Windows that share what they have loaded, which saves the time of reading igv.js each time."""
    context = browser.new_context(viewport=WINDOW)
    yield context
    context.close()


@pytest.fixture
def visit(browser: Any, online: Any) -> Iterator[Callable[..., Visit]]:
    """Open a window; whatever it does that no page should is found when the test ends."""
    made: list[Visit] = []

    def open_window(base: str, *, offline: bool = False) -> Visit:
        context = browser.new_context(viewport=WINDOW, offline=True) if offline else online
        window = Visit(context.new_page(), base)
        window.page.set_default_timeout(20_000)
        window.watch()
        made.append(window)
        return window

    yield open_window
    for window in made:
        window.page.close()
    assert [window.troubles for window in made if window.troubles] == []


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Variants:
    about = around(CHANGED, {("donor", 1_510): 0.9}, {("donor", 1_510): 0.1, ("donor", 1_490): 0.70004}, 50)
    return variant_tables.write(tmp_path_factory.mktemp("variants") / "v", [CHANGED], about)


@pytest.fixture(scope="module")
def server(tracks: Tracks, other: Tracks, variants: Variants) -> Iterator[PageServer]:
    """Both tables and the variants."""
    started = serve(Session([tracks, other], variants=variants, locus="DOCK8"))
    started.start()
    yield started
    started.stop()


def named(tracks: Tracks, first: int, last: int) -> pl.DataFrame:
    sites = tracks.sites(named=True).filter(pl.col("pos").is_between(first, last) & (pl.col("score") >= 0.1))
    return sites.sort("pos", "strand", "kind").collect()


def require_equal_rows(shown: list[list[str]], sites: pl.DataFrame) -> None:
    assert len(shown) == sites.height > 5
    for cells, site in zip(shown, sites.iter_rows(named=True), strict=True):
        strand = cells[1].replace("−", "-")
        assert (cells[0], strand, cells[2]) == (f"{site['pos']:,}", site["strand"], site["kind"])
        assert float(cells[3]) == pytest.approx(site["score"], abs=5.6e-4)
        assert cells[4] == site["motif"]
        assert cells[5] == ", ".join(dict.fromkeys(site["gene_names"]))
        usage = cells[-len(TISSUES) :]
        assert [float(text) for text in usage] == pytest.approx([site[name] for name in TISSUES], abs=5.6e-3)


def position(cells: list[str]) -> int:
    return int(cells[0].replace(",", ""))


def test_rows_of_the_table_are_those_of_the_named_sites(
    server: PageServer, visit: Callable[..., Visit], tracks: Tracks, other: Tracks
) -> None:
    window = visit(server.url).go(DOCK8)
    assert window.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    sites = named(tracks, 1_001, 4_000)
    strongest = sites.sort("score", descending=True, maintain_order=True).head(200).sort("pos", "strand", "kind")
    require_equal_rows(window.ask(TABLE), strongest)
    window.page.select_option("#sites-of", "1")
    window.page.wait_for_function("(first) => document.querySelector('#sites td').textContent !== first", arg="")
    window.page.fill("#least", "0.9")
    window.page.press("#least", "Tab")
    window.page.wait_for_function("() => document.getElementById('sites-note').textContent.endsWith('sites in view.')")
    require_equal_rows(window.ask(TABLE), named(other, 1_001, 4_000).filter(pl.col("score") >= 0.9))
    window.page.click("#sites th:has-text('score')")  # the greatest first
    scores = [float(cells[3]) for cells in window.ask(TABLE)]
    assert scores == sorted(scores, reverse=True) != sorted(scores)


def test_a_bar_covers_exactly_its_base_on_both_strands_and_in_both_tables(
    server: PageServer, visit: Callable[..., Visit], tracks: Tracks, other: Tracks
) -> None:
    window = visit(server.url).go("chr1:1,871-1,930")
    for table, source in enumerate((tracks, other)):
        rows = source.region("chr1:1,871-1,930", strand="+")
        for kind, (y, colour) in LANES.items():
            drawn = window.ask(BASES_OF_COLOUR, [f"scores {table} +", y, colour])
            pixels = Counter(int(base) + 1 for base in drawn["found"] if 1_870 <= base < 1_930)
            assert sorted(pixels) == rows.filter(pl.col(kind) >= IN_LANE)["pos"].to_list()
            assert all(abs(number * drawn["bpPerPixel"] - 1) < 0.1 for number in pixels.values())


def test_panning_and_zooming_keep_the_bins(server: PageServer, visit: Callable[..., Visit], tracks: Tracks) -> None:
    window = visit(server.url).go("chr1:1-3,000")
    before = window.ask(SCORES_OF, "scores 0 +")
    for _ in range(2):
        window.page.keyboard.press("Shift+ArrowRight")
        window.page.wait_for_timeout(150)
    window.page.wait_for_function(f"(old) => ({SCORES_OF})('scores 0 +').start !== old", arg=before["start"])
    after = window.ask(SCORES_OF, "scores 0 +")

    def bins(scores: dict[str, Any], kind: str) -> dict[int, float]:
        places = (scores["start"] + at * scores["size"] for at in scores["bin"])
        return dict(zip(places, scores[kind], strict=True))

    assert before["size"] == after["size"] > 1
    assert before["start"] % before["size"] == after["start"] % after["size"] == 0
    first = after["start"]
    for kind in ("acceptor", "donor"):
        old = {at: value for at, value in bins(before, kind).items() if at >= first}
        assert old
        assert old == {at: value for at, value in bins(after, kind).items() if at in old}


def test_search_suggests_goes_and_can_be_taken_back(server: PageServer, visit: Callable[..., Visit]) -> None:
    window = visit(server.url).go()
    begun = window.ask("location.hash")
    assert begun == "#chr1:1101-3050"  # the gene that the session was opened with
    window.page.keyboard.press("/")
    window.page.keyboard.type("wi")
    window.page.wait_for_selector("#suggestions li:has-text('WIDE')")
    window.page.keyboard.press("ArrowDown")
    window.page.keyboard.press("Enter")
    window.page.wait_for_function("(old) => document.body.dataset.place !== old", arg=begun)
    place = window.ask("[location.hash, document.getElementById('search').value.replaceAll(',', '')]")
    assert place[0] == f"#{place[1]}"
    start, end = map(int, place[1].partition(":")[2].split("-"))
    assert start < 261_101  # the gene, and a little on each side
    assert end > 700_200
    window.page.go_back()
    window.at("chr1:1101-3050")
    window.page.go_forward()
    window.at(place[1])
    window.page.fill("#search", "NOBODY")
    window.page.press("#search", "Enter")
    window.page.wait_for_selector("#notice:has-text('NOBODY')")
    window.page.fill("#search", "1:5,001-6,000")  # an alias of chr1
    window.page.press("#search", "Enter")
    window.at("chr1:5001-6000")
    assert window.page.is_hidden("#notice")
    assert window.ask("window.sptx.view.browser.search('DOCK8')") is False  # igv's own search asks nobody


def test_keys_move_and_help(server: PageServer, visit: Callable[..., Visit]) -> None:
    window = visit(server.url).go("chr1:2,001-2,400")
    window.page.keyboard.press("ArrowRight")
    window.at("chr1:2101-2500")
    window.page.keyboard.press("+")
    window.at("chr1:2201-2400")
    window.page.keyboard.press("n")  # the next site goes to the middle
    following = min(pos for pos in map(position, window.ask(TABLE)) if pos > 2_301)
    window.at(f"chr1:{following - 100}-{following + 99}")
    window.page.keyboard.press("-")
    window.at(f"chr1:{following - 200}-{following + 199}")
    window.page.keyboard.press("w")
    window.at("chr1:1-1000000")
    window.page.keyboard.press("?")
    assert window.page.is_visible("#help")
    assert "An acceptor is the first base of an exon" in " ".join(window.page.text_content("#help").split())
    window.page.keyboard.press("Escape")
    assert not window.page.is_visible("#help")


def test_nouns_agree_with_their_numbers(server: PageServer, visit: Callable[..., Visit]) -> None:
    script = "async (number) => (await import(new URL('static/text.js', location))).counted(number, 'tissue')"
    window = visit(server.url).go(DOCK8)
    assert [window.ask(script, number) for number in (0, 1, 2_000)] == ["0 tissues", "1 tissue", "2,000 tissues"]


def test_names_are_text_wherever_they_are_shown(server: PageServer, visit: Callable[..., Visit]) -> None:
    window = visit(server.url).go("chr1:2,101-2,300")
    assert MARKUP in {cells[5] for cells in window.ask(TABLE)}
    row = window.ask("(name) => window.sptx.view.loaded.get('transcripts').track.trackView.viewports[0].featureCache"
                     ".features[0].transcripts.find((one) => one.gene === name).row", MARKUP)  # fmt: skip
    spot = window.ask(WHERE_A_BASE_IS, ["transcripts", 2_250])
    window.page.mouse.click(spot["x"], spot["y"] + 2 + 25 * row + 15)
    window.page.wait_for_selector("#popup:not([hidden])")
    assert MARKUP in window.page.text_content("#popup")
    window.page.fill("#search", "<img")
    window.page.wait_for_selector("#suggestions li")
    assert MARKUP in window.page.text_content("#suggestions")
    inside = "(root) => root.querySelectorAll('img, [onerror]').length"
    assert window.ask(f"({inside})(document) + ({inside})(document.getElementById('tracks').shadowRoot)") == 0


def test_a_click_on_a_variant_shows_both_alleles(server: PageServer, visit: Callable[..., Visit]) -> None:
    window = visit(server.url).go("chr1:1,401-1,600")
    spot = window.ask(WHERE_A_BASE_IS, ["variants", 1_500])
    window.page.mouse.click(spot["x"], spot["y"] + 25)
    window.page.wait_for_selector("#variant tbody tr")
    assert "1-1500-A-C" in window.page.text_content("#variant h2")
    assert [cells[:5] for cells in window.ask(TABLE.replace("#sites", "#variant"))] == [
        ["1,510", "donor", "0.900", "0.100", "−0.800"],
        ["1,490", "donor", "0.000", "0.700", "+0.700"],
    ]


def test_tracks_are_saved_as_a_drawing_and_as_a_picture(
    server: PageServer, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    window = visit(server.url).go("chr1:2,101-2,300")
    for kind, begins in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with window.page.expect_download() as saved:
            window.page.click(f"#{kind}")
        saved.value.save_as(tmp_path / kind)
        assert saved.value.suggested_filename.endswith(f"chr1-2101-2300.{kind}")
        assert (tmp_path / kind).read_bytes().startswith(begins)
    drawing = (tmp_path / "svg").read_text()
    columns = set(re.findall(r"<g transform=.translate\((\d+),", drawing))
    assert columns == {"0", "118"}  # axes, and what belongs to positions: the ruler stands where the tracks do
    assert "&lt;img src=x" in drawing
    assert "<img" not in drawing


def test_a_server_that_has_gone_is_told_and_one_that_is_back_is_asked(
    server: PageServer, visit: Callable[..., Visit]
) -> None:
    window = visit(server.url).go("chr1:1,001-2,000")
    window.page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    window.page.keyboard.press("w")
    window.page.wait_for_selector("#trouble:has-text('does not answer')")
    window.page.unroute("**/api/**")
    window.page.click("#again")
    window.page.wait_for_selector("#trouble", state="hidden")
    window.page.wait_for_function("() => document.querySelectorAll('#sites tbody tr').length > 100")
    assert not window.ask(SCORES_OF, "scores 0 +").get("failed")
    refused, window.troubles[:] = window.troubles[:], []
    assert refused
    assert all("ERR_CONNECTION_REFUSED" in trouble for trouble in refused)


def test_an_unfinished_table_says_so_and_shows_what_has_come(visit: Callable[..., Visit], tmp_path: Path) -> None:
    whole = browsed.write(tmp_path / "table")
    server = serve(Session([browsed.open_done(whole, 1)]))
    server.start()
    window = visit(server.url).go("chr1:1,001-4,500")
    assert "table is unfinished: 1 of 6 shards are done" in window.page.text_content("#unfinished")
    assert window.ask(SCORES_OF, "scores 0 +")["loci"] == [[1_000, 3_000]]
    write_page(server.session, Interval("chr1", 1_000, 2_000), tmp_path / "part.html")
    alone = visit((tmp_path / "part.html").as_uri(), offline=True).go()
    told = "table was unfinished when this file was written: 1 of 6 shards were done. The file does not change."
    assert alone.page.text_content("#unfinished") == told
    browsed.commit_rest(whole)
    window.page.wait_for_selector("#unfinished", state="hidden")  # it looks again every ten seconds
    window.page.wait_for_function(f"(end) => ({SCORES_OF})('scores 0 +').loci?.[0][1] === end", arg=4_500)
    server.stop()


def test_a_page_of_one_file_shows_the_same_without_a_network(
    server: PageServer, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    locus, path = Interval("chr1", 2_050, 2_450), tmp_path / "gene.html"
    write_page(server.session, locus, path)
    alone = visit(path.as_uri(), offline=True).go()
    alone.at("chr1:2051-2450")
    served = visit(server.url).go("chr1:2,051-2,450")
    rows = alone.ask(TABLE)
    assert rows == served.ask(TABLE)
    assert MARKUP in {cells[5] for cells in rows}
    assert alone.ask("[...window.sptx.view.loaded.keys()]") == served.ask("[...window.sptx.view.loaded.keys()]")
    for key in ("scores 0 +", "scores 1 -"):
        for kind, (y, colour) in LANES.items():
            shown = [window.ask(BASES_OF_COLOUR, [key, y, colour])["found"] for window in (alone, served)]
            within = [[base for base in found if 2_050 <= base < 2_450] for found in shown]
            assert within[0] == pytest.approx(within[1])
            assert within[0], (key, kind)
    alone.page.keyboard.press("+")
    alone.at("chr1:2151-2350")
    alone.page.keyboard.press("w")
    alone.at("chr1:2051-2450")
    alone.page.keyboard.press("ArrowRight")  # the locus ends here
    alone.page.keyboard.press("+")
    alone.at("chr1:2151-2350")
    alone.page.fill("#search", "ENST04.1")
    alone.page.press("#search", "Enter")
    alone.at("chr1:2073-2450")  # as much of it as is there


def test_a_name_cannot_break_out_of_a_page_of_one_file(
    server: PageServer, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    held = answers(server.session, Interval("chr1", 2_050, 2_150))
    name = "</script><script>alert(1)</script><!--<script>"
    for one in held["transcripts"]:
        one["gene"] = name
    path = tmp_path / "gene.html"
    path.write_text(page_of(held))
    window = visit(path.as_uri(), offline=True).go()
    shown = "window.sptx.view.loaded.get('transcripts').track.trackView.viewports[0].featureCache.features[0]"
    assert window.ask(f"{shown}.transcripts[0].gene") == name
