"""RCMS: when the object disappears for the first time, its best recent frames become prompted ones.

Source: the baseline of MOSE v2, `MOSEv2/sam2_rcms` of henghuiding/MOSE-api at 241977a. Until then, and in everything
else, it is SAM 2.1. The quality of a frame is presence times predicted IoU times mean probability of the mask's pixels.
The promoted frames get the temporal vector of prompted ones and are always read, so that a plan has up to 11 slots.
The program's weights are its own; they scale memory by 7.5 and shift it by -4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from mosam.policies.base import (
    POLICIES,
    About,
    Entry,
    ImageSide,
    MemoryPolicy,
    Ranges,
    ReadPlan,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.sam2 import RecentState, Sam2, Sam2Config


@dataclass(frozen=True, slots=True)
class RcmsConfig:
    """Parameters of `rcms`; the defaults are the published ones.

    Attributes:
        promoted: frames that become prompted ones at most.
        quality: only those of a higher quality than this.
    """

    RANGES: ClassVar[Ranges] = {"promoted": (0, 15), "quality": (0, 1)}

    promoted: int = 4
    quality: float = 0.6

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class RcmsState:
    """What a track remembers.

    Attributes:
        plain: what SAM 2.1 remembers; promoted entries are among its prompted ones.
        good: newest entries of high quality, oldest first; empty once the object has disappeared.
        disappeared: it was absent on a tracked frame.
    """

    plain: RecentState
    good: tuple[Entry, ...] = ()
    disappeared: bool = False


@POLICIES.register("rcms")
class Rcms(MemoryPolicy):
    """SAM 2.1 with a promotion at the first disappearance."""

    name = "rcms"
    Config = RcmsConfig
    about = About(
        memory="as `sam2`; when the object disappears for the first time, its four best frames become prompted ones",
        parameters="baseline of MOSE v2",
    )

    def __init__(self, config: RcmsConfig):
        super().__init__(config)
        self._plain = Sam2(Sam2Config())

    def live_features(self, info: TrackInfo) -> int:
        """Those of SAM 2.1, and the frames that are or may be promoted."""
        return info.slots + self.config.promoted

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._with(RcmsState(RecentState(track, (entry,))), self._sam2().start(track, entry))

    def prompted(self, state: RcmsState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._with(state, self._sam2().prompted(state.plain, t, entry))

    def read(self, state: RcmsState, t: int) -> ReadPlan:
        """As SAM 2.1, with the promoted frames among the prompted ones."""
        return self._sam2().read(state.plain, t)

    def memorized(self, state: RcmsState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Promote frames if the object is absent for the first time."""
        log = None
        if not state.disappeared:
            if entry.object_score <= 0:
                state, log = self._promote(state), {"promoted": [e.frame for e in reversed(state.good)]}
            elif self.config.promoted and self._quality(entry, image_side) > self.config.quality:
                state = replace(state, good=self.newest((*state.good, entry), self.config.promoted))
        return replace(self._with(state, self._sam2().memorized(state.plain, t, entry, image_side)), log=log)

    def _sam2(self) -> Sam2:
        self._plain.keep_everything = self.keep_everything
        return self._plain

    def _quality(self, entry: Entry, image_side: ImageSide) -> float:
        """Presence times predicted IoU times mean probability; the last is looked up only where it can matter."""
        most = entry.iou / (1 + math.exp(-entry.object_score))
        return most * image_side.probability() if most > self.config.quality else most

    def _promote(self, state: RcmsState) -> RcmsState:
        """The good frames, newest first, go from the recent to the prompted ones."""
        promoted = state.good[::-1][: self.config.promoted]
        plain = replace(
            state.plain,
            conditioning=state.plain.conditioning + promoted,
            recent=tuple(entry for entry in state.plain.recent if entry not in promoted),
        )
        return replace(state, plain=plain, good=(), disappeared=True)

    def _with(self, state: RcmsState, update: Update) -> Update:
        """Keep the good frames beside what SAM 2.1 keeps."""
        features, pointers = (
            kept + tuple(entry for entry in state.good if entry not in kept)
            for kept in (update.features, update.pointers)
        )
        return Update(replace(state, plain=update.state), features, pointers)
