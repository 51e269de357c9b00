"""The generated benchmark's own protocol: masks and boxes of every object, and whether it knows when one is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.overlap import overlap_precision
from mosam.evaluation.metrics.precision import PRECISION_AT, center_error, precision_curve
from mosam.evaluation.metrics.success import success_auc, success_curve
from mosam.evaluation.protocols.base import Protocol, Results, SequenceScore, protocol, speed
from mosam.evaluation.protocols.masks import (
    FrameScores,
    frame_jf,
    jf_values,
    mask_truth,
    means_over_objects,
    read_pair,
)
from mosam.geometry import box_iou, mask_to_box

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence
    from mosam.types import Mask

Boxes = NDArray[np.float64]


@protocol("toy", needs="boxes masks")
class Toy(Protocol):
    """Every object from the frame after its first to the end of the sequence; the mean over all objects.

    J and F are 1 where the object is gone and nothing was predicted. Success and precision are those of the boxes on
    frames that show the object; a box that is not there misses. `presence` is the share of frames on which an object
    is predicted exactly when it shows.
    """

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        boxes, notes = results.boxes(sequence, len(sequence))
        tracks: dict[int, _Track] = {}
        for frame_index in truth.frame_indices:
            true, found = read_pair(truth, result, frame_index, sequence)
            for object_id, mask in true.items():
                if object_id in tracks:
                    tracks[object_id].add(frame_index, found.get(object_id), mask)
                elif mask.any():
                    tracks[object_id] = _Track()
        jf = jf_values({object_id: track.frame_scores() for object_id, track in tracks.items()})
        values = {object_id: jf[object_id] | track.values(boxes[object_id]) for object_id, track in tracks.items()}
        curves = [curve for i, track in tracks.items() if not np.isnan(curve := track.success(boxes[i])).any()]
        return SequenceScore(
            {**means_over_objects(values), **speed(sequence, results)},
            curves={"success": np.mean(curves, axis=0)} if curves else {},
            curve_weight=len(curves),
            objects=dict(sorted(values.items())),
            notes=notes,
        )


class _Track:
    """One object's frames so far."""

    def __init__(self) -> None:
        self._pairs: list[tuple[float, float]] = []
        self._agrees: list[bool] = []
        self._frames: list[int] = []
        self._boxes: list[Boxes] = []

    def add(self, frame_index: int, predicted: Mask | None, true: Mask) -> None:
        box = mask_to_box(true, convention="inclusive")
        shown = not np.isnan(box).any()
        self._pairs.append(frame_jf(predicted, true if shown else None))
        self._agrees.append((predicted is not None) == shown)
        if shown:
            self._frames.append(frame_index)
            self._boxes.append(box)

    def frame_scores(self) -> FrameScores:
        pairs = np.array(self._pairs, dtype=np.float64).reshape(-1, 2)
        return FrameScores(pairs[:, 0], pairs[:, 1])

    def values(self, predicted: Boxes) -> dict[str, float]:
        iou, error = self._compare(predicted)
        return {
            "success_auc": success_auc(success_curve(iou)),
            "op50": overlap_precision(iou, 0.5),
            "precision": precision_curve(error)[PRECISION_AT],
            "presence": float(np.mean(self._agrees)) if self._agrees else float("nan"),
        }

    def success(self, predicted: Boxes) -> NDArray[np.float64]:
        return success_curve(self._compare(predicted)[0])

    def _compare(self, predicted: Boxes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Overlap and center error on the frames that show the object."""
        rows, true = predicted[self._frames], np.array(self._boxes, dtype=np.float64).reshape(-1, 4)
        there = np.isfinite(rows).all(axis=1) & (rows[:, 2:] > 0).all(axis=1)
        return np.where(there, box_iou(rows, true), 0.0), np.where(there, center_error(rows, true), np.inf)
