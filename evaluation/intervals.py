"""Confidence intervals of a tracker's overall numbers, and of the difference between two trackers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.bootstrap import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    percentile_interval,
)
from mosam.evaluation.scores import Scores

SAME = 1e-9  # how far the mean over sequences may be from the overall number


def interval(scores: Scores, name: str) -> Interval | None:
    """Bootstrap interval of an overall number, over sequences.

    Args:
        scores: of one tracker.
        name: of the value.
    Returns:
        the interval; None where the number is undefined, or is not a weighted mean over sequences (EAO, the long-term
        F, LVOS' mean of seen and unseen) and was scored without resampling (`Scores.resamples`).
    """
    names = list(scores.sequences)
    found = bootstrap_interval(sequence_values(scores, name, names), weights=sequence_weights(scores, name, names))
    overall = scores.overall.get(name, math.nan)
    if abs(found.value - overall) <= SAME * max(1.0, abs(overall)):
        return found
    return percentile_interval(overall, np.array(scores.resamples[name])) if name in scores.resamples else None


def difference(scores: Scores, base: Scores, name: str) -> Interval | None:
    """Paired bootstrap interval of `scores - base`, over the sequences both have.

    Args:
        scores: of one tracker.
        base: of the other, on the same benchmark under the same protocol.
        name: of the value.
    Returns:
        the interval; None where one of the two has none, no sequence is in both, or a sequence weighs differently in
        the two (as seconds do in `fps`).
    """
    if name in scores.resamples and name in base.resamples:
        if tuple(scores.sequences) != tuple(base.sequences):
            return None
        gap = scores.overall[name] - base.overall[name]
        return percentile_interval(gap, np.array(scores.resamples[name]) - np.array(base.resamples[name]))
    names = [sequence for sequence in scores.sequences if sequence in base.sequences]
    weights, others = sequence_weights(scores, name, names), sequence_weights(base, name, names)
    if not names or not np.array_equal(weights, others) or interval(scores, name) is None:
        return None
    if interval(base, name) is None:
        return None
    mine, theirs = sequence_values(scores, name, names), sequence_values(base, name, names)
    found = bootstrap_difference(mine, theirs, weights=weights)
    return None if math.isnan(found.value) else found


def is_mean(scores: Scores, name: str) -> bool:
    """Whether an overall number is a weighted mean over the sequences."""
    names = list(scores.sequences)
    values, weights = sequence_values(scores, name, names), sequence_weights(scores, name, names)
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        return False
    overall = scores.overall.get(name, math.nan)
    return bool(abs(np.average(values[known], weights=weights[known]) - overall) <= SAME * max(1.0, abs(overall)))


def sequence_values(scores: Scores, name: str, sequences: list[str]) -> NDArray[np.float64]:
    """(N,) a value of some sequences; NaN where a sequence has none."""
    return np.array([scores.sequences.get(one, {}).get(name, math.nan) for one in sequences], dtype=np.float64)


def sequence_weights(scores: Scores, name: str, sequences: list[str]) -> NDArray[np.float64]:
    """(N,) what the sequences weigh in the mean."""
    return np.array([scores.counts.get(one, {}).get(name, 1.0) for one in sequences], dtype=np.float64)
