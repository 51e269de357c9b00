"""HiM2SAM: SAMURAI's choice, and a memory of two ranges: one marked frame for long, spaced good frames for short.

Source: its program, LouisFinner/HiM2SAM at 9e7d3fc (`sam2_base.py`, configuration `lasot/sam2.1_hiera_l`). A frame is
marked when the decoder is sure of one of its masks, its area is as before, and another mask shows something far away
from the chosen one. On doubtful frames a point tracker has a say: points of the three masks are followed back over some
frames and compared with the mask shown there (`points=lk`; the program's CoTracker3 is `points=cotracker`). Three
defects of the program are options: the temporal vectors of the short memory are counted from the wrong end, pointers
are counted from the newest short frame instead of the present one, and points of frame t are looked for on the picture
of frame t - 1 (`clip=previous`); `cotracker-dim` gets pictures of 1/255 the contrast, as there.

Seven of its nine published configurations name a marking method that does not exist, and mark nothing: `method=off`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

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
from mosam.policies.kalman import BoxTrust
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots
from mosam.types import Mask, MotionNeeds, Retraced

AREAS = 300  # newest areas that are looked at
AREA_COUNT = 10  # newest of them that are not 0, whose median is the usual area


@dataclass(frozen=True, slots=True)
class Him2SamConfig:
    """Parameters of `him2sam`; the defaults are those of the large network on LaSOT.

    Attributes:
        method: how frames are marked for long memory: `hausdorff` distance of another mask, or `off` = none.
        mark_gap: frames between two marks at least.
        short_gap: frames left out between two short memories at least.
        marked: marked frames that are read.
        mark_iou: a frame is marked if its predicted IoU is above this,
        mark_ratio: the highest predicted IoU over the second highest is above this,
        mark_area: its area over the usual one is in 1 - this .. 1 + this,
        mark_motion: its Kalman agreement, if it has one, is above this,
        mark_distance: and another mask reaches farther from its own than this many of its diameters.
        motion_weight: share of the Kalman agreement in the choice.
        stable_frames: good frames in a row before the filter has a say.
        stable_iou: predicted IoU that makes a frame good; below it the filter starts again.
        points: point tracker that has a say on doubtful frames: `lk`, `cotracker`, `package.module:Class`, or `off`.
        points_weight: its share in the choice.
        points_below: a frame is doubtful if its score (before the filter has a say: its predicted IoU) is below this.
        points_frames: how far points are followed back.
        points_dice: share of the soft Dice in what the points say; the rest is the IoU of boxes.
        clip: points start on the picture of the `current` frame, or of the `previous` one as in the program.
        presence: masks are kept where the presence logit is above this (the memory's own test stays at 0).
        memory_iou: a frame is a short memory if its predicted IoU is above this,
        memory_presence: and its presence logit above this.
        codes: temporal vectors of short memories: `rank` from the newest, or `reversed` as in the program.
        pointers: the last 15 frames (`sam2`), or counted from the newest short memory (`shifted`) as in the program.
    """

    RANGES: ClassVar[Ranges] = {
        "mark_gap": (1, 10_000),
        "short_gap": (0, 100),
        "marked": (0, 5),
        "mark_iou": (0, 1),
        "mark_ratio": (1, 1000),
        "mark_area": (0, 1),
        "mark_motion": (0, 1),
        "mark_distance": (0, 1000),
        "motion_weight": (0, 1),
        "stable_frames": (1, 10_000),
        "stable_iou": (0, 1),
        "points_weight": (0, 1),
        "points_below": (0, 1),
        "points_frames": (1, 100),
        "points_dice": (0, 1),
        "presence": (-100, 100),
        "memory_iou": (0, 1),
        "memory_presence": (-100, 100),
    }

    method: Literal["hausdorff", "off"] = "hausdorff"
    mark_gap: int = 5
    short_gap: int = 2
    marked: int = 1
    mark_iou: float = 0.8
    mark_ratio: float = 1.5
    mark_area: float = 0.25
    mark_motion: float = 0.8
    mark_distance: float = 2.0
    motion_weight: float = 0.15
    stable_frames: int = 15
    stable_iou: float = 0.3
    points: str = "off"
    points_weight: float = 0.25
    points_below: float = 0.8
    points_frames: int = 5
    points_dice: float = 0.7
    clip: Literal["current", "previous"] = "current"
    presence: float = -1.0
    memory_iou: float = 0.5
    memory_presence: float = 0.0
    codes: Literal["rank", "reversed"] = "rank"
    pointers: Literal["sam2", "shifted"] = "sam2"

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class Him2SamState:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        recent: entries whose pointers can still be read, oldest first.
        good: entries that can still be short memories, oldest first.
        marks: entries of long memory, oldest first.
        trust: the filter of its boxes.
        areas: pixels at network input size on the last tracked frames.
        sure: the frame just chosen may be marked, as far as scores say.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    recent: tuple[Entry, ...] = ()
    good: tuple[Entry, ...] = ()
    marks: tuple[Entry, ...] = ()
    trust: BoxTrust = BoxTrust()
    areas: tuple[int, ...] = ()
    sure: bool = False


@POLICIES.register("him2sam")
class Him2Sam(MemoryPolicy):
    """Long and short memory, Kalman-aided choice."""

    name = "him2sam"
    Config = Him2SamConfig
    about = About(
        memory="a frame marked as distinguishing the object from a distant one, and good frames at a distance",
        mask="as `samurai`; with `points=lk` or `cotracker`, points followed back have a say on doubtful frames",
        parameters="HiM2SAM's large LaSOT configuration, its point tracker off; `method=off` is what seven of its nine "
        "configurations do; `codes=reversed,pointers=shifted,clip=previous` reproduce defects of its program",
    )
    needs_boxes = True

    def __init__(self, config: Him2SamConfig):
        super().__init__(config)
        self.presence_threshold = config.presence

    def motion(self) -> MotionNeeds | None:
        """A point tracker for doubtful frames."""
        c = self.config
        if c.points == "off":
            return None
        return MotionNeeds("off", "off", 0, tracker=c.points, frames=c.points_frames, skip_current=c.clip == "previous")

    def live_features(self, info: TrackInfo) -> int:
        """The prompted frame, marks, and what a walk back in steps of the gap may meet."""
        return 1 + self.config.marked + self._most_good(info)

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(Him2SamState(track, (entry,)), entry.frame)

    def prompted(self, state: Him2SamState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._keep(replace(state, conditioning=(*state.conditioning, entry)), t)

    def read(self, state: Him2SamState, t: int) -> ReadPlan:
        """Prompted frames, spaced short memories and the marks; the marks have the temporal vector of prompted ones."""
        track, config = state.track, self.config
        marks, short = self._readable(state)
        codes = range(len(short)) if config.codes == "rank" else range(len(short) - 1, -1, -1)
        newest_first = tuple(SlotRead(entry, code) for code, entry in zip(codes, short, strict=True))
        first, *later = conditioning_slots(track, state.conditioning)
        slots = (first, *newest_first, *later, *(SlotRead(entry, track.slots - 1) for entry in marks))
        now = t
        if config.pointers == "shifted" and (short or marks):
            now = short[0].frame if short else marks[-1].frame
        return ReadPlan(slots, self._pointers(state, now), track.pointer_span(t))

    def choose(self, states: Sequence[Him2SamState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """As SAMURAI, points consulted in doubt; notes whether the scores allow a mark."""
        state, config, log = states[0], self.config, dict[str, object]()
        iou = np.array([candidate.iou for candidate in candidates])
        best, trust = state.trust.choose(
            iou,
            [candidate.box for candidate in candidates if candidate.box is not None],
            weight=config.motion_weight,
            stable_frames=config.stable_frames,
            stable_iou=config.stable_iou,
            doubt=lambda scores, first: self._in_doubt(scores, first, candidates, log),
        )
        state = replace(state, trust=trust, sure=self._sure(iou, best, trust))
        return [Choice(best, state, log=log | {"motion": trust.agreement, "stable": trust.stable})]

    def memorized(self, state: Him2SamState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if it is good, and mark it if it tells the object from something far away."""
        config = self.config
        state = replace(state, recent=(*state.recent, entry))
        if entry.iou > config.memory_iou and entry.object_score > config.memory_presence:
            state = replace(state, good=(*state.good, entry))
        marked = False
        if config.method != "off":
            masks = image_side.at_network_size() if entry.area > 0 else None
            area = 0 if masks is None else int(masks[0].sum())
            state = replace(state, areas=(*state.areas, area)[-AREAS:])
            marked = masks is not None and self._steady(state, t) and self._tells(masks)
        if marked:
            state = replace(state, marks=(*state.marks, entry))
        return replace(self._keep(state, t), log={"marked": marked})

    def _in_doubt(self, scores: np.ndarray, best: int, candidates: Sequence[Candidate], log: dict[str, object]) -> int:
        """The best candidate again, by scores and points, if it is not good enough by scores alone."""
        c = self.config
        if c.points == "off" or (candidates[best].iou >= c.stable_iou and scores[best] >= c.points_below):
            return best
        ways = [Retraced(0, 0) if one.retraced is None else one.retraced() for one in candidates]
        points = np.array([c.points_dice * one.dice + (1 - c.points_dice) * one.box for one in ways])
        log["points"] = points.tolist()
        return int((c.points_weight * points + (1 - c.points_weight) * scores).argmax())

    def _sure(self, iou: np.ndarray, best: int, trust: BoxTrust) -> bool:
        config, (first, second) = self.config, np.sort(iou)[::-1][:2]
        motion = trust.agreement is None or trust.agreement > config.mark_motion
        return bool(motion and iou[best] > config.mark_iou and first > config.mark_ratio * second)

    def _steady(self, state: Him2SamState, t: int) -> bool:
        """Sure of the mask, its area as before, and the last mark some frames ago."""
        area, config = state.areas[-1], self.config
        if not state.sure or area < 1 or len(state.areas) < 2:
            return False
        if state.marks and t < state.marks[-1].frame + config.mark_gap:
            return False
        ratio = area / np.median([n for n in state.areas if n >= 1][-AREA_COUNT:])
        return bool(1 - config.mark_area <= ratio <= 1 + config.mark_area)

    def _tells(self, masks: np.ndarray) -> bool:
        """Another mask shows something farther away than the object is large."""
        chosen, others = masks[0], [other & ~masks[0] for other in masks[1:]]
        diameter = 2 * math.sqrt(int(chosen.sum()) / math.pi)
        reach = [reach_from(chosen, largest_component(other)) for other in others if other.any()]
        return bool(reach) and max(reach) > self.config.mark_distance * diameter

    def _readable(self, state: Him2SamState) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        """Marks, oldest first, and short memories, newest first."""
        marks = state.marks[-self.config.marked :] if self.config.marked else ()
        count = state.track.slots - 1 - len(marks)
        short: list[Entry] = []
        for entry in reversed(state.good):
            free = not short or entry.frame < short[-1].frame - self.config.short_gap
            if free and entry not in marks and len(short) < count:
                short.append(entry)
        return marks, tuple(short)

    def _pointers(self, state: Him2SamState, now: int) -> tuple[PointerRead, ...]:
        span = state.track.pointer_span(now)
        recent = [entry for entry in reversed(state.recent) if 0 < now - entry.frame < span]
        return conditioning_pointers(state.track, state.conditioning, now) + tuple(
            PointerRead(entry, now - entry.frame) for entry in recent
        )

    def _most_good(self, info: TrackInfo) -> int:
        return (info.slots - 1) * (self.config.short_gap + 1) + self.config.marked

    def _keep(self, state: Him2SamState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        if self.keep_everything:
            everything = state.conditioning + state.recent
            return Update(state, everything, everything)
        good = self.newest(state.good, self._most_good(state.track))
        marks = state.marks[-max(1, self.config.marked) :]
        state = replace(state, good=good, marks=marks)
        span = state.track.pointers
        starts = [t + 1]
        if self.config.pointers == "shifted":
            starts += [entry.frame for entry in (*good[-1 - self.config.marked :], *marks)]
        recent = tuple(e for e in state.recent if any(0 < start - e.frame < span for start in starts))
        state = replace(state, recent=recent)
        features = tuple(dict.fromkeys((*state.conditioning, *good, *marks)))
        return Update(state, features, state.conditioning + recent)


def reach_from(mask: Mask, other: Mask) -> float:
    """Directed Hausdorff distance: how far the border of `other` lies from that of `mask` at most, in pixels.

    Args:
        mask, other: (H, W); borders are a pixel inside and a pixel outside of the edge; 0 where either has none.
    """
    import cv2

    border, far = (
        cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) for m in (mask, other)
    )
    if not border.any() or not far.any():
        return 0.0
    distance = cv2.distanceTransform(1 - border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(distance[far > 0].max())
