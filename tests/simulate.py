"""Drives a policy without any network: what it reads on every frame, given what happened on them."""

from __future__ import annotations

from collections.abc import Callable

from mosam.policies.base import Entry, MemoryPolicy, ReadPlan, TrackInfo


def info(num_frames: int | None = None, start: int = 0) -> TrackInfo:
    return TrackInfo(1, start, num_frames, (48, 64), 7, 16, model="sam2.1-hiera-large")


def walk(
    policy: MemoryPolicy, track: TrackInfo, entries: Callable[[int], Entry], frames: int
) -> list[tuple[int, ReadPlan]]:
    """Read plans of frames start+1 .. start+frames of a one-hypothesis policy; only kept entries may be read."""
    update = policy.start(track, Entry(track.start, "prompt", 10.0, 1.0, 50))
    plans = []
    for t in range(track.start + 1, track.start + frames + 1):
        plan = policy.read(update.state, t)
        assert {id(s.entry) for s in plan.slots} <= {id(e) for e in update.features}
        assert {id(p.entry) for p in plan.pointers} <= {id(e) for e in update.pointers}
        plans.append((t, plan))
        update = policy.memorized(update.state, t, entries(t), None)
    return plans
