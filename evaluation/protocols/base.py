"""What every scoring protocol looks like: one sequence in, named numbers out, and a rule to bring them together.

A protocol is one frozen dataclass registered under its name; its fields are its options (`pytracking[valid_only]`).
Everything in which official programs differ (which frames count, what an absent object is worth, which thresholds, how
sequences are averaged) is written out in the protocol; the formulas themselves are in `mosam.evaluation.metrics`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MismatchError, MissingDataError, UnknownNameError
from mosam.evaluation.columns import SHARED, TIMING, Column, find_column
from mosam.evaluation.metrics.bootstrap import resample_counts
from mosam.evaluation.metrics.speed import after_warm_up, total_time
from mosam.registry import Registry

if TYPE_CHECKING:
    from mosam.codecs import Codec, MaskResult
    from mosam.datasets.base import Dataset, Sequence
    from mosam.types import Mask

NAMED_LABELS, NAMED_IDS = 3, 8  # that a note names
SAME = 1e-9  # how far the mean over sequences may be from the overall number
PROTOCOLS: Registry[type[Protocol]] = Registry("protocol", "mosam.evaluation.protocols")


class ShortResultError(MissingDataError):
    """A result that stops before its sequence does.

    Attributes:
        sequence: its name.
        detail: what is there and what should be, `1499 of 1500 rows`.
    """

    def __init__(self, sequence: str, detail: str):
        super().__init__(sequence, detail)
        self.sequence = sequence
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.sequence}: {self.detail}"


@dataclass(frozen=True, slots=True)
class TrackerResults:
    """One tracker's raw results of one dataset.

    Attributes:
        folder: where they lie, in the benchmark's own layout.
        codec: reads that layout.
        timing: frames and seconds by sequence from the run's record, used if the layout holds no times.
    """

    folder: Path
    codec: Codec
    timing: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    def boxes(self, sequence: Sequence, count: int) -> tuple[dict[int, NDArray[np.float64]], tuple[str, ...]]:
        """Boxes of each object, exactly one a frame.

        Args:
            sequence: whose.
            count: frames that are annotated.
        Returns:
            (count, 4) boxes by object id, longer results cut, and a note if one was.
        Raises:
            ShortResultError: fewer rows.
            DataError: an infinite number.
        """
        found = self.codec.read_boxes(self.folder, sequence)
        kept, notes = self._cut(list(found.values()), sequence, count)
        return dict(zip(found, kept, strict=True)), notes

    def repetitions(self, sequence: Sequence, count: int) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        """Boxes (count, 4) of a sequence's only object, of every repetition there is; notes and errors as `boxes`."""
        read = getattr(self.codec, "read_repetitions", None)
        if read is None:
            found, notes = self.boxes(sequence, count)
            return [found[sequence.object_ids[0]]], notes
        return self._cut(read(self.folder, sequence), sequence, count)

    def _cut(
        self, rows: list[NDArray[np.float64]], sequence: Sequence, count: int
    ) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        for boxes in rows:
            infinite = np.isinf(boxes)
            if infinite.any():
                row = int(np.flatnonzero(infinite.any(axis=1))[0])
                raise DataError(
                    self.source(sequence), "expected finite numbers or nan, got an infinite one", line=row + 1
                )
        lengths = {len(boxes) for boxes in rows}
        if min(lengths) < count:
            raise ShortResultError(sequence.name, f"{min(lengths)} of {count} rows")
        notes = (f"{max(lengths)} rows cut to {count}",) if max(lengths) > count else ()
        return [boxes[:count] for boxes in rows], notes

    def single(self, sequence: Sequence, count: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """`boxes` of a sequence's only object; of several repetitions the first, with a note."""
        found, notes = self.boxes(sequence, count)
        files = getattr(self.codec, "repetitions", None)
        several = 0 if files is None else len(files(self.folder, sequence))
        if several > 1:
            notes += (f"the first of {several} repetitions is scored; protocol got10k takes all",)
        return found[sequence.object_ids[0]], notes

    def source(self, sequence: Sequence) -> str:
        """The file or folder of a sequence, to name in an error."""
        return str(self.folder / self.codec.paths(sequence)[0])

    def masks(self, sequence: Sequence) -> WatchedMasks:
        """The sequence's masks, which remember the labels that are no object's."""
        return WatchedMasks(self.codec.read_masks(self.folder, sequence), sequence)

    def timed(self, sequence: Sequence) -> tuple[int, float] | None:
        """Frames that were timed and their seconds, or None if unknown."""
        seconds = self.codec.read_times(self.folder, sequence)
        if seconds is not None and (total := total_time(seconds))[0]:
            return total
        return self.timing.get(sequence.name)


class WatchedMasks:
    """Masks of a result, and what was seen in them that belongs to no object; see `MaskResult`.

    Args:
        masks: of one sequence.
        sequence: says what the objects are.
    """

    def __init__(self, masks: MaskResult, sequence: Sequence):
        self._masks, self._sequence = masks, sequence
        self._strays: dict[int, list[int]] = {}
        self._known = False

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """See `MaskResult.read`."""
        found = self._masks.read(frame_index, object_ids)
        for label in found:
            if label in self._sequence.object_ids:
                self._known = True
            else:
                self._strays.setdefault(label, []).append(frame_index)
        return found

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """See `MaskResult.labels`."""
        return self._masks.labels(frame_index)

    def notes(self, *, allowed: Iterable[int] = ()) -> tuple[str, ...]:
        """A note on labels that no object has: which, in what file, how often.

        Args:
            allowed: further labels that mean something.
        """
        strays = {label: frames for label, frames in sorted(self._strays.items()) if label not in set(allowed)}
        if not strays:
            return ()
        parts = []
        for label, frames in list(strays.items())[:NAMED_LABELS]:
            others = f" and {len(frames) - 1} other files" if len(frames) > 1 else ""
            parts.append(f"{label} (in {self._sequence.frame_names[frames[0]]}.png{others})")
        more = f" and {len(strays) - NAMED_LABELS} more" if len(strays) > NAMED_LABELS else ""
        ids = ", ".join(map(str, self._sequence.object_ids[:NAMED_IDS]))
        ids += ", ..." if len(self._sequence.object_ids) > NAMED_IDS else ""
        remedy = "" if self._known else "; no object is in any file: write object ids, not 255, gray values or colors"
        plural = "s" if len(strays) > 1 else ""
        return (f"label{plural} {', '.join(parts)}{more} no object's (objects: {ids}), taken for nothing{remedy}",)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean that can be continued: the sum of what was averaged, and how much it was.

    >>> Mean.of([1.0, float("nan"), 0.0]).value, Mean(3.0, 4.0).value
    (0.5, 0.75)
    """

    total: float
    count: float = 1.0

    @property
    def value(self) -> float:
        """The mean; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")

    @classmethod
    def of(cls, values: Iterable[float]) -> Mean:
        """Of the defined ones among some values, each with weight 1."""
        defined = [value for value in values if not np.isnan(value)]
        return cls(float(sum(defined)), float(len(defined)))


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """What a protocol finds of one sequence.

    Attributes:
        means: by name of the value. The total over sequences is what `Protocol.overall` averages, so the count is what
            the sequence weighs: 1, its objects, or its frames.
        curves: (N,) by name.
        curve_weight: what the sequence counts in mean curves.
        objects: values of each object, where a sequence has several.
        groups: names of groups of sequences that the protocol averages apart (LVOS: `seen`, `unseen`).
        notes: what a reader should know, without the sequence's name.
        attributes: what makes the sequence hard.
    """

    means: Mapping[str, Mean]
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    curve_weight: float = 1.0
    objects: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    attributes: frozenset[str] = frozenset()

    @property
    def values(self) -> dict[str, float]:
        """The sequence's own numbers."""
        return {name: mean.value for name, mean in self.means.items()}


@dataclass(frozen=True)
class Protocol(ABC):
    """One way of scoring; a subclass's fields are its options.

    Attributes:
        name: as registered.
        needs: `boxes`, `masks` or `regions`: what a result format must hold to be scored so.
        columns: how its values are shown, the speed aside.
        brief: names of those in a table for which no columns are asked, so that it fits a terminal; empty = all.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    columns: ClassVar[tuple[Column, ...]] = ()
    brief: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """The name with the options that are on, as the command line takes it."""
        chosen = [option.name for option in dataclasses.fields(self) if getattr(self, option.name)]
        return f"{self.name}[{','.join(chosen)}]" if chosen else self.name

    def check_suits(self, dataset: Dataset) -> None:
        """Raises MismatchError where the benchmark's results hold nothing that this protocol could score."""
        from mosam.codecs import CODECS

        codec = CODECS[dataset.info.result_format]
        lacking = [kind for kind in sorted(self.needs) if not getattr(codec, kind, False)]
        if lacking:
            raise MismatchError(
                f"protocol {self.name}: expected results with {' and '.join(lacking)}, but those of {dataset.name} "
                f"have none; its own protocol is {dataset.info.protocol}"
            )

    @property
    def conventions(self) -> Any:
        """What `--explain` can change one at a time: a frozen dataclass of choices; None where nothing is declared."""
        return None

    @abstractmethod
    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """One sequence.

        Raises:
            ShortResultError: its result stops early.
            DataError, MismatchError: a result that the protocol cannot score.
        """

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """The benchmark's numbers of several sequences: each value's mean, weighted as the sequences say."""
        names = list(dict.fromkeys(name for score in scores for name in score.means))
        return {name: pooled(score.means[name] for score in scores if name in score.means) for name in names}

    def resamples(self, scores: Listed[SequenceScore]) -> dict[str, tuple[float, ...]]:
        """Overall numbers that are not means over sequences, over resampled sequences: see `Scores.resamples`."""
        overall, plain = self.overall(scores), Protocol.overall(self, scores)
        names = [
            name
            for name, value in overall.items()
            if not (np.isnan(value) or abs(value - plain.get(name, np.inf)) <= SAME * max(1.0, abs(value)))
        ]
        if not names:
            return {}
        drawn = self.resampled(scores, resample_counts(len(scores)))
        return {name: tuple(drawn[name].tolist()) for name in names if name in drawn}

    def resampled(self, scores: Listed[SequenceScore], counts: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
        """Overall numbers over resampled sequences.

        Args:
            scores: of N sequences.
            counts: (R, N) how often each is drawn.
        Returns:
            (R,) by name; at least those that are no mean over sequences.
        """
        rows = [self.overall([scores[i] for i in np.repeat(np.arange(len(scores)), row).tolist()]) for row in counts]
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in rows[0]}

    def curves(self, scores: Listed[SequenceScore]) -> dict[str, NDArray[np.float64]]:
        """Mean curves over sequences, weighted as the sequences say; an undefined curve is left out."""
        names = list(dict.fromkeys(name for score in scores for name in score.curves))
        return {name: _mean_curve(name, scores) for name in names}


def resampled_mean(counts: NDArray[np.int64], means: Listed[Mean | None]) -> NDArray[np.float64]:
    """(R,) the mean of everything that went into some means, over resampled sequences (R, N); None adds nothing."""
    known = [mean if mean is not None and not np.isnan(mean.total) else Mean(0.0, 0.0) for mean in means]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts @ np.array([mean.total for mean in known])) / (counts @ np.array([mean.count for mean in known]))


def pooled(means: Iterable[Mean]) -> float:
    """The mean of everything that went into some means; NaN of nothing."""
    means = [mean for mean in means if mean.count and not np.isnan(mean.total)]
    return Mean(sum(mean.total for mean in means), sum(mean.count for mean in means)).value


def speed(sequence: Sequence, results: TrackerResults) -> dict[str, Mean]:
    """`fps`: timed frames by their seconds, over sequences all frames by all seconds; nothing without times.

    Where every frame has a time, also `ms_median` and `ms_p95` of the frames after the warm-up, over sequences their
    means by these frames.
    """
    timed = results.timed(sequence)
    if timed is None or timed[1] <= 0:
        return {}
    values = {"fps": Mean(float(timed[0]), timed[1])}
    seconds = results.codec.read_times(results.folder, sequence)
    if seconds is not None and len(settled := after_warm_up(seconds)):
        median, high = (1000 * float(np.percentile(settled, share)) for share in (50, 95))
        count = float(len(settled))
        values |= {"ms_median": Mean(median * count, count), "ms_p95": Mean(high * count, count)}
    return values


def timing(scores: Listed[SequenceScore]) -> dict[str, float]:
    """Overall values of time, which every protocol pools alike."""
    names = sorted({name for score in scores for name in score.means} & TIMING)
    return {name: pooled(score.means[name] for score in scores if name in score.means) for name in names}


P = TypeVar("P", bound=type[Protocol])


def protocol(name: str, needs: str, task: str | None = None) -> Callable[[P], P]:
    """Decorator: makes a frozen dataclass of a protocol and files it under its name.

    Args:
        name: for the command line.
        needs: see `Protocol.needs`, separated by blanks.
        task: the only `DatasetInfo.task` it is for, where another protocol has the same name; filed as `name:task`.
    """

    def add(cls: Any) -> Any:
        cls = dataclass(frozen=True)(cls)
        cls.name, cls.needs = name, frozenset(needs.split())
        return PROTOCOLS.register(f"{name}:{task}" if task else name)(cls)

    return add


def parse_protocol(text: str, *, task: str | None = None) -> Protocol:
    """A protocol from `name` or `name[option,option]`.

    Args:
        text: as given on the command line.
        task: of the dataset; chooses between protocols of one name.
    Raises:
        UnknownNameError: unknown protocol or option.

    >>> parse_protocol("pytracking[valid_only]").label
    'pytracking[valid_only]'
    """
    name, bracket, rest = text.strip().partition("[")
    for_task = f"{name.strip()}:{task}"
    cls = PROTOCOLS[for_task if for_task in PROTOCOLS else name.strip()]
    options = [option.strip() for option in rest.removesuffix("]").split(",")] if bracket else []
    known = [option.name for option in dataclasses.fields(cls)]
    for option in options:
        if option not in known:
            raise UnknownNameError("option", option, known, where=f"protocol {name}")
    return cls(**dict.fromkeys(options, True))


def columns_of(label: str) -> dict[str, Column]:
    """How the values of a protocol are shown, by name: its own columns, then those that protocols share.

    Args:
        label: of the protocol, with its options; it may be unknown.
    """
    own = (column for cls in protocols_called(label) for column in cls.columns)
    found: dict[str, Column] = {}
    for column in (*own, *SHARED):
        found.setdefault(column.name, column)
    return found


def column_of(name: str, label: str) -> Column:
    """How a value is shown under a protocol; one that it does not declare as under another protocol that does.

    Args:
        name: of the value.
        label: of the protocol, with its options; it may be unknown.
    """
    if found := find_column(name, columns_of(label)):
        return found
    others = (column for filed in PROTOCOLS for column in PROTOCOLS[filed].columns if column.name == name)
    return next(others, Column(name, name, "", 3, lower=None))


def protocols_called(label: str) -> list[type[Protocol]]:
    """Those of a label's name; several where each is for a task of its own, none where it is unknown."""
    return PROTOCOLS.variants(label.partition("[")[0])


def _mean_curve(name: str, scores: Listed[SequenceScore]) -> NDArray[np.float64]:
    having = [score for score in scores if name in score.curves]
    defined = [score for score in having if not np.isnan(score.curves[name]).any()]
    if not defined:
        return np.full_like(having[0].curves[name], np.nan)
    return np.average([s.curves[name] for s in defined], axis=0, weights=[s.curve_weight for s in defined])
