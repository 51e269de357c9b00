"""VOT 2013-2019 as the VOT toolkit scores it: supervised runs, restarted after failures.

Checked against the toolkit's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.region_truth import RegionTruth
from mosam.errors import DataError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.eao import (
    PrefixMeans,
    eao_score,
    prefix_means,
    supervised_curve,
)
from mosam.evaluation.metrics.supervised import (
    SENSITIVITY,
    Run,
    count_failures,
    counted_frames,
    reliability,
    split_runs,
)
from mosam.evaluation.protocols.base import (
    Mean,
    Protocol,
    SequenceScore,
    TrackerResults,
    protocol,
    resampled_mean,
    speed,
)
from mosam.evaluation.protocols.regions import (
    UNTAGGED,
    RegionConventions,
    cut_to_truth,
    image_size,
    nan_mean,
    region_codec,
    region_truth,
    supervised_mean,
)
from mosam.regions.overlap import region_overlaps

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]
Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SupervisedScore(SequenceScore):
    """A sequence under supervision.

    Attributes:
        runs: between starts and failures, of all repetitions.
        prefix: means of the runs, as far as `interval` reaches; None without one.
        interval: of expected average overlap, or None.
    """

    runs: tuple[Run, ...] = ()
    prefix: PrefixMeans | None = None
    interval: Interval | None = None


@protocol("vot", needs="regions")
class Vot(Protocol):
    """VOT 2013-2019 as the VOT toolkit scores it: accuracy, failures, robustness (reliability) and EAO.

    Accuracy is the mean overlap outside of codes and the 10 frames from each start, per sequence (0 where no frame
    counts), then over sequences weighted by length; failures likewise. Robustness is `exp(-30 failures / length)` of
    those means. All repetitions count alike. `accuracy_<tag>` and `failures_<tag>` are those of frames with the tag.

    Attributes:
        by_attribute: accuracy and failures are means over the tags instead (and frames without any, `empty`), each
            pooled over its frames, as the reports of VOT2013 and 2014 weigh them.
        thin_masks: masks one pixel wide or tall count as they are; the toolkit takes them for empty.
        unbounded: pixels outside of the image count.
    """

    by_attribute: bool = False
    thin_masks: bool = False
    unbounded: bool = False
    columns = (cols.EAO, cols.ACCURACY, cols.FAILURES, cols.ROBUSTNESS)

    @property
    def conventions(self) -> RegionConventions | None:
        """See `Protocol.conventions`; none for the options that are no choice of them."""
        if self.by_attribute or self.thin_masks:
            return None
        return RegionConventions(pixels="unbounded" if self.unbounded else "toolkit")

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        count, size = len(truth), None if self.unbounded else image_size(sequence, truth)
        tags = _tags_with_empty(truth)
        overlaps_of, codes_of, failures = [], [], []
        runs: list[Run] = []
        notes: list[str] = []
        tagged: dict[str, list[tuple[float, float, float, float]]] = {tag: [] for tag in tags}
        for number, result in enumerate(codec.read_passes(results.folder, sequence, truth.object_ids[0]), start=1):
            result, note = cut_to_truth(sequence, result, count, what=f"_{number:03d}: " if number > 1 else "")
            notes += note
            overlaps = region_overlaps(result, truth.single, size=size, defects=not self.thin_masks)
            codes = result.codes
            overlaps_of.append(overlaps)
            codes_of.append(codes)
            failures.append(count_failures(codes))
            try:
                runs += split_runs(overlaps, codes)
            except ValueError as error:
                raise DataError(results.source(sequence), str(error)) from None
            counted = counted_frames(codes)
            for tag, frames in tags.items():
                kept = overlaps[counted & frames]
                lost = count_failures(codes[frames])
                tagged[tag].append((float(kept.sum()), float(kept.size), lost, float(frames.sum())))
        failed = float(np.mean(failures))
        means = {
            "accuracy": supervised_mean(overlaps_of, codes_of, count, RegionConventions()),
            "robustness": Mean(reliability(failed, count) * count, count),
            "failures": Mean(failed * count, count),
        }
        for tag, rows in tagged.items():
            overlap, frames_counted, lost, frames_tagged = np.mean(rows, axis=0).tolist()
            if frames_tagged:
                means[f"accuracy_{tag}"] = Mean(overlap, frames_counted)
                means[f"failures_{tag}"] = Mean(lost * frames_tagged, frames_tagged)
        runs = [run for run in runs if len(run.overlaps)]
        interval: Interval | None = getattr(sequence, "eao_interval", None)
        return SupervisedScore(
            {**means, **speed(sequence, results)},
            notes=tuple(notes),
            runs=tuple(runs),
            prefix=prefix_means(runs, interval[1] + 1) if interval and runs else None,
            interval=interval,
        )

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """See `Protocol.overall`."""
        values = Protocol.overall(self, scores)
        if self.by_attribute:
            for name in ("accuracy", "failures"):
                of_tags = [value for key, value in values.items() if key.startswith(f"{name}_")]
                values[name] = float(np.nanmean(of_tags)) if of_tags else values[name]
        length = float(np.mean([score.means["failures"].count for score in scores]))
        values["robustness"] = reliability(values["failures"], length)
        kept = [score for score in scores if isinstance(score, SupervisedScore)]
        parts = [score.prefix for score in kept if score.prefix is not None]
        interval = next((score.interval for score in kept), None)
        if interval is not None and parts:
            values = {"eao": eao_score(supervised_curve(parts), interval), **values}
        return values

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, Floats]:
        """`eao`: expected average overlap by length."""
        runs = [run for score in scores if isinstance(score, SupervisedScore) for run in score.runs]
        if not runs:
            return {}
        return {"eao": supervised_curve([prefix_means(runs, max(len(run.overlaps) for run in runs))])}

    def resampled(self, scores: Listed[SequenceScore], counts: NDArray[np.int64]) -> Mapping[str, Floats]:
        """See `Protocol.resampled`."""
        names = list(dict.fromkeys(name for score in scores for name in score.means))
        drawn = {name: resampled_mean(counts, [score.means.get(name) for score in scores]) for name in names}
        if self.by_attribute:
            for name in ("accuracy", "failures"):
                of_tags = [value for key, value in drawn.items() if key.startswith(f"{name}_")]
                drawn[name] = nan_mean(np.stack(of_tags)) if of_tags else drawn[name]
        length = counts @ np.array([score.means["failures"].count for score in scores]) / len(scores)
        drawn["robustness"] = np.exp(-SENSITIVITY * drawn["failures"] / length)
        kept = [score for score in scores if isinstance(score, SupervisedScore)]
        interval = next((score.interval for score in kept), None)
        parts = [score.prefix for score in kept]
        if interval is not None and any(parts):
            length_of = interval[1] + 1
            total = np.stack([np.zeros(length_of) if p is None else (p.means * p.counted).sum(axis=0) for p in parts])
            number = np.stack([np.zeros(length_of) if p is None else p.counted.sum(axis=0) for p in parts])
            with np.errstate(invalid="ignore", divide="ignore"):
                curve = (counts @ total) / (counts @ number)
            reach = ((counts > 0) * np.array([0 if part is None else part.longest for part in parts])).max(axis=1)
            curve[np.arange(length_of) >= reach[:, None]] = np.nan  # the curve ends with the longest run drawn
            drawn["eao"] = nan_mean(curve[:, interval[0] :].T)
        return drawn


def _tags_with_empty(truth: RegionTruth) -> dict[str, NDArray[np.bool_]]:
    """Frames of each tag, and of none; nothing where the sequence has no tags."""
    if not truth.tags:
        return {}
    return {**truth.tags, UNTAGGED: ~np.logical_or.reduce(list(truth.tags.values()))}
