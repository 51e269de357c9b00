"""VOTS 2023 and later, and DiDi, as the VOT toolkit scores them: several objects in one pass.

Checked against the toolkit's own numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.vot import name_of_pass
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.vots import (
    absence_detection_quality,
    accuracy_frames,
    count_frames,
    drift_rate_error,
    not_reported_error,
    object_robustness,
    quality_curve,
    quality_frames,
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
    as_the_truth,
    cut_to_truth,
    image_size,
    region_codec,
    region_truth,
)
from mosam.regions.overlap import is_empty, region_overlaps
from mosam.regions.trajectory import UNKNOWN, Trajectory
from mosam.types import Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]


@protocol("vots", needs="regions")
class Vots(Protocol):
    """VOTS 2023 and later, and DiDi, as the VOT toolkit scores them.

    Quality is the mean overlap over frames, objects and sequences; frames whose truth is unknown do not count, the
    start counts with 0. Accuracy is the mean overlap while the tracker is on the object, robustness the share of frames
    with the object in which it is; NRE and DRE are the shares in which it reports absence or is elsewhere; ADQ is the
    share of frames without the object that it notices, of objects absent in more than 10 frames.

    Attributes:
        thin_masks: masks one pixel wide or tall count as they are; the toolkit takes them for empty.
        unbounded: pixels outside of the image count.
    """

    thin_masks: bool = False
    unbounded: bool = False
    columns = (
        cols.QUALITY,
        cols.ACCURACY,
        cols.ROBUSTNESS,
        cols.Column("nre", "NRE", unit="", digits=3, lower=True),
        cols.Column("dre", "DRE", unit="", digits=3, lower=True),
        cols.Column("adq", "ADQ", unit="", digits=3),
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        size = None if self.unbounded else image_size(sequence, truth)
        objects: dict[int, dict[str, float]] = {}
        curves = []
        notes: list[str] = []
        for object_id in truth.object_ids:
            if codec.find(results.folder, sequence, name_of_pass(sequence, object_id)) is None:
                raise ShortResultError(sequence.name, f"no {name_of_pass(sequence, object_id)}")
            result = codec.read(results.folder, sequence, name_of_pass(sequence, object_id))
            boxes = as_the_truth(result, truth.objects[object_id], defects=not self.thin_masks)
            result, note = cut_to_truth(sequence, boxes, len(truth))
            notes += note
            objects[object_id], curve = self._object(result, truth.objects[object_id], truth.ignore, size)
            curves.append(curve)
        # in the toolkit, an object without frames to average counts 0 in quality and accuracy
        means = {
            name: Mean.of([float(np.mean([np.nan_to_num(values[name]) for values in objects.values()]))])
            for name in ("quality", "accuracy")
        }
        for name in ("robustness", "nre", "dre", "adq"):
            means[name] = Mean.of([Mean.of(values[name] for values in objects.values()).value])
        defined = [curve for curve in curves if not np.isnan(curve).any()]
        return SequenceScore(
            {**means, **speed(sequence, results)},
            curves={"quality": np.mean(defined, axis=0)} if defined else {},
            objects=objects if len(objects) > 1 else {},
            notes=tuple(dict.fromkeys(notes)),
        )

    def _object(
        self, result: Trajectory, true: Trajectory, ignore: Trajectory | None, size: Size | None
    ) -> tuple[dict[str, float], Floats]:
        """Numbers of one object, and its quality curve."""
        defects = not self.thin_masks
        overlaps = region_overlaps(result, true, size=size, ignore=ignore, defects=defects)
        known, codes = true.codes != UNKNOWN, result.codes
        truth_empty, predicted_empty = is_empty(true, defects=defects), is_empty(result, defects=defects)
        counts = count_frames(overlaps, predicted_empty, truth_empty, known)
        quality = overlaps[quality_frames(codes, known)]
        accuracy = overlaps[accuracy_frames(overlaps, codes, known, truth_empty)]
        values = {
            "quality": float(quality.mean()) if quality.size else float("nan"),
            "accuracy": float(accuracy.mean()) if accuracy.size else float("nan"),
            "robustness": object_robustness(counts),
            "nre": not_reported_error(counts),
            "dre": drift_rate_error(counts),
            "adq": absence_detection_quality(counts),
        }
        return values, quality_curve(quality)
