"""Records of one step: the open videos, the rows of the batch, and what each row leaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from mosam.engine.decodes import Decodes
from mosam.engine.track import FrameMask, Track
from mosam.motion.field import MotionPair, MotionStream
from mosam.policies.base import Entry, ReadPlan
from mosam.types import FrameOutput, Size


@dataclass(slots=True, eq=False)
class Video:
    """Handle of an open video; its fields belong to the engine."""

    number: int
    size: Size
    num_frames: int | None
    non_overlap: bool
    tracks: dict[int, Track]
    next_frame: int = 0
    motion: MotionStream | None = None
    pair: MotionPair | None = None
    pending: deque[tuple[int, dict[int, FrameMask | None]]] = field(default_factory=deque)
    finished: list[FrameOutput] = field(default_factory=list)

    def __hash__(self) -> int:
        return self.number


@dataclass(slots=True, eq=False)
class Row:
    """One hypothesis of one track on the current frame."""

    video: Video
    track: Track
    hypothesis: int
    frame_row: int
    plan: ReadPlan


@dataclass(slots=True, eq=False)
class FrameResult:
    """One finished frame of one hypothesis, on its way into the bank.

    `low_res` holds all (K, mask, mask) candidates of its decode, of which `index` was taken; `decodes` and `decode_row`
    say which decode that was.
    """

    video: Video
    track: Track
    frame_row: int
    low_res: Tensor
    index: int
    score: Tensor
    entry: Entry
    state: object
    pending: deque[FrameMask]
    binarize: bool
    store: bool
    log: dict[str, object]
    decodes: Decodes | None = None
    decode_row: int = -1
    exact: Tensor | None = None
    remask: float | None = None


def begun(track: Track, frame: int) -> bool:
    """Whether an object will be there on a later frame, whatever happens until then."""
    return track.started or any(index <= frame for index in track.prompts)


def active(track: Track, frame: int) -> bool:
    """Whether there is something to do for an object on a frame."""
    return track.started or frame in track.prompts


def by_track(rows: Iterable[Row | FrameResult]) -> list[list[int]]:
    """Indices of the rows of each track, tracks in order of first appearance."""
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(id(row.track), []).append(i)
    return list(groups.values())
