"""VOT long-term as the VOT toolkit scores it: one pass with confidences.

Checked against the toolkit's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.vot import CONFIDENCE, name_of_pass
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.longterm import (
    best_f,
    confidence_thresholds,
    f_curve,
    mean_curves,
    precision_recall,
)
from mosam.evaluation.protocols.base import (
    Mean,
    Protocol,
    SequenceScore,
    ShortResultError,
    TrackerResults,
    protocol,
    speed,
)
from mosam.evaluation.protocols.regions import (
    cut_to_truth,
    image_size,
    region_codec,
    region_truth,
)
from mosam.regions.overlap import region_overlaps

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LongtermScore(SequenceScore):
    """A sequence tracked in one pass with confidences.

    Attributes:
        passes: overlap and confidence (T,) of each frame, of all repetitions.
        visible: frames in which the object is annotated.
    """

    passes: tuple[tuple[Floats, Floats], ...] = ()
    visible: int = 0


@protocol("vot-lt", needs="regions")
class VotLongterm(Protocol):
    """VOT long-term as the VOT toolkit scores it: precision, recall and F at the confidence with the best F.

    Thresholds come from the confidences of all sequences together; a frame without a confidence has 0. A sequence's own
    numbers are those at its own best threshold.

    Attributes:
        thin_masks: masks one pixel wide or tall count as they are; the toolkit takes them for empty.
        unbounded: pixels outside of the image count.
    """

    thin_masks: bool = False
    unbounded: bool = False
    columns = (
        cols.Column("f", "F", unit="", digits=3, main=True),
        cols.Column("precision", "Precision", unit="", digits=3, profile=True),
        cols.Column("recall", "Recall", unit="", digits=3),
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        object_id = truth.object_ids[0]
        size = None if self.unbounded else image_size(sequence, truth)
        passes = []
        notes: list[str] = []
        for number, result in enumerate(codec.read_passes(results.folder, sequence, object_id), start=1):
            result, note = cut_to_truth(sequence, result, len(truth))
            notes += note
            name = name_of_pass(sequence, object_id, number)
            confidence = codec.read_values(results.folder, sequence, name, CONFIDENCE)
            if confidence is None:
                raise ShortResultError(sequence.name, f"no {name}_{CONFIDENCE}.value")
            if len(confidence) < len(truth):
                raise ShortResultError(sequence.name, f"{len(confidence)} of {len(truth)} confidences")
            overlaps = region_overlaps(
                result, truth.single, size=size, ignore=truth.ignore, defects=not self.thin_masks
            )
            confidence = confidence[: len(truth)]
            passes.append((overlaps, np.where(np.isposinf(confidence), 0.0, confidence)))
        score = LongtermScore(
            speed(sequence, results),
            notes=tuple(notes),
            passes=tuple(passes),
            visible=int(np.count_nonzero(truth.single.codes < 0)),
        )
        best = best_f(*self._mean_curves([score]))
        values = {"f": best.f, "precision": best.precision, "recall": best.recall}
        return LongtermScore(
            {**{name: Mean.of([value]) for name, value in values.items()}, **score.means},
            notes=score.notes,
            passes=score.passes,
            visible=score.visible,
        )

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """See `Protocol.overall`."""
        best = best_f(*self._mean_curves(scores))
        return {**Protocol.overall(self, scores), "f": best.f, "precision": best.precision, "recall": best.recall}

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, Floats]:
        """`precision`, `recall` and `f` at each threshold, the highest first."""
        precision, recall = self._mean_curves(scores)
        return {"precision": precision, "recall": recall, "f": f_curve(precision, recall)}

    def resampled(self, scores: Listed[SequenceScore], counts: NDArray[np.int64]) -> Mapping[str, Floats]:
        """See `Protocol.resampled`; the thresholds stay those of all sequences."""
        weights = counts / counts.sum(axis=1, keepdims=True)
        precision, recall = (weights @ np.stack(part) for part in zip(*self._curves_of_each(scores), strict=True))
        f = f_curve(precision, recall)
        best = np.nan_to_num(f, nan=-1.0).argmax(axis=1)
        rows = np.arange(len(counts))
        return {"f": f[rows, best], "precision": precision[rows, best], "recall": recall[rows, best]}

    @classmethod
    def _mean_curves(cls, scores: Listed[SequenceScore]) -> tuple[Floats, Floats]:
        return mean_curves(cls._curves_of_each(scores))

    @staticmethod
    def _curves_of_each(scores: Listed[SequenceScore]) -> list[tuple[Floats, Floats]]:
        """Precision and recall of each sequence at the thresholds of all."""
        kept = [score for score in scores if isinstance(score, LongtermScore)]
        everything = np.concatenate([confidence for score in kept for _, confidence in score.passes])
        thresholds = confidence_thresholds(everything)
        return [
            mean_curves([precision_recall(*one, score.visible, thresholds) for one in score.passes]) for score in kept
        ]
