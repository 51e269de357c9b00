"""MOSE v2's metric: J and F that are fair to small objects, and how well absence and return are noticed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import Sequence
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.boundary import BOUNDARY_TOLERANCE, boundary_scores
from mosam.evaluation.metrics.region import smoothed_similarity
from mosam.evaluation.protocols.base import Mean, Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.masks import mask_notes, mask_truth, means_over_objects, read_pair
from mosam.types import Mask

SIZE_TOLERANCE = 0.1  # of the square root of the object's area: `score.py` of MOSE-api


@protocol("mose-v2", needs="masks")
class MoseV2(Protocol):
    """The MOSE v2 evaluation: the mean over objects, the first and last frame left out.

    `j_mean` adds a pixel to intersection and union; `f_mean` narrows the distance within which outlines agree to a
    tenth of the object's side where that is less than DAVIS's; `jf_mean` is their mean. `jf_disappear` and
    `jf_reappear` are J&F on the stretches where an object is away, and where it is back: the mean over the stretches of
    an object, then over the objects that have any. `f_classic` and `jf_classic` take DAVIS's distance.

    Source: `score.py` and `metricsv2.py` of MOSE-api, defects included: a stretch of absence that begins with the first
    frame that counts is left out of `jf_disappear`, and a distance that is no whole number of pixels is drawn off
    center (`metrics.boundary`). It gives 0 to a video without results; here that is an error, as everywhere.
    """

    columns = (
        replace(cols.JF, heading="J&F adapted"),
        cols.Column("j_mean", "J adapted"),
        cols.Column("f_mean", "F adapted"),
        cols.Column("jf_disappear", "J&F away"),
        cols.Column("jf_reappear", "J&F back"),
        cols.Column("f_classic", "F"),
        cols.Column("jf_classic", "J&F"),
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        rows: dict[int, list[tuple[float, float, float]]] = {object_id: [] for object_id in truth.object_ids}
        away: dict[int, list[bool]] = {object_id: [] for object_id in truth.object_ids}
        for frame_index in truth.frame_indices[1:-1]:
            true, found = read_pair(truth, result, frame_index, sequence)
            for object_id, frames in rows.items():
                mask = true.get(object_id)
                absent = mask is None or not mask.any()
                away[object_id].append(absent)
                frames.append(_adapted(found.get(object_id), None if absent else mask))
        values = {
            object_id: object_values(np.array(frames).reshape(-1, 3), np.array(away[object_id], dtype=bool))
            for object_id, frames in rows.items()
        }
        notes = mask_notes(sequence, truth, result, values)
        return SequenceScore({**means_over_objects(values), **speed(sequence, results)}, objects=values, notes=notes)


def object_values(scores: NDArray[np.float64], away: NDArray[np.bool_]) -> dict[str, float]:
    """The numbers of one object.

    Args:
        scores: (T, 3) J, F within the adapted distance and F within DAVIS's, one row for each frame that counts.
        away: (T,) whether the truth is empty.
    Returns:
        by name; NaN where no frame counts or the object is never away (back).
    """
    j, f, classic = (float(value) for value in scores.mean(axis=0)) if len(scores) else (float("nan"),) * 3
    both = scores[:, :2].mean(axis=1)
    bounds = [0, *(np.flatnonzero(away[1:] != away[:-1]) + 1).tolist(), len(away)]
    stretches: dict[bool, list[float]] = {True: [], False: []}
    for start, end in pairwise(bounds[1:]):  # the first stretch is neither a disappearance nor a return
        stretches[bool(away[start])].append(float(both[start:end].mean()))
    return {
        "jf_mean": (j + f) / 2,
        **{"j_mean": j, "f_mean": f},
        "jf_disappear": Mean.of(stretches[True]).value,
        "jf_reappear": Mean.of(stretches[False]).value,
        **{"f_classic": classic, "jf_classic": (j + classic) / 2},
    }


def _adapted(predicted: Mask | None, true: Mask | None) -> tuple[float, float, float]:
    """J, F within the adapted distance and F within DAVIS's; a missing mask is empty."""
    if predicted is None and true is None:
        return 1.0, 1.0, 1.0
    some = predicted if predicted is not None else true
    assert some is not None
    predicted = np.zeros_like(some) if predicted is None else predicted
    true = np.zeros_like(some) if true is None else true
    widest = BOUNDARY_TOLERANCE * float(np.linalg.norm(some.shape))
    narrow = float(math.ceil(SIZE_TOLERANCE * math.sqrt(np.count_nonzero(true)))) or widest
    radii = (narrow, float(math.ceil(widest))) if narrow < widest else (widest,)
    scores = boundary_scores(predicted, true, radii)
    return smoothed_similarity(predicted, true), scores[0], scores[-1]
