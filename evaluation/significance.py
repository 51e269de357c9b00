"""Which trackers of a table differ: every pair over the sequences both have, corrected for how many pairs there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.intervals import is_mean, sequence_values, sequence_weights
from mosam.evaluation.metrics.paired import holm, sign_flip_test
from mosam.evaluation.scores import Scores

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class PairedTests:
    """Every pair of some trackers.

    Attributes:
        differences: (K, K) row less column, over the sequences both have; NaN where there are none.
        p: (K, K) adjusted by Holm over all pairs; NaN where there is no test.
    """

    differences: NDArray[np.float64]
    p: NDArray[np.float64]

    def verdict(self, row: int, column: int) -> int:
        """1 where the row's tracker is better than the column's, -1 worse, 0 neither; larger values are better."""
        sure = self.p[row, column] < LEVEL
        return int(np.sign(self.differences[row, column])) if sure else 0


def paired_tests(items: Sequence[Scores], value: str) -> PairedTests | None:
    """Sign-flip tests of a number that is a mean over sequences, Holm-adjusted over all pairs.

    Args:
        items: of one dataset, split and protocol.
        value: name of the number.
    Returns:
        the tests; None where the number of one of them is no mean over sequences (EAO), or there is only one tracker.
    """
    if len(items) < 2 or not all(is_mean(item, value) for item in items):
        return None
    names = list(dict.fromkeys(name for item in items for name in item.sequences))
    values = np.stack([sequence_values(item, value, names) for item in items])
    weights = np.stack([sequence_weights(item, value, names) for item in items])
    rows, columns = np.triu_indices(len(items), 1)
    same = np.isclose(weights[rows], weights[columns]).T  # a sequence that weighs differently cannot be paired
    gaps = np.where(same, (values[rows] - values[columns]).T, np.nan)
    weighed = gaps * weights[rows].T
    adjusted = holm(sign_flip_test(weighed))
    known = np.where(np.isnan(gaps), 0.0, weights[rows].T).sum(axis=0)
    means = np.nansum(weighed, axis=0) / np.where(known > 0, known, np.nan)
    differences, p = np.zeros((2, len(items), len(items)))
    p[:] = np.nan
    differences[rows, columns], differences[columns, rows] = means, -means
    p[rows, columns] = p[columns, rows] = adjusted
    return PairedTests(differences, p)
