"""Whether trackers differ on the same sequences: paired sign-flip tests, corrected for how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLIPS = 100_000
_BLOCK = 5_000  # flips that are in memory at once
_SLACK = 1e-5  # relative: sums that differ by rounding are equal


def sign_flip_test(differences: NDArray[np.float64], *, flips: int = FLIPS, seed: int = 0) -> NDArray[np.float64]:
    """Two-sided p-values of mean differences, by how often random signs make a mean as large.

    If two trackers do not differ, a sequence's difference is as likely to be the one way round as the other.

    Args:
        differences: (N, P) of N sequences (times their weights where they weigh differently) for P pairs of trackers;
            NaN is left out, as it leaves the sum alone.
        flips: draws of signs.
        seed: of the draws; they are the same for all pairs.
    Returns:
        (P,) at least 1 / (flips + 1); NaN where no difference is defined.
    Source: Fisher 1935, section 21 (randomization test); (hits + 1) / (draws + 1) as in Phipson and Smyth 2010.

    >>> [round(float(p), 3) for p in sign_flip_test(np.stack([np.full(20, 0.1), np.tile([0.1, -0.1], 10)], axis=1))]
    [0.0, 1.0]
    """
    known = ~np.isnan(differences)
    scale = np.nanmax(np.abs(differences), axis=0, initial=0.0)
    scaled = np.where(known, differences, 0.0) / np.where(scale > 0, scale, 1)  # so that rounding is the same for all
    values = scaled.astype(np.float32)
    observed = np.abs(values.sum(axis=0, dtype=np.float64))
    least = observed - _SLACK * np.maximum(1, np.abs(values).sum(axis=0))
    rng, hits = np.random.default_rng(seed), np.zeros(values.shape[1], dtype=np.int64)
    for start in range(0, flips, _BLOCK):
        count = min(_BLOCK, flips - start)
        bits = np.unpackbits(rng.integers(0, 256, (count, (len(values) + 7) // 8), dtype=np.uint8), axis=1)
        signs = bits[:, : len(values)].astype(np.float32) * 2 - 1
        hits += (np.abs(signs @ values) >= least).sum(axis=0)
    return np.where(known.any(axis=0), (hits + 1) / (flips + 1), np.nan)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values adjusted so that among all of them the chance of one false claim stays below the level.

    Args:
        p: (P,) NaN is left out.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
