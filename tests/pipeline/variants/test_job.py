"""Whole tables against known answers: what other programs got wrong, from the lines of a VCF to the rows of the table.

The scorer and the genome are those of `material.variant_runs`: sites stand where the tests say, and nowhere else.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.genomes import Transcript
from material.variant_runs import (
    ACCEPTOR_MOTIF,
    DONOR_MOTIF,
    Line,
    Place,
    background,
    finished,
    mirrored,
    mirrored_line,
    on_minus,
    with_motifs,
    write_place,
)

from pipeline.batch.record import Execution
from pipeline.variants.alleles import Status
from pipeline.variants.reader import Variants
from sptx_core.channels import TISSUES
from sptx_core.engine import hardware

P = 500  # a donor of the gene PLUS
INSERTED = "CTTTTTTTTTAGAAAAAAAAAAAAAAAAAC"  # 30 bases; the acceptor is its thirteenth


def lines(place: Place) -> list[Line]:
    """The cases, each under a name of its own."""
    at = place.sequences["chr1"].upper()

    def ref(first: int, last: int) -> str:
        return at[first - 1 : last]

    far = ref(560, 641)
    return [
        Line("chr1", P + 1, "GT", "CA", "mnv"),
        Line("chr1", P + 1, "G", "A", "snv"),
        Line("chr1", P, ref(P, P + 1), ref(P, P) + "A", "snv-1"),
        Line("chr1", P - 2, ref(P - 2, P + 1), ref(P - 2, P) + "A", "snv-3"),
        Line("chr1", 560, far, "ATTGT", "delins"),
        Line("chr1", 1009, "G", "GAGTTG", "dup-right"),
        Line("chr1", 1004, "C", "CAGTTG", "dup-left"),
        Line("chr1", 1006, "GTTG", "GTTGAGTTG", "dup-padded"),
        Line("chr1", 1200, ref(1200, 1200), ref(1200, 1200) + INSERTED, "insertion"),
        Line("chr1", 899, ref(899, 905), ref(899, 899), "deletion"),
        Line("chr1", 2301, "g", "c", "twins"),
        Line("chr1", 2301, "G", "C", "twins-upper"),
        Line("1", 2301, "G", "C", "twins-alias"),
        Line("chr1", 297, ref(297, 303), ref(297, 297), "into-gene"),
        Line("chr1", 600, ref(600, 3399), ref(600, 600), "long"),
        Line("chr2", 50, place.sequences["chr2"][49], "C", "near-start"),
        Line("chr2", 300, place.sequences["chr2"][299], "C", "last"),
        Line("chr2", 1, place.sequences["chr2"][0], "C", "first"),
        Line("chr1", P + 2, "T", "C,*,<DEL>", "mixed"),
        Line("chr1", P + 2, "T", "A]1:5]", "breakend"),
        Line("chr1", P + 2, "T", ".", "none"),
        Line("chr1", 1400, "N", "A", "n"),
        Line("chr1", 1402, "R", "A", "iupac"),
        Line("chr1", 1400, "A", "C", "not-n"),
        Line("chr1", P + 2, "A", "C", "mismatch"),
        Line("chr1", P + 1, "GTA", "GTA", "same"),
        Line("chr1", 1, at[0], "C", "outside"),
        Line("chr7", 100, "A", "C", "elsewhere"),
        Line("chr1", P + 1, "Q", "C", "no-base"),
        Line("chr1", P + 1, "G", "Q", "no-alt-base"),
        Line("chr1", 9_000, "A", "C", "beyond"),
        Line("chr1", 3002, "C", "G", "minus"),
        Line("HLA-A*01:01", 102, "C", "G", "minus-hla"),
    ]


@pytest.fixture(scope="module")
def cases(place: Place) -> Variants:
    return place.score(lines(place), alleles_per_shard=5)


def rows(cases: Variants, name: str, **equal: Any) -> list[dict[str, Any]]:
    """Rows of a case."""
    found = cases.scan().filter(pl.col("id") == name, **equal).sort("alt_index", "gene_id").collect()
    assert len(found)
    return found.rows(named=True)


def row(cases: Variants, name: str, **equal: Any) -> dict[str, Any]:
    (found,) = rows(cases, name, **equal)
    return found


def value(number: float) -> Any:
    return pytest.approx(number, abs=1e-6)


def test_a_broken_donor_is_a_loss_at_the_last_base_of_its_exon(cases: Variants) -> None:
    for name in ("mnv", "snv"):
        found = row(cases, name)
        assert (found["status"], found["gene_id"], found["strand"]) == ("scored", "G_PLUS", "+")
        assert found["ds_dl"] == value(0.8)
        assert (found["dl_pos"], found["dp_dl"], found["norm_pos"]) == (P, -1, P + 1)
        assert (found["dl_ref"], found["dl_alt"]) == (value(0.8), 0)
        assert found["ds_dl_masked"] == value(0.8)  # annotated
        assert found["d_splice"] == value(0.8)
        assert [found[f"d_{tissue}"] for tissue in TISSUES] == [value(0.5)] * 15
        assert [found[f"signed_{tissue}"] for tissue in TISSUES] == [value(-0.5)] * 15
        assert found["transcripts"] == ["PLUS.1", "PLUS.2"]
        assert found["calibrated"] is False  # the context is not the authors'
    assert (row(cases, "snv")["ds_ag"], row(cases, "snv")["ag_pos"], row(cases, "snv")["dp_ag"]) == (0, None, None)


WRITINGS = [("snv", "snv-1", "snv-3"), ("dup-right", "dup-left", "dup-padded")]
WRITTEN = ("record", "alt_index", "chrom", "pos", "id", "ref", "alt")


@pytest.mark.parametrize("names", WRITINGS)
def test_every_writing_of_a_change_gives_one_key_and_the_same_numbers(cases: Variants, names: tuple[str, ...]) -> None:
    first, *others = ({k: v for k, v in row(cases, name).items() if k not in WRITTEN} for name in names)
    assert all(other == first for other in others)


def test_a_duplication_gains_in_the_inserted_copy_and_loses_nothing(cases: Variants) -> None:
    found = row(cases, "dup-right")
    assert (found["norm_pos"], found["norm_ref"], found["norm_alt"]) == (1004, "C", "CAGTTG")
    assert (found["ds_al"], found["ds_dl"]) == (0, 0)
    assert (found["ds_ag"], found["ds_dg"]) == (value(0.9), value(0.8))
    assert found["ins_offset_ag"] is not None
    assert found["ag_ref"] is None


def test_a_delins_is_scored(cases: Variants) -> None:
    assert row(cases, "delins")["status"] == "scored"
    assert row(cases, "delins")["ds_dg"] == value(0.8)  # ATTGT holds a donor


def test_a_site_within_an_insertion_has_its_place_in_it(cases: Variants) -> None:
    found = row(cases, "insertion")
    assert (found["ds_ag"], found["ag_pos"], found["dp_ag"], found["ins_offset_ag"]) == (value(0.9), 1200, 0, 13)
    assert found["ds_ag_masked"] == value(0.9)


def test_a_site_within_a_deletion_is_lost_where_it_was(cases: Variants) -> None:
    found = row(cases, "deletion")
    assert (found["ds_dl"], found["dl_pos"], found["dl_alt"]) == (value(0.8), 900, None)
    assert found["dp_dl"] == 900 - found["norm_pos"]
    assert (found["ds_dg"], found["ds_ag"]) == (0, 0)


def test_genes_of_one_name_have_a_row_each_by_their_ids(cases: Variants) -> None:
    for name in ("twins", "twins-upper", "twins-alias"):
        found = rows(cases, name)
        assert [one["gene_id"] for one in found] == ["G_ONE", "G_TWO"]
        assert [one["transcripts"] for one in found] == [["TWIN.1"], ["TWIN.2"]]
        assert {one["gene_name"] for one in found} == {"TWIN"}
        assert [one["ds_dl"] for one in found] == [value(0.8)] * 2
        assert [one["ds_dl_masked"] for one in found] == [0, 0]  # no transcript has this donor
        assert {one["norm_ref"] for one in found} == {"G"}  # upper case, whatever FASTA and VCF have
    assert row(cases, "twins", gene_id="G_ONE")["ref"] == "g"  # as written
    assert row(cases, "twins-alias", gene_id="G_ONE")["chrom"] == "1"


def test_a_deletion_that_reaches_into_a_gene_is_scored_for_it(cases: Variants) -> None:
    assert row(cases, "into-gene")["gene_id"] == "G_PLUS"


def test_changes_at_a_contigs_ends_are_scored(cases: Variants) -> None:
    for name in ("first", "near-start", "last"):
        found = row(cases, name)
        assert (found["status"], found["gene_id"], found["d_splice"]) == ("scored", "G_WHOLE", 0)


def test_sites_of_the_minus_strand_have_genomic_positions(cases: Variants) -> None:
    found = row(cases, "minus")
    assert (found["strand"], found["ds_dl"]) == ("-", value(0.8))
    assert (found["dl_pos"], found["dp_dl"]) == (3003, 1)
    assert row(cases, "minus-hla")["dl_pos"] == 103


def test_every_alt_says_what_became_of_it(cases: Variants) -> None:
    told = {
        "mixed": ["scored", "spanning_deletion", "symbolic"],
        "breakend": ["breakend"],
        "none": ["no_alt"],
        "n": ["scored"],
        "iupac": ["scored"],
        "not-n": ["ref_mismatch"],
        "mismatch": ["ref_mismatch"],
        "beyond": ["ref_mismatch"],
        "same": ["scored"],
        "outside": ["outside_genes"],
        "elsewhere": ["unknown_contig"],
        "no-base": ["malformed"],
        "no-alt-base": ["malformed"],
        "long": ["too_long"],
    }
    for name, statuses in told.items():
        found = rows(cases, name)
        assert [one["status"] for one in found] == statuses
        for one in found:
            if one["status"] != "scored":
                assert one["gene_id"] is None
                assert one["d_splice"] is None
    counted = dict(
        cases.scan().select("record", "alt_index", "status").unique().collect()["status"].value_counts().rows()
    )
    assert counted == dict(cases.header.statuses)
    assert list(cases.header.statuses) == [status for status in Status if status in cases.header.statuses]


def test_what_changes_nothing_has_deltas_of_exactly_zero(cases: Variants) -> None:
    found = row(cases, "same")
    assert [found[name] for name in ("d_splice", "ds_ag", "ds_al", "ds_dg", "ds_dl")] == [0] * 5
    assert [found[f"d_{tissue}"] for tissue in TISSUES] == [0] * 15
    assert found["tissues"] == []


def test_no_distance_is_beyond_what_is_looked_at_and_no_number_is_none(cases: Variants) -> None:
    frame = cases.scan().collect()
    snvs = frame.filter(pl.col("ref").str.len_chars() == 1, pl.col("alt").str.len_chars() == 1)
    for event in ("ag", "al", "dg", "dl"):
        assert (snvs[f"dp_{event}"].abs() <= 100).all()
    assert snvs["dp_dl"].null_count() < len(snvs)
    for name, kind in frame.schema.items():
        if kind == pl.Float32:
            assert frame[name].drop_nulls().is_finite().all()


def test_rows_lie_along_the_genome(cases: Variants) -> None:
    frame = cases.scan().filter(pl.col("chrom") == "chr1", pl.col("norm_pos").is_not_null()).collect()
    starts = frame.select(pl.col("norm_pos") - (pl.col("norm_ref").str.len_chars() == 1).cast(pl.Int64))
    assert len(cases.parts) > 5
    assert (starts.to_series().diff().drop_nulls() >= -1).all()
    assert [key.chrom for key, _ in cases.parts] == sorted(
        (key.chrom for key, _ in cases.parts), key=["1", "chr1", "chr2", "HLA-A*01:01", "chr7"].index
    )


def test_a_long_deletion_is_scored_where_it_is_let(place: Place) -> None:
    (long,) = [one for one in lines(place) if one.id == "long"]
    table = place.score([long], max_length=2800)
    found = {one["gene_id"]: one for one in rows(table, "long")}
    assert found.keys() == {"G_PLUS", "G_ONE", "G_TWO", "G_MINUS"}
    assert found["G_PLUS"]["ds_al"] == value(0.9)  # deep inside
    assert found["G_MINUS"]["ds_al"] == value(0.9)
    assert (found["G_MINUS"]["dl_pos"], found["G_PLUS"]["al_pos"]) == (3003, 703)


def test_each_node_must_have_all_that_workers_read(place: Place) -> None:
    job = place.job([Line("chr1", P, "G", "A", "x")])
    read = [place.inputs["fasta"], place.inputs["checkpoint"]]
    assert job.local_inputs() == read
    for tracks, more in (("/tracks", ["/tracks"]), ("s3://bucket/tracks", [])):
        settings = job.settings.model_copy(update={"tracks": tracks, "checkpoint": "someone/network"})
        assert replace(job, settings=settings).local_inputs() == [read[0], *more]


def test_distance_zero_and_beyond_the_network_are_looked_at(place: Place) -> None:
    line = Line("chr1", P + 1, "G", "A", "x")
    assert row(place.score([line], distance=0), "x")["ds_dl"] == 0  # the donor is beside it
    assert row(place.score([line], distance=1), "x")["ds_dl"] == value(0.8)
    near = row(place.score([line]), "x")
    far = row(place.score([line], distance=400), "x")  # several windows of 255 bases
    assert {**near, "calibrated": None} == {**far, "calibrated": None}


NUMBERS = pl.selectors.by_dtype(pl.Float32)


@pytest.mark.slow
def test_windows_of_the_grid_give_the_numbers_of_centred_ones(place: Place) -> None:
    whole = [one for one in lines(place) if one.id != "long"]
    centred = place.score(whole, distance=50)
    for core in (37, 200):  # a change near a core's edge takes more than one window
        grid = place.score(whole, distance=50, windows="grid", core=core, alleles_per_shard=7)
        assert grid.scan().collect().equals(centred.scan().collect())


def test_beyond_a_gene_is_n_where_that_is_asked_for(place: Place) -> None:
    text = place.sequences["chr2"]
    gene = Transcript("HALF.1", "chr2", "+", [(101, 200)], gene="HALF")
    half = write_place(place.folder / "half", {"chr2": with_motifs(text, {99: "TAGATAT"})}, [gene])
    line = Line("chr2", 101, "G", "C", "x")  # of an AG, the A of which lies before the gene
    assert row(half.score([line]), "x")["ds_al"] == value(0.9)
    assert row(half.score([line], flanks="gene"), "x")["ds_al"] == 0


def test_changes_outside_genes_are_scored_on_both_strands_where_that_is_asked_for(place: Place) -> None:
    table = place.score([Line("chr1", 120, place.sequences["chr1"][119], "C", "x")], outside_genes="both")
    found = table.scan().collect()
    assert found.select("status", "strand", "gene_id").rows() == [("scored", "+", None), ("scored", "-", None)]
    # C makes CT, which is AG on the other strand.
    assert (place.sequences["chr1"][120], found["d_splice"].to_list()) == ("T", [0, value(0.9)])


# Properties, on random genomes and records

ALTS = ("snv", "insertion", "deletion", "delins", "*", "<DEL>", "A]1:5]", ".", "same", "QQ")


def random_place(chance: random.Random, folder: Path) -> Place:
    """Genes of both strands that overlap, sites, repeats and N."""
    motifs = [DONOR_MOTIF, ACCEPTOR_MOTIF, on_minus(DONOR_MOTIF), on_minus(ACCEPTOR_MOTIF), "AGAGAGAG", "GTGTGT", "NN"]
    text = with_motifs(
        background(1200, chance.randrange(10**6)), {chance.randrange(1, 1190): chance.choice(motifs) for _ in range(25)}
    )
    genes = []
    for number in range(5):
        first = chance.randrange(1, 900)
        exons = [(first, first + 40), (first + 60, chance.randrange(first + 100, 1201))]
        genes.append(Transcript(f"T{number}", "chr1", chance.choice("+-"), exons, own_gene_id=f"G{number}"))
    return write_place(folder, {"chr1": text, "chr2": background(300)}, genes)


def random_lines(chance: random.Random, place: Place, count: int) -> list[Line]:
    text = place.sequences["chr1"]
    found = []
    for number in range(count):
        pos = chance.choice(
            [chance.randrange(1, len(text) + 1), chance.randrange(1, 6), len(text) - chance.randrange(4)]
        )
        ref = text[pos - 1 : pos - 1 + chance.choice([1, 1, 1, 2, 3, 9])]
        alts = []
        for kind in chance.choices(ALTS, [9, 9, 9, 9, 1, 1, 1, 1, 1, 1], k=chance.choice([1, 1, 2, 3])):
            new = "".join(chance.choices("ACGT", k=chance.randrange(1, 6)))
            made = {"snv": new[0] + ref[1:], "insertion": ref + new, "deletion": ref[0], "delins": new, "same": ref}
            alts.append(made.get(kind, kind))
        if chance.random() < 0.05:
            ref = "".join(chance.choices("ACGT", k=len(ref)))
        found.append(Line(chance.choice(["chr1", "1"]), pos, ref, ",".join(alts), f"r{number}"))
    return found


def chosen_settings(chance: random.Random) -> dict[str, Any]:
    return {
        "distance": chance.choice([0, 1, 5, 100, 300]),
        "flanks": chance.choice(["genomic", "gene"]),
        "outside_genes": chance.choice(["skip", "both"]),
        "max_length": chance.choice([3, 1000]),
    }


KEY = ("chrom", "pos", "id", "ref", "alt", "gene_id", "strand")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_order_splitting_and_shards_change_no_row(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    place = random_place(chance, tmp_path / "place")
    joined = random_lines(chance, place, 40)
    settings = chosen_settings(chance)
    whole = place.score(joined, **settings).scan().collect()
    per_allele = whole.select("record", "alt_index", "status").unique()
    assert len(per_allele) == sum(len(line.alt.split(",")) for line in joined)  # each ALT, none in two states
    assert not whole.select("record", "alt_index", "gene_id", "strand").is_duplicated().any()
    split = [line._replace(alt=alt) for line in joined for alt in line.alt.split(",")]
    chance.shuffle(split)
    other = place.score(split, alleles_per_shard=chance.choice([1, 3, 20]), **settings).scan().collect()
    same = [name for name in whole.columns if name not in ("record", "alt_index")]
    assert whole.select(same).sort(KEY).equals(other.select(same).sort(KEY))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 8))
def test_the_mirror_image_of_genome_genes_and_records_has_mirrored_rows(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    place = random_place(chance, tmp_path / "place")
    other = mirrored(place, tmp_path / "mirrored")
    written = random_lines(chance, place, 40)
    settings = chosen_settings(chance)
    here = place.score(written, **settings).scan().collect()
    there = other.score([mirrored_line(line, place) for line in written], **settings).scan().collect()
    key = ["record", "alt_index", "gene_id", "strand"]
    there = there.with_columns(pl.col("strand").replace({"+": "-", "-": "+"})).sort(key)
    here = here.sort(key)
    assert here["d_splice"].max() > 0.5
    values = ["id", "status", *key, "transcripts", "tissues"]
    values += [name for name, kind in here.schema.items() if kind == pl.Float32]
    assert here.select(values).equals(there.select(values))
    length = len(place.sequences["chr1"])
    for name in [name for name in here.columns if name.endswith(("_pos", "_pos_masked")) and name != "norm_pos"]:
        inside = f"ins_offset_{name.replace('_pos', '')}"
        # An inserted base has the position of the base left of it, whose mirror image is the base right of it.
        image = pl.when(pl.col(inside).is_null()).then(length + 1 - pl.col(name)).otherwise(length - pl.col(name))
        assert here.select(image).to_series().to_list() == there[name].to_list(), name


def test_the_fingerprint_covers_what_defines_the_rows_and_nothing_else(place: Place) -> None:
    line = [Line("chr1", P + 1, "G", "A")]

    def fields(text: list[Line] = line, **settings: Any) -> dict[str, Any]:
        return dict(place.job(text, **settings).fields)

    base = fields()
    assert fields(workers=3, threads=2) == base
    changed = [
        fields([Line("chr1", P + 1, "G", "C")]),
        fields(distance=50),
        fields(flanks="gene"),
        fields(windows="grid", core=100),
        fields(sites=True),
        fields(alleles_per_shard=7),
        fields(precision="bfloat16"),
        fields([Line("chr1", 120, place.sequences["chr1"][119], "C")]),
        fields([Line("chr1", 120, place.sequences["chr1"][119], "C")], outside_genes="both"),
    ]
    assert all(one != base for one in changed)
    assert len({str(one) for one in changed}) == len(changed)


def test_a_part_tells_how_it_was_computed_and_a_damaged_one_does_not(place: Place) -> None:
    job = place.job([Line("chr1", P + 1, "G", "A")])
    ((_, name),) = finished(job).parts
    part = (Path(str(job.settings.output)) / name).read_bytes()
    assert job.execution_of(part) == Execution("cpu", hardware("cpu"), "stub", "float32", 1, 1)
    for damaged in (b"", part[:-1], part[:100]):
        assert job.execution_of(damaged) is None
