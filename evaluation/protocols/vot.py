"""Protocols for VOT's regions: supervised (the VOT toolkit's and pysot's), multistart, long-term and VOTS.

A protocol keeps of each sequence what the benchmark's numbers need beyond means: runs between failures, or sums of the
expected overlap. Everything is checked against numbers of the two toolkits.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.vot import CONFIDENCE, VotCodec, name_of_anchor, name_of_pass
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.eao import (
    Fragment,
    PrefixMeans,
    eao_score,
    multistart_curve,
    multistart_sums,
    prefix_means,
    pysot_curve,
    pysot_fragments,
    pysot_score,
    pysot_sums,
    supervised_curve,
)
from mosam.evaluation.metrics.longterm import (
    best_f,
    confidence_thresholds,
    f_curve,
    mean_curves,
    precision_recall,
)
from mosam.evaluation.metrics.multistart import AnchorRun, accuracy_robustness, frames_before_failure
from mosam.evaluation.metrics.supervised import (
    SENSITIVITY,
    STARTED,
    Run,
    count_failures,
    counted_frames,
    reliability,
    split_runs,
    supervised_accuracy,
)
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
    Results,
    SequenceScore,
    ShortResultError,
    drawn_mean,
    protocol,
    speed,
)
from mosam.regions.overlap import is_empty, region_overlaps
from mosam.regions.pysot import exact_overlaps, pysot_overlaps
from mosam.regions.trajectory import INITIALIZED, MASK, RECTANGLE, UNKNOWN, Special, Trajectory
from mosam.types import Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]
Interval = tuple[int, int]
PYSOT_REPETITIONS = 15  # it reads all of so many, else the first alone
PYSOT_BURN_IN = 10
UNTAGGED = "empty"


def region_truth(sequence: Sequence) -> RegionTruth:
    """A sequence's regions; MismatchError where its annotation is of another kind, DataError where it has none."""
    truth = sequence.truth
    if not isinstance(truth, RegionTruth):
        raise MismatchError(f"{sequence.name}: expected annotated regions (VOT), got {type(truth).__name__}")
    if not any((regions.codes < 0).any() for regions in truth.objects.values()):
        raise DataError(
            sequence.name, f"expected a frame with a region, got none in {len(truth)} annotated frames; leave it out"
        )
    return truth


def region_codec(results: Results) -> VotCodec:
    """The codec of results in VOT's layout; MismatchError where they are in another."""
    if not isinstance(results.codec, VotCodec):
        raise MismatchError(f"{results.folder}: expected results in VOT's layout; choose another protocol")
    return results.codec


def cut_to_truth(
    sequence: Sequence, trajectory: Trajectory, count: int, *, what: str = ""
) -> tuple[Trajectory, tuple[str, ...]]:
    """A result with one region a frame: longer ones cut, with a note.

    Args:
        sequence: whose.
        trajectory: the result.
        count: frames that are annotated.
        what: which of its runs, for the note.
    Raises:
        ShortResultError: fewer rows.
    """
    if len(trajectory) < count:
        raise ShortResultError(sequence.name, f"{what}{len(trajectory)} of {count} rows")
    if len(trajectory) == count:
        return trajectory, ()
    return trajectory.take(slice(0, count)), (f"{what}{len(trajectory)} rows cut to {count}",)


def _size(sequence: Sequence, truth: RegionTruth) -> Size:
    try:
        return truth.size
    except MissingDataError as error:
        raise MissingDataError(f"{sequence.name}: {error}") from None


# ---- supervised ------------------------------------------------------------------------------------------------------


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

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        count, size = len(truth), None if self.unbounded else _size(sequence, truth)
        tags = _tags_with_empty(truth)
        accuracies, failures = [], []
        runs: list[Run] = []
        notes: list[str] = []
        tagged: dict[str, list[tuple[float, float, float, float]]] = {tag: [] for tag in tags}
        for number, result in enumerate(codec.read_passes(results.folder, sequence, truth.object_ids[0]), start=1):
            result, note = cut_to_truth(sequence, result, count, what=f"_{number:03d}: " if number > 1 else "")
            notes += note
            overlaps = region_overlaps(result, truth.single, size=size, defects=not self.thin_masks)
            codes = result.codes
            accuracies.append(supervised_accuracy(overlaps, codes)[0])
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
        accuracy = float(np.mean(np.nan_to_num(accuracies)))
        failed = float(np.mean(failures))
        means = {
            "accuracy": Mean(accuracy * count, count),
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
        drawn = {name: drawn_mean(counts, [score.means.get(name) for score in scores]) for name in names}
        if self.by_attribute:
            for name in ("accuracy", "failures"):
                of_tags = [value for key, value in drawn.items() if key.startswith(f"{name}_")]
                drawn[name] = _nanmean(np.stack(of_tags)) if of_tags else drawn[name]
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
            drawn["eao"] = _nanmean(curve[:, interval[0] :].T)
        return drawn


def _tags_with_empty(truth: RegionTruth) -> dict[str, NDArray[np.bool_]]:
    """Frames of each tag, and of none; nothing where the sequence has no tags."""
    if not truth.tags:
        return {}
    return {**truth.tags, UNTAGGED: ~np.logical_or.reduce(list(truth.tags.values()))}


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

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        size = _size(sequence, truth)
        passes = codec.read_passes(results.folder, sequence, truth.object_ids[0])
        passes = passes if len(passes) == PYSOT_REPETITIONS else passes[:1]
        count = min(len(truth), *(len(result) for result in passes))
        notes = [
            f"{len(result)} rows and {len(truth)} annotated frames cut to {count}"
            for result in passes
            if len(result) != len(truth)
        ]
        true = truth.single.take(slice(0, count))
        pooled_overlaps, fragments = [], []
        for result in passes:
            codes = result.codes
            try:
                inner, overlaps = self.both_overlaps(result.take(slice(0, count)), true, size)
            except ValueError as error:
                raise MismatchError(f"{results.source(sequence)}: {error} (pysot knows no others)") from None
            for start in np.flatnonzero(codes[:count] == STARTED):
                overlaps[start : start + PYSOT_BURN_IN] = np.nan
            pooled_overlaps.append(overlaps)
            fragments += pysot_fragments(inner, codes, len(truth))
        failures = float(np.mean([count_failures(result.codes) for result in passes]))
        mean = _nanmean(np.array(pooled_overlaps))
        known = mean[~np.isnan(mean)]
        means = {
            "accuracy": Mean(float(known.sum()), float(known.size)),
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
            drawn[_eao_name(tag)] = _nanmean(part[:, number].T)
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


def _nanmean(rows: Floats) -> Floats:
    """Mean over rows (N, T), NaN where a column has nothing."""
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


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


# ---- multistart ------------------------------------------------------------------------------------------------------


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

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        if not truth.anchors:
            raise DataError(sequence.name, "expected anchor.value with an anchor; choose another protocol")
        size, defects = None if self.unbounded else _size(sequence, truth), not self.thin_masks
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


# ---- long-term -------------------------------------------------------------------------------------------------------


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

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        object_id = truth.object_ids[0]
        size = None if self.unbounded else _size(sequence, truth)
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


# ---- VOTS ------------------------------------------------------------------------------------------------------------


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

    def score(self, sequence: Sequence, results: Results) -> SequenceScore:
        """See `Protocol.score`."""
        truth, codec = region_truth(sequence), region_codec(results)
        size = None if self.unbounded else _size(sequence, truth)
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


def as_the_truth(result: Trajectory, true: Trajectory, *, defects: bool = True) -> Trajectory:
    """A result of masks as boxes where the truth has none but boxes (DiDi).

    Boxes are one pixel short and those of empty masks are zeros, as its authors convert them; the first frame becomes a
    start.

    Args:
        result, true: T regions each.
        defects: masks one pixel wide or tall are empty, as in the toolkit that converts them.
    """
    if not (result.kinds == MASK).any() or not (true.kinds == RECTANGLE).any() or (true.kinds == MASK).any():
        return result
    masks = result.kinds == MASK
    boxes = np.where(masks[:, None], np.nan_to_num(result.boxes()), result.boxes())
    boxes[masks & is_empty(result, defects=defects)] = 0
    converted = Trajectory.of_boxes(boxes)
    codes = result.codes
    numbers = converted.numbers.copy()
    special = codes >= 0
    numbers[converted.starts[:-1][special]] = codes[special]
    kept = Trajectory(converted.kinds, converted.starts, numbers)
    if codes[0] == STARTED:
        return kept
    return Trajectory.of([Special(INITIALIZED), *kept.take(slice(1, len(kept)))])
