"""What people read: its code runs, its commands exist, the recipes answer alike, and the site builds from here alone.

`desk` is a folder with the files that the pages name, all small: a table of DOCK8, the same table by another network,
an annotation, measured usage, positions, and the demo's network in place of the published one.
"""

from __future__ import annotations

import ast
import csv
import gzip
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pytest
import typer
from material import tables, variant_tables
from material.genomes import Transcript, write_gtf
from material.r_arrow import run_r
from material.tables import Part
from material.variant_tables import around, scored
from typer.testing import CliRunner

from pipeline import open_tracks, read_annotation
from pipeline.cli.app import app
from sptx_core.channels import TISSUES
from sptx_core.demo import demo_checkpoint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = ROOT / "docs" / "recipes.md"


class Block(NamedTuple):
    """A fenced block: its language, the headings above it, and its text."""

    language: str
    section: str
    question: str
    text: str


def blocks(page: Path) -> list[Block]:
    found, section, question = [], "", ""
    for match in re.finditer(r"^(##+) ([^\n]*)$|^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        level, title, language, text = match.groups()
        if level is None:
            found.append(Block(language, section, question, text))
        elif level == "##":
            section, question = title, ""
        else:
            question = title
    return found


# The desk

CONTIG, TRANSCRIPT = "chr9", "ENST00000432829.7"
EXONS = ((214_854, 214_900), (215_001, 215_100), (215_301, 215_400))
PLUS, MINUS = range(214_854, 215_401), range(300_001, 300_201)
ACCEPTORS, DONORS = {215_001: 0.9, 215_301: 0.04}, {214_900: 0.8, 215_100: 0.95, 215_200: 0.02}
BRAIN = {214_900: 0.85, 215_100: 0.9, 215_001: 0.7}
FINETUNED = {214_900: 0.81, 215_100: 0.6, 215_350: 0.3}
FAR_DONORS = {300_050: 0.7}
QUESTIONS = {
    "Which donors does brain use?": [
        (CONTIG, "+", 215_100, 0.95, 0.9),
        (CONTIG, "+", 214_900, 0.8, 0.85),
    ],
    "What are the scores of a stretch?": [
        (CONTIG, "+", pos, "ACGTN"[pos % 5], ACCEPTORS.get(pos, 0.0), DONORS.get(pos, 0.0)) for pos in PLUS
    ],
    "What are the scores at my positions?": [
        (CONTIG, "-", 300_050, 0.0, 0.7),
        (CONTIG, "+", 300_050, None, None),
        (CONTIG, "+", 215_001, 0.9, 0.0),
    ],
    "Which sites differ between two tables?": [
        (CONTIG, "+", 215_100, 0.95, 0.6),
        (CONTIG, "+", 215_350, 0.0, 0.3),
    ],
}


def usage_of(brain: dict[int, float]) -> dict[int, list[float]]:
    return {pos: [value if tissue == "brain" else 0.1 for tissue in TISSUES] for pos, value in brain.items()}


def write_table(root: Path, contig: str, donors: dict[int, float]) -> None:
    bases = "".join("ACGTN"[pos % 5] for pos in PLUS)
    parts = [
        Part(contig, "+", PLUS, acceptor=ACCEPTORS, donor=donors, usage=usage_of(BRAIN), bases=bases),
        Part(contig, "-", MINUS, donor=FAR_DONORS, usage=usage_of({300_050: 0.3})),
    ]
    tables.write(root, parts, transcripts(contig))


def transcripts(contig: str) -> list[Transcript]:
    far = Transcript("ENST00000000001.1", contig, "-", [(300_001, 300_049), (300_100, 300_200)], gene="FAR")
    return [Transcript(TRANSCRIPT, contig, "+", EXONS, gene="DOCK8", tags=["MANE_Select"]), far]


def write_scores(root: Path) -> None:
    """Changes of DOCK8: one breaks a donor, in brain most of all, one does little, one was not scored."""
    gene = {"gene_id": "G_DOCK8", "gene_name": "DOCK8"}
    usage = {f"{column}_{tissue}": 0.0 for column in ("d", "signed", "z") for tissue in TISSUES} | {"calibrated": True}
    brain = {"d_brain": 0.75, "signed_brain": -0.75, "z_brain": 3.0, "tissues": ["brain"]}
    loss = {"d_splice": 0.7, "ds_dl": 0.7, "dp_dl": -1, "dl_pos": 214_900}
    broken = scored(CONTIG, 214_901, "C", "A", **{**usage, **gene, **brain, **loss})
    weak = scored(CONTIG, 214_903, "A", "C", record=1, **{**usage, **gene, "d_splice": 0.01, "tissues": []})
    mismatch = {name: broken[name] for name in ("chrom", "alt_index", "id", "joint")}
    mismatch |= {"record": 2, "pos": 214_905, "ref": "T", "alt": "C", "status": "ref_mismatch"}
    before, after = {("donor", 214_900): 0.8}, {("donor", 214_900): 0.1}
    sites = [*around(broken, before, after), *around(weak, before, before)]
    variant_tables.write(root, [broken, weak, mismatch], sites)


def write_desk(folder: Path, contig: str) -> None:
    write_table(folder / "dock8", contig, DONORS)
    write_table(folder / "dock8-finetuned", contig, FINETUNED)
    write_table(folder / "tracks", contig, DONORS)
    write_gtf(folder / "genes.gtf.gz", transcripts(contig))
    write_scores(folder / "scores")
    mine = [(row[0].replace(CONTIG, contig), *row[1:3]) for row in QUESTIONS["What are the scores at my positions?"]]
    lines = ["chrom\tstrand\tpos", *("\t".join(map(str, row)) for row in mine)]
    (folder / "positions.tsv").write_text("\n".join(lines) + "\n")
    usage = ["contig\tposition\tstrand\tkind\tbrain\tliver", f"{contig}\t214900\t+\tdonor\t0.8\t0.2"]
    usage.append(f"{contig}\t215001\t+\tacceptor\t0.7\t0.4")
    (folder / "usage.tsv").write_text("\n".join(usage) + "\n")
    shutil.copytree(demo_checkpoint(), folder / "SpTransformer_pytorch.ckpt")
    annotation = read_annotation(str(folder / "genes.gtf.gz"))
    open_tracks(folder / "dock8").sites(named=True, annotation=annotation).collect().write_parquet(
        folder / "sites.parquet"
    )


@pytest.fixture(scope="session", params=[CONTIG, "9"])
def desk_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The desk, and its contig's name."""
    folder = tmp_path_factory.mktemp("desk")
    write_desk(folder, request.param)
    return folder, request.param


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk of its own, entered."""
    write_desk(tmp_path, CONTIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Recipes

Answers = dict[str, list[tuple[Any, ...]]]


def same(rows: Any) -> list[tuple[Any, ...]]:
    """Rows with floats as they are stored, and None for what is missing."""
    return [
        tuple(None if value != value else round(value, 4) if isinstance(value, float) else value for value in row)
        for row in rows
    ]


def answers_of_python(recipes: list[Block]) -> Answers:
    names: dict[str, Any] = {}
    answers = {}
    for block in recipes:
        exec(compile(block.text, block.question or block.section, "exec"), names)
        if block.question:
            found = names["found"]
            rows = found.rows() if isinstance(found, pl.DataFrame) else found.itertuples(index=False, name=None)
            answers[block.question] = same(rows)
    return answers


def answers_of_duckdb(recipes: list[Block]) -> Answers:
    with duckdb.connect() as connection:
        found = {block.question: connection.execute(block.text).fetchall() for block in recipes}
    return {question: same(rows) for question, rows in found.items() if question}


def answers_of_r(recipes: list[Block]) -> Answers:
    print_found = 'write.table(found, "found.tsv", sep = "\\t", quote = FALSE, row.names = FALSE, na = "")'
    answers = {}
    for question in {block.question: None for block in recipes if block.question}:
        program = "\n".join(block.text for block in recipes if block.question in ("", question))
        run_r(f"{program}\n{print_found}")
        with Path("found.tsv").open() as stream:
            _, *rows = csv.reader(stream, delimiter="\t")
        answers[question] = same([read_row(row) for row in rows])
    return answers


def read_row(row: list[str]) -> tuple[Any, ...]:
    chrom, strand, pos, *others = row
    return (
        chrom,
        strand,
        int(pos),
        *(value if value.isalpha() else float(value) if value else None for value in others),
    )


ANSWERS: dict[str, tuple[str, Callable[[list[Block]], Answers]]] = {
    "Polars": ("python", answers_of_python),
    "DuckDB": ("sql", answers_of_duckdb),
    "pandas": ("python", answers_of_python),
    "R": ("r", answers_of_r),
}


@pytest.mark.slow
@pytest.mark.parametrize("tool", ANSWERS)
def test_every_tool_answers_every_question(
    tool: str, desk_of: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, contig = desk_of
    monkeypatch.chdir(folder)
    language, answer = ANSWERS[tool]
    recipes = [block for block in blocks(RECIPES) if block.section == tool]
    assert {block.language for block in recipes} == {language}
    answers = answer([block._replace(text=block.text.replace(CONTIG, contig)) for block in recipes])
    assert answers.keys() == QUESTIONS.keys()
    for question, expected in QUESTIONS.items():
        found, rows = answers[question], [(contig, *row[1:]) for row in expected]
        if "my positions" in question:  # in any order
            found, rows = sorted(found, key=str), sorted(rows, key=str)
        assert found == rows, question


def test_more_recipes(desk: Path) -> None:
    names: dict[str, Any] = {}
    found = {}
    for block in blocks(RECIPES):
        if block.section == "More with Polars" or (block.section == "Polars" and not block.question):
            exec(compile(block.text, block.question or block.section, "exec"), names)
            found[block.question] = names.get("found")
    introns = found["The introns of a transcript with the scores of both ends"]
    place = ["first", "last", "donor", "acceptor"]
    assert same(introns.select(place).rows()) == [(214_901, 215_000, 0.8, 0.9), (215_101, 215_300, 0.95, 0.04)]
    usage = found["Usage in long form, one row a site and tissue"]
    assert usage.height == 4 * len(TISSUES)  # the sites above 0.5 on both strands
    assert same(usage.filter(pl.col("pos") == 214_900, pl.col("tissue") == "brain").select("usage").rows()) == [(0.85,)]
    assert (desk / "donors.plus.bedgraph").read_text().splitlines() == [
        "chr9\t214899\t214900\t0.8",
        "chr9\t215099\t215100\t0.95",
        "chr9\t215199\t215200\t0.02",
    ]


# Sites with names

SITES = ROOT / "docs" / "sites.md"
SITE_QUESTIONS: dict[str, list[tuple[Any, ...]]] = {
    "Which novel sites does brain use?": [(CONTIG, "-", 300_050, "donor", 0.7, 0.3, ["intron 1"], 50)],
    "Which annotated sites does the network not predict?": [
        (CONTIG, "-", 300_049, "acceptor", "other", 0.0, ["FAR"], ["ENST00000000001.1"]),
        (CONTIG, "-", 300_100, "donor", "other", 0.0, ["FAR"], ["ENST00000000001.1"]),
        (CONTIG, "+", 215_301, "acceptor", "other", 0.04, ["DOCK8"], [TRANSCRIPT]),
    ],
    "Which cassette exons differ between brain and liver?": [(CONTIG, "+", 215_001, 215_100, 0.6, 0.8)],
}


@pytest.mark.slow
@pytest.mark.parametrize(("language", "answer"), [("python", answers_of_python), ("sql", answers_of_duckdb)])
def test_questions_to_sites_with_names(
    language: str, answer: Callable[[list[Block]], Answers], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [words for name, *words in commands(SITES) if name == "sites" and words[:1] == ["dock8"]]
    assert written == [["dock8", "--gtf", "genes.gtf.gz", "--to", "sites.parquet"]]
    (desk / "sites.parquet").unlink()
    done = CliRunner().invoke(app, ["sites", *written[0]])
    assert done.exit_code == 0
    asked = [
        block for block in blocks(SITES) if block.language == language and (block.question or language == "python")
    ]
    answers = answer(asked)
    assert answers.keys() == SITE_QUESTIONS.keys()
    for question, expected in SITE_QUESTIONS.items():
        assert answers[question] == expected, question


# Other pages


HUB_ID = "owner/name"  # stands for a repository of the hub, which no test may ask


def pages_with_code() -> list[Path]:
    return [
        page for page in PAGES if page != RECIPES and {block.language for block in blocks(page)} & {"python", "sql"}
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: page.stem)
def test_code_on_a_page_runs(page: Path, desk: Path) -> None:
    names: dict[str, Any] = {}
    answers: list[list[Any]] = []
    for block in blocks(page):
        if block.language == "python":
            program = ast.parse(block.text)
            program.body = [one for one in program.body if HUB_ID not in ast.unparse(one)]
            exec(compile(program, page.name, "exec"), names)
        elif block.language == "sql":
            answers.append(duckdb.sql(block.text).fetchall())
            assert answers[-1]
    drawn = {path.name for path in desk.glob("*.png") if path.stat().st_size > 10_000}
    assert drawn == {"plot": {"dock8.png"}, "variants": {"variant.png", "map.png"}}.get(page.stem, set())
    if page.stem == "variants":
        assert names["strong"].rows() == [(CONTIG, 214_901, "C", "A", "DOCK8")]
        assert (names["in_brain"]["pos"].to_list(), len(names["one"]), len(names["about_it"])) == ([214_901], 1, 201)
        assert names["not_scored"].rows() == [(CONTIG, 214_905, "ref_mismatch")]
        assert same(names["lost"].rows()) == [(CONTIG, 214_901, "C", "A", "DOCK8", "dl", 0.7, 214_900)]
        assert same(answers[0]) == [(CONTIG, 214_901, "C", "A", "DOCK8", 0.7, 214_900)]
        assert answers[1] == [("ref_mismatch", 1), ("scored", 2)]


def test_r_on_the_page_about_published_tables(desk: Path) -> None:
    (block,) = (block for block in blocks(ROOT / "docs" / "publish.md") if block.language == "r")
    called = open_tracks("dock8").sites().filter(pl.col("acceptor") >= 0.5).collect()
    assert re.search(rf"# A tibble: {called.height} \S ", run_r(block.text, desk))


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command line of sptx on a page, from its blocks and within its sentences."""
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|;|\|", line):
                words = shlex.split(command, comments=True) if command.strip().startswith("sptx ") else []
                yield from [words[1:]] if words else []
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for command in re.findall(r"`sptx ([^`]+)`", prose.replace("\n", " ")):
        yield shlex.split(command)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_on_a_page_exist(page: Path) -> None:
    group = typer.main.get_command(app)
    known = {name: command.params for name, command in group.commands.items()} | {"COMMAND": ()}
    for name, *words in commands(page):
        if name.startswith("-"):
            assert any(name in option.opts for option in group.params) or name in ("--help", "-h"), f"sptx {name}"
            continue
        assert name in known, f"sptx {name}"
        flags = {flag for option in known[name] for flag in (*option.opts, *option.secondary_opts)}
        for word in words:
            given = word.split("=")[0]
            assert not re.match(r"--?[a-zA-Z]", given) or given in {*flags, "--help", "-h"}, f"sptx {name} {given}"


def test_variants_on_the_pages_exist_in_grch38() -> None:
    """Of the stretch that comes with sptx: another REF would make a reader's first variant a `ref_mismatch`."""
    text = gzip.decompress((ROOT / "pipeline" / "example" / "data" / "genome.fa.gz").read_bytes()).decode()
    bases = text.split("\n", 1)[1].replace("\n", "").upper()
    found = {match for page in PAGES for match in re.findall(r"\b(?:chr)?9-(\d+)-([ACGT])-[ACGT]\b", page.read_text())}
    assert len(found) >= 4
    assert {(pos, ref) for pos, ref in found if bases[int(pos) - 1] != ref} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lists_are_lists(page: Path) -> None:
    """A line of a sentence that begins with a number and a full stop would be shown as a list."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    before = 0
    for number in (int(match) for match in re.findall(r"^ *(\d+)\. ", prose, re.MULTILINE)):
        assert number in (1, before + 1), f"{number}."
        before = number


def test_the_versions_that_were_tried_are_those_of_the_constraints() -> None:
    (tried,) = re.findall(
        r"with DuckDB ([\d.]+) and Polars ([\d.]+), the versions of `constraints.txt`", one_line("publish")
    )
    constraints = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert tried == (constraints["duckdb"], constraints["polars"])


def one_line(page: str) -> str:
    return " ".join((ROOT / "docs" / f"{page}.md").read_text().split())


# The site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: every warning is an error."""
    for package in ("mkdocs", "mkdocs-material", "mkdocstrings-python"):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    # Not with --quiet, which also keeps warnings from becoming errors.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag != "a":
            self.addresses += [given[name] or "" for name in ("src", "href", "srcset", "data") if name in given]


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.addresses
        assert not [address for address in loaded.addresses if re.match(r"(\w+:)?//", address)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style


@pytest.mark.slow
@pytest.mark.parametrize("package", ["pipeline", "sptx_core"])
def test_the_reference_holds_every_public_name(package: str, site: Path) -> None:
    head, body = (site / "objects.inv").read_bytes().rsplit(b"zlib.\n", 1)
    assert head
    documented = {line.split(" ")[0] for line in zlib.decompress(body).decode().splitlines()}
    door = import_module(package)
    for name in getattr(door, "__all__", ()):
        if not name.startswith("__"):
            found = getattr(door, name)
            defined = f"{getattr(found, '__module__', package)}.{getattr(found, '__qualname__', name)}"
            assert documented & {defined, f"{package}.{name}"}, name


@pytest.mark.slow
def test_the_reference_holds_every_command_and_flag(site: Path) -> None:
    text = (site / "reference" / "commands.html").read_text()
    for name, command in typer.main.get_command(app).commands.items():
        assert f">sptx {name}<" in text
        for option in command.params:
            shown = max(option.opts, key=len)  # of an argument its name
            shown += "..." if option.nargs < 0 else ""  # one that may be given again
            assert option.hidden or option.name == "help" or f"{shown}</code>" in text, f"sptx {name} {shown}"
