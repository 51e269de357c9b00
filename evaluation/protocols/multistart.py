"""VOT 2020-2022 as the VOT toolkit scores it: runs from several anchors.

Checked against the toolkit's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.vot import name_of_anchor
from mosam.errors import DataError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.eao import (
    eao_score,
    multistart_curve,
    multistart_sums,
)
from mosam.evaluation.metrics.multistart import AnchorRun, accuracy_robustness, frames_before_failure
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
from mosam.regions.overlap import is_empty, region_overlaps

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]
Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MultistartScore(SequenceScore):
    """A sequence played from its anchors.

    Attributes:
        sums: see `metrics.eao.multistart_sums`.
        interval: of expected average overlap.
    """

    sums: tuple[Floats, Floats] = (np.zeros(0), np.zeros(0))
    interval: Interval | None = None


def expected_overlap(scores: Listed[SequenceScore]) -> Floats:
    """Expected average overlap by length, as far as the longest of some `MultistartScore`s reaches."""
    sums = [score.sums for score in scores if isinstance(score, MultistartScore)]
    longest = max(len(total) for total, _ in sums)
    padded = [tuple(np.pad(part, (0, longest - len(part))) for part in pair) for pair in sums]
    return multistart_curve([(total, count) for total, count in padded])


@protocol("multistart", needs="regions")
class Multistart(Protocol):
    """VOT 2020-2022: runs from every anchor, scored as the VOT toolkit does.

    Robustness is the share of frames before failures, per sequence, weighted by the sequences' lengths; accuracy the
    mean overlap of those frames, pooled. EAO is the mean of the expected overlap over the challenge's interval.

    Attributes:
        thin_masks: masks one pixel wide or tall count as they are; the toolkit takes them for empty.
        unbounded: pixels outside of the image count. (The toolkit's own option `bounded` does nothing: it looks at
            `burnin` instead, so that `burnin: 0` is what switches the bounds off.)
    """

    thin_masks: bool = False
    unbounded: bool = False
    columns = (cols.EAO, cols.ACCURACY, cols.ROBUSTNESS)

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        if not truth.anchors:
            raise DataError(sequence.name, "expected anchor.value with an anchor; choose another protocol")
        size, defects = None if self.unbounded else image_size(sequence, truth), not self.thin_masks
        empty = is_empty(truth.single, defects=defects)
        runs = []
        notes: list[str] = []
        for anchor in truth.anchors:
            order = np.array(anchor.frames(len(truth)))
            name = name_of_anchor(sequence, anchor.frame)
            if codec.find(results.folder, sequence, name) is None:
                raise ShortResultError(sequence.name, f"no run from anchor {anchor.frame}")
            result = codec.read(results.folder, sequence, name)
            result, note = cut_to_truth(sequence, result, len(order), what=f"anchor {anchor.frame}: ")
            notes += note
            overlaps = region_overlaps(
                result, truth.single, size=size, ignore=truth.ignore, defects=defects, rows=order
            )
            runs.append(AnchorRun(overlaps, frames_before_failure(overlaps, empty[order])))
        accuracy, robustness, kept = accuracy_robustness(runs)
        interval: Interval | None = getattr(sequence, "eao_interval", None)
        length = interval[1] if interval else max(len(run.overlaps) for run in runs)
        means = {
            "accuracy": Mean(accuracy * kept, kept),
            "robustness": Mean(robustness * len(truth), len(truth)),
        }
        return MultistartScore(
            {**means, **speed(sequence, results)},
            notes=tuple(notes),
            sums=multistart_sums([run.run for run in runs], length),
            interval=interval,
        )

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """See `Protocol.overall`."""
        values = Protocol.overall(self, scores)
        interval = next((score.interval for score in scores if isinstance(score, MultistartScore)), None)
        return values if interval is None else {"eao": eao_score(self.curves(scores)["eao"], interval), **values}

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, Floats]:
        """`eao`: expected average overlap by length."""
        return {"eao": expected_overlap(scores)}

    def resampled(self, scores: Listed[SequenceScore], counts: NDArray[np.int64]) -> Mapping[str, Floats]:
        """See `Protocol.resampled`."""
        kept = [score for score in scores if isinstance(score, MultistartScore)]
        interval = kept[0].interval
        if interval is None:
            return {}
        total, number = (counts @ np.stack(part) for part in zip(*(score.sums for score in kept), strict=True))
        return {"eao": np.where(number > 0, total / np.maximum(number, 1), 0.0)[:, interval[0] :].mean(axis=1)}
