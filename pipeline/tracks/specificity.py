"""Usage by tissue -> how specific to a tissue a site is: the index tau of Yanai et al. 2005.

With usage u_1 ... u_n of a site in n tissues and u_max the greatest of them,

    tau = sum over tissues of (1 - u_i / u_max) / (n - 1)

0 for a site that every tissue uses alike, 1 for a site of one tissue alone. Source: Yanai et al., Bioinformatics 21:650
(2005), who defined it for expression. 0.8 is a usual bound of "specific" (Kryuchkova-Mostacci and Robinson-Rechavi,
Briefings in Bioinformatics 18:205, 2017).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SPECIFIC = 0.8
"""The tau from which a site is called specific."""

MIN_TISSUES = 2  # for tau

Floats = npt.NDArray[np.floating]


def tau(usage: Floats) -> npt.NDArray[np.float32]:
    """Compute tau for each site.

    Parameters
    ----------
    usage : float [sites, tissues]
        Usage, 0 to 1.

    Returns
    -------
    float32 [sites]
        NaN where no tissue uses the site, and for networks with fewer than two tissues.
    """
    sites, tissues = usage.shape
    if tissues < MIN_TISSUES:
        return np.full(sites, np.nan, np.float32)
    wide = usage.astype(np.float64)
    greatest = wide.max(axis=1, keepdims=True)
    relative = np.divide(wide, greatest, out=np.full_like(wide, np.nan), where=greatest > 0)
    return np.asarray((1 - relative).sum(axis=1) / (tissues - 1), np.float32)
