"""Expected average overlap (EAO) of VOT 2015-2022, in the three ways it is computed.

The curve gives, for each length, the mean overlap a tracker is expected to reach in a video of that length; the score
is its mean over an interval of typical lengths, which each challenge fixed. The first frame, the start, never counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.supervised import FAILED, SKIP_AFTER_FAILURE, Run

Floats = NDArray[np.float64]
# Lengths averaged over, by challenge (stacks of vot-toolkit 0.7.4; VOT2013 and 2014 had no EAO).
INTERVALS: Mapping[int, tuple[int, int]] = {
    2015: (108, 371),
    2016: (108, 371),
    2017: (100, 356),
    2018: (100, 356),
    2019: (46, 291),
    2020: (115, 755),
    2021: (115, 755),
    2022: (115, 755),
}

TOY_INTERVAL = (42, 80)  # of the generated benchmark: from its shortest sequence to the longest of `val`


def eao_score(curve: Floats, interval: tuple[int, int]) -> float:
    """Mean of the curve's entries `low` to `high`, both included; NaN where it ends before.

    >>> eao_score(np.array([0.0, 0.9, 0.8, 0.6]), (1, 2))
    0.8500000000000001
    """
    part = curve[interval[0] : interval[1] + 1]
    return float(np.mean(part)) if part.size else float("nan")


# ---- supervised, VOT toolkit -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrefixMeans:
    """Mean overlaps of supervised runs up to each frame, as far as they count.

    Attributes:
        means: (N, L) float32 entry i is the mean of frames 1 to i.
        counted: (N, L) bool: a run that failed counts with zeros after its end, another only up to its end.
        longest: frames of the longest run.
    """

    means: NDArray[np.float32]
    counted: NDArray[np.bool_]
    longest: int


def prefix_means(runs: Sequence[Run], length: int) -> PrefixMeans:
    """Mean overlaps of supervised runs, N >= 1, up to each of their first `length` frames.

    Sums are made in 32-bit floats, each from the start, as vot-toolkit makes them: only so every digit agrees.
    """
    overlaps = np.zeros((len(runs), length), dtype=np.float32)
    counted = np.zeros((len(runs), length), dtype=bool)
    for row, run in enumerate(runs):
        part = run.overlaps[:length]
        overlaps[row, : len(part)] = part
        counted[row, : length if run.failed else len(part)] = True
    means = overlaps.copy()
    for end in range(1, length):
        np.add.reduce(overlaps[:, 1 : end + 1], axis=1, out=means[:, end])
    means[:, 1:] /= np.arange(1, length, dtype=np.float32)
    return PrefixMeans(means, counted, max(len(run.overlaps) for run in runs))


def supervised_curve(parts: Sequence[PrefixMeans]) -> Floats:
    """Expected overlap of supervised runs, as the VOT toolkit has it: all that count weigh the same.

    Args:
        parts: of all sequences, of one length L.
    Returns:
        entry i is the expected mean overlap of frames 1 to i, up to L or the longest run; entry 0 means nothing.
    Source: Kristan et al., VOT2015, section 4.

    >>> runs = [Run(np.array([0.0, 1.0]), True), Run(np.array([0.0, 0.5, 0.5]), False)]
    >>> supervised_curve([prefix_means(runs, 3)]).tolist()
    [0.0, 0.75, 0.5]
    """
    longest = max(part.longest for part in parts)
    means = np.concatenate([part.means[:, :longest] for part in parts])
    counted = np.concatenate([part.counted[:, :longest] for part in parts])
    return (means * counted).sum(axis=0) / counted.sum(axis=0)


# ---- supervised, pysot toolkit ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fragment:
    """A stretch of a supervised result that counts as one video.

    Attributes:
        start, stop: its frames.
        overlaps: (stop - start,) 0 where the tracker had failed.
        failed: whether a failure ended it.
        weight_of: frames its weight is divided by.
    """

    start: int
    stop: int
    overlaps: Floats
    failed: bool
    weight_of: float


def pysot_fragments(overlaps: Floats, codes: NDArray[np.int64], truth_frames: int) -> list[Fragment]:
    """A supervised result cut up as the pysot toolkit does.

    A new fragment starts 5 frames after each failure whatever the result says, and ends with the first frame of the
    next.

    Args:
        overlaps: (T,) NaN where the row is a code; cut to the shorter of result and annotation.
        codes: special codes of the whole result, which may be longer.
        truth_frames: annotated frames.
    """
    failures = np.flatnonzero(codes == FAILED)
    if not failures.size:
        return [Fragment(0, len(overlaps), overlaps, False, float(len(overlaps)))]
    starts = [0, *(int(frame) for frame in failures + SKIP_AFTER_FAILURE if frame <= len(overlaps))]
    zeroed = np.nan_to_num(overlaps, nan=0.0)
    fragments = [
        Fragment(start, stop + 1, zeroed[start : stop + 1], True, float(stop - start + 1))
        for start, stop in pairwise(starts)
    ]
    last = starts[-1]
    return [*fragments, Fragment(last, len(overlaps), zeroed[last:], False, truth_frames - last + 1e-16)]


def pysot_sums(fragments: Sequence[Fragment], weights: Floats, *, longest: int) -> tuple[Floats, Floats]:
    """What fragments add to the expected overlap of each length, under several weightings at once.

    Args:
        fragments: F of them.
        weights: (K, F) of the fragments.
        longest: entries wanted.
    Returns:
        (K, longest) weighted sums of mean overlaps of frames 1 to i, and (K, longest) the weights of the fragments that
        are so long, which the sums are to be divided by.
    """
    overlaps = np.full((len(fragments), longest), np.nan)
    for row, fragment in enumerate(fragments):
        if fragment.failed:
            overlaps[row] = 0.0
        part = fragment.overlaps[:longest]
        overlaps[row, : len(part)] = part
    known = ~np.isnan(overlaps)
    overlaps[:, 0] = 0.0
    means = np.where(known, np.cumsum(overlaps, axis=1), 0.0) / np.maximum(np.arange(longest), 1)
    return weights @ means, weights @ known


def pysot_curve(fragments: Sequence[Fragment], weights: Floats, *, longest: int) -> Floats:
    """Expected overlap of fragments as the pysot toolkit has it.

    Args:
        fragments: of all sequences.
        weights: (K, F) of the fragments, under K weightings.
        longest: frames of the longest sequence, or fewer where only the beginning of the curve is wanted.
    Returns:
        (K, longest) entry i is the expected mean overlap of frames 1 to i, rounded to 32-bit floats; entry 0 is 1; NaN
        where all weights are 0; 0 where no fragment is so long.
    """
    total, weight = pysot_sums(fragments, weights, longest=longest)
    reach = max((longest if fragment.failed else len(fragment.overlaps) for fragment in fragments), default=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = (total / weight).astype(np.float32)
    curve[:, reach:] = 0.0
    curve[:, 0] = 1.0
    return curve.astype(np.float64)


def pysot_score(curve: Floats, interval: tuple[int, int]) -> float:
    """Mean of the curve's defined entries at the 1-based lengths `low` to `high`."""
    part = curve[interval[0] - 1 : interval[1]]
    part = part[~np.isnan(part)]
    return float(part.mean()) if part.size else float("nan")


# ---- multistart ------------------------------------------------------------------------------------------------------


def multistart_sums(runs: Sequence[Run], length: int) -> tuple[Floats, Floats]:
    """What the runs from all anchors of one sequence add to the expected overlap.

    Args:
        runs: with zeros from the failure on, where one failed.
        length: entries of the curve.
    Returns:
        (length,) sums of mean overlaps, and (length,) how many runs they are of.
    Source: Kristan et al., VOT2020, section 2.1.3. After the end of a run that failed, the toolkit divides by one frame
        less than before it; that is repeated here.
    """
    total, count = np.zeros(length), np.zeros(length)
    for run in runs:
        end = min(len(run.overlaps), length)
        summed = np.cumsum(run.overlaps[1:])
        total[1:end] += summed[: end - 1] / np.arange(1, end)
        count[1:end] += 1
        if run.failed and end < length:
            total[end:] += (summed[-1] if summed.size else 0.0) / (np.arange(end, length) - 1)
            count[end:] += 1
    return total, count


def multistart_curve(sums: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Expected overlap of several sequences' `multistart_sums`; 0 where nothing is that long.

    >>> multistart_curve([(np.array([0.0, 1.5]), np.array([0.0, 2.0])), (np.array([0.0, 0.5]), np.array([0.0, 1.0]))])
    array([0.        , 0.66666667])
    """
    total = np.sum([total for total, _ in sums], axis=0)
    count = np.sum([count for _, count in sums], axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), 0.0)
