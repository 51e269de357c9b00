"""Connected components in numpy, for the policies that look at the shape of a mask."""

from __future__ import annotations

import numpy as np

from mosam.types import Mask


def largest_component(mask: Mask) -> Mask:
    """The 8-connected component with the most pixels, the one that begins highest and leftmost of equal ones.

    Runs of pixels are joined where they touch in the next row, so the cost goes with the number of runs.

    Args:
        mask: (H, W) bool.
    Returns:
        (H, W) bool; empty where `mask` is.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    rows, first = np.nonzero(edges == 1)
    _, after = np.nonzero(edges == -1)
    if len(rows) == 0:
        return np.zeros_like(mask)
    root = list(range(len(rows)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    bounds = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = bounds[row - 1], bounds[row]
        while above < bounds[row] and here < bounds[row + 1]:
            if first[here] <= after[above] and first[above] <= after[here]:  # touching at a corner counts
                a, b = find(above), find(here)
                root[max(a, b)] = min(a, b)
            if after[above] < after[here]:
                above += 1
            else:
                here += 1
    labels = np.array([find(i) for i in range(len(rows))])
    areas = np.bincount(labels, weights=after - first)
    best = np.flatnonzero(labels == areas.argmax())
    result = np.zeros_like(mask)
    for i in best:
        result[rows[i], first[i] : after[i]] = True
    return result
