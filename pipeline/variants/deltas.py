"""What a change does: the largest differences between reference and alternative, and where they are.

In: the bases that a change is judged by (`Readings`) and for each the scores of both sequences. Of a deleted base the
alternative's scores are 0, of an inserted one the reference's. Splice scores are probabilities, usage is the network's
(after the sigmoid).

Definitions. With s = max(acceptor, donor) of a base and u = its usage in a tissue:

* `splice`: the largest |s_alt - s_ref| (You et al. 2024);
* gain and loss of acceptor and donor: the largest rise and fall of each (Jaganathan et al. 2019, "delta score"); a
  deleted base gains nothing;
* masked: the same, but without gains at sites that the gene's transcripts have and losses where they have none;
* `usage`: for each tissue the largest |u_alt [s_alt >= 0.09] - u_ref [s_ref >= 0.09]|, and the change itself there (the
  authors' script).

Among bases whose values differ by less than `EQUAL` the nearest to the change counts, then the 5' one. Where the
largest value is below `EQUAL` there is no such base: that far the engine's paths differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.variants.geometry import NOWHERE, Readings

EQUAL = 1e-5
USED_FROM = 0.09
"""Least s of a base whose usage counts, in the authors' script."""

ACCEPTOR, DONOR, TISSUES = 1, 2, 3  # columns of scores: no splice, acceptor, donor, then the tissues
EVENTS = ("ag", "al", "dg", "dl")
"""Acceptor gain and loss, donor gain and loss."""

Floats = NDArray[np.float32]


class Extreme(NamedTuple):
    """A largest value, and which of the readings has it; -1 for none."""

    value: float
    at: int


@dataclass(frozen=True)
class Deltas:
    """What a change does.

    Parameters
    ----------
    splice
        Largest change of s.
    events, masked
        By name of `EVENTS`.
    usage, signed
        float32 [tissues].

    """

    splice: Extreme
    events: dict[str, Extreme]
    masked: dict[str, Extreme]
    usage: Floats
    signed: Floats


def deltas(
    readings: Readings, reference: Floats, alternative: Floats, annotated: tuple[NDArray[np.bool_], NDArray[np.bool_]]
) -> Deltas:
    """Compare the scores of both sequences.

    Parameters
    ----------
    readings
        The bases, n of them.
    reference, alternative
        float32 [n, 3 + tissues]; what stands where a sequence has no such base is not looked at.
    annotated
        Whether a base is an acceptor, and a donor, of the gene's transcripts: bool [n] each. An inserted base never is.

    Raises
    ------
    ArithmeticError
        A score is NaN or infinite.

    """
    has_ref, has_alt = readings.reference != NOWHERE, readings.alternative != NOWHERE
    reference = np.where(has_ref[:, None], reference, np.float32(0))
    alternative = np.where(has_alt[:, None], alternative, np.float32(0))
    change = alternative - reference
    if not np.isfinite(change).all():
        raise ArithmeticError("a score of a change is NaN or infinite, so its deltas mean nothing")
    s_ref, s_alt = reference[:, ACCEPTOR : DONOR + 1].max(axis=1), alternative[:, ACCEPTOR : DONOR + 1].max(axis=1)
    events, masked = {}, {}
    for name, column, sites in (("a", ACCEPTOR, annotated[0]), ("d", DONOR, annotated[1])):
        known = sites & has_ref
        gain, loss = change[:, column], -change[:, column]  # a deleted base has 0 now, so it gains nothing
        events[name + "g"], events[name + "l"] = _largest(gain, readings), _largest(loss, readings)
        masked[name + "g"] = _largest(np.where(known, np.float32(0), gain), readings)
        masked[name + "l"] = _largest(np.where(known, loss, np.float32(0)), readings)
    used_ref = np.where((s_ref >= USED_FROM)[:, None], reference[:, TISSUES:], np.float32(0))
    used_alt = np.where((s_alt >= USED_FROM)[:, None], alternative[:, TISSUES:], np.float32(0))
    signed = used_alt - used_ref
    chosen = [_largest(np.abs(column), readings).at for column in signed.T]
    usage = np.abs(signed).max(axis=0, initial=0.0)
    at = np.array([column[place] if place >= 0 else 0.0 for column, place in zip(signed.T, chosen, strict=True)])
    return Deltas(_largest(np.abs(s_alt - s_ref), readings), events, masked, usage, at.astype(np.float32))


def _largest(values: Floats, readings: Readings) -> Extreme:
    """The largest of the values, not below 0, and where it is; see the module for ties."""
    if not len(values):
        return Extreme(0.0, -1)
    most = float(values.max())
    if most < EQUAL:
        return Extreme(max(0.0, most), -1)  # never -0.0
    near = np.flatnonzero(values > most - EQUAL)
    return Extreme(most, int(near[np.argmin(readings.distance[near])]))
