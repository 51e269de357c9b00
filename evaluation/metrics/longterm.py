"""VOT long-term 2018-2022: precision, recall and F of a tracker that reports how sure it is.

At a threshold only frames with at least that confidence are taken as reported. Precision is their mean overlap, recall
their summed overlap by the frames in which the object is visible; both are averaged over sequences at each threshold,
and the threshold with the best F is the tracker's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESOLUTION = 100  # thresholds, both infinities included


@dataclass(frozen=True, slots=True)
class PrecisionRecallF:
    """The tracker's point: values at the threshold with the best F."""

    precision: float
    recall: float
    f: float


def confidence_thresholds(confidences: Floats, *, resolution: int = RESOLUTION) -> Floats:
    """Thresholds that cut the confidences of a whole benchmark into equal shares.

    Args:
        confidences: (N,) of all frames of all sequences; NaN is left out.
        resolution: thresholds wanted; fewer confidences than that are all used.
    Returns:
        descending, from inf to -inf.

    >>> confidence_thresholds(np.array([0.1, 0.9, np.nan]))
    array([ inf,  0.9,  0.1, -inf])
    """
    known = np.sort(confidences[~np.isnan(confidences)])[::-1]
    inner = resolution - 2
    if len(known) > inner:
        share = len(known) // inner
        known = known[np.round(np.linspace(share, len(known) - share, num=inner)).astype(np.int64)]
    return np.concatenate([[np.inf], known, [-np.inf]])


def precision_recall(overlaps: Floats, confidences: Floats, visible: int, thresholds: Floats) -> tuple[Floats, Floats]:
    """Precision and recall of one sequence at each threshold.

    Args:
        overlaps: (T,) in [0, 1], 0 where the object is absent.
        confidences: (T,) NaN = never reported.
        visible: frames in which the object is annotated.
        thresholds: (R,).
    Returns:
        (R,) precision, 1 where nothing is reported, and (R,) recall; NaN recall where the object is never visible.
    Source: Lukezic et al., "Performance evaluation methodology for long-term visual object tracking", 2018.

    >>> precision_recall(np.array([1.0, 0.5]), np.array([0.9, 0.1]), 2, np.array([np.inf, 0.5, -np.inf]))
    (array([1.  , 1.  , 0.75]), array([0.  , 0.5 , 0.75]))
    """
    known = ~np.isnan(confidences)
    order = np.argsort(-confidences[known], kind="stable")
    descending = -confidences[known][order]
    reported = np.searchsorted(descending, -thresholds, side="right")
    summed = np.concatenate([[0.0], np.cumsum(overlaps[known][order])])[reported]
    precision = np.where(reported > 0, summed / np.maximum(reported, 1), 1.0)
    return precision, summed / visible if visible else np.full(len(thresholds), np.nan)


def f_curve(precision: Floats, recall: Floats) -> Floats:
    """(R,) harmonic mean of precision and recall; NaN where both are 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * precision * recall / (precision + recall)


def best_f(precision: Floats, recall: Floats) -> PrecisionRecallF:
    """The point with the best F of two curves (R,), the first of equal ones.

    >>> best_f(np.array([1.0, 0.8]), np.array([0.0, 0.8]))
    PrecisionRecallF(precision=0.8, recall=0.8, f=0.8000000000000002)
    """
    f = f_curve(precision, recall)
    best = int(np.argmax(np.nan_to_num(f, nan=-1.0)))
    return PrecisionRecallF(float(precision[best]), float(recall[best]), float(f[best]))


def mean_curves(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Precision and recall (R,) averaged over sequences, threshold by threshold."""
    return np.mean([precision for precision, _ in curves], axis=0), np.mean([recall for _, recall in curves], axis=0)
