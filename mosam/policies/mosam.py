"""MoSAM: Motion-Guided Prompting and Spatial-Temporal Memory Selection over SAM 2.1.

Source: arXiv:2505.00739. The authors released no code.

**Stated by them**: motion is taken sparsely (key points) and densely (optical flow) from the past segmentation and
warped into a box and points that prompt SAM 2; memory candidates are frames `t-D, t-2D ... t-nD`, rated and ranked by
a confidence in [0, 1], of which the top k are kept; a filter drops unreliable pixels of the kept frames; frames without
the object are dropped.

**Ours**: every number, what the confidence is, how the filter acts, when a prompt is used or withheld, and motion
without training (theirs is trained). `mosam` is our reading, made for robustness; `mosam-literal` is the closest to
their picture; `docs/policies.md` tells stated from ours line by line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mosam.policies.base import (
    POLICIES,
    About,
    Candidate,
    Choice,
    Entry,
    ImageSide,
    MemoryPolicy,
    MotionPrompt,
    PixelFilter,
    PointerRead,
    Ranges,
    ReadPlan,
    SlotRead,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots, recent_pointers
from mosam.types import Forecast, MotionNeeds

GUIDE_CONFIDENCE = 0.5  # of the previous frame, below which no prompt is given
GUIDE_AREA = 4  # low-resolution pixels of the previous mask, below which no prompt is given
GUIDE_AGE = 2  # frames since the start before the first prompt
SCENE_CUT = 0.25  # share of corners that must survive; cuts leave 0 to 0.2 of them, fast motion and blur 0.7 and more
USE_TRUST = 0.6  # of motion, before a guided mask may replace a free one
USE_MARGIN = 0.05  # by which a guided mask must score higher
JUMP_IOU, HOLD_IOU = 0.1, 0.5  # the free mask is a jump, the guided one holds on
JUMP_TRUST, JUMP_CONFIDENCE, JUMP_QUALITY = 0.8, 0.8, 0.5
BIN = 0.05  # width of a bin of confidence, within which the newest frame comes first


@dataclass(frozen=True, slots=True)
class MosamConfig:
    """Parameters of `mosam`; every one is our choice.

    Attributes:
        selection: temporal memory selection; off = the last frames, as SAM 2.
        stride: D, spacing of candidates, frames. A larger one spans more time with as many memories.
        pool: n, candidates kept.
        topk: k, slots filled from the pool.
        keep_last: read t-1 as the newest slot, if the object was visible.
        pool_rule: `admitted` = the last n frames that were good enough; `window` = exactly t-D .. t-nD.
        admit_conf: confidence needed to enter the pool, in [0, 1]: predicted IoU * sigmoid(presence).
        rank: `binned` = by confidence in bins of 0.05, then newest; `strict` = by confidence.
        pointers: `admitted` = newest frames that were good enough, age clipped; `sam2` = all recent ones.
        pix_mode: what unreliable pixels lose: `bias` = weight in attention, `drop` = all of it, `remask` = their
            foreground before memorizing, `off` = nothing.
        pix_tau: reliability below which a pixel is filtered.
        mgp: motion-guided prompting: `candidate` = a prompted mask competes, `always` = it wins whenever there is
            one, `off`.
        sparse: point estimator (`lk-fast`, `lk`, `package.module:Class`, `off`).
        dense: flow estimator (`dis-fast`, `dis-medium`, `raft-small`, `raft-large`, `package.module:Class`, `off`).
        guide_below_iou: a prompt is decoded only where the IoU of the free mask with the one that motion expects is
            below this (`candidate`). A lower one saves decodes; 1 = always.
        num_points: points of a prompt.
        box: give a box.
        w_motion: weight of motion agreement in the choice among masks, in [0, 1].
        distractors: keep a map of distractors, carried along by the flow. Needs dense motion.
        distractor_weight: what a mask loses in the choice where the map labels all of it, in [0, 1].
        distractor_reject: labeled share of the chosen mask above which the object is called absent; 1 = never.
    """

    RANGES: ClassVar[Ranges] = {
        "stride": (1, 100),
        "pool": (1, 256),
        "topk": (0, 6),
        "admit_conf": (0, 1),
        "pix_tau": (0, 1),
        "num_points": (0, 20),
        "w_motion": (0, 1),
        "distractor_weight": (0, 1),
        "distractor_reject": (0, 1),
        "guide_below_iou": (0, 1),
    }

    selection: bool = True
    stride: int = 5
    pool: int = 16
    topk: int = 5
    keep_last: bool = True
    pool_rule: Literal["admitted", "window"] = "admitted"
    admit_conf: float = 0.3
    rank: Literal["binned", "strict"] = "binned"
    pointers: Literal["admitted", "sam2"] = "admitted"
    pix_mode: Literal["off", "bias", "drop", "remask"] = "bias"
    pix_tau: float = 0.5
    mgp: Literal["off", "candidate", "always"] = "candidate"
    sparse: str = "lk-fast"
    dense: str = "dis-fast"
    guide_below_iou: float = 0.9
    num_points: int = 3
    box: bool = True
    w_motion: float = 0.3
    distractors: bool = True
    distractor_weight: float = 0.5
    distractor_reject: float = 0.4

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True)
class MosamLiteralConfig(MosamConfig):
    """Parameters of `mosam-literal`: as the paper's picture shows it, where it shows anything."""

    pool: int = 10
    topk: int = 6
    keep_last: bool = False
    pool_rule: Literal["admitted", "window"] = "window"
    admit_conf: float = 0.0
    rank: Literal["binned", "strict"] = "strict"
    pointers: Literal["admitted", "sam2"] = "sam2"
    pix_mode: Literal["off", "bias", "drop", "remask"] = "drop"
    mgp: Literal["off", "candidate", "always"] = "always"
    sparse: str = "lk"
    dense: str = "dis-medium"
    num_points: int = 5
    w_motion: float = 0.15
    distractors: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """A finished frame and its confidence, 0 where the object was absent."""

    entry: Entry
    conf: float


@dataclass(frozen=True, slots=True, eq=False)
class MosamState:
    """What one track remembers.

    Attributes:
        track: what is known of it.
        conditioning: prompted frames.
        recent: tracked frames that can still be read one by one, oldest first.
        pool: admitted frames, oldest first.
        good: newest frames whose pointers are read, oldest first.
        last: the previous frame.
        admitted_at: clip index of the last admission.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    last: Rated
    recent: tuple[Rated, ...] = ()
    pool: tuple[Rated, ...] = ()
    good: tuple[Rated, ...] = ()
    admitted_at: int = 0


@POLICIES.register("mosam")
class Mosam(MemoryPolicy):
    """Reliable frames, reliable pixels, and motion as a second opinion."""

    name = "mosam"
    Config = MosamConfig
    about = About(
        memory="a pool of confident frames, with unreliable pixels weighted down",
        mask="predicted IoU and motion agreement; a motion-guided mask competes",
        parameters="see [below](#mosam-stated-and-chosen-parts)",
    )

    def __init__(self, config: MosamConfig):
        super().__init__(config)
        self.needs_reliability = config.pix_mode in ("bias", "drop")
        self.needs_memory_grid = "pix_mode=drop" if config.pix_mode == "drop" else None

    def motion(self) -> MotionNeeds | None:
        """See `MemoryPolicy.motion`."""
        c = self.config
        distractors = c.distractors and c.dense != "off"
        if (c.mgp == "off" and c.w_motion == 0 and not distractors) or (c.sparse == "off" and c.dense == "off"):
            return None
        return MotionNeeds(c.sparse, c.dense, c.num_points, distractors)

    def live_features(self, info: TrackInfo) -> int:
        """See `MemoryPolicy.live_features`."""
        c = self.config
        if not c.selection:
            return info.slots
        if c.pool_rule == "window":
            return c.pool * c.stride + 2
        return c.pool + 3

    # Spatial-Temporal Memory Selection

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        state = MosamState(track, (entry,), Rated(entry, 1.0), admitted_at=entry.frame)
        return self._update(state, entry.frame)

    def prompted(self, state: MosamState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        state = replace(state, conditioning=(*state.conditioning, entry), last=Rated(entry, 1.0))
        return self._update(state, t)

    def read(self, state: MosamState, t: int) -> ReadPlan:
        """Conditioning slots, then the chosen candidates oldest first."""
        track, c = state.track, self.config
        chosen = self._selected(state, t)
        filtered = c.pix_mode in ("bias", "drop")
        slots = conditioning_slots(track, state.conditioning)
        for i, rated in enumerate(chosen):
            slots += (SlotRead(rated.entry, len(chosen) - 1 - i, filtered=filtered),)
        span = track.pointer_span(t)
        pointers = conditioning_pointers(track, state.conditioning, t) + self._pointers(state, t, span)
        rule = PixelFilter(c.pix_mode, c.pix_tau) if filtered else None
        return ReadPlan(slots, pointers, span, rule)

    def _selected(self, state: MosamState, t: int) -> list[Rated]:
        """Frames to read at `t` beside the conditioning ones, oldest first."""
        c, track = self.config, state.track
        room = track.slots - 1
        if not c.selection:
            return [r for r in state.recent if t - r.entry.frame <= room]
        chosen = sorted(self._candidates(state, t), key=self._order, reverse=True)[: c.topk]
        last = state.last
        newest_usable = last.entry.kind == "track" and last.entry.visible
        if newest_usable and (not chosen or c.keep_last) and all(r.entry is not last.entry for r in chosen):
            chosen = [*chosen[: room - 1], last]
        return sorted(chosen, key=lambda r: r.entry.frame)

    def _candidates(self, state: MosamState, t: int) -> list[Rated]:
        if self.config.pool_rule == "admitted":
            return list(state.pool[-self.config.pool :])
        c = self.config
        wanted = {t - i * c.stride for i in range(1, c.pool + 1)}
        return [r for r in state.recent if r.entry.frame in wanted and r.conf > 0 and r.conf >= c.admit_conf]

    def _order(self, rated: Rated) -> tuple[float, int]:
        conf = rated.conf if self.config.rank == "strict" else math.floor(rated.conf / BIN)
        return conf, rated.entry.frame

    def _pointers(self, state: MosamState, t: int, span: int) -> tuple[PointerRead, ...]:
        if self.config.pointers == "sam2":
            return recent_pointers(tuple(r.entry for r in state.recent), t, span)
        newest = state.good[::-1][: span - 1]
        limit = state.track.pointers - 1
        return tuple(PointerRead(r.entry, min(t - r.entry.frame, limit)) for r in newest)

    def memorized(self, state: MosamState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Rate the finished frame; admit it to the pool and to the pointers if it is good enough."""
        c = self.config
        conf = self.confidence(entry)
        rated = Rated(entry, conf)
        due = state.track.local(t) % c.stride == 0 or t - state.admitted_at >= c.stride
        good = entry.visible and conf >= c.admit_conf
        admitted = due and good
        if admitted:
            state = replace(state, pool=self.newest((*state.pool, rated), c.pool), admitted_at=t)
        if good:
            state = replace(state, good=self.newest((*state.good, rated), state.track.pointers - 1))
        state = replace(state, last=rated, recent=(*state.recent, rated))
        return self._update(state, t, {"conf": conf, "admitted": admitted})

    def confidence(self, entry: Entry) -> float:
        """Predicted IoU times presence, in [0, 1]; 0 where the object was absent."""
        if not entry.visible:
            return 0.0
        return entry.iou / (1 + math.exp(-entry.object_score))

    def _update(self, state: MosamState, t: int, log: dict[str, object] | None = None) -> Update:
        """Keep what some later frame can still read, and nothing else."""
        c, track = self.config, state.track
        if self.keep_everything:
            everything = state.conditioning + tuple(r.entry for r in state.recent)
            return Update(state, tuple(e for e in everything if e.feature_row is not None), everything, log=log)
        if not c.selection:
            features_from = t + 1 - (track.slots - 1)
        elif c.pool_rule == "window":
            features_from = t + 1 - c.pool * c.stride
        else:
            features_from = t
        pointers_from = t + 1 - (track.pointers - 1)
        recent = tuple(r for r in state.recent if r.entry.frame >= min(features_from, pointers_from))
        state = replace(state, recent=recent)
        stored = [r.entry for r in recent if r.entry.frame >= features_from]
        if c.selection and c.pool_rule == "admitted":
            stored += [r.entry for r in state.pool if r.entry.frame < features_from]
        features = tuple(e for e in stored if e.feature_row is not None)
        if c.pointers == "sam2":
            pointers = tuple(r.entry for r in recent if r.entry.frame >= pointers_from)
        else:
            pointers = tuple(r.entry for r in state.good)
        return Update(state, state.conditioning + features, state.conditioning + pointers, log=log)

    # Motion-Guided Prompting

    def guide(self, state: MosamState, t: int, forecast: Callable[[], Forecast | None]) -> MotionPrompt | None:
        """The mask motion expects, and a box with points unless there is a reason to withhold them."""
        c = self.config
        if not state.last.entry.visible:
            return MotionPrompt(log={"withheld": "absent before"})
        seen = forecast()
        if seen is None:
            return MotionPrompt(log={"withheld": "no motion yet"})
        log: dict[str, object] = {
            "trust": seen.trust,
            "trust_sparse": seen.trust_sparse,
            "trust_dense": seen.trust_dense,
        }
        reason = self._withheld(state, t, seen)
        if reason or c.mgp == "off":
            return MotionPrompt(seen.expected, seen.trust, log={**log, "withheld": reason or "off"})
        points = seen.points[: c.num_points] if c.num_points and len(seen.points) else None
        return MotionPrompt(seen.expected, seen.trust, seen.box if c.box else None, points, {**log, "withheld": None})

    def _withheld(self, state: MosamState, t: int, seen: Forecast) -> str | None:
        """Why no prompt is given, or None."""
        last = state.last
        if state.track.local(t) < GUIDE_AGE:
            return "too early"
        if last.conf < GUIDE_CONFIDENCE:
            return "low confidence"
        if last.entry.area < GUIDE_AREA:
            return "too small"
        if seen.survival < SCENE_CUT:
            return "scene cut"
        if seen.box is None or seen.previous_box is None:
            return "no valid box"
        if _leaving(seen):
            return "leaving"
        return None

    def skip_guided_decode(self, state: MosamState, t: int, free: Sequence[Candidate]) -> str | None:
        """Spare the second decode where its mask could not be taken, or the first one leaves no doubt."""
        c = self.config
        if c.mgp == "always":
            return None
        best = max(free, key=self._score)
        if best.object_score <= 0:
            return "absent"
        if best.motion_trust < USE_TRUST:
            return "low trust"
        if best.motion_iou is not None and best.motion_iou >= c.guide_below_iou:
            return "no doubt"
        can_jump = (best.motion_iou or 0.0) < JUMP_IOU and self._sure(state, best)
        return None if can_jump or self._score(best) + USE_MARGIN < 1 else "cannot win"

    def _sure(self, state: MosamState, candidate: Candidate) -> bool:
        """Motion and the previous frame are both beyond doubt."""
        return candidate.motion_trust >= JUMP_TRUST and state.last.conf >= JUMP_CONFIDENCE

    def choose(self, states: Sequence[MosamState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """The free mask with the best score, unless the guided one has a reason to replace it."""
        [state] = states
        free = [i for i, candidate in enumerate(candidates) if candidate.source == "free"]
        guided = next((i for i, candidate in enumerate(candidates) if candidate.source == "guided"), None)
        scores = [self._score(candidate) for candidate in candidates]
        best = max(free, key=lambda i: scores[i])
        why = self._prefer_guided(state, candidates, scores, best, guided)
        chosen = best if why is None or guided is None else guided
        taken = candidates[chosen]
        rejected = taken.distractors is not None and taken.distractors > self.config.distractor_reject
        absent = rejected or taken.object_score <= 0 or taken.area == 0
        log = {
            "score": scores[chosen],
            "guided_won": why,
            "motion_iou": taken.motion_iou,
            "distractors": taken.distractors,
            "rejected": rejected,
        }
        return [
            Choice(
                chosen,
                state,
                memory="skip" if absent and self.config.selection else "sigmoid",  # never read, so never made
                remask=self.config.pix_tau if self.config.pix_mode == "remask" else None,
                absent=rejected,
                log=log,
            )
        ]

    def _score(self, candidate: Candidate) -> float:
        quality = candidate.iou - self.config.distractor_weight * (candidate.distractors or 0.0)
        if candidate.motion_iou is None:
            return quality
        w = self.config.w_motion
        return (1 - w) * quality + w * candidate.motion_iou

    def _prefer_guided(
        self,
        state: MosamState,
        candidates: Sequence[Candidate],
        scores: Sequence[float],
        best: int,
        guided: int | None,
    ) -> str | None:
        """Why the guided candidate is taken, or None."""
        if guided is None:
            return None
        if self.config.mgp == "always":
            return "always"
        free, other = candidates[best], candidates[guided]
        trust = other.motion_trust
        sure = self._sure(state, other)
        if free.object_score <= 0 or other.object_score <= 0 or trust < USE_TRUST:
            return None
        if scores[guided] > scores[best] + USE_MARGIN:
            return "score"
        jumped = (free.motion_iou or 0.0) < JUMP_IOU and (other.motion_iou or 0.0) >= HOLD_IOU
        return "jump" if jumped and sure and other.iou >= JUMP_QUALITY else None


@POLICIES.register("mosam-literal")
class MosamLiteral(Mosam):
    """The closest reading of the paper's picture: a sliding window, strict top-k, hard pixel filter, prompts obeyed."""

    name = "mosam-literal"
    Config = MosamLiteralConfig
    about = About(
        memory="the most confident frames of a sliding window, with unreliable pixels cut",
        mask="the motion-guided mask whenever there is a prompt",
        parameters="see [below](#mosam-stated-and-chosen-parts)",
    )


def _leaving(seen: Forecast) -> bool:
    """The box touches the border on a side it moves towards by more than its own width (or height)."""
    assert seen.box is not None
    assert seen.previous_box is not None
    for axis in (0, 1):
        size = seen.previous_box[axis + 2] - seen.previous_box[axis]
        step = (seen.box[axis] + seen.box[axis + 2] - seen.previous_box[axis] - seen.previous_box[axis + 2]) / 2
        if (seen.box[axis] <= 0 and -step > size) or (seen.box[axis + 2] >= 1 and step > size):
            return True
    return False
