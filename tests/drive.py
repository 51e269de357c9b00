"""Drives a policy through a whole track without any network: all hypotheses, made-up candidates, kept entries checked.

What a candidate scores may depend on everything its hypothesis chose before (its trace), as it does in a network: two
histories that are equal get equal offers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from simulate import info

from mosam.policies.base import Candidate, Choice, Entry, MemoryPolicy, ReadPlan, TrackInfo, Update

Trace = tuple[int, ...]
CANDIDATES = 3


@dataclass(frozen=True)
class Offer:
    """What the decoder says on one frame: three predicted IoUs, one presence logit, a box and features for each mask.

    With `guided` there is a second decode with a prompt, and what both explain of the memories: (free, guided).
    """

    iou: tuple[float, float, float]
    presence: float
    boxes: tuple[tuple[float, float, float, float], ...] = ((10.0, 10.0, 30.0, 40.0),) * CANDIDATES
    prototypes: tuple[tuple[float, ...], ...] = ((1.0, 0.5, 0.0),) * CANDIDATES
    guided: Offer | None = None
    cycle: tuple[float, float] | None = None


@dataclass(frozen=True)
class Step:
    """One frame: the plan of every hypothesis, what was chosen, and the traces that lived on."""

    t: int
    plans: list[ReadPlan]
    choices: list[Choice]
    updates: list[Update]
    traces: list[Trace]


class Side:
    """Masks at video size of one frame, as the engine would compute them on demand."""

    def __init__(self, chosen: np.ndarray, alternatives: np.ndarray):
        self._chosen, self._alternatives = chosen, alternatives

    def chosen(self):
        return self._chosen

    def alternatives(self):
        return self._alternatives

    def together(self):
        raise AssertionError("one track knows of no others")

    def probability(self):
        return 0.9

    def at_network_size(self):
        return np.concatenate((self._chosen[None], self._alternatives))


def candidates(hypothesis: int, offer: Offer, threshold: float) -> list[Candidate]:
    """The candidates of a frame; blanked ones have no area and the empty box."""
    free, guided = offer.cycle or (None, None)
    found = _decoded(hypothesis, offer, threshold, "free", free)
    return found + ([] if offer.guided is None else _decoded(hypothesis, offer.guided, threshold, "guided", guided))


def _decoded(hypothesis, offer: Offer, threshold: float, source, cycle: float | None) -> list[Candidate]:
    present = offer.presence > threshold
    return [
        Candidate(
            hypothesis,
            source,
            k,
            iou,
            offer.presence,
            int((box[2] - box[0] + 1) * (box[3] - box[1] + 1)) if present else 0,
            np.array(box if present else (0, 0, 0, 0), dtype=np.float64),
            prototype=np.array(offer.prototypes[k]) * present,
            cycle_iou=cycle,
        )
        for k, (iou, box) in enumerate(zip(offer.iou, offer.boxes, strict=True))
    ]


def drive(
    policy: MemoryPolicy,
    offers: Callable[[int, Trace], Offer],
    frames: int,
    *,
    track: TrackInfo | None = None,
    side: Callable[[int], Side] | None = None,
    trace_length: int | None = None,
) -> list[Step]:
    """Frames start+1 .. start+frames of a mask-prompted track; only kept entries may be read.

    `trace_length` cuts the traces to their newest choices, for long runs.
    """
    track = track or info(track_length(frames))
    given = Offer((1.0, 1.0, 1.0), 10.0)
    box, prototype = np.array(given.boxes[0]), np.array(given.prototypes[0])
    first = Entry(track.start, "prompt", 10.0, 1.0, 50, 0, 0, box=box, prototype=prototype)
    updates = [policy.start(track, first)]
    traces: list[Trace] = [()]
    steps = []
    for t in range(track.start + 1, track.start + frames + 1):
        plans = [policy.read(update.state, t) for update in updates]
        for plan, update in zip(plans, updates, strict=True):
            assert {id(s.entry) for s in plan.slots} <= {id(e) for e in update.features}
            assert {id(p.entry) for p in plan.pointers} <= {id(e) for e in update.pointers}
            most = max(track.slots, policy.live_features(track))  # promoted frames add slots
            assert len({s.entry.frame for s in plan.slots}) == len(plan.slots) <= most
        offered = [
            c for h, trace in enumerate(traces) for c in candidates(h, offers(t, trace), policy.presence_threshold)
        ]
        choices = policy.choose([update.state for update in updates], t, offered)
        assert 1 <= len(choices) <= policy.hypotheses
        entries = []
        for choice in choices:
            c = offered[choice.candidate]
            entry = Entry(t, "track", c.object_score, c.iou, c.area, pointer_row=t, box=c.box, prototype=c.prototype)
            entry.feature_row = None if choice.memory == "skip" else t
            entries.append(entry)
        traces = [(*traces[offered[c.candidate].hypothesis], offered[c.candidate].index) for c in choices]
        traces = [trace if trace_length is None else trace[-trace_length:] for trace in traces]
        view = side(t) if side else None
        updates = [policy.memorized(c.state, t, entry, view) for c, entry in zip(choices, entries, strict=True)]
        for update, entry in zip(updates, entries, strict=True):
            assert all(e.feature_row is not None for e in update.features), "an entry was kept that was never stored"
            if update.reencode:
                entry.kind = "anchor"
        steps.append(Step(t, plans, choices, updates, traces))
    return steps


def track_length(frames: int) -> int:
    """Length of a clip whose first frame is the prompt."""
    return frames + 1


def slots(plan: ReadPlan) -> list[tuple[int, int]]:
    """(frame, temporal index) of each slot."""
    return [(slot.entry.frame, slot.temporal) for slot in plan.slots]


def pointers(plan: ReadPlan) -> list[tuple[int, float]]:
    """(frame, position) of each pointer."""
    return [(pointer.entry.frame, pointer.position) for pointer in plan.pointers]


def live_features(step: Step) -> int:
    """Different memories alive after a frame."""
    return len({id(entry) for update in step.updates for entry in update.features})
