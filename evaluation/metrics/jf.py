"""Statistics of a per-frame measure (J or F) over a sequence: mean, recall and decay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL_THRESHOLD = 0.5  # Perazzi et al., DAVIS, CVPR 2016; strict
DECAY_PARTS = 4


@dataclass(frozen=True, slots=True)
class Statistics:
    """What DAVIS reports of one object's J or F.

    Attributes:
        mean: in [0, 1].
        recall: share of frames above 0.5.
        decay: mean of the first quarter minus mean of the last, in [-1, 1].
    """

    mean: float
    recall: float
    decay: float


def statistics(values: NDArray[np.float64], *, decay_8bit: bool = False) -> Statistics:
    """Mean, recall and decay of one object.

    Args:
        values: (T,) J or F of each frame in [0, 1]; NaN is left out.
        decay_8bit: cut frame numbers to 8 bits where the quarters are taken, as davis2017-evaluation does: its decay is
            wrong past 256 frames. Only to compare with it.
    Returns:
        the three numbers, NaN where no frame counts.
    Source: `db_statistics` of davis2017-evaluation, defect aside.

    >>> statistics(np.array([1.0, 1.0, 0.5, 0.25]))
    Statistics(mean=0.6875, recall=0.5, decay=0.625)
    """
    if values.size == 0:
        return Statistics(np.nan, np.nan, np.nan)
    # an undefined value is below the threshold there too, it is left out of the mean only
    recall = float(np.mean(values > RECALL_THRESHOLD))
    edges = _quarters(len(values), decay_8bit=decay_8bit)
    first, last = values[edges[0] : edges[1] + 1], values[edges[-2] : edges[-1] + 1]
    return Statistics(_mean(values), recall, _mean(first) - _mean(last))


def _quarters(count: int, *, decay_8bit: bool) -> list[int]:
    """First frame of each quarter and the last frame; a quarter includes the first frame of the next."""
    edges = np.round(np.linspace(1, count, DECAY_PARTS + 1) + 1e-10).astype(np.int64) - 1
    return [int(edge) for edge in (edges % 256 if decay_8bit else edges)]


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float("nan")
