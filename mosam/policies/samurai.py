"""SAMURAI: a Kalman filter has a say in which mask is taken, and only good frames are remembered.

Source: Yang et al., SAMURAI, 2024; its program (yangchris11/samurai, `sam2_base.py`). Per object, which the program is
not: it keeps one filter on the network, so it serves one object and leaks from one video to the next. Frames are
counted from the start of the track. Everything else, the pointers too, is SAM 2.1's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from mosam.policies.base import (
    POLICIES,
    About,
    Candidate,
    Choice,
    Entry,
    ImageSide,
    MemoryPolicy,
    Ranges,
    ReadPlan,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.kalman import BoxTrust
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots, recent_pointers
from mosam.policies.topk import slots_by_rank

MOTION_WEIGHT = 0.25  # published for tiny, small and base-plus
MOTION_WEIGHT_LARGE = 0.15
FIRST_REMEMBERED = 2  # the program never examines the first tracked frame


@dataclass(frozen=True, slots=True)
class SamuraiConfig:
    """Parameters of `samurai`; the defaults are the published ones.

    Attributes:
        motion_weight: share of the Kalman agreement in the choice; None = 0.15 for the large network, else 0.25.
        stable_frames: good frames in a row before the filter has a say.
        stable_iou: predicted IoU that makes a frame good; below it the filter starts again.
        presence: masks are kept where the presence logit is above this (the memory's own test stays at 0).
        memory_iou: a frame is remembered if its predicted IoU is above this,
        memory_presence: its presence logit above this,
        memory_motion: and its Kalman agreement, if it has one, above this.
    """

    RANGES: ClassVar[Ranges] = {
        "motion_weight": (0, 1),
        "stable_frames": (1, 10_000),
        "stable_iou": (0, 1),
        "presence": (-100, 100),
        "memory_iou": (0, 1),
        "memory_presence": (-100, 100),
        "memory_motion": (0, 1),
    }

    motion_weight: float | None = None
    stable_frames: int = 15
    stable_iou: float = 0.3
    presence: float = -1.0
    memory_iou: float = 0.5
    memory_presence: float = 0.0
    memory_motion: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class SamuraiState:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        recent: entries of the last 15 frames, oldest first.
        accepted: newest remembered entries, oldest first, as many as there are slots for.
        trust: the filter of its boxes.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    recent: tuple[Entry, ...] = ()
    accepted: tuple[Entry, ...] = ()
    trust: BoxTrust = BoxTrust()


@POLICIES.register("samurai")
class Samurai(MemoryPolicy):
    """Kalman-aided choice and score-filtered memory."""

    name = "samurai"
    Config = SamuraiConfig
    about = About(
        memory="prompted frame and the last six frames that were confident, visible and moved as expected; "
        "always the last frame",
        mask="mix of predicted IoU and a Kalman filter's box",
        parameters="Yang et al. 2024",
    )
    needs_boxes = True

    def __init__(self, config: Any):
        super().__init__(config)
        self.presence_threshold = config.presence

    def live_features(self, info: TrackInfo) -> int:
        """The slots, and the newest frame where it was not worth remembering."""
        return info.slots + 1

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(SamuraiState(track, (entry,)), entry.frame)

    def prompted(self, state: SamuraiState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._keep(replace(state, conditioning=(*state.conditioning, entry)), t)

    def read(self, state: SamuraiState, t: int) -> ReadPlan:
        """The prompted frames and the newest remembered ones, counted by rank; the last frame whatever it holds."""
        track, span = state.track, state.track.pointer_span(t)
        slots = slots_by_rank(_slots(state, t))
        pointers = conditioning_pointers(track, state.conditioning, t) + recent_pointers(state.recent, t, span)
        return ReadPlan(conditioning_slots(track, state.conditioning) + slots, pointers, span)

    def choose(self, states: Sequence[SamuraiState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """Highest predicted IoU until the filter is stable, then the mixture with its agreement."""
        state, config = states[0], self.config
        best, trust = state.trust.choose(
            np.array([candidate.iou for candidate in candidates]),
            [candidate.box for candidate in candidates if candidate.box is not None],
            weight=self._motion_weight(state.track),
            stable_frames=config.stable_frames,
            stable_iou=config.stable_iou,
        )
        return [Choice(best, replace(state, trust=trust), log={"motion": trust.agreement, "stable": trust.stable})]

    def memorized(self, state: SamuraiState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if it is good; its pointer is kept either way."""
        accepted = state.accepted
        if self._worthy(state, entry):
            accepted = self.newest((*accepted, entry), state.track.slots - 1)
        return self._keep(replace(state, recent=(*state.recent, entry), accepted=accepted), t)

    def _motion_weight(self, track: TrackInfo) -> float:
        if self.config.motion_weight is not None:
            return self.config.motion_weight
        return MOTION_WEIGHT_LARGE if "large" in track.model else MOTION_WEIGHT

    def _worthy(self, state: SamuraiState, entry: Entry) -> bool:
        config = self.config
        return (
            state.track.local(entry.frame) >= FIRST_REMEMBERED
            and entry.iou > config.memory_iou
            and entry.object_score > config.memory_presence
            and (state.trust.agreement is None or state.trust.agreement > config.memory_motion)
        )

    def _keep(self, state: SamuraiState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        if self.keep_everything:
            everything = state.conditioning + state.recent
            return Update(state, everything, everything)
        recent = tuple(entry for entry in state.recent if t + 1 - entry.frame < state.track.pointers)
        state = replace(state, recent=recent)
        newest = tuple(entry for entry in recent[-1:] if entry.frame == t and entry not in state.accepted)
        return Update(
            state,
            features=state.conditioning + state.accepted + newest,
            pointers=state.conditioning + recent,
        )


def _slots(state: SamuraiState, t: int) -> tuple[Entry, ...]:
    """Entries read at frame `t` besides the prompted ones, oldest first."""
    last = state.recent[-1:]
    if not last or last[0].frame != t - 1 or last == state.accepted[-1:]:
        last = ()
    return (state.accepted + last)[1 - state.track.slots :]
