"""Speed of a tracker from the times it wrote."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def total_time(seconds: NDArray[np.float64]) -> tuple[int, float]:
    """Frames that were timed, and the seconds they took together.

    Args:
        seconds: (T,) of each frame; NaN, zero and negative values (frames without a time) are left out.

    >>> total_time(np.array([0.5, 0.0, 0.25]))
    (2, 0.75)
    """
    timed = seconds[seconds > 0]
    return len(timed), float(timed.sum())
