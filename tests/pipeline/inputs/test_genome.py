"""Bases of FASTA files, plain and bgzip, against their text; and their indexes, used, built anew and refused."""

from __future__ import annotations

import gzip
import os
import pickle
import random
import struct
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from Bio import bgzf
from hypothesis import given, settings
from hypothesis import strategies as st
from material import genomes
from material.mutations import INPUTS, mutated
from material.servers import object_store
from s3fs import S3FileSystem

from pipeline.inputs.genome import Genome
from sptx_core import files
from sptx_core.alphabet import N_CODE, decode, encode
from sptx_core.errors import InputError

SEQUENCES = {"chr1": "ACGTTGCANNacgtRYKMacgu" * 7, "chr2": "", "chr3": "T", "chrM": "GATTACA" * 40}


def fasta(sequences: dict[str, str], width: int = 10, newline: str = "\n") -> bytes:
    return genomes.fasta(sequences, line_bases=width, newline=newline).encode()


def write(path: Path, content: bytes, block: int | None = None) -> str:
    """Write plain text, or bgzip with blocks of that many bytes."""
    if block is None:
        path.write_bytes(content)
    else:
        with bgzf.BgzfWriter(str(path), "wb") as file:
            for start in range(0, len(content), block):
                file.write(content[start : start + block])
                file.flush()
    return str(path)


def brute_force(sequence: str, start: int, end: int) -> np.ndarray:
    return np.array([encode(sequence[x])[0] if 0 <= x < len(sequence) else N_CODE for x in range(start, end)], np.uint8)


@pytest.fixture(scope="module", params=["plain", "crlf", "bgzip", "bgzip of small blocks"])
def genome(request, tmp_path_factory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    content = fasta(SEQUENCES, newline="\r\n" if request.param == "crlf" else "\n")
    block = {"bgzip": 60_000, "bgzip of small blocks": 13}.get(request.param)
    return Genome(write(folder / ("g.fa.gz" if block else "g.fa"), content, block))


@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 60_000])
def test_of_a_line_without_end_no_more_is_held_than_is_read(tmp_path, block, monkeypatch):
    peak = peak_of(tmp_path / "g.fa", b">chr1\n" + b"ACGT" * 10_000_000 + b"\n", block)
    assert peak < 30_000_000
    calls: list[str] = []
    monkeypatch.setattr("pipeline.inputs.genome.Faidx", calls.append)  # which holds lines, and is slow at long ones
    with pytest.raises(InputError, match=r"line 1: the line begins with `>`, but it is too long for the name"):
        Genome(write(tmp_path / "header.fa", b">" + b"A" * 6_000_000 + b"\nACGT\n", block))
    assert not calls


def peak_of(path: Path, content: bytes, block: int | None) -> int:
    """Peak of the memory that an index and a stretch of chr1 take, in bytes."""
    uri = write(path, content, block)
    del content
    tracemalloc.start()
    try:
        genome = Genome(uri)
        assert decode(genome.fetch("chr1", 20_000_001, 20_000_006)) == "CGTAC"
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_lengths_are_in_the_order_of_the_file(genome):
    assert genome.lengths == {name: len(sequence) for name, sequence in SEQUENCES.items()}
    assert list(genome.lengths) == list(SEQUENCES)


@pytest.mark.slow
@given(contig=st.sampled_from(list(SEQUENCES)), start=st.integers(-30, 320), length=st.integers(0, 350))
@settings(max_examples=150, deadline=None)
def test_fetch_is_the_sequence_with_n_beyond_its_ends(genome, contig, start, length):
    codes = genome.fetch(contig, start, start + length)
    assert codes.dtype == np.uint8
    assert np.array_equal(codes, brute_force(SEQUENCES[contig], start, start + length))


def test_masked_ambiguous_and_rna_letters(genome):
    assert decode(genome.fetch("chr1", 8, 22)) == "NNACGTNNNNACGT"


@pytest.mark.slow
def test_blocks_of_full_size_are_read_across_their_borders(tmp_path):
    sequence = "".join(random.Random(0).choices("ACGT", k=200_000))
    genome = Genome(write(tmp_path / "g.fa.gz", fasta({"c": sequence}, width=60), 65_536))
    for border in (64_000, 65_536, 128_000, 131_072):
        for start in range(border - 1_200, border + 1_200, 7):
            assert decode(genome.fetch("c", start, start + 5)) == sequence[start : start + 5]
    assert decode(genome.fetch("c", 0, 200_000)) == sequence


@pytest.mark.slow
def test_threads_share_a_genome(genome):
    spans = [(start, start + 40) for start in range(150)] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda span: genome.fetch("chr1", *span), spans))
    assert all(
        np.array_equal(codes, brute_force(SEQUENCES["chr1"], *span)) for codes, span in zip(found, spans, strict=True)
    )


def test_pickled_genome_reads_the_same(genome):
    again = pickle.loads(pickle.dumps(genome))
    assert again.lengths == genome.lengths
    assert np.array_equal(again.fetch("chrM", -5, 300), genome.fetch("chrM", -5, 300))


def test_megabase(shared: Path):
    genome = Genome(str(shared / "data" / "GRCh38.chr9_1Mb.fa.gz"))
    with gzip.open(shared / "data" / "GRCh38.chr9_1Mb.fa.gz") as file:
        sequence = b"".join(file.read().split(b"\n")[1:])
    assert genome.lengths == {"chr9": 1_000_000}
    assert np.array_equal(genome.fetch("chr9", 0, 1_000_000), encode(sequence))
    assert set(genome.fetch("chr9", -4_000, 10_000)) == {N_CODE}


def test_digest_is_of_the_bases_not_of_the_container(tmp_path, genome):
    unmasked = {name: sequence.upper().replace("U", "T") for name, sequence in reversed(SEQUENCES.items())}
    other = Genome(write(tmp_path / "other.fa", fasta(unmasked, width=7)))
    assert genome.digest(["chrM", "chr1"]) == other.digest(["chr1", "chrM"])


def test_digest_tells_bases_and_names_and_choice_apart(tmp_path):
    def digest(sequences: dict[str, str], *contigs: str) -> str:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return Genome(write(folder / "g.fa", fasta(sequences))).digest(contigs)

    digests = [
        digest({"a": "ACGT", "b": "GG"}, "a"),
        digest({"a": "ACGA", "b": "GG"}, "a"),
        digest({"a": "ACGT", "b": "GG"}, "b"),
        digest({"a": "ACGT", "b": "GG"}, "a", "b"),
        digest({"a": "ACGTG", "b": "G"}, "a", "b"),
        digest({"x": "ACGT", "b": "GG"}, "x"),
    ]
    assert len(set(digests)) == len(digests)


def test_digest_reads_long_contigs_in_pieces(tmp_path, monkeypatch):
    genome = Genome(write(tmp_path / "g.fa", fasta(SEQUENCES)))
    whole = genome.digest(SEQUENCES)
    monkeypatch.setattr("pipeline.inputs.genome.DIGEST_CHUNK_BASES", 17)
    assert genome.digest(SEQUENCES) == whole


def test_the_digest_is_the_one_that_tables_were_begun_with(genome):
    """It is part of every fingerprint: another value would refuse to go on with any table."""
    assert genome.digest(SEQUENCES) == "a8475245c0b574a09fb6805dd66d47c8fd9c7d71dea2b10494c343666690ee2a"
    assert genome.digest(["chr1"]) == "ff9bca219c3805fefb95a567e1bbf7c235ad2003d9bba0c4128a54470846b216"


@pytest.fixture
def kept(monkeypatch):
    """Digests are kept of small files, too, and of such as have just been written."""
    monkeypatch.setattr("pipeline.inputs.genome.MIN_KEPT_BASES", 1)
    monkeypatch.setattr("pipeline.inputs.contig_digests.SETTLED_SECONDS", 0)


@pytest.fixture
def read_bases(monkeypatch):
    """Names of the contigs that have been read, in any order."""
    found, fetch = [], Genome.fetch

    def noted(self, contig: str, start: int, end: int):
        found.append(contig)
        return fetch(self, contig, start, end)

    monkeypatch.setattr(Genome, "fetch", noted)
    return found


@pytest.mark.usefixtures("kept")
def test_digests_are_kept_beside_the_index_and_contigs_read_once(tmp_path, read_bases):
    path = write(tmp_path / "g.fa.gz", fasta(SEQUENCES), 100)
    first = [Genome(path).digest(names) for names in (["chr1"], SEQUENCES)]
    assert sorted(read_bases) == ["chr1", "chr3", "chrM"]
    assert sorted(file.name.removeprefix("g.fa.gz") for file in tmp_path.iterdir()) == [
        "",
        ".digests.json",
        ".fai",
        ".gzi",
    ]
    assert [Genome(path).digest(names) for names in (["chr1"], SEQUENCES)] == first
    assert len(read_bases) == 3


@pytest.mark.usefixtures("kept")
def test_digests_of_a_changed_file_are_computed_anew(tmp_path):
    path = Path(write(tmp_path / "g.fa", fasta(SEQUENCES)))
    before, times = Genome(str(path)).digest(["chrM"]), path.stat()
    write(path, fasta(SEQUENCES | {"chrM": "GATTACC" * 40}))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as copying with the old time does
    assert path.stat().st_size == times.st_size
    changed = Genome(str(path)).digest(["chrM"])
    assert changed != before
    assert Genome(write(tmp_path / "other.fa", path.read_bytes())).digest(["chrM"]) == changed


@pytest.mark.usefixtures("kept")
def test_a_file_that_changes_while_it_is_read_leaves_no_digests(tmp_path, monkeypatch):
    path, fetch = write(tmp_path / "g.fa", fasta(SEQUENCES)), Genome.fetch

    def disturbed(self, contig: str, start: int, end: int):
        os.utime(path, ns=(0, 10**18))
        return fetch(self, contig, start, end)

    monkeypatch.setattr(Genome, "fetch", disturbed)
    Genome(path).digest(SEQUENCES)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.fa", "g.fa.fai"]


@pytest.mark.usefixtures("kept")
def test_digests_are_kept_in_the_cache_where_the_folder_cannot_be_written(tmp_path, cache, monkeypatch, read_bases):
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data" / "g.fa", fasta(SEQUENCES))
    refuse(monkeypatch, tmp_path / "data")
    first = Genome(path).digest(SEQUENCES)
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["g.fa"]
    read_bases.clear()
    assert Genome(path).digest(SEQUENCES) == first
    assert not read_bases


def test_digests_of_little_sequence_are_not_kept(tmp_path):
    Genome(write(tmp_path / "g.fa", fasta(SEQUENCES))).digest(SEQUENCES)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.fa", "g.fa.fai"]


def test_missing_index_is_built_beside_the_file(tmp_path):
    path = write(tmp_path / "g.fa.gz", fasta(SEQUENCES), 100)
    Genome(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.fa.gz", "g.fa.gz.fai", "g.fa.gz.gzi"]


def test_bgzip_is_told_by_content(tmp_path):
    genome = Genome(write(tmp_path / "genome", fasta(SEQUENCES), 100))
    assert decode(genome.fetch("chrM", 0, 7)) == "GATTACA"


def test_index_that_fits_is_left_alone_however_old(tmp_path):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    Genome(path)
    index = Path(f"{path}.fai")
    before = index.stat()
    Path(path).touch()
    Genome(path)
    assert (index.stat().st_ino, index.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "changed",
    [
        {"chr1": "ACGT" * 30, "chrM": "GATTACA"},  # shorter
        {**SEQUENCES, "chr4": "ACGT"},  # one more contig
        {"chr7" if name == "chr1" else name: sequence for name, sequence in SEQUENCES.items()},
    ],
)
@pytest.mark.parametrize("block", [None, 50])
def test_index_of_another_file_is_built_anew(tmp_path, changed, block):
    path = tmp_path / "g.fa"
    Genome(write(path, fasta(SEQUENCES), block))
    genome = Genome(write(path, fasta(changed), block))
    assert genome.lengths == {name: len(sequence) for name, sequence in changed.items()}
    assert decode(genome.fetch("chrM", 0, 7)) == "GATTACA"


@pytest.mark.parametrize(
    "garbage", [b"", b"chr1\n", b"chr1\tx\t1\t2\t3\n", b"chr1\t5\t6\t0\t0\n", b"\xff\xfe no text", b"\x89PNG\r\n\x1a\n"]
)
def test_damaged_index_is_built_anew(tmp_path, garbage):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    Path(f"{path}.fai").write_bytes(garbage)
    assert Genome(path).lengths["chrM"] == 280
    assert Path(f"{path}.fai").read_text().startswith("chr1\t154\t")


def test_an_index_that_cannot_be_read_is_built_anew(tmp_path):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    Path(f"{path}.fai").symlink_to(f"{path}.fai")  # a link to itself cannot be read by anybody
    assert Genome(path).lengths["chrM"] == 280
    assert Path(f"{path}.fai").is_file()


@pytest.mark.parametrize("block", [None, 50])
def test_an_index_that_is_a_folder_is_left_alone_and_another_one_kept_in_the_cache(tmp_path, cache, block):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES), block)
    Path(f"{path}.fai").mkdir()
    assert Genome(path).lengths["chrM"] == 280
    assert Path(f"{path}.fai").is_dir()
    (kept,) = cache.rglob("*.fai")
    before = kept.stat()
    assert decode(Genome(path).fetch("chrM", 0, 7)) == "GATTACA"
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("block", [None, 50])
@pytest.mark.parametrize(
    ("column", "value"), [(1, 1), (1, -1), (1, 10**17), (2, 1), (2, -1), (3, 1), (3, -1), (4, 1), (4, -1), (4, 10**17)]
)
@pytest.mark.parametrize("contig", [0, 3])
def test_an_index_with_any_other_number_is_built_anew(tmp_path, block, column, value, contig):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES), block)
    Genome(path)
    index = Path(f"{path}.fai")
    lines = [line.split("\t") for line in index.read_text().splitlines()]
    lines[contig][column] = str(int(lines[contig][column]) + value)
    before = index.read_text()
    index.write_text("".join("\t".join(line) + "\n" for line in lines))
    genome = Genome(path)
    assert np.array_equal(genome.fetch("chr1", 0, 154), encode(SEQUENCES["chr1"]))
    assert index.read_text() == before


def test_an_index_that_lacks_a_short_contig_is_built_anew(tmp_path):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    Genome(path)
    index = Path(f"{path}.fai")
    index.write_text("".join(line for line in index.read_text().splitlines(keepends=True) if line[:4] != "chr3"))
    assert Genome(path).lengths["chr3"] == 1


def test_an_index_of_samtools_without_empty_contigs_fits(tmp_path):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    Genome(path)
    index = Path(f"{path}.fai")
    index.write_text("".join(line for line in index.read_text().splitlines(keepends=True) if line[:4] != "chr2"))
    assert list(Genome(path).lengths) == ["chr1", "chr3", "chrM"]


@pytest.mark.parametrize("block", [None, 50])
def test_blank_lines_and_a_byte_order_mark_stand_beside_contigs(tmp_path, block):
    content = b"\xef\xbb\xbf\n" + fasta(SEQUENCES).replace(b">", b"\n\n>") + b"\n\n"
    path = write(tmp_path / "g.fa", content, block)
    for _ in range(2):  # the index is built, then found to fit
        genome = Genome(path)
        index = Path(f"{path}.fai").stat()
        assert genome.lengths == {name: len(sequence) for name, sequence in SEQUENCES.items()}
        assert np.array_equal(genome.fetch("chrM", -2, 282), brute_force(SEQUENCES["chrM"], -2, 282))
    Genome(path)
    assert Path(f"{path}.fai").stat().st_mtime_ns == index.st_mtime_ns


@pytest.mark.parametrize("garbage", [b"", b"123", struct.pack("<Q", 9), struct.pack("<QQQ", 1, 11, 13)])
def test_damaged_block_index_is_built_anew(tmp_path, garbage):
    path = write(tmp_path / "g.fa.gz", fasta(SEQUENCES), 50)
    Genome(path)
    Path(f"{path}.gzi").write_bytes(garbage)
    assert np.array_equal(Genome(path).fetch("chrM", 0, 280), encode(SEQUENCES["chrM"]))


def test_lines_that_the_index_does_not_foresee_are_no_sequence(tmp_path):
    path = write(tmp_path / "g.fa", fasta({"c": "ACGT" * 25}))
    genome = Genome(path)
    Path(path).write_bytes(Path(path).read_bytes().replace(b"ACGTACGTAC\nGT", b"ACGTACGTA\nCGT", 1))
    with pytest.raises(InputError, match=r"contig c from base 1: its index does not fit"):
        genome.fetch("c", 0, 100)


def refuse(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Let nothing be written to folders; root, who may run this, can write to all."""
    write_atomic = files.write_atomic

    def write(path: Path, content: bytes) -> None:
        if any(path.is_relative_to(folder) for folder in folders):
            raise PermissionError(13, "Permission denied")
        write_atomic(path, content)

    for module in ("genome", "contig_digests"):
        monkeypatch.setattr(f"pipeline.inputs.{module}.write_atomic", write)


def test_missing_index_that_cannot_be_built_says_why(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "g.fa", fasta(SEQUENCES))
    refuse(monkeypatch, tmp_path)
    message = r"g.fa has no index, and none can be written to .* \(Permission denied\) or .*cache.* denied\); run `sam"
    with pytest.raises(InputError, match=message):
        Genome(path)


@pytest.mark.parametrize("block", [None, 50])
def test_an_index_is_kept_in_the_cache_where_the_folder_cannot_be_written(tmp_path, cache, monkeypatch, block):
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data" / "g.fa", fasta(SEQUENCES), block)
    refuse(monkeypatch, tmp_path / "data")
    assert Genome(path).lengths["chrM"] == 280
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["g.fa"]
    monkeypatch.setattr("pipeline.inputs.genome.find_contigs", None)  # building it again would fail
    assert decode(Genome(path).fetch("chrM", 0, 7)) == "GATTACA"


def test_a_changed_fasta_has_another_index_in_the_cache(tmp_path, cache, monkeypatch):
    (tmp_path / "data").mkdir()
    for length in (30, 40):
        path = write(tmp_path / "data" / "g.fa", fasta({"c": "ACGTA" * (length // 5)}))
        refuse(monkeypatch, tmp_path / "data")
        assert Genome(path).lengths == {"c": length}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("g.fa.gz", gzip.compress(fasta(SEQUENCES), mtime=0), "is plain gzip.*bgzip"),
        ("g.fa", b"chr1\thand\texon\t1\t9\t.\t+\t.\t\n", "g.fa line 1: text before the first contig"),
        ("g.fa", b"", "g.fa holds no base: a FASTA has lines of"),
        ("g.2bit", bytes(range(255, -1, -1)), "g.2bit line 1: "),
        ("g.fa", b">a\nACGT\nAC\nACGT\n", "g.fa line 4: the line is longer than those of its contig"),
        ("g.fa", b">a\nACGT\n>a\nACGT\n", "g.fa line 3: contig a is there a second time"),
    ],
)
def test_files_that_cannot_be_indexed(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        Genome(write(tmp_path / name, content))
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_missing_file_folder_and_contig_are_named(tmp_path):
    with pytest.raises(InputError, match=r"absent.fa does not exist"):
        Genome(str(tmp_path / "absent.fa"))
    with pytest.raises(InputError, match="is a folder"):
        Genome(str(tmp_path))
    genome = Genome(write(tmp_path / "g.fa", fasta(SEQUENCES)))
    with pytest.raises(InputError, match=r"g.fa has no contig chr99"):
        genome.fetch("chr99", 0, 1)


def test_a_file_that_has_gone_since_it_was_opened_is_named(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", fasta(SEQUENCES)))
    (tmp_path / "g.fa").unlink()
    with pytest.raises(InputError, match=r"contig chrM from base 1: .*g\.fa does not exist"):
        genome.fetch("chrM", 0, 7)


def test_letter_that_is_no_nucleotide_is_placed(tmp_path):
    genome = Genome(write(tmp_path / "g.fa", fasta({"c": "ACGTACGTACGTAJ"})))
    with pytest.raises(InputError, match=r"contig c from base 3: 'J' at offset 11"):
        genome.fetch("c", 2, 14)


@pytest.mark.slow
def test_a_fasta_in_object_storage_is_read_with_its_index(tmp_path, cache, monkeypatch):
    local = write(tmp_path / "g.fa.gz", fasta(SEQUENCES), 100)
    Genome(local)
    with object_store("genomes") as bucket:
        for path in tmp_path.glob("g.fa.gz*"):
            S3FileSystem().put_file(str(path), f"{bucket}/{path.name}")
        monkeypatch.setattr("pipeline.inputs.genome.find_contigs", None)  # building an index would fail
        genome = Genome(f"{bucket}/g.fa.gz")
        again = pickle.loads(pickle.dumps(genome))
    assert again.lengths == genome.lengths
    assert np.array_equal(genome.fetch("chrM", -3, 283), brute_force(SEQUENCES["chrM"], -3, 283))


# What chance makes of a file and of its indexes


SMALL = {"a": "ACGTTGCANNacgtRYKMacguT", "b": "T", "c": "GATTACA" * 4}
LETTERS = b"\n\r>\t 0123456789ACGTN\x00\xff"


def read_whole(path: str, step: int) -> dict[str, np.ndarray]:
    """Codes of all contigs, read in short stretches."""
    genome = Genome(path)
    return {
        name: np.concatenate([genome.fetch(name, at, min(at + step, length)) for at in range(0, max(length, 1), step)])
        for name, length in genome.lengths.items()
    }


def check(path: str, step: int) -> None:
    """Read a file; nothing but the bases that stand there, or one sentence with its name, may come of it."""
    try:
        found = read_whole(path, step)
    except InputError:
        with pytest.raises(InputError, match=Path(path).name):
            read_whole(path, step)
        return
    content = Path(path).read_bytes()
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    expected = {name: encode(sequence).tolist() for name, sequence in genomes.plainly(content).items()}
    assert {name: codes.tolist() for name, codes in found.items()} == expected


@settings(max_examples=INPUTS, deadline=None)
@given(content=mutated([fasta(SMALL), fasta(SMALL, 7, "\r\n"), fasta(SMALL, 60)], LETTERS), step=st.integers(1, 30))
def test_any_text_is_read_as_it_stands_or_refused(tmp_path_factory, content, step):
    check(write(tmp_path_factory.mktemp("fuzz") / "g.fa", content), step)


@settings(max_examples=INPUTS // 2, deadline=None)
@given(data=st.data(), which=st.sampled_from([".fai", ".gzi"]), block=st.sampled_from([None, 9, 40, 500]))
def test_any_index_leads_to_the_bases_of_the_file_or_is_refused(tmp_path_factory, data, which, block):
    path = write(tmp_path_factory.mktemp("fuzz") / "g.fa", fasta(SMALL), block)
    Genome(path)
    index = Path(f"{path}{which if block else '.fai'}")
    index.write_bytes(data.draw(mutated([index.read_bytes()], LETTERS)))
    genome = Genome(path)
    assert genome.lengths == {name: len(sequence) for name, sequence in SMALL.items()}
    for name, sequence in SMALL.items():
        for at in range(0, len(sequence), 5):
            try:
                codes = genome.fetch(name, at, at + 5)
            except InputError:  # a wrong entry for a block that was not looked at when the file was opened
                with pytest.raises(InputError, match=r"\.gzi does not fit.*; delete the index$"):
                    genome.fetch(name, at, at + 5)
            else:
                assert np.array_equal(codes, brute_force(sequence, at, at + 5))


@settings(max_examples=INPUTS, deadline=None)
@given(data=st.data(), block=st.sampled_from([9, 40, 500]), indexed=st.booleans(), step=st.integers(1, 30))
def test_any_bgzip_is_read_as_it_stands_or_refused(tmp_path_factory, data, block, indexed, step):
    path = write(tmp_path_factory.mktemp("fuzz") / "g.fa.gz", fasta(SMALL), block)
    if indexed:
        Genome(path)
    sound = Path(path).read_bytes()
    Path(path).write_bytes(data.draw(mutated([sound], LETTERS)))
    check(path, step)
