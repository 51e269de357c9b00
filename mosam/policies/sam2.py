"""SAM 2.1's own memory: the prompted frames and the six frames before this one, whatever they hold.

Source: Ravi et al., SAM 2, 2024; `sam2_base.py` of the official repository (methods: frames `t-1 .. t-6`, temporal
vector by slot, pointers of the last 15 frames, highest predicted IoU).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

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


@dataclass(frozen=True, slots=True)
class Sam2Config:
    """Parameters of `sam2`.

    Attributes:
        stride: distance between the memories read; the newest is always `t-1` (official SAM 2.1: 1).
        memory: off = attend to the prompted frames only (shows what the memory is worth).
    """

    RANGES: ClassVar[Ranges] = {"stride": (1, 100)}

    stride: int = 1
    memory: bool = True

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, eq=False)
class RecentState:
    """Conditioning entries in order of arrival, and the newest tracked ones in time order."""

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    recent: tuple[Entry, ...] = ()


def conditioning_slots(track: TrackInfo, entries: tuple[Entry, ...]) -> tuple[SlotRead, ...]:
    """The conditioning entries that are attended to, with the temporal vector reserved for them."""
    return tuple(SlotRead(entry, track.slots - 1) for entry in track.attended(entries))


def conditioning_pointers(track: TrackInfo, entries: tuple[Entry, ...], t: int) -> tuple[PointerRead, ...]:
    """Their pointers up to `t`, at their signed distance, never clipped."""
    return tuple(PointerRead(entry, t - entry.frame) for entry in track.attended(entries) if entry.frame <= t)


def recent_pointers(recent: tuple[Entry, ...], t: int, span: int) -> tuple[PointerRead, ...]:
    """Pointers of `t-1 .. t-(span-1)`, newest first, absent frames included."""
    return tuple(PointerRead(entry, t - entry.frame) for entry in reversed(recent) if t - entry.frame < span)


@POLICIES.register("sam2")
class Sam2(MemoryPolicy):
    """The baseline every other policy departs from."""

    name = "sam2"
    Config = Sam2Config
    about = About(
        memory="prompted frames and the previous six frames, whatever they show",
        parameters="`stride`, `memory`",
    )

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._update(RecentState(track, (entry,)), entry.frame)

    def prompted(self, state: RecentState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        return self._update(replace(state, conditioning=(*state.conditioning, entry)), t)

    def read(self, state: RecentState, t: int) -> ReadPlan:
        """Conditioning slots, then `t-stride*5 .. t-1` with the temporal vector of their slot."""
        track, span = state.track, state.track.pointer_span(t)
        slots = conditioning_slots(track, state.conditioning)
        if self.config.memory:
            by_frame = {entry.frame: entry for entry in state.recent}
            wanted = self._frames(track, t)
            slots += tuple(SlotRead(by_frame[f], r - 1) for r, f in reversed(wanted) if f in by_frame)
        pointers = conditioning_pointers(track, state.conditioning, t)
        if self.config.memory:
            pointers += recent_pointers(state.recent, t, span)
        return ReadPlan(slots, pointers, span)

    def memorized(self, state: RecentState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """See `MemoryPolicy.memorized`."""
        return self._update(replace(state, recent=(*state.recent, entry)), t)

    def _frames(self, track: TrackInfo, t: int) -> list[tuple[int, int]]:
        """(steps back, clip index) of the slots at frame `t`, newest first."""
        stride, local = self.config.stride, track.local(t)
        frames = [local - 1] + [(local - 2) // stride * stride - k * stride for k in range(track.slots - 2)]
        return [(r, track.start + f) for r, f in enumerate(frames, start=1) if f >= 0]

    def _update(self, state: RecentState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        track = state.track
        if self.keep_everything:
            everything = state.conditioning + state.recent
            return Update(state, everything, everything)
        oldest = t + 1 - max(track.pointers - 1, (track.slots - 1) * self.config.stride)
        recent = tuple(entry for entry in state.recent if entry.frame >= oldest)
        state = replace(state, recent=recent)
        if not self.config.memory:
            return Update(state, state.conditioning, state.conditioning)
        readable = {f for ahead in range(1, self.config.stride + 1) for _, f in self._frames(track, t + ahead)}
        features = tuple(entry for entry in recent if entry.frame in readable)
        pointers = tuple(entry for entry in recent if t + 1 - entry.frame < track.pointers)
        return Update(state, state.conditioning + features, state.conditioning + pointers)
