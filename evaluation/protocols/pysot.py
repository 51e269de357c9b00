"""VOT 2015-2019 as the pysot toolkit scores it.

Checked against the toolkit's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.region_truth import RegionTruth
from mosam.errors import MismatchError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.eao import (
    Fragment,
    pysot_curve,
    pysot_fragments,
    pysot_score,
    pysot_sums,
)
from mosam.evaluation.metrics.supervised import count_failures
from mosam.evaluation.protocols.base import Mean, Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.regions import (
    UNTAGGED,
    RegionConventions,
    image_size,
    nan_mean,
    region_codec,
    region_truth,
    supervised_mean,
)
from mosam.regions.pysot import exact_overlaps, pysot_overlaps
from mosam.regions.trajectory import Trajectory
from mosam.types import Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]
Interval = tuple[int, int]
PYSOT_REPETITIONS = 15  # it reads all of so many, else the first alone


@dataclass(frozen=True, slots=True)
class PysotScore(SequenceScore):
    """A sequence under supervision, as pysot sees it.

    Attributes:
        fragments: of all repetitions.
        weights: of the fragments by tag, (N,) each.
        frames: rows that were compared.
        failures: in all rows of the result, mean over repetitions.
        interval: of expected average overlap, or None.
    """

    fragments: tuple[Fragment, ...] = ()
    weights: dict[str, Floats] | None = None
    frames: int = 0
    failures: float = 0.0
    interval: Interval | None = None


@protocol("pysot", needs="regions", task="region")
class PysotVot(Protocol):
    """VOT 2015-2019 as the pysot toolkit scores it.

    Result and annotation are cut to the shorter of the two. Accuracy is the mean overlap of all frames of all sequences
    outside of codes and the 10 frames from each start; robustness is 100 times all failures by all frames. EAO clips
    regions to one pixel less than accuracy does, begins a fragment 5 frames after each failure, and is also given for
    each tag (`eao_<tag>`, weighted by the share of frames with it).

    Attributes:
        exact: areas of the polygons instead of pixels.
    """

    exact: bool = False
    columns = (
        cols.EAO,
        cols.ACCURACY,
        cols.Column("robustness", "Failures per 100 frames", unit="", digits=3, lower=True),
        cols.FAILURES,
    )

    @property
    def conventions(self) -> RegionConventions:
        """See `Protocol.conventions`."""
        pixels: Literal["exact areas", "pysot"] = "exact areas" if self.exact else "pysot"
        return RegionConventions(pixels, "after five frames", "by share", "from 1", "frames")

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        size = image_size(sequence, truth)
        passes = codec.read_passes(results.folder, sequence, truth.object_ids[0])
        passes = passes if len(passes) == PYSOT_REPETITIONS else passes[:1]
        count = min(len(truth), *(len(result) for result in passes))
        notes = [
            f"{len(result)} rows and {len(truth)} annotated frames cut to {count}"
            for result in passes
            if len(result) != len(truth)
        ]
        true = truth.single.take(slice(0, count))
        rows, fragments = [], []
        for result in passes:
            try:
                inner, overlaps = self.both_overlaps(result.take(slice(0, count)), true, size)
            except ValueError as error:
                raise MismatchError(f"{results.source(sequence)}: {error} (pysot knows no others)") from None
            rows.append(overlaps)
            fragments += pysot_fragments(inner, result.codes, len(truth))
        failures = float(np.mean([count_failures(result.codes) for result in passes]))
        means = {
            "accuracy": supervised_mean(rows, [result.codes for result in passes], count, self.conventions),
            "robustness": Mean(100 * failures, count),
            "failures": Mean(failures),
        }
        return PysotScore(
            {**means, **speed(sequence, results)},
            notes=tuple(dict.fromkeys(notes)),
            fragments=tuple(fragments),
            weights=_tag_weights(truth, fragments, len(passes)),
            frames=count,
            failures=failures,
            interval=getattr(sequence, "eao_interval", None),
        )

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """See `Protocol.overall`; `failures` is their number in all sequences."""
        values = Protocol.overall(self, scores)
        kept = [score for score in scores if isinstance(score, PysotScore)]
        values["failures"] = sum(score.failures for score in kept)
        interval = kept[0].interval
        if interval is None:
            return values
        tags = list(kept[0].weights or {})
        curve = pysot_curve(*self._joined(kept, tags), longest=min(max(score.frames for score in kept), interval[1]))
        eao = dict(zip(map(_eao_name, tags), (pysot_score(row, interval) for row in curve), strict=True))
        return {"eao": eao.pop("eao"), **values, **eao}

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, Floats]:
        """`eao`: expected average overlap by length."""
        kept = [score for score in scores if isinstance(score, PysotScore)]
        return {"eao": pysot_curve(*self._joined(kept, ["all"]), longest=max(score.frames for score in kept))[0]}

    def resampled(self, scores: Listed[SequenceScore], counts: NDArray[np.int64]) -> Mapping[str, Floats]:
        """See `Protocol.resampled`."""
        kept = [score for score in scores if isinstance(score, PysotScore)]
        drawn = {"failures": counts @ np.array([score.failures for score in kept])}
        interval, tags = kept[0].interval, list(kept[0].weights or {})
        if interval is None:
            return drawn
        longest = min(max(score.frames for score in kept), interval[1])
        sums = [pysot_sums(*self._joined([score], tags), longest=longest) for score in kept]
        total, weight = (np.tensordot(counts, np.stack(part), axes=1) for part in zip(*sums, strict=True))
        with np.errstate(invalid="ignore", divide="ignore"):
            part = (total / weight)[:, :, interval[0] - 1 :]
        for number, tag in enumerate(tags):
            drawn[_eao_name(tag)] = nan_mean(part[:, number].T)
        return drawn

    @staticmethod
    def _joined(scores: Listed[PysotScore], tags: Listed[str]) -> tuple[list[Fragment], Floats]:
        """All fragments, and their weights (tags, fragments)."""
        weights = [
            np.stack([(score.weights or {}).get(tag, np.zeros(len(score.fragments))) for tag in tags])
            for score in scores
        ]
        return [fragment for score in scores for fragment in score.fragments], np.concatenate(weights, axis=1)

    def both_overlaps(self, result: Trajectory, true: Trajectory, size: Size) -> tuple[Floats, Floats]:
        """Overlaps clipped to one pixel less than the image, for EAO, and to the image, for accuracy."""
        compute = exact_overlaps if self.exact else pysot_overlaps
        overlaps = compute(result, true, size)
        inner = overlaps.copy()
        reaching = np.zeros(len(true), dtype=bool)  # the two differ only where a region comes near the far borders
        for trajectory in (result, true):
            boxes = trajectory.boxes()
            reaching |= ((boxes[:, :2] + boxes[:, 2:]) > np.array([size[1], size[0]]) - 2).any(axis=1)
            reaching |= (boxes[:, 2:] < 0).any(axis=1)
        near = np.flatnonzero(reaching)
        if near.size:
            inner[near] = compute(result.take(near), true.take(near), (size[0] - 1, size[1] - 1))
        return inner, overlaps


def _eao_name(tag: str) -> str:
    return "eao" if tag == "all" else f"eao_{tag}"


def _tag_weights(truth: RegionTruth, fragments: list[Fragment], repetitions: int) -> dict[str, Floats]:
    """What each fragment weighs by tag: the share of its frames with the tag, by repetitions.

    For `empty` the toolkit counts, by an axis it sums over, the tags that never occur in the sequence.
    """
    frames = {"all": np.ones(len(truth), dtype=bool), **truth.tags}
    scale = 1 / (repetitions + 1e-10)
    weights = {
        tag: np.array([np.count_nonzero(flags[f.start : f.stop]) / f.weight_of * scale for f in fragments])
        for tag, flags in frames.items()
    }
    if truth.tags:
        never = sum(not flags.any() for flags in frames.values())
        weights[UNTAGGED] = np.array([never / f.weight_of * scale for f in fragments])
    return weights
