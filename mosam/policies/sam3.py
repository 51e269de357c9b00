"""SAM 3's own memory: the newest frames on which the object was seen with some certainty, counted by rank.

Source: `sam3_tracker_base.py` of facebookresearch/sam3 at 99d02f2 (`use_memory_selection`, on by default there). A
frame's score is its predicted IoU times the certainty that the object is there, 0 where it is not. The newest frames
above a low threshold are read, and the last frame whatever it holds, each with the temporal vector of its rank;
pointers come from the same frames, also by rank. Any network will do.

Each object has its own score (`scope=object`). The program has one for all objects of a video (`scope=batch`): it means
to average them, but multiplies a column of certainties with a row of predicted IoUs, so that the score is the mean
certainty times the mean IoU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mosam.policies.base import (
    POLICIES,
    About,
    Entry,
    ImageSide,
    MemoryPolicy,
    PointerRead,
    Ranges,
    ReadPlan,
    SlotRead,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots


@dataclass(frozen=True, slots=True)
class Sam3Config:
    """Parameters of `sam3`.

    Attributes:
        threshold: a frame is remembered if its score is above this.
        scope: each `object` has its own score, or all of a video that are followed have one (`batch`), as the program.
    """

    RANGES: ClassVar[Ranges] = {"threshold": (0, 1)}

    threshold: float = 0.01
    scope: Literal["object", "batch"] = "object"

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class Sam3State:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        seen: newest entries above the threshold, oldest first, as many as there are pointers besides the prompted one.
        last: entry of the newest tracked frame.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    seen: tuple[Entry, ...] = ()
    last: Entry | None = None


@POLICIES.register("sam3")
class Sam3(MemoryPolicy):
    """Memory of frames on which the object was seen."""

    name = "sam3"
    Config = Sam3Config
    about = About(
        memory="the newest frames on which the object was seen, by rank",
        parameters="SAM 3's own rule, for each object by itself; `scope=batch` is one score a video, as its program",
    )

    def live_features(self, info: TrackInfo) -> int:
        """The slots, and the newest frame where it was not worth remembering."""
        return info.slots + 1

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(Sam3State(track, (entry,)))

    def prompted(self, state: Sam3State, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._keep(replace(state, conditioning=(*state.conditioning, entry), last=None))

    def read(self, state: Sam3State, t: int) -> ReadPlan:
        """The prompted frames, then the newest remembered ones; slots and pointers count by rank, the newest is 1."""
        track, span = state.track, state.track.pointer_span(t)
        by_rank = tuple(enumerate(reversed(_readable(state)), start=1))
        slots = tuple(SlotRead(entry, rank - 1) for rank, entry in reversed(by_rank[: track.slots - 1]))
        # the program stops one short of the oldest
        pointers = tuple(PointerRead(entry, rank) for rank, entry in by_rank[: min(span, len(by_rank)) - 1])
        return ReadPlan(
            conditioning_slots(track, state.conditioning) + slots,
            conditioning_pointers(state.track, state.conditioning, t) + pointers,
            span,
        )

    def memorized(self, state: Sam3State, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if its score is above the threshold."""
        seen = state.seen
        if score(*(image_side.together() if self.config.scope == "batch" else (entry,))) > self.config.threshold:
            seen = self.newest((*seen, entry), state.track.pointers - 1)
        return self._keep(replace(state, seen=seen, last=entry))

    def _keep(self, state: Sam3State) -> Update:
        """Keep what the next frame or any later one can read."""
        readable = _readable(state)
        slots = readable if self.keep_everything else readable[1 - state.track.slots :]
        return Update(state, state.conditioning + slots, state.conditioning + readable)


def score(*entries: Entry) -> float:
    """How surely objects were seen and their masks are right, in [0, 1].

    >>> round(score(Entry(3, "track", 2.0, 0.9, 50)), 3)
    0.685
    >>> round(score(Entry(3, "track", 2.0, 0.9, 50), Entry(3, "track", -1.0, 0.5, 0)), 3)
    0.267
    """
    presence = [2 / (1 + math.exp(-entry.object_score)) - 1 if entry.object_score > 0 else 0.0 for entry in entries]
    return sum(presence) * sum(entry.iou for entry in entries) / len(entries) ** 2


def _readable(state: Sam3State) -> tuple[Entry, ...]:
    """Remembered entries and the last frame, oldest first."""
    seen = state.seen[1 - state.track.pointers :]
    extra = () if state.last is None or state.last in seen[-1:] else (state.last,)
    return seen + extra
