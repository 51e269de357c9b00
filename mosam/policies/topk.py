"""The choice of memories that SAMITE and SAMOSA share: the newest good frame, and the best of those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mosam.policies.base import Entry, SlotRead

T = TypeVar("T")


def newest_and_best(
    items: Sequence[T], count: int, scores: Callable[[Sequence[T]], NDArray[np.float64]]
) -> tuple[T, ...]:
    """The newest item and the `count - 1` best of the others, in the order given; all where there are no more.

    Args:
        items: oldest first.
        count: at least 1.
        scores: (N,) of the items before the newest; of equal ones the newer counts more.
    """
    if len(items) <= count:
        return tuple(items)
    *others, newest = items
    best = np.lexsort((np.arange(len(others)), scores(others)))[len(others) - (count - 1) :]
    return (*(others[i] for i in sorted(best)), newest)


def slots_by_rank(entries: Sequence[Entry]) -> tuple[SlotRead, ...]:
    """Entries, oldest first, with the temporal vector of their rank: the newest has that of one frame back."""
    return tuple(SlotRead(entry, len(entries) - 1 - i) for i, entry in enumerate(entries))
