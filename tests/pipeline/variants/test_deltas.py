"""Deltas by their definitions, and changes with known answers: on both strands, in either case, near contigs' ends."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
from material.changes import Raw
from material.stub_scorer import CHANNELS, CONTEXT, Judged, blended, judge
from numpy.typing import NDArray

from pipeline.variants.deltas import EQUAL, EVENTS, USED_FROM, Deltas, Extreme, deltas
from pipeline.variants.geometry import NOWHERE, Geometry, Readings

QUIET = "".join(random.Random(6).choices("ACT", k=300)) + "C"  # has no site, for it has no G
NOTHING = Extreme(0.0, -1)


def written(text: str) -> Raw:
    """The change `before[REF>ALT]after` between stretches without a site."""
    before, ref, alt, after = re.fullmatch(r"(.*)\[(.*)>(.*)\](.*)", text).groups()  # type: ignore[union-attr]
    before = QUIET + before
    return Raw(before + ref + after + QUIET[::-1], len(before), ref, alt)


def everywhere(raw: Raw) -> Judged:
    """The change as judged on the plus strand, after it was found to be the same elsewhere.

    Elsewhere is: in lower case, mirrored on the minus strand, and where the contig ends a few bases before and after.
    """
    found = judge(*raw)
    lower = judge(raw.text.lower(), raw.start, raw.ref.lower(), raw.alt.lower())
    low, high = max(0, raw.start - 12), raw.start + len(raw.ref) + found.allele.shift + 12
    cut = judge(raw.text[low:high], raw.start - low, raw.ref, raw.alt)
    assert found.events() == lower.events() == cut.events()
    mirrored = judge(*raw.mirrored(), "-")
    assert found.deltas.events == mirrored.deltas.events
    for event in found.deltas.events.values():
        if event.at >= 0:  # the mirror image of the very base
            position, inserted = found.site(event.at)
            assert mirrored.site(event.at) == (len(raw.text) + 1 - position, inserted)
    for other in (lower, cut, mirrored):
        assert other.deltas.splice.value == found.deltas.splice.value
        np.testing.assert_array_equal(other.deltas.usage, found.deltas.usage)
        np.testing.assert_array_equal(other.deltas.signed, found.deltas.signed)
    return found


def used(judged: Judged) -> list[tuple[float, float]]:
    """Of each tissue the largest change and the signed one."""
    return list(zip(judged.deltas.usage.tolist(), judged.deltas.signed.tolist(), strict=True))


@pytest.mark.parametrize("text", ["CCT[GT>CA]C", "CC[TGT>TCA]C", "[CCTGTC>CCTCAC]", "CCT[GTC>CAC]"])
def test_a_double_substitution_after_a_donor_loses_it(text: str) -> None:
    judged = everywhere(written(text))
    assert judged.events() == {"dl": (0.8, -1, 0)}
    assert judged.deltas.splice.value == np.float32(0.8)
    assert used(judged) == [(0.5, -0.5)] * 2


@pytest.mark.parametrize("text", ["GCT[G>A]TC", "GC[TG>TA]TC", "[GCTG>GCTA]TC", "GCT[GTC>ATC]"])
def test_a_substitution_does_the_same_however_long_its_ref_is(text: str) -> None:
    judged = everywhere(written(text))
    assert judged.allele == judge(*written("GCT[G>A]TC")).allele
    assert judged.events() == {"dl": (0.8, -1, 0)}


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("CCA[C>G]TC", {"ag": (0.9, 1, 0), "dg": (0.8, -1, 0)}),
        ("CC[T>A]GCC", {"ag": (0.9, 2, 0)}),
        ("CC[A>T]GCC", {"al": (0.9, 2, 0)}),
        ("CCG[C>T]C", {"dg": (0.8, -2, 0)}),
        ("CCG[T>C]C", {"dl": (0.8, -2, 0)}),
        ("CCA[G>N]TC", {"al": (0.9, 1, 0), "dl": (0.8, -1, 0)}),
        ("CCC[C>A]CC", {}),
    ],
)
def test_substitutions(text: str, events: dict[str, tuple[float, int, int]]) -> None:
    judged = everywhere(written(text))
    assert judged.events() == events
    largest = max([value for value, _, _ in events.values()], default=0.0)
    assert judged.deltas.splice.value == np.float32(largest)
    change = 0.5 if {"ag", "dg"} & events.keys() else -0.5 if events else 0
    assert used(judged) == [(abs(change), change)] * 2


def test_a_letter_for_several_bases_in_the_contig_is_n() -> None:
    assert judge(*written("CCA[R>G]TC")).events() == {"ag": (0.9, 1, 0), "dg": (0.8, -1, 0)}


def test_a_long_replacement_is_scored() -> None:
    lost = "A" + "".join(random.Random(7).choices("ACT", k=80)) + "C"
    judged = everywhere(written(f"CCC[{lost}>ATTGT]TCC"))
    assert (len(judged.allele.ref), judged.allele.alt) == (81, "TTGT")  # both begin with A
    assert [name for name in EVENTS if judged.deltas.events[name].at >= 0] == ["dg"]
    assert judged.deltas.events["dg"].value == np.float32(0.8)
    at = judged.deltas.events["dg"].at
    assert judged.look.readings.alternative[at] == judged.allele.start + 1  # T|TGT: the base before GT


@pytest.mark.parametrize(
    "text",
    [
        "GCAAC[>AGTTG]AGTTGC",
        "GCAA[C>CAGTTG]AGTTGC",
        "GCAACA[>GTTGA]GTTGC",
        "GCAAC[A>AGTTGA]GTTGC",
        "GCAACAG[>TTGAG]TTGC",
        "GCAACAGT[>TGAGT]TGC",
        "GCAACAGTT[>GAGTT]GC",
        "GCAACAGTTG[>AGTTG]C",
        "GCAACAGTT[G>GAGTTG]C",
        "GCAAC[AGTTGC>AGTTGAGTTGC]",
    ],
)
def test_each_placement_of_a_duplication_is_one_gain_at_inserted_bases(text: str) -> None:
    judged = everywhere(written(text))
    assert judged.allele.shift == 5
    assert judged.events() == {"ag": (0.9, 0, 3), "dg": (0.8, 0, 1)}


def test_an_inserted_acceptor_is_a_gain_at_its_offset() -> None:
    judged = everywhere(written("CCC[>TCTCTCTCTCAGCTCTCTCTCTCTCTCTCT]CCC"))
    assert judged.allele.shift == 0
    assert judged.events() == {"ag": (0.9, 0, 13)}
    assert used(judged) == [(0.5, 0.5)] * 2


@pytest.mark.parametrize("text", ["TTC[AGTCAT>]CCC", "TT[CAGTCAT>C]CCC", "TTC[AGTCATC>C]CC"])
def test_a_deleted_donor_is_a_loss_at_its_place_and_no_deleted_base_gains(text: str) -> None:
    judged = everywhere(written(text))
    assert judged.events() == {"al": (0.9, 3, 0), "dl": (0.8, 1, 0)}
    for name in ("ag", "dg"):
        assert judged.deltas.events[name] == NOTHING


def test_a_deletion_beside_a_site_moves_it_which_is_a_loss_and_a_gain() -> None:
    assert everywhere(written("TTC[CAT>]GTC")).events() == {"dg": (0.8, 0, 0), "dl": (0.8, 3, 0)}  # T|GT, then C|GT
    assert everywhere(written("CAG[CTT>]AAC")).events() == {"ag": (0.9, 4, 0), "al": (0.9, 1, 0)}


def test_a_site_deep_in_a_long_deletion_is_seen() -> None:
    half = "".join(random.Random(8).choices("ACT", k=1400))
    judged = everywhere(written(f"TTC[A{half}GT{half}>]CCC"))
    assert len(judged.allele.ref) == 2803
    assert len(judged.look.windows) > 14
    assert judged.events() == {"dl": (0.8, 1401, 0)}


def test_a_haplotype_whose_second_edit_restores_what_its_first_breaks_does_nothing() -> None:
    assert everywhere(written("CCTG[T>A]CC")).events() == {"dl": (0.8, -2, 0)}
    assert everywhere(written("CCT[>GT]GTCC")).events() == {"dg": (0.8, 0, 1)}
    joint = everywhere(written("CCT[GT>GTGA]CC"))
    assert joint.events() == {}
    assert joint.deltas.splice == NOTHING
    assert not joint.deltas.usage.any()


def test_both_edits_of_a_haplotype_count_together() -> None:
    assert everywhere(written("CCA[G>C]CCCCCCGTCC")).events() == {"al": (0.9, 1, 0)}
    assert everywhere(written("CCAGCCCCCC[G>C]TCC")).events() == {"dl": (0.8, -1, 0)}
    joint = everywhere(written("CCA[GCCCCCCG>CCCCCCCC]TCC"))
    assert joint.events() == {"al": (0.9, 1, 0), "dl": (0.8, 6, 0)}


@pytest.mark.parametrize("ref", ["G", "AG", "AGT", "N"])
def test_nothing_is_exactly_nothing(ref: str) -> None:
    judged = everywhere(written(f"CC[{ref}>{ref}]GTC"))
    assert judged.deltas.splice == NOTHING
    assert judged.deltas.events == judged.deltas.masked == dict.fromkeys(EVENTS, NOTHING)
    assert used(judged) == [(0, 0)] * 2


@pytest.mark.parametrize("distance", [0, 1, 5])
def test_no_site_of_a_substitution_is_further_away_than_the_distance(distance: int) -> None:
    source = random.Random(9)
    text = "".join(source.choices("ACGT", k=60))
    for start in (0, 1, 7, 30, 58, 59):
        alt = source.choice([base for base in "ACGT" if base != text[start]])
        for strand in "+-":
            judged = judge(
                text, start, text[start], alt, strand, geometry=Geometry.of(distance, CONTEXT, 4000), scorer=blended
            )
            found = judged.events()
            assert len(found) >= 2
            assert all(abs(away) <= distance for _, away, _ in found.values())


# The definitions, with scores of our own.


def row(n: int, *, deleted: tuple[int, ...] = (), inserted: tuple[int, ...] = (), centre: int = 0) -> Readings:
    """Readings of n bases, whose distances are counted from `centre`."""
    reference, alternative = np.arange(n), np.arange(n)
    reference[list(inserted)] = alternative[list(deleted)] = NOWHERE
    none = np.zeros(n, dtype=np.int64)
    return Readings(np.arange(n), none, reference, alternative, none.astype(bool), np.abs(np.arange(n) - centre))


def scores(n: int, **columns: dict[int, float]) -> NDArray[np.float32]:
    """Scores that are 0 but for a few."""
    found = np.zeros((n, CHANNELS), dtype=np.float32)
    for name, values in columns.items():
        for at, value in values.items():
            found[at, ["none", "acceptor", "donor", "brain", "liver"].index(name)] = value
    return found


def sites(n: int, *at: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(n), at)


def compare(
    readings: Readings,
    reference: NDArray[np.float32],
    alternative: NDArray[np.float32],
    acceptors: tuple[int, ...] = (),
    donors: tuple[int, ...] = (),
) -> Deltas:
    n = len(readings.position)
    return deltas(readings, reference, alternative, (sites(n, *acceptors), sites(n, *donors)))


def test_deltas_are_what_they_are_defined_to_be() -> None:
    source = np.random.default_rng(10)
    for _ in range(20):
        n = 12
        readings = row(n, deleted=(3, 4), inserted=(7,), centre=int(source.integers(n)))
        reference, alternative = source.random((2, n, CHANNELS)).astype(np.float32)
        reference[:, 1:3] *= source.choice([0.1, 1], size=(n, 1))
        known = {"a": (2, 3, 7), "d": (4, 5, 7)}
        found = compare(readings, reference, alternative, known["a"], known["d"])
        reference[7], alternative[[3, 4]] = 0, 0
        splice = [abs(max(alternative[i, 1:3]) - max(reference[i, 1:3])) for i in range(n)]
        assert found.splice == (max(splice), int(np.argmax(splice)))
        for column, kind in ((1, "a"), (2, "d")):
            change = [float(alternative[i, column] - reference[i, column]) for i in range(n)]
            gains = {i: change[i] for i in range(n) if i not in (3, 4)}
            losses = {i: -change[i] for i in range(n)}
            assert found.events[kind + "g"] == (max(gains.values()), max(gains, key=lambda i: gains[i]))
            assert found.events[kind + "l"] == (max(losses.values()), max(losses, key=lambda i: losses[i]))
            gains = {i: value for i, value in gains.items() if i not in known[kind] or i == 7}
            losses = {i: value for i, value in losses.items() if i in known[kind] and i != 7}
            assert found.masked[kind + "g"].value == max(0, *gains.values())
            assert found.masked[kind + "l"].value == max(0, *losses.values())
        for tissue in (3, 4):
            used_ref, used_alt = (
                [float(s[i, tissue]) if max(s[i, 1:3]) >= np.float32(USED_FROM) else 0.0 for i in range(n)]
                for s in (reference, alternative)
            )
            signed = [np.float32(a) - np.float32(r) for a, r in zip(used_alt, used_ref, strict=True)]
            largest = int(np.argmax(np.abs(signed)))
            assert found.usage[tissue - 3] == abs(signed[largest])
            assert found.signed[tissue - 3] == signed[largest]
        assert found.usage.dtype == found.signed.dtype == np.float32


def test_usage_counts_from_the_least_splice_score_on() -> None:
    below = float(np.nextafter(np.float32(USED_FROM), np.float32(0)))
    brain = {0: 0.5, 1: 0.5}
    for value, delta in ((USED_FROM, 0.5), (below, 0.0)):
        found = compare(
            row(2), scores(2, donor={0: 0.3}, brain=brain), scores(2, donor={0: 0.3, 1: value}, brain=brain)
        )
        assert (found.usage[0], found.signed[0]) == (delta, delta)
        found = compare(
            row(2), scores(2, acceptor={0: 0.3, 1: value}, brain=brain), scores(2, donor={0: 0.3}, brain=brain)
        )
        assert (found.usage[0], found.signed[0]) == (delta, -delta)
    assert (found.usage[1], found.signed[1]) == (0, 0)
    assert not math.copysign(1, found.signed[1]) < 0


def test_masked_values_have_places_of_their_own() -> None:
    # A gain at an annotated acceptor and a smaller one at a cryptic one; a loss at no site and a smaller one at a site.
    reference = scores(8, acceptor={6: 0.8, 7: 0.3})
    alternative = scores(8, acceptor={1: 0.9, 4: 0.5})
    found = compare(row(8), reference, alternative, acceptors=(1, 7))
    assert found.events["ag"] == (np.float32(0.9), 1)
    assert found.masked["ag"] == (np.float32(0.5), 4)
    assert found.events["al"] == (np.float32(0.8), 6)
    assert found.masked["al"] == (np.float32(0.3), 7)


def test_each_gene_is_masked_by_its_own_sites() -> None:
    reference, alternative = scores(8, donor={2: 0.7}), scores(8, donor={5: 0.6})
    one, other = (compare(row(8), reference, alternative, donors=donors) for donors in ((2,), (5,)))
    assert one.events == other.events
    assert (one.masked["dg"].at, one.masked["dl"].at) == (5, 2)
    assert one.masked["ag"] == other.masked["dg"] == other.masked["dl"] == NOTHING


def test_an_inserted_base_is_no_annotated_site_though_it_has_the_position_of_one() -> None:
    found = compare(row(4, inserted=(2,)), scores(4), scores(4, acceptor={2: 0.9}), acceptors=(2,))
    assert found.masked["ag"] == found.events["ag"] == (np.float32(0.9), 2)
    assert found.masked["al"] == NOTHING


@pytest.mark.parametrize(
    ("values", "centre", "at"),
    [
        ({1: 0.5, 6: 0.5}, 5, 6),  # the nearest
        ({1: 0.5, 6: 0.5}, 2, 1),
        ({2: 0.5, 6: 0.5}, 4, 2),  # as near: the 5' one
        ({2: 0.5, 6: 0.5 + EQUAL / 2}, 3, 2),  # so near that another path of the engine might tip it
        ({2: 0.5, 6: 0.5 + EQUAL * 2}, 3, 6),
        ({2: 0.5 + EQUAL / 2, 6: 0.5}, 5, 6),
        ({0: 0.5, 3: 0.5, 7: 0.5}, 3, 3),
    ],
)
def test_of_equal_values_the_nearest_counts_and_then_the_five_prime_one(
    values: dict[int, float], centre: int, at: int
) -> None:
    gained = scores(8, donor=values, brain=dict.fromkeys(values, 0.4))
    gain, loss = (
        compare(row(8, centre=centre), scores(8), gained),
        compare(row(8, centre=centre), gained, scores(8)),
    )
    assert gain.events["dg"].at == loss.events["dl"].at == gain.splice.at == loss.splice.at == at
    assert gain.events["dg"].value == np.float32(max(values.values()))


def test_the_signed_change_is_that_at_the_nearest_of_equal_ones() -> None:
    reference = scores(8, donor={1: 0.9, 6: 0.9}, brain={1: 0.2, 6: 0.7})
    alternative = scores(8, donor={1: 0.9, 6: 0.9}, brain={1: 0.7, 6: 0.2})
    for centre, signed in ((2, 0.5), (5, -0.5)):
        found = compare(row(8, centre=centre), reference, alternative)
        assert found.signed[0] == pytest.approx(signed)
        assert found.usage[0] == pytest.approx(0.5)


def test_a_difference_below_that_of_the_paths_has_no_place() -> None:
    found = compare(row(4), scores(4), scores(4, donor={2: EQUAL / 2}))
    assert found.events["dg"] == found.splice == (np.float32(EQUAL / 2), -1)
    assert found.events["dl"] == NOTHING


def test_no_value_is_minus_zero() -> None:
    for reference, alternative in ((0.4, 0.4), (0.4, 0.7), (0.7, 0.4)):
        every = [scores(2, acceptor={0: value, 1: value}, donor={0: 0.1}) for value in (reference, alternative)]
        found = compare(row(2), *every)
        values = [found.splice.value, *(event.value for event in (*found.events.values(), *found.masked.values()))]
        assert all(value >= 0 and math.copysign(1, value) > 0 for value in values)
        assert not np.signbit(found.usage).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", range(1, CHANNELS))
def test_scores_that_are_no_numbers_are_refused(bad: float, channel: int) -> None:
    for readings in (row(4), row(4, inserted=(0,)), row(4, deleted=(0,))):
        for which in (0, 1):
            both = [scores(4), scores(4)]
            both[which][3, channel] = bad
            with pytest.raises(ArithmeticError, match="NaN or infinite"):
                compare(readings, *both)


def test_what_stands_where_a_sequence_has_no_base_is_not_looked_at() -> None:
    reference, alternative = scores(4, donor={1: 0.7}), scores(4, donor={2: 0.6})
    reference[2], alternative[1] = math.nan, math.nan
    found = compare(row(4, inserted=(2,), deleted=(1,)), reference, alternative)
    assert found.events == {
        "ag": NOTHING,
        "al": NOTHING,
        "dg": (np.float32(0.6), 2),
        "dl": (np.float32(0.7), 1),
    }


def test_there_may_be_no_base_to_look_at() -> None:
    found = compare(row(0), scores(0), scores(0))
    assert found.splice == NOTHING
    assert found.events == found.masked == dict.fromkeys(EVENTS, NOTHING)
    assert found.usage.tolist() == found.signed.tolist() == [0, 0]


def test_a_network_may_have_no_tissues() -> None:
    found = compare(row(3), scores(3)[:, :3], scores(3, donor={1: 0.5})[:, :3])
    assert found.splice.at == 1
    assert found.usage.shape == found.signed.shape == (0,)
