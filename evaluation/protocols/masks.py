"""Protocols for masks: J and F of every object on every frame that counts, and which frames those are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, runtime_checkable
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.annotations import ObjectRange
from mosam.datasets.base import BoxTruth, MaskTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.boundary import boundary_radius, boundary_scores, outline_window
from mosam.evaluation.metrics.jf import statistics
from mosam.evaluation.metrics.region import region_similarity
from mosam.evaluation.protocols.base import (
    Mean,
    Protocol,
    SequenceScore,
    ShortResultError,
    TrackerResults,
    WatchedMasks,
    pooled,
    protocol,
    speed,
    timing,
)
from mosam.types import Mask

if TYPE_CHECKING:
    from mosam.codecs import MaskResult
    from mosam.datasets.base import Sequence

VOID = 255  # an ordinary label to vos-benchmark, which knows no void


@dataclass(frozen=True, slots=True)
class MaskConventions:
    """How J and F of frames become numbers; the defaults are those of DAVIS 2017.

    Attributes:
        first_frame: `left out` or `counted`.
        last_frame: `left out` or `counted`.
        begin: the objects of the first frame count from the `sequence`'s start; or each that the truth shows on some
            frame counts from its `appearance`, the first frame on which truth or result show it.
        absent_frames: frames on which neither truth nor result show the object are `right` (1), or `left out`.
        void: void pixels of the truth are `background`, or an `object` of their own.
        aggregation: mean over `objects`, over `sequences`, or over all `frames` of all objects.
    """

    first_frame: Literal["left out", "counted"] = "left out"
    last_frame: Literal["left out", "counted"] = "left out"
    begin: Literal["sequence", "appearance"] = "sequence"
    absent_frames: Literal["right", "left out"] = "right"
    void: Literal["background", "object"] = "background"
    aggregation: Literal["objects", "sequences", "frames"] = "objects"


@dataclass(frozen=True, slots=True)
class FrameScores:
    """J and F of one object.

    Attributes:
        j, f: (T,) in [0, 1], one for each frame that counts.
    """

    j: NDArray[np.float64]
    f: NDArray[np.float64]


def mask_truth(sequence: Sequence) -> MaskTruth:
    """A sequence's masks; MismatchError where its annotation is of another kind."""
    truth = sequence.truth
    if isinstance(truth, BoxTruth):
        raise MismatchError(f"{sequence.name}: expected annotated masks, got boxes; choose a protocol for boxes")
    return truth


def jf_values(scores: Mapping[int, FrameScores], *, decay_8bit: bool = False) -> dict[int, dict[str, float]]:
    """J and F of each object over its frames, with their mean.

    Args:
        scores: by object id.
        decay_8bit: see `metrics.jf.statistics`.
    Returns:
        by object id `jf_mean`, `j_mean`, `j_recall`, `j_decay`, `f_mean`, `f_recall`, `f_decay`.
    """
    values = {}
    for object_id, score in scores.items():
        j, f = (statistics(item, decay_8bit=decay_8bit) for item in (score.j, score.f))
        values[object_id] = {
            "jf_mean": (j.mean + f.mean) / 2,
            **{"j_mean": j.mean, "j_recall": j.recall, "j_decay": j.decay},
            **{"f_mean": f.mean, "f_recall": f.recall, "f_decay": f.decay},
        }
    return values


def means_over_objects(values: Mapping[int, Mapping[str, float]]) -> dict[str, Mean]:
    """Each value's mean over the objects of a sequence, an object counting 1."""
    names = list(dict.fromkeys(name for item in values.values() for name in item))
    return {name: Mean.of(item[name] for item in values.values() if name in item) for name in names}


def mask_notes(
    sequence: Sequence, truth: MaskTruth, result: WatchedMasks, values: Mapping[int, Mapping[str, float]]
) -> tuple[str, ...]:
    """What a reader should know of a sequence: labels that are no object's, and objects that no frame counts of.

    Args:
        sequence, truth: what was scored.
        result: after it was read.
        values: of each object that was scored; NaN = no frame counts.
    """
    notes = result.notes(allowed=(*values, VOID) if getattr(truth, "binary", False) else tuple(values))
    never = [i for i in truth.object_ids if i not in values or np.isnan(values[i].get("j_mean", math.nan))]
    if never and (len(never) < len(truth.object_ids) or not values):
        notes += (f"objects {', '.join(map(str, never))} are on no frame that counts, left out",)
    return notes


def read_pair(
    truth: MaskTruth,
    result: MaskResult,
    frame_index: int,
    sequence: Sequence,
    object_ids: Iterable[int] | None = None,
) -> tuple[Mapping[int, Mask], dict[int, Mask]]:
    """True and predicted masks by object id of one frame.

    Where masks are files of their own, only those of `object_ids` (None = all) must be there. Where the truth itself is
    0 and 255 (DAVIS 2016), so may the result be; elsewhere 255 is a label like any other, as to the official programs.

    Raises:
        ShortResultError: the result lacks the frame.
        DataError: its masks are of another size.
    """
    true = truth.read(frame_index)
    try:
        found = result.read(frame_index, object_ids)
    except MissingDataError:
        raise ShortResultError(sequence.name, f"no mask of frame {sequence.frame_names[frame_index]}") from None
    if getattr(truth, "binary", False) and len(sequence.object_ids) == 1 and set(found) == {VOID}:
        found = {sequence.object_ids[0]: found[VOID]}
    sizes = {mask.shape for mask in true.values()} | {mask.shape for mask in found.values()}
    if len(sizes) > 1:
        got = next(iter(found.values())).shape
        expected = next(iter(true.values())).shape
        raise DataError(
            f"{sequence.name} frame {sequence.frame_names[frame_index]}",
            f"expected masks of {expected[0]}x{expected[1]} (height x width), got {got[0]}x{got[1]}",
        )
    return true, found


def frame_jf(predicted: Mask | None, true: Mask | None) -> tuple[float, float]:
    """J and F of one object on one frame; a missing mask is empty."""
    if predicted is None and true is None:
        return 1.0, 1.0
    some = predicted if predicted is not None else true
    assert some is not None
    predicted = np.zeros_like(some) if predicted is None else predicted
    true = np.zeros_like(some) if true is None else true
    part = outline_window(predicted | true)
    if part is None:
        return 1.0, 1.0
    radius = boundary_radius(true.shape)
    predicted, true = predicted[part], true[part]
    return region_similarity(predicted, true), boundary_scores(predicted, true, (radius,))[0]


@runtime_checkable
class ListedTruth(Interface):
    """Mask annotation that lists for each object the frames it counts on."""

    @property
    def listed(self) -> Mapping[int, tuple[int, ...]]:
        """0-based frames by object id, ascending; empty where nothing is listed."""


def listed_frames(truth: MaskTruth) -> Mapping[int, tuple[int, ...]]:
    """The frames that are annotated for each object: those a `ListedTruth` names, else all annotated ones."""
    listed = truth.listed if isinstance(truth, ListedTruth) else {}
    return listed or dict.fromkeys(truth.object_ids, truth.frame_indices)


def means_of_groups(groups: Iterable[str], mean_of: Callable[[str, str], float]) -> dict[str, float]:
    """The headline of LVOS and YouTube-VOS: the mean of seen and unseen categories, or of the only one there is.

    Args:
        groups: their names.
        mean_of: of a measure (`j`, `f`) and a group, the mean over its objects; NaN without objects.
    Returns:
        `jf_mean`, and for each measure its mean over the groups and the means of these (`j_mean`, `j_seen` ...).
    """
    values: dict[str, float] = {"jf_mean": float("nan")}
    for short in ("j", "f"):
        means = {group: mean_of(short, group) for group in groups}
        values[f"{short}_mean"] = Mean.of(means.values()).value
        values |= {f"{short}_{group}": value for group, value in means.items()}
    values["jf_mean"] = (values["j_mean"] + values["f_mean"]) / 2
    return values


@dataclass(frozen=True, slots=True)
class ObjectFrames:
    """J and F of every object of a sequence.

    Attributes:
        first, last: (T,) whether a frame is the first, or the last, annotated one.
        rows: (T, 4) by object id: J, F, whether the truth shows the object, and whether the result does.
        largest: label of the first true mask.
    """

    first: NDArray[np.bool_]
    last: NDArray[np.bool_]
    rows: Mapping[int, NDArray[np.float64]]
    largest: int


def read_objects(
    sequence: Sequence,
    truth: MaskTruth,
    result: MaskResult,
    conventions: MaskConventions,
    *,
    strict: str | None = None,
) -> ObjectFrames:
    """J and F of all objects on the frames that some conventions count.

    Args:
        sequence, truth, result: see `read_pair`.
        conventions: what is read is their choice of frames and of void.
        strict: the result's place, where labels above the largest of the first frame are an error; None = they are not.
    Raises:
        MismatchError: such a label; else as `read_pair`.
    """
    annotated = np.array(truth.frame_indices)
    first, last = annotated == annotated[0], annotated == annotated[-1]
    counted = _counted(first, last, conventions)
    largest = max((label for label, mask in truth.read(annotated[0]).items() if mask.any()), default=0)
    rows: dict[int, list[tuple[float, float, bool, bool]]] = {}
    for position, frame_index in enumerate(annotated[counted].tolist()):
        seen, found = read_pair(truth, result, frame_index, sequence)
        if strict is not None and found and max(found) > largest:
            raise MismatchError(
                f"{strict}: expected labels up to {largest}, the objects of the first frame, got "
                f"{max(found)} on frame {sequence.frame_names[frame_index]}"
            )
        true = {label: mask for label, mask in seen.items() if mask.any()}
        void = truth.void(frame_index) if conventions.void == "object" else None
        if void is not None and void.any():
            true[VOID] = void
        for label in rows.keys() | true.keys() | found.keys():
            row = rows.setdefault(label, [(1.0, 1.0, False, False)] * position)
            row.append((*frame_jf(found.get(label), true.get(label)), label in true, label in found))
    arrays = {label: np.array(row, dtype=np.float64) for label, row in rows.items()}
    return ObjectFrames(first[counted], last[counted], arrays, largest)


def counted_scores(frames: ObjectFrames, conventions: MaskConventions) -> dict[int, FrameScores]:
    """J and F of each object that counts, on the frames on which it counts."""
    counted = _counted(frames.first, frames.last, conventions)
    nothing = np.tile([1.0, 1.0, 0.0, 0.0], (len(counted), 1))
    labels: Iterable[int] = sorted(frames.rows)
    if conventions.begin == "sequence":
        labels = [*range(1, frames.largest + 1), *([VOID] if conventions.void == "object" else [])]
    scores = {}
    for label in labels:
        j, f, true, found = frames.rows.get(label, nothing).T
        there, kept = (true + found) > 0, counted
        if label == VOID and not (conventions.void == "object" and true.any()):
            continue
        if conventions.begin == "appearance":
            if not true[counted].any():
                continue
            kept = counted & np.logical_or.accumulate(there & counted)
        if conventions.absent_frames == "left out":
            kept = kept & there
        scores[label] = FrameScores(j[kept], f[kept])
    return scores


def _counted(first: NDArray[np.bool_], last: NDArray[np.bool_], conventions: MaskConventions) -> NDArray[np.bool_]:
    out = np.zeros(len(first), dtype=bool)
    if conventions.first_frame == "left out":
        out |= first
    if conventions.last_frame == "left out":
        out |= last
    return ~out


class ObjectProtocol(Protocol):
    """A program that is a choice of conventions."""

    rules: ClassVar[MaskConventions] = MaskConventions()
    columns = cols.JF_COLUMNS

    @property
    def conventions(self) -> MaskConventions:
        """See `Protocol.conventions`."""
        return self.rules

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`; MismatchError where a program refuses a label."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        strict = results.source(sequence) if self.conventions.begin == "sequence" else None
        frames = read_objects(sequence, truth, result, self.conventions, strict=strict)
        values = jf_values(counted_scores(frames, self.conventions), decay_8bit=getattr(self, "decay_8bit", False))
        notes = mask_notes(sequence, truth, result, values)
        return SequenceScore({**means_over_objects(values), **speed(sequence, results)}, objects=values, notes=notes)


@protocol("davis2017", needs="masks")
class Davis2017(ObjectProtocol):
    """The DAVIS 2017 evaluation, semi-supervised: the mean over objects, the first and last frame left out.

    Objects are numbered 1 to the largest label of the first true mask, and a larger predicted label is an error; void
    pixels are background in the truth and count as anything else in the prediction.

    Attributes:
        decay_8bit: take the quarters of the decay as the official program does, wrong past 256 frames.
    """

    decay_8bit: bool = False


@protocol("vos-benchmark", needs="masks")
class VosBenchmark(ObjectProtocol):
    """vos-benchmark: as `davis2017`, but an object's frames begin where truth or prediction first show it.

    Labels are taken as they are, void being one more object.

    Attributes:
        all_frames: keep the first and last frame too.
    """

    all_frames: bool = False
    rules = MaskConventions(begin="appearance", void="object")

    @property
    def conventions(self) -> MaskConventions:
        """See `Protocol.conventions`."""
        return replace(self.rules, first_frame="counted", last_frame="counted") if self.all_frames else self.rules


@runtime_checkable
class RangedTruth(Interface):
    """Mask annotation that says itself on which frames each object counts."""

    @property
    def ranges(self) -> Mapping[int, ObjectRange]:
        """By object id; empty where nothing is said."""


@protocol("lvos", needs="masks")
class Lvos(Protocol):
    """The LVOS evaluation: every object from the frame after its first to the one before its last.

    An object's first and last frame are those of the benchmark's list (`RangedTruth`), else those on which the truth
    shows it. Frames that the list counts but that are not there score 0. `v_mean` is the instability of (J + F) / 2,
    its variance rounded to four digits before the root is taken, as in the official program.

    The official numbers are the mean of seen and unseen categories (a sequence is unseen if it has that attribute);
    `jf_objects` is the plain mean over objects, which other papers report.
    """

    columns = (
        *cols.JF_COLUMNS,
        cols.Column("v_mean", "V", lower=True),
        *cols.SEEN_COLUMNS,
        cols.Column("v_seen", "V seen", lower=True),
        cols.Column("v_unseen", "V unseen", lower=True),
        cols.JF_OBJECTS,
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        ranges = dict(truth.ranges) if isinstance(truth, RangedTruth) and truth.ranges else None
        pairs, shown = _jf_while_present(truth, result, sequence, ranges)
        values = {}
        for object_id in sorted(shown if ranges is None else ranges):
            if ranges is None:
                first, last = shown[object_id]
                span = ObjectRange(first, last, sum(first <= frame <= last for frame in truth.frame_indices))
            else:
                span = ranges[object_id]
            values[object_id] = _lvos_values(pairs.get(object_id, {}), span)
        group = "unseen" if "unseen" in sequence.attributes else "seen"
        means = means_over_objects(values)
        means["jf_objects"] = means["jf_mean"]
        notes = mask_notes(sequence, truth, result, values)
        groups = frozenset([group])
        return SequenceScore({**means, **speed(sequence, results)}, objects=values, groups=groups, notes=notes)

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """Per group, the mean over its objects; then the mean of the two groups, or of the only one there is."""

        def mean_of(short: str, group: str) -> float:
            return pooled(score.means[f"{short}_mean"] for score in scores if group in score.groups)

        values = means_of_groups(("seen", "unseen"), mean_of)
        instabilities = {group: mean_of("v", group) for group in ("seen", "unseen")}
        values["v_mean"] = Mean.of(instabilities.values()).value
        values |= {f"v_{group}": value for group, value in instabilities.items()}
        values["jf_objects"] = pooled(score.means["jf_objects"] for score in scores)
        values |= timing(scores)
        return values


def _jf_while_present(
    truth: MaskTruth, result: MaskResult, sequence: Sequence, ranges: Mapping[int, ObjectRange] | None
) -> tuple[dict[int, dict[int, tuple[float, float]]], dict[int, tuple[int, int]]]:
    """J and F by object and frame, after the frame each starts on, and the first and last frame that show it."""
    pairs: dict[int, dict[int, tuple[float, float]]] = {}
    shown: dict[int, tuple[int, int]] = {}
    for frame_index in truth.frame_indices:
        seen = {label: mask for label, mask in truth.read(frame_index).items() if mask.any()}
        if ranges is None:
            started = list(shown)
        else:
            started = [label for label, span in ranges.items() if span.start < frame_index < span.end]
        if started:
            _, found = read_pair(truth, result, frame_index, sequence)
            for label in started:
                pairs.setdefault(label, {})[frame_index] = frame_jf(found.get(label), seen.get(label))
        for label in seen:
            shown[label] = (shown.get(label, (frame_index, 0))[0], frame_index)
    return pairs, shown


def _lvos_values(pairs: Mapping[int, tuple[float, float]], span: ObjectRange) -> dict[str, float]:
    inside = [pairs[frame] for frame in sorted(pairs) if span.start < frame < span.end]
    size = max(span.count - 2, 0)
    scores = np.zeros((2, size))
    scores[:, : len(inside)] = np.array(inside[:size], dtype=np.float64).reshape(-1, 2).T
    j, f = (statistics(row) for row in scores)
    return {"jf_mean": (j.mean + f.mean) / 2, "j_mean": j.mean, "f_mean": f.mean, "v_mean": instability(*scores)}


def instability(j: NDArray[np.float64], f: NDArray[np.float64]) -> float:
    """LVOS's V of one object: standard deviation of (J + F) / 2 over its frames, the variance rounded to 4 digits.

    >>> instability(np.array([1.0, 0.5]), np.array([1.0, 0.5]))
    0.25
    """
    both = (j + f) / 2
    return math.sqrt(round(float(np.mean((both.mean() - both) ** 2)), 4)) if both.size else float("nan")


def _arrays(pairs: Mapping[int, Iterable[tuple[float, float]]]) -> dict[int, FrameScores]:
    arrays = {label: np.array(list(values), dtype=np.float64).reshape(-1, 2) for label, values in pairs.items()}
    return {label: FrameScores(array[:, 0], array[:, 1]) for label, array in arrays.items()}
