"""The generated benchmark's own protocols.

`toy` compares masks and boxes of every object, and asks whether a tracker knows when one is gone; `toy-vot` scores the
same results as VOT would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.eao import TOY_INTERVAL, eao_score, multistart_sums
from mosam.evaluation.metrics.multistart import AnchorRun, accuracy_robustness, frames_before_failure
from mosam.evaluation.metrics.overlap import overlap_precision
from mosam.evaluation.metrics.precision import (
    NORM_PRECISION_AT,
    NORM_PRECISION_THRESHOLDS,
    PRECISION_AT,
    center_error,
    normalized_center_error,
    precision_curve,
)
from mosam.evaluation.metrics.success import success_auc, success_curve
from mosam.evaluation.protocols.base import Mean, Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.boxes import written_otherwise
from mosam.evaluation.protocols.masks import (
    FrameScores,
    frame_jf,
    jf_values,
    mask_notes,
    mask_truth,
    means_over_objects,
    read_pair,
)
from mosam.evaluation.protocols.multistart import MultistartScore, expected_overlap
from mosam.geometry import box_iou, mask_to_box

if TYPE_CHECKING:
    from collections.abc import Sequence as Listed

    from mosam.datasets.base import Sequence
    from mosam.types import Mask

Boxes = NDArray[np.float64]


@protocol("toy", needs="boxes masks")
class Toy(Protocol):
    """Every object from the frame after its first to the end of the sequence; the mean over all objects.

    J and F are 1 where the object is gone and nothing was predicted. Success and precision are those of the boxes on
    frames that show the object; a missing box is a miss. `presence` is the share of frames on which an object
    is predicted exactly when it shows.
    """

    columns = (
        cols.JF,
        replace(cols.SUCCESS, main=False),
        cols.PRECISION,
        cols.NORM_PRECISION,
        cols.OP50,
        *cols.J_COLUMNS,
        *cols.F_COLUMNS,
        cols.Column("presence", "Presence", profile=True),
    )
    brief = ("jf_mean", "success_auc", "precision", "presence", "fps")

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
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
                    given = mask_to_box(mask, convention="inclusive")
                    notes += tuple(dict.fromkeys(written_otherwise(boxes[object_id][frame_index:], given[None])))
        jf = jf_values({object_id: track.frame_scores() for object_id, track in tracks.items()})
        values = {object_id: jf[object_id] | track.values(boxes[object_id]) for object_id, track in tracks.items()}
        curves = [track.curves(boxes[i]) for i, track in tracks.items() if track.shown]
        names = ("success", "precision", "norm_precision") if curves else ()
        return SequenceScore(
            {**means_over_objects(values), **speed(sequence, results)},
            curves={name: np.mean([curve[name] for curve in curves], axis=0) for name in names},
            curve_weight=len(curves),
            objects=dict(sorted(values.items())),
            notes=(*mask_notes(sequence, truth, result, values), *notes),
        )


@protocol("toy-vot", needs="masks")
class ToyVot(Protocol):
    """The generated benchmark as VOT 2020 would score it, with one run per object, from its first frame to the end.

    A run has failed where the masks' overlap stays at or below 0.1 on 10 frames in a row that show the object; what
    follows counts 0. Accuracy, robustness and expected average overlap (over lengths of 42 to 80 frames) are those of
    `multistart`.
    """

    columns = (cols.EAO, cols.ACCURACY, cols.ROBUSTNESS)

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        overlaps: dict[int, list[tuple[float, bool]]] = {}
        for frame_index in truth.frame_indices:
            true, found = read_pair(truth, result, frame_index, sequence)
            for object_id, mask in true.items():
                if object_id in overlaps or mask.any():
                    j, _ = frame_jf(found.get(object_id), mask)
                    overlaps.setdefault(object_id, []).append((j, not mask.any()))
        runs = []
        for rows in overlaps.values():
            j, gone = np.array(rows, dtype=np.float64).T
            runs.append(AnchorRun(j, frames_before_failure(j, gone.astype(bool))))
        accuracy, robustness, kept = accuracy_robustness(runs)
        count = sum(len(run.overlaps) for run in runs)
        means = {"accuracy": Mean(accuracy * kept, kept), "robustness": Mean(robustness * count, count)}
        return MultistartScore(
            {**means, **speed(sequence, results)},
            notes=result.notes(),
            sums=multistart_sums([run.run for run in runs], max(len(run.overlaps) for run in runs)),
            interval=TOY_INTERVAL,
        )

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """See `Protocol.overall`."""
        return {"eao": eao_score(expected_overlap(scores), TOY_INTERVAL), **Protocol.overall(self, scores)}

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, NDArray[np.float64]]:
        """`eao`: expected average overlap by length."""
        return {"eao": expected_overlap(scores)}


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
        iou, error, norm = self._compare(predicted)
        return {
            "success_auc": success_auc(success_curve(iou)),
            "op50": overlap_precision(iou, 0.5),
            "precision": precision_curve(error)[PRECISION_AT],
            "norm_precision": precision_curve(norm, thresholds=NORM_PRECISION_THRESHOLDS)[NORM_PRECISION_AT],
            "presence": float(np.mean(self._agrees)) if self._agrees else float("nan"),
        }

    @property
    def shown(self) -> bool:
        """Whether the object shows on a frame that counts."""
        return bool(self._frames)

    def curves(self, predicted: Boxes) -> dict[str, NDArray[np.float64]]:
        iou, error, norm = self._compare(predicted)
        return {
            "success": success_curve(iou),
            "precision": precision_curve(error),
            "norm_precision": precision_curve(norm, thresholds=NORM_PRECISION_THRESHOLDS),
        }

    def _compare(self, predicted: Boxes) -> tuple[Boxes, Boxes, Boxes]:
        """Overlap, and center error in pixels and in sizes of the object, on the frames that show it."""
        rows, true = predicted[self._frames], np.array(self._boxes, dtype=np.float64).reshape(-1, 4)
        there = np.isfinite(rows).all(axis=1) & (rows[:, 2:] > 0).all(axis=1)
        return (
            np.where(there, box_iou(rows, true), 0.0),
            np.where(there, center_error(rows, true), np.inf),
            np.where(there, normalized_center_error(rows, true), np.inf),
        )
