"""Uncertainty of a benchmark's number from the spread over its sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

REPEATS = 10_000
REPEATS_ANEW = 1_000  # where a number has to be computed anew for each draw
LEVEL = 0.95
_BLOCK = 4_000_000  # counts of draws made at once
_KEPT = 8_000_000  # that stay in memory


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its percentile bootstrap interval.

    Attributes:
        value: of the sequences as they are.
        low, high: ends of the interval.
    """

    value: float
    low: float
    high: float


def bootstrap_interval(
    values: NDArray[np.float64],
    *,
    weights: NDArray[np.float64] | None = None,
    level: float = LEVEL,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Interval:
    """Interval of a mean over sequences, by drawing the sequences again with replacement.

    Args:
        values: (N,) a value for each sequence; NaN is left out.
        weights: (N,) what a sequence counts in the mean (objects, frames); None = all the same.
        level: coverage.
        repeats: draws.
        seed: of the draws; the same seed gives the same interval.
    Returns:
        the weighted mean with its interval; all NaN where no sequence has a value.
    Source: Efron and Tibshirani 1993, percentile method.

    >>> interval = bootstrap_interval(np.array([0.0, 1.0] * 50))
    >>> interval.value, round(interval.low, 1), round(interval.high, 1)
    (0.5, 0.4, 0.6)
    """
    weights = np.ones(len(values)) if weights is None else weights
    keep = ~np.isnan(values) & (weights > 0)
    sums, counts = (values * weights)[keep], weights[keep]
    if sums.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    equal = counts.min() == counts.max()  # then every draw weighs the same
    total = counts.sum() if equal else _resample(counts, repeats, seed)
    drawn = _resample(sums, repeats, seed) / total
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def bootstrap_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    weights: NDArray[np.float64] | None = None,
    level: float = LEVEL,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Interval:
    """Interval of the difference of two trackers on the same sequences, drawn in pairs.

    Args:
        first: (N,) the one tracker's value for each sequence.
        second: (N,) the other's; a sequence without a value of both is left out.
        weights, level, repeats, seed: as in `bootstrap_interval`.
    Returns:
        mean of `first - second` with its interval; the two differ at that level if it does not hold 0.
    Raises:
        ValueError: different numbers of sequences.

    >>> a = np.linspace(0, 1, 40)
    >>> bootstrap_difference(a + 0.1, a).low > 0
    True
    """
    if first.shape != second.shape:
        raise ValueError(f"bootstrap_difference: expected the same sequences, got {len(first)} and {len(second)}")
    return bootstrap_interval(first - second, weights=weights, level=level, repeats=repeats, seed=seed)


def resample_counts(sequences: int, *, repeats: int = REPEATS_ANEW, seed: int = 0) -> NDArray[np.int64]:
    """(repeats, sequences) how often each sequence is in each draw; equal seeds and numbers give equal draws.

    >>> resample_counts(3, repeats=2).sum(axis=1)
    array([3, 3])
    """
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, sequences, (repeats, sequences))
    return np.stack([np.bincount(row, minlength=sequences) for row in rows]).astype(np.int64)


def percentile_interval(value: float, drawn: NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """Interval of a number from its values over draws; NaN among them is left out.

    >>> round(percentile_interval(0.5, np.linspace(0, 1, 101)).low, 3)
    0.025
    """
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _resample(values: NDArray[np.float64], repeats: int, seed: int) -> NDArray[np.float64]:
    """(repeats,) sums over draws with replacement; equal seeds draw the same sequences."""
    return np.concatenate([counts @ values for counts in _draws(len(values), repeats, seed)])


def _draws(count: int, repeats: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(repeats, count) how often each of some sequences is drawn, in blocks; kept where that is little."""
    if repeats * count <= _KEPT:
        yield from _kept_draws(count, repeats, seed)
    else:
        yield from _new_draws(count, repeats, seed)


@lru_cache(maxsize=4)
def _kept_draws(count: int, repeats: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(_new_draws(count, repeats, seed))


def _new_draws(count: int, repeats: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // max(count, 1))  # bounds the memory of one block of draws
    for start in range(0, repeats, block):
        rows = rng.integers(0, count, (min(block, repeats - start), count))
        places = rows + count * np.arange(len(rows))[:, None]
        yield np.bincount(places.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)
