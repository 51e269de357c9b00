"""Simulated real time: what a tracker's results would be if frames came at a rate that it has to keep.

A run's results and its seconds for each frame are enough: frames for which the tracker was too slow get its last
answer, by the rule of the VOT toolkit's real-time experiment. That the tracker would have seen fewer frames, and so
might have answered otherwise later, cannot be simulated; a run inside the toolkit shows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.evaluation.protocols.base import Mean, TrackerResults

if TYPE_CHECKING:
    from mosam.codecs import Codec, MaskResult
    from mosam.datasets.base import Dataset, Sequence
    from mosam.types import Mask

MOST_FPS = 1e6


@dataclass(frozen=True, slots=True)
class RealTime:
    """A demanded frame rate.

    Attributes:
        fps: frames that come in a second.
        grace: how many frames of each sequence may take longer and cost nothing, the first ones that do.
    """

    fps: float
    grace: int = 0

    def __str__(self) -> str:
        return f"realtime={self.fps:g}" + (f",grace={self.grace}" if self.grace else "")

    def mark(self, protocol: str) -> str:
        """A protocol's label with the rate, so that its numbers are never mixed with others.

        >>> RealTime(20).mark("pytracking"), RealTime(20, 3).mark("pytracking[valid_only]")
        ('pytracking[realtime=20]', 'pytracking[valid_only,realtime=20,grace=3]')
        """
        return f"{protocol[:-1]},{self}]" if protocol.endswith("]") else f"{protocol}[{self}]"


def unmarked(label: str) -> tuple[str, RealTime | None]:
    """The protocol of a label that `RealTime.mark` made, and the rate; None where it has none.

    >>> unmarked("pytracking[valid_only,realtime=20,grace=3]")
    ('pytracking[valid_only]', RealTime(fps=20.0, grace=3))
    >>> unmarked("pytracking[realtime=20]"), unmarked("davis2017")
    (('pytracking', RealTime(fps=20.0, grace=0)), ('davis2017', None))
    """
    head, found, rest = label.partition("realtime=")
    if not found or not head.endswith(("[", ",")) or not rest.endswith("]"):
        return label, None
    protocol = head[:-1] if head.endswith("[") else f"{head[:-1]}]"
    return protocol, parse_realtime(rest[:-1])[0]


def parse_realtime(text: str) -> tuple[RealTime, ...]:
    """Rates from `FPS[,FPS...][,grace=N]`.

    Raises:
        MosamError: not that.

    >>> parse_realtime("20,grace=3")
    (RealTime(fps=20.0, grace=3),)
    """
    fields = [field.strip() for field in text.split(",")]
    grace = fields.pop().removeprefix("grace=") if fields[-1].startswith("grace=") else "0"
    rates = [_rate(field) for field in fields]
    if not rates or None in rates or not (grace.isascii() and grace.isdigit() and len(grace) < 9):
        raise MosamError(f"--realtime: expected FPS[,FPS...][,grace=N], as 20 or 10,20,40,grace=3, got {text[:60]!r}")
    return tuple(RealTime(rate, int(grace)) for rate in rates if rate is not None)


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0 < rate <= MOST_FPS and math.isfinite(rate) else None


def answered(seconds: Iterable[float], realtime: RealTime) -> NDArray[np.intp]:
    """Which frame's answer each frame gets.

    A frame that takes longer than the interval between two frames has its excess to pay: every further frame is passed
    over while more than an interval is left of it, and costs an interval; a rest of less is forgiven. While there is
    grace, a slow frame costs one of it and has nothing to pay.

    Args:
        seconds: of each frame, the first one's with its initialization; NaN is no time at all.
        realtime: the demanded rate.
    Returns:
        (T,) 0-based, ascending; a frame's own number where the tracker was in time.
    Source: VOT toolkit, the runtime of its real-time experiments.

    >>> answered([0.01, 0.35, 0.01, 0.01, 0.01], RealTime(10)).tolist()
    [0, 1, 1, 1, 4]
    """
    interval, grace, left, last, found = 1 / realtime.fps, realtime.grace, 0.0, 0, []
    for frame, taken in enumerate(seconds):
        if left > interval and frame:
            left -= interval
        else:
            left, last = 0.0, frame
            if taken > interval and grace:
                grace -= 1
            elif taken > interval:
                left = taken - interval
        found.append(last)
    return np.array(found, dtype=np.intp)


def check_realtime(dataset: Dataset) -> None:
    """Raises MismatchError where a benchmark's results are not of one pass with an answer for every frame."""
    info = dataset.info
    if info.task not in ("box", "mask") or info.mode != "once":
        raise MismatchError(
            f"--realtime: expected a benchmark of boxes or masks in one pass, got {dataset.name}; vot evaluate has "
            "real-time experiments of its own"
        )


def delayed(codec: Codec, realtime: RealTime, timing: Mapping[str, tuple[int, float]]) -> Codec:
    """A result format read as if its results had been made in real time; see `DelayedCodec`."""
    return cast("Codec", DelayedCodec(codec, realtime, timing))


def in_time(sequence: Sequence, results: TrackerResults) -> dict[str, Mean]:
    """`in_time`: the share of frames that got an answer of their own; nothing where no rate is demanded."""
    codec = results.codec
    if not isinstance(codec, DelayedCodec):
        return {}
    frames = codec.answered(results.folder, sequence, len(sequence))
    return {"in_time": Mean(float((frames == np.arange(len(frames))).sum()), float(len(frames)))}


@dataclass(frozen=True, slots=True)
class DelayedCodec:
    """A result format read as if its results had been made in real time.

    Attributes:
        codec: reads the format.
        realtime: the demanded rate.
        timing: frames and seconds by sequence, where there are no times of frames: every frame then took their mean.
    """

    codec: Codec
    realtime: RealTime
    timing: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    def answered(self, folder: Path, sequence: Sequence, count: int) -> NDArray[np.intp]:
        """`answered` for the first `count` frames of a sequence.

        Raises:
            MissingDataError: there are no times, or too few.
        """
        return answered(self._seconds(folder, sequence, count), self.realtime)

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """See `Codec.read_boxes`."""
        found = self.codec.read_boxes(folder, sequence)
        return {key: rows[self.answered(folder, sequence, len(rows))] for key, rows in found.items()}

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """See `Codec.read_masks`."""
        if len(sequence.frames_out) < len(sequence):
            raise MismatchError(
                f"{sequence.name}: expected results of every frame, which --realtime needs, but this benchmark keeps "
                "those of some"
            )
        frames = self.answered(folder, sequence, len(sequence))
        return _DelayedMasks(self.codec.read_masks(folder, sequence), frames)

    def read_repetitions(self, folder: Path, sequence: Sequence) -> list[NDArray[np.float64]]:
        """Boxes of the first repetition, whose times come first."""
        return [next(iter(self.read_boxes(folder, sequence).values()))]

    def _seconds(self, folder: Path, sequence: Sequence, count: int) -> NDArray[np.float64]:
        seconds = self.codec.read_times(folder, sequence)
        if seconds is not None and len(seconds) >= count:
            return seconds[:count]
        frames, total = self.timing.get(sequence.name, (0, 0.0))
        if not frames or total <= 0:
            found = "none" if seconds is None else f"{len(seconds)}"
            raise MissingDataError(
                f"{sequence.name}: expected seconds of {count} frames, which --realtime needs, found {found}; a run of "
                "mosam has them"
            )
        return np.full(count, total / frames)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of which pickle asks before anything is set
            raise AttributeError(name)
        return getattr(self.codec, name)


@dataclass(frozen=True, slots=True)
class _DelayedMasks:
    """Masks of which every frame shows the one that was answered last."""

    masks: MaskResult
    frames: NDArray[np.intp]

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """See `MaskResult.read`."""
        return self.masks.read(int(self.frames[frame_index]), object_ids)

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """See `MaskResult.labels`."""
        return self.masks.labels(int(self.frames[frame_index]))


def rate_of(protocol: str) -> float | None:
    """The frame rate in a label of `RealTime.mark`; None where there is none.

    >>> rate_of("pytracking[valid_only,realtime=20,grace=3]"), rate_of("pytracking")
    (20.0, None)
    """
    found = re.search(r"[\[,]realtime=([0-9.e+-]+)[\],]", protocol)
    return None if found is None else float(found[1])


def without_rate(protocol: str) -> str:
    """The label of a protocol without its frame rate.

    >>> without_rate("pytracking[valid_only,realtime=20,grace=3]"), without_rate("pytracking[realtime=20]")
    ('pytracking[valid_only,grace=3]', 'pytracking')
    """
    return re.sub(r"(?<=\[),", "", re.sub(r",?realtime=[^],]+", "", protocol)).replace("[]", "")
