"""SAMITE: memories that look like the object, and a dense prompt of where the frame looks like these memories.

Source: SAMITE (arXiv:2507.21732, 2025). Its own program was not at hand; the rule was read in a copy of it over SAM 2
(`sam2_base.py`, `memory_attention.py`) and in a port to SAM 3 (HamadYA/SAM3_Tracking_Zoo at d37e4a9). Of the last 30
good frames the newest is read, and the five whose prototypes are most like its own and the prompted one's. A frame is
decoded twice, without a prompt and with the prior as mask prompt; the mask whose prototypes find the object again in
the memories is taken. Choice within a decode and presence are SAMURAI's.

A defect of the program is an option: once its filter is stable, it is told the box of the decode without prompt, even
where the other decode was taken. Its threshold on the filter's agreement never acts, as the agreement is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mosam.policies.base import (
    POLICIES,
    About,
    Candidate,
    Choice,
    Entry,
    ImageSide,
    Likeness,
    MemoryPolicy,
    MotionPrompt,
    PrototypeNeeds,
    Ranges,
    ReadPlan,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.kalman import BoxTrust
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots, recent_pointers
from mosam.policies.samurai import FIRST_REMEMBERED
from mosam.policies.topk import newest_and_best, slots_by_rank
from mosam.types import Forecast


@dataclass(frozen=True, slots=True)
class SamiteConfig:
    """Parameters of `samite`; the defaults are the published ones.

    Attributes:
        pool: newest good frames that may be read.
        newest_weight: share of the similarity with the newest good frame, against that with the prompted one.
        prior: decode with the prior too; off = the memory alone.
        cycle: the decode with the prior is taken only if its mask finds at least this IoU of the masks in memory.
        motion_weight: share of the Kalman agreement in the choice.
        stable_frames: good frames in a row before the filter has a say.
        stable_iou: predicted IoU that makes a frame good; below it the filter starts again.
        presence: masks are kept where the presence logit is above this (the memory's own test stays at 0).
        memory_iou: a frame may be read if its predicted IoU is above this,
        memory_presence: and its presence logit above this.
        follows: whose box a stable filter is told: that of the mask `taken`, or, as in the program, the `free` one.
    """

    RANGES: ClassVar[Ranges] = {
        "pool": (1, 100),
        "newest_weight": (0, 1),
        "cycle": (0, 1),
        "motion_weight": (0, 1),
        "stable_frames": (1, 10_000),
        "stable_iou": (0, 1),
        "presence": (-100, 100),
        "memory_iou": (0, 1),
        "memory_presence": (-100, 100),
    }

    pool: int = 30
    newest_weight: float = 0.3
    prior: bool = True
    cycle: float = 0.7
    motion_weight: float = 0.15
    stable_frames: int = 15
    stable_iou: float = 0.3
    presence: float = -1.0
    memory_iou: float = 0.5
    memory_presence: float = 0.0
    follows: Literal["taken", "free"] = "taken"

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class SamiteState:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        recent: entries of the last 15 frames, oldest first.
        good: newest entries that may be read, oldest first.
        trust: the filter of its boxes.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    recent: tuple[Entry, ...] = ()
    good: tuple[Entry, ...] = ()
    trust: BoxTrust = BoxTrust()


@POLICIES.register("samite")
class Samite(MemoryPolicy):
    """Memory by likeness, and a prior as prompt."""

    name = "samite"
    Config = SamiteConfig
    about = About(
        memory="of the last 30 good frames the newest, and the five most like it and the prompted one",
        mask="as `samurai`; that of a second decode, with a dense prompt of where the frame looks like the memories, "
        "if it explains them better",
        parameters="arXiv:2507.21732; `prior=off`; `follows=free` reproduces a defect of its program",
    )
    needs_boxes = True
    prototypes = PrototypeNeeds("frame", "inside")

    def __init__(self, config: SamiteConfig):
        super().__init__(config)
        self.presence_threshold = config.presence
        self.keeps_views = config.prior

    def live_features(self, info: TrackInfo) -> int:
        """The prompted frame, and all that may be read."""
        return 1 + self.config.pool

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(SamiteState(track, (entry,)), entry.frame)

    def prompted(self, state: SamiteState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._keep(replace(state, conditioning=(*state.conditioning, entry)), t)

    def read(self, state: SamiteState, t: int) -> ReadPlan:
        """The prompted frames and those most like the object, counted by rank."""
        track, span = state.track, state.track.pointer_span(t)
        prompted = conditioning_slots(track, state.conditioning)
        slots = slots_by_rank(self._likest(state, track.slots - len(prompted)))
        pointers = conditioning_pointers(track, state.conditioning, t) + recent_pointers(state.recent, t, span)
        return ReadPlan(prompted + slots, pointers, span)

    def guide(self, state: SamiteState, t: int, forecast: Callable[[], Forecast | None]) -> MotionPrompt | None:
        """The prior that the memories read on this frame give."""
        entries = tuple(slot.entry for slot in self.read(state, t).slots)
        return MotionPrompt(likeness=Likeness(entries, near=entries[-1]))

    def choose(self, states: Sequence[SamiteState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """The best of the decode without prompt, unless that of the other one explains the memories better."""
        state, config = states[0], self.config
        free = [i for i, candidate in enumerate(candidates) if candidate.source == "free"]
        iou, boxes = np.array([candidates[i].iou for i in free]), [_box(candidates[i]) for i in free]
        scores, motion = state.trust.scores(iou, boxes, weight=config.motion_weight, stable_frames=config.stable_frames)
        best = int(scores.argmax())
        agreement = None if motion is None else float(motion[best])
        taken = told = free[best]
        guided = self._explains(candidates, free[best])
        if guided is not None:
            taken = guided
            follow_free = config.follows == "free" and state.trust.stable >= config.stable_frames
            told = free[candidates[guided].index] if follow_free else guided
            agreement = None
        trust = state.trust.follow(
            candidates[taken].iou,
            _box(candidates[told]),
            agreement,
            stable_frames=config.stable_frames,
            stable_iou=config.stable_iou,
        )
        log = {"motion": agreement, "stable": trust.stable, "cycle": candidates[taken].cycle_iou}
        return [Choice(taken, replace(state, trust=trust), log=log)]

    def memorized(self, state: SamiteState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if it is good; its pointer is kept either way."""
        good = state.good
        if self._worthy(state, entry):
            good = self.newest((*good, entry), self.config.pool)
        return self._keep(replace(state, recent=(*state.recent, entry), good=good), t)

    def _explains(self, candidates: Sequence[Candidate], free: int) -> int | None:
        """The candidate decoded with the prior that is taken instead of the free one; None where that is kept."""
        guided = [i for i, candidate in enumerate(candidates) if candidate.source == "guided"]
        if not guided:
            return None
        best = max(guided, key=lambda i: candidates[i].iou)
        found, usual = candidates[best].cycle_iou or 0.0, candidates[free].cycle_iou or 0.0
        return best if found >= max(usual, self.config.cycle) else None

    def _likest(self, state: SamiteState, count: int) -> tuple[Entry, ...]:
        """The newest good entry and those most like it and the prompted one, oldest first, `count` in all."""
        share, good = self.config.newest_weight, state.good[-self.config.pool :]

        def similarity(entries: Sequence[Entry]) -> NDArray[np.float64]:
            known = _prototypes(entries)
            newest, first = _prototypes((good[-1],))[0], _prototypes(state.conditioning[:1])[0]
            return share * _cosine(known, newest) + (1 - share) * _cosine(known, first)

        return newest_and_best(good, count, similarity) if count > 0 else ()

    def _worthy(self, state: SamiteState, entry: Entry) -> bool:
        return (
            state.track.local(entry.frame) >= FIRST_REMEMBERED
            and entry.iou > self.config.memory_iou
            and entry.object_score > self.config.memory_presence
        )

    def _keep(self, state: SamiteState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        if self.keep_everything:
            everything = state.conditioning + state.recent
            return Update(state, everything, everything)
        recent = tuple(entry for entry in state.recent if t + 1 - entry.frame < state.track.pointers)
        state = replace(state, recent=recent)
        return Update(state, state.conditioning + state.good, state.conditioning + recent)


def _box(candidate: Candidate) -> NDArray[np.float64]:
    assert candidate.box is not None, "this policy needs boxes"
    return candidate.box


def _prototypes(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """(N, width)."""
    return np.stack([entry.prototype for entry in entries if entry.prototype is not None])


def _cosine(many: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) cosines of (N, width) with (width,); 0 where either is 0."""
    return many @ one / (np.linalg.norm(many, axis=1) * np.linalg.norm(one) + 1e-7)
