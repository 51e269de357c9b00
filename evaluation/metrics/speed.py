"""Speed of a tracker from the times it wrote."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WARM_UP = 5  # frames of a sequence, its prompted one among them


def after_warm_up(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times of a sequence without those of its first frames, at most half of them: prompts, caches and kernels.

    Args:
        seconds: (T,) of each frame; frames without a time are left out, as by `total_time`.

    >>> after_warm_up(np.array([9.0, 3.0, 1.0, 1.0]))
    array([1., 1.])
    """
    timed = seconds[seconds > 0]
    return timed[min(WARM_UP, len(timed) // 2) :]


def total_time(seconds: NDArray[np.float64]) -> tuple[int, float]:
    """Frames that were timed, and the seconds they took together.

    Args:
        seconds: (T,) of each frame; NaN, zero and negative values (frames without a time) are left out.

    >>> total_time(np.array([0.5, 0.0, 0.25]))
    (2, 0.75)
    """
    timed = seconds[seconds > 0]
    return len(timed), float(timed.sum())
