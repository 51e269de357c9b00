"""DAVIS 2017 unsupervised: nobody says which object is which, so proposals are matched to objects after the fact."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import Sequence
from mosam.errors import MismatchError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.boundary import boundary_table
from mosam.evaluation.metrics.region import region_table
from mosam.evaluation.protocols.base import Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.masks import FrameScores, jf_values, mask_truth, means_over_objects, read_pair
from mosam.types import Mask

MAX_PROPOSALS = 20  # davis2017-evaluation
FrameTables = tuple[list[int], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]


@protocol("davis2017-unsupervised", needs="masks")
class Davis2017Unsupervised(Protocol):
    """The DAVIS 2017 evaluation of the unsupervised task: all frames, void left out, proposals matched to objects.

    Each label of the results, up to 20, is a proposal; one to one they are matched to the objects of the first true
    mask so that the mean of J and F over frames and objects is best. The truth is that of `Annotations_unsupervised`
    where the tree has it, else `Annotations`, which the official program does not read for this task.

    The official program lists the objects of a sequence in the order of their proposals; here they have their own ids,
    and `proposal` is the label matched (0 = none). The means are the same.

    Attributes:
        decay_8bit: see `davis2017`.
    """

    decay_8bit: bool = False
    columns = cols.JF_COLUMNS

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`; MismatchError where there are more proposals than allowed."""
        if sequence.load_unsupervised is not None:
            sequence = replace(sequence, load_truth=sequence.load_unsupervised)
        truth, result = mask_truth(sequence), results.masks(sequence)
        largest = max((i for i, mask in truth.read(truth.frame_indices[0]).items() if mask.any()), default=0)
        ids = range(1, largest + 1)
        tables: list[FrameTables] = []
        for frame_index in truth.frame_indices:
            true, found = read_pair(truth, result, frame_index, sequence)
            if found and max(found) > MAX_PROPOSALS:
                raise MismatchError(
                    f"{results.source(sequence)}: expected up to {MAX_PROPOSALS} proposals, got label {max(found)} on "
                    f"frame {sequence.frame_names[frame_index]}; leave out the weakest"
                )
            tables.append(_frame_tables(found, [true.get(i) for i in ids], truth.void(frame_index)))
        j, f = _all_pairs(tables, largest)
        matched = _match(j, f)
        scores = {i: FrameScores(j[matched[i - 1], i - 1], f[matched[i - 1], i - 1]) for i in ids}
        values = jf_values(scores, decay_8bit=self.decay_8bit)
        means = {**means_over_objects(values), **speed(sequence, results)}
        proposed = {label for labels, *_ in tables for label in labels}
        for i in ids:
            values[i]["proposal"] = float(matched[i - 1] + 1 if matched[i - 1] + 1 in proposed else 0)
        return SequenceScore(means, objects=values)


def _frame_tables(found: Mapping[int, Mask], true: Listed[Mask | None], void: Mask | None) -> FrameTables:
    """Labels of a frame, J and F (P, N) of each with each object, and which objects (N,) are not there."""
    some = next((mask for mask in (*true, *found.values()) if mask is not None), None)
    if some is None:
        empty = np.ones((0, len(true)))
        return [], empty, empty, np.ones(len(true), dtype=bool)
    masks = [np.zeros_like(some) if mask is None else mask for mask in true]
    proposals = list(found.values())
    region, boundary = region_table(proposals, masks, void=void), boundary_table(proposals, masks, void=void)
    away = np.array([not (mask if void is None else mask & ~void).any() for mask in masks], dtype=bool)
    return list(found), region, boundary, away


def _all_pairs(tables: Listed[FrameTables], objects: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """J and F (P, N, T) of all proposals, at least as many as objects; one that a frame lacks is empty there."""
    proposals = max((label for labels, *_ in tables for label in labels), default=0)
    j, f = np.zeros((2, max(proposals, objects), objects, len(tables)))
    for t, (labels, region, boundary, away) in enumerate(tables):
        rows = [label - 1 for label in labels]
        j[:, :, t] = f[:, :, t] = away  # an empty mask is right where the object is absent
        j[rows, :, t], f[rows, :, t] = region, boundary
    return j, f


def _match(j: NDArray[np.float64], f: NDArray[np.float64]) -> list[int]:
    """Row of the proposal that is matched to each object (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment  # takes half a second to import

    rows, columns = linear_sum_assignment(-(j.mean(axis=2) + f.mean(axis=2)) / 2)
    return [int(row) for _, row in sorted(zip(columns, rows, strict=True))]
