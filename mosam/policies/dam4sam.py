"""DAM4SAM: a memory of distractors beside the memory of recent appearance.

Source: Videnovic et al., A Distractor-Aware Memory for Visual Object Tracking with SAM2, 2025; its program
(jovanavidenovic/DAM4SAM, SAM 2.1 configuration). The distractor-resolving memory (DRM) holds the prompted frame and
frames promoted to anchors; the recent appearance memory (RAM) holds frames on which the object was seen. A frame is
promoted when the decoder is sure of its mask while another of its masks covers something else nearby. Frames are
counted from the start of the track. A box is decoded to a mask at the size of the picture first, and the track starts
from that mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mosam.policies.base import (
    POLICIES,
    About,
    Candidate,
    Choice,
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
from mosam.policies.components import largest_component
from mosam.types import Mask


@dataclass(frozen=True, slots=True)
class Dam4SamConfig:
    """Parameters of `dam4sam`; the defaults are the published ones.

    Attributes:
        stride: distance between the recent frames read, besides the newest.
        anchors: frames read from the DRM at most, the prompted one included.
        promote_iou: a frame is promoted only if its predicted IoU is above this,
        promote_area: its area over the median of recent ones is in 1 - this .. 1 + this,
        promote_gap: more than this many frames have passed since the last promotion,
        promote_overlap: and the box of another mask united with its own overlaps its own by this at most.
        area_window: frames the recent areas are taken from.
        area_count: non-empty areas the median is taken of.
    """

    RANGES: ClassVar[Ranges] = {
        "stride": (1, 100),
        "anchors": (2, 6),
        "promote_iou": (0, 1),
        "promote_area": (0, 1),
        "promote_gap": (0, 10_000),
        "promote_overlap": (0, 1),
        "area_window": (2, 10_000),
        "area_count": (1, 10_000),
    }

    stride: int = 5
    anchors: int = 4
    promote_iou: float = 0.8
    promote_area: float = 0.2
    promote_gap: int = 5
    promote_overlap: float = 0.7
    area_window: int = 300
    area_count: int = 10

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class Dam4SamState:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        first: the entry it started from.
        anchors: newest other DRM entries, oldest first: one more than are read, as the last frame is not.
        ram: entries with the object that can still be read as recent appearance, oldest first.
        seen: later entries with the object of the last 15 frames, of whatever kind, oldest first.
        areas: pixels at video size on the last tracked frames.
        promoted: frame of the last promotion.
    """

    track: TrackInfo
    first: Entry
    anchors: tuple[Entry, ...] = ()
    ram: tuple[Entry, ...] = ()
    seen: tuple[Entry, ...] = ()
    areas: tuple[int, ...] = ()
    promoted: int | None = None


@POLICIES.register("dam4sam")
class Dam4Sam(MemoryPolicy):
    """Distractor-aware memory."""

    name = "dam4sam"
    Config = Dam4SamConfig
    about = About(
        memory="anchor frames that showed a distractor, and recent ones at a stride; a box prompt is first decoded "
        "to a mask",
        parameters="Videnovic et al. 2025",
    )
    starts_from_masks = True

    def live_features(self, info: TrackInfo) -> int:
        """The first frame, the anchors and one spare, the newest frame and the multiples of the stride."""
        return 1 + self.config.anchors + 1 + (info.slots - 1)

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(Dam4SamState(track, entry), entry.frame)

    def prompted(self, state: Dam4SamState, t: int, entry: Entry) -> Update:
        """A later prompt is an anchor like any other."""
        seen = (*state.seen, entry) if entry.area > 0 else state.seen
        return self._keep(replace(state, anchors=(*state.anchors, entry), seen=seen), t)

    def read(self, state: Dam4SamState, t: int) -> ReadPlan:
        """Anchors without age, then recent appearance counted by rank; pointers of frames with the object."""
        track, span = state.track, state.track.pointer_span(t, "seen")
        picks = self._picks(state, t)
        recent = self._recent(state, t, track.slots - len(picks))
        slots = [SlotRead(entry, track.slots - 1) for entry in picks]
        slots += [SlotRead(entry, len(recent) - 1 - i) for i, entry in enumerate(recent)]
        pointers = [PointerRead(entry, t - entry.frame) for entry in picks]
        others = [entry for entry in reversed(state.seen) if t - entry.frame < span and entry not in picks]
        pointers += [PointerRead(entry, t - entry.frame) for entry in others]
        return ReadPlan(tuple(slots), tuple(pointers), span)

    def choose(self, states: Sequence[Dam4SamState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """Highest predicted IoU; a frame without the object is never read, so it is not memorized."""
        best = int(np.argmax([candidate.iou for candidate in candidates]))
        return [Choice(best, states[0], memory="sigmoid" if candidates[best].area > 0 else "skip")]

    def memorized(self, state: Dam4SamState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Promote the frame to an anchor if it tells the object from a distractor, else remember it if it shows it."""
        mask = image_side.chosen() if entry.area > 0 else None
        area = 0 if mask is None else int(mask.sum())
        state = replace(state, areas=(*state.areas, area)[-self.config.area_window :])
        if mask is None:
            return self._keep(state, t)
        state = replace(state, seen=(*state.seen, entry))
        promote = self._steady(state, t, entry) and self._ambiguous(mask, image_side)
        if promote:
            state = replace(state, anchors=(*state.anchors, entry), promoted=t)
        else:
            state = replace(state, ram=(*state.ram, entry))
        update = self._keep(state, t)
        return replace(update, reencode=promote, log={"promoted": promote})

    def _picks(self, state: Dam4SamState, t: int) -> list[Entry]:
        """DRM entries read at frame `t`: the newest, the first, then the next newest; the last frame is left to RAM."""
        older = [entry for entry in reversed(state.anchors) if entry.frame < t - 1]
        return [*older[:1], state.first, *older[1 : self.config.anchors - 1]]

    def _recent(self, state: Dam4SamState, t: int, count: int) -> list[Entry]:
        """RAM entries read at frame `t`, oldest first: the newest with the object, then multiples of the stride."""
        track, stride = state.track, self.config.stride
        last = [e for e in (*state.anchors[-1:], *state.ram[-1:]) if e.frame == t - 1 and e.area > 0] or state.ram[-1:]
        if not last:
            return []
        newest = last[0]
        older = [e for e in state.ram if e.frame < newest.frame and track.local(e.frame) % stride == 0]
        return [*older[max(0, len(older) - (count - 1)) :], newest]

    def _steady(self, state: Dam4SamState, t: int, entry: Entry) -> bool:
        """Sure of the mask, its area as before, and the last promotion some frames ago."""
        config, area = self.config, state.areas[-1]
        if area < 1 or len(state.areas) < 2 or not entry.iou > config.promote_iou:
            return False
        if state.promoted is not None and not t - state.promoted > config.promote_gap:
            return False
        ratio = area / np.median([n for n in state.areas if n >= 1][-config.area_count :])
        return bool(1 - config.promote_area <= ratio <= 1 + config.promote_area)

    def _ambiguous(self, mask: Mask, image_side: ImageSide) -> bool:
        """Another mask of the decoder covers something that makes the box much larger."""
        outside = [other & ~mask for other in image_side.alternatives()]
        united = [largest_component(other) | mask for other in outside if other.any()]
        return any(raster_box_iou(mask, other) <= self.config.promote_overlap for other in united)

    def _keep(self, state: Dam4SamState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        track = state.track
        if self.keep_everything:
            everything = (state.first, *state.anchors, *state.ram)
            return Update(state, features=everything, pointers=tuple(dict.fromkeys((*everything, *state.seen))))
        multiples = [e for e in state.ram if track.local(e.frame) % self.config.stride == 0][1 - track.slots :]
        state = replace(
            state,
            anchors=state.anchors[-self.config.anchors :],
            ram=tuple(e for e in state.ram if e in multiples or e is state.ram[-1]),
            seen=tuple(e for e in state.seen if t + 1 - e.frame < track.pointers),
        )
        drm = (state.first, *state.anchors)
        pointers = drm + tuple(entry for entry in state.seen if entry not in drm)
        return Update(state, features=drm + state.ram, pointers=pointers)


def raster_box_iou(a: Mask, b: Mask) -> float:
    """IoU of the boxes of two masks as the VOT toolkit 0.7 computes it from masks.

    Its box of a mask spans from the first to the last pixel without the last row and column, and boxes that together
    span two pixels or fewer on either axis count as equal.

    Args:
        a, b: (H, W) not empty.
    """
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = _corners(a), _corners(b)
    if max(ax1, bx1) - min(ax0, bx0) <= 1 or max(ay1, by1) - min(ay0, by0) <= 1:
        return 1.0
    overlap = max(0, min(ax1, bx1) - max(ax0, bx0)) * max(0, min(ay1, by1) - max(ay0, by0))
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
    return overlap / union if union > 0 else 0.0


def _corners(mask: Mask) -> tuple[int, int, int, int]:
    """First and last column and row that hold a pixel."""
    x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(x[0]), int(y[0]), int(x[-1]), int(y[-1])
