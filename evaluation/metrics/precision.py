"""Precision: how many frames have the center of the box near enough, in pixels or in sizes of the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRECISION_THRESHOLDS = np.arange(51.0)  # pixels
PRECISION_AT = 20  # Wu et al., CVPR 2013: the value at 20 pixels is the score
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100  # sizes of the object: LaSOT's MATLAB code, PyTracking, pysot
NORM_PRECISION_THRESHOLDS_EVEN = np.linspace(0.0, 0.5, 51)  # got-10k/toolkit; differs in the last bits
NORM_PRECISION_AT = 20  # index of 0.20


def center_error(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance between box centers, the center being `x + (w - 1) / 2`.

    Args:
        predicted: (T, 4) x, y, w, h.
        truth: (T, 4).
    Returns:
        (T,) pixels; NaN where a box is NaN.

    >>> center_error(np.array([[0.0, 0, 10, 10]]), np.array([[3.0, 4, 10, 10]]))
    array([5.])
    """
    return _length(_offset(predicted, truth))


def normalized_center_error(
    predicted: NDArray[np.float64], truth: NDArray[np.float64], *, smallest: float | None = None
) -> NDArray[np.float64]:
    """Distance between box centers in widths and heights of the true box.

    Args:
        predicted: (T, 4) x, y, w, h.
        truth: (T, 4).
        smallest: width and height that a smaller true box is taken to have (the GOT-10k toolkit takes 1 pixel).
    Returns:
        (T,); NaN or infinite where the true box has no size and no smallest one is given.
    Source: Mueller et al., TrackingNet, ECCV 2018.

    >>> normalized_center_error(np.array([[3.0, 4, 10, 10]]), np.array([[0.0, 0, 10, 20]])).round(3)
    array([0.304])
    """
    # With boxes of whole pixels many frames lie exactly on a threshold and the last bit decides: the GOT-10k toolkit
    # scales the distance, the others scale both centers.
    if smallest is not None:
        offset = _offset(predicted, truth) / np.maximum(truth[:, 2:], smallest)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = _center(predicted) / truth[:, 2:] - _center(truth) / truth[:, 2:]
    return _length(offset)


def precision_curve(
    error: NDArray[np.float64], *, thresholds: NDArray[np.float64] = PRECISION_THRESHOLDS, count: int | None = None
) -> NDArray[np.float64]:
    """Fraction of frames whose error is at most each threshold (not strictly).

    Args:
        error: (T,) pixels, or sizes of the object with `NORM_PRECISION_THRESHOLDS`; infinite counts as a miss, -1 as a
            hit, NaN is left out.
        thresholds: (N,) ascending.
        count: denominator; None = the frames that are not left out.
    Returns:
        (N,) fractions; NaN where the denominator is 0.

    >>> precision_curve(np.array([20.0, 20.5, np.inf]))[[19, 20, 21]].round(3)
    array([0.   , 0.333, 0.667])
    """
    valid = error[~np.isnan(error)]
    below = np.searchsorted(thresholds, valid, side="left")  # thresholds strictly below each error
    reached = np.cumsum(np.bincount(below, minlength=len(thresholds) + 1))[:-1]
    total = len(valid) if count is None else count
    return reached / total if total > 0 else np.full(len(thresholds), np.nan)


def _center(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return boxes[:, :2] + (boxes[:, 2:] - 1.0) / 2.0


def _length(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = offset**2
    return np.sqrt(squares[:, 0] + squares[:, 1])  # a sum over an axis of two takes five times as long


def _offset(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return _center(a) - _center(b)
