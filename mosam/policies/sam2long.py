"""SAM2Long: three alternative histories of an object, of which the best explained one is shown in the end.

Source: Ding et al., SAM2Long, 2024; its program (Mark12Ding/SAM2Long). Three pathways share the image features. Each
has its own memory; on every frame the nine candidates compete and three survive. Pathways that share all of their
history are one hypothesis here, which stands for several: the program computes it as often as there are copies, with
equal results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

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

CONDITIONING_SCORE = 10.0  # what a prompted frame scores in the key modulation
SCORE_FLOOR = 1e-5  # added to a predicted IoU before its logarithm


@dataclass(frozen=True, slots=True)
class Preset:
    """Thresholds that were published together: the paper's, the script's defaults, the README's command line."""

    iou: float
    uncertainty: float


PRESETS = {"paper": Preset(0.3, 2.0), "script": Preset(0.3, 1.0), "readme": Preset(0.1, 2.0)}


@dataclass(frozen=True, slots=True)
class Sam2LongConfig:
    """Parameters of `sam2long`.

    Attributes:
        preset: where the thresholds come from that are not given.
        pathways: histories followed at once.
        iou: a frame is remembered if its predicted IoU is above this (and the object was there).
        uncertainty: where no presence logit is further than this from 0, survivors must differ in score.
        key_low: key weight of the least certain memory; they rise evenly to
        key_high: of the most certain one.
        emit: `final` = masks wait until no pathway can change them (published numbers); `online` = the best pathway's
            mask at once.
    """

    RANGES: ClassVar[Ranges] = {
        "pathways": (1, 16),
        "iou": (0, 1),
        "uncertainty": (0, 100),
        "key_low": (0, 10),
        "key_high": (0, 10),
    }

    preset: Literal["paper", "script", "readme"] = "paper"
    pathways: int = 3
    iou: float | None = None
    uncertainty: float | None = None
    key_low: float = 0.95
    key_high: float = 1.05
    emit: Literal["online", "final"] = "final"

    def __post_init__(self) -> None:
        for name, known in (("preset", tuple(PRESETS)), ("emit", ("online", "final"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        check_ranges(self)
        if not 0 < self.key_low <= self.key_high <= 10:
            raise ValueError(f"key_low: expected 0 < key_low <= key_high <= 10, got {self.key_low}, {self.key_high}")


@dataclass(frozen=True, slots=True, eq=False)
class PathwayState:
    """One history.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        accepted: newest remembered entries, oldest first, as many as there are pointers for.
        last: the newest tracked entry, remembered or not; None before the first.
        score: sum of log predicted IoU since the pathways parted.
        pathways: the places, counted from the best, of the pathways this history stands for.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    accepted: tuple[Entry, ...] = ()
    last: Entry | None = None
    score: float = 0.0
    pathways: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """One candidate of one pathway: its place in the candidates, its pathway, and what it competes with."""

    candidate: int
    pathway: int
    score: float
    signed_iou: float


@POLICIES.register("sam2long")
class Sam2Long(MemoryPolicy):
    """A constrained tree of memories."""

    name = "sam2long"
    Config = Sam2LongConfig
    about = About(
        memory="the same filter on each of three paths; keys weighted by presence",
        mask="best of nine over the paths' histories",
        parameters="Ding et al. 2024; `preset=paper|script|readme`, `emit`",
    )

    def __init__(self, config: Any):
        super().__init__(config)
        preset = PRESETS[config.preset]
        self.hypotheses = config.pathways
        self.emit = config.emit
        self.iou = preset.iou if config.iou is None else config.iou
        self.uncertainty = preset.uncertainty if config.uncertainty is None else config.uncertainty

    def live_features(self, info: TrackInfo) -> int:
        """The prompted frame, and for each pathway its slots and the newest frame."""
        return 1 + self.hypotheses * info.slots

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self._keep(PathwayState(track, (entry,), pathways=tuple(range(self.hypotheses))), entry.frame)

    def prompted(self, state: PathwayState, t: int, entry: Entry) -> Update:
        """The best pathway goes on alone: a prompt settles what the others disagreed on."""
        everyone = tuple(range(self.hypotheses))
        return self._keep(replace(state, conditioning=(*state.conditioning, entry), score=0.0, pathways=everyone), t)

    def read(self, state: PathwayState, t: int) -> ReadPlan:
        """Prompted frames, then remembered ones counted by rank, keys weighted by the rank of their presence logit."""
        track, span = state.track, state.track.pointer_span(t)
        remembered = _remembered(state, t, span - 1)
        conditioning = track.attended(state.conditioning)
        slots = [SlotRead(entry, track.slots - 1) for entry in conditioning]
        newest = remembered[1 - track.slots :]
        slots += [SlotRead(entry, len(newest) - 1 - i) for i, entry in enumerate(newest)]
        pointers = [PointerRead(entry, abs(t - entry.frame)) for entry in conditioning if entry.frame <= t]
        # the oldest of the list gives no pointer, and the position is the rank, not the age
        ranked = enumerate(reversed(remembered[1:]), start=1)
        pointers += [PointerRead(entry, rank) for rank, entry in ranked if rank < span]
        if len(slots) > 1:
            slots = [replace(s, key_scale=scale) for s, scale in zip(slots, self._scales(slots), strict=True)]
            pointers = [replace(p, key_scale=scale) for p, scale in zip(pointers, self._scales(pointers), strict=True)]
        return ReadPlan(tuple(slots), tuple(pointers), span)

    def choose(self, states: Sequence[PathwayState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """The first frame takes the highest predicted IoU; then the candidates of all pathways compete."""
        if states[0].last is None:
            best = int(np.argmax([candidate.iou for candidate in candidates]))
            return [Choice(best, states[0], log={"pathways": states[0].pathways, "score": 0.0})]
        chosen: dict[int, list[int]] = {}
        scores = {}
        for place, branch in enumerate(self._survivors(states, candidates)):
            chosen.setdefault(branch.candidate, []).append(place)
            scores[branch.candidate] = branch.score
        choices = []
        for index, places in chosen.items():
            parent, score = states[candidates[index].hypothesis], scores[index]
            state = replace(parent, score=score, pathways=tuple(places))
            log = {"parent": candidates[index].hypothesis, "pathways": tuple(places), "score": score}
            choices.append(Choice(index, state, log=log))
        return choices

    def memorized(self, state: PathwayState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if the object was there and the mask is good."""
        accepted = state.accepted
        if entry.iou > self.iou and entry.object_score > 0:
            accepted = self.newest((*accepted, entry), state.track.pointers - 1)
        return self._keep(replace(state, accepted=accepted, last=entry), t)

    def _survivors(self, states: Sequence[PathwayState], candidates: Sequence[Candidate]) -> list[_Branch]:
        """Branches that live on, best first: by score alone, or also by difference where presence is uncertain."""
        branches = [
            _Branch(i, p, states[c.hypothesis].score + math.log(c.iou + SCORE_FLOOR), math.copysign(c.iou, _present(c)))
            for i, c in enumerate(candidates)
            for p in states[c.hypothesis].pathways
        ]
        branches.sort(key=lambda b: (b.pathway, b.candidate))  # the program's order, which decides ties
        branches.sort(key=lambda b: b.score, reverse=True)
        if max(abs(candidate.object_score) for candidate in candidates) > self.uncertainty:
            return branches[: self.hypotheses]
        different: dict[float, _Branch] = {}
        for branch in branches:
            different.setdefault(round(branch.signed_iou, 2), branch)
        survivors = list(different.values())[: self.hypotheses]
        represented = {branch.pathway for branch in survivors}
        for pathway in range(self.hypotheses):
            if len(survivors) < self.hypotheses and pathway not in represented:
                survivors += [branch for branch in branches if branch.pathway == pathway][:1]
        return survivors

    def _scales(self, reads: Sequence[SlotRead] | Sequence[PointerRead]) -> list[float]:
        """Evenly spaced weights, the lowest where the object is least surely there; one entry alone gets the lowest."""
        scores = [CONDITIONING_SCORE if r.entry.kind == "prompt" else r.entry.object_score for r in reads]
        spaced = evenly_spaced(self.config.key_low, self.config.key_high, len(reads))
        if all(read.entry.kind == "prompt" for read in reads):
            spaced = to_bfloat16(spaced)  # the program holds the score of prompted frames in this type
        weights = np.empty(len(reads))
        weights[np.argsort(scores, kind="stable")] = spaced
        return weights.tolist()

    def _keep(self, state: PathwayState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        remembered = _remembered(state, t + 1, state.track.pointers - 1)
        if self.keep_everything:
            everything = state.conditioning + state.accepted + remembered[-1:]
            everything = tuple(dict.fromkeys(everything))
            return Update(state, everything, everything)
        slots = (
            remembered[-state.track.slots :] if remembered != state.accepted else remembered[1 - state.track.slots :]
        )
        return Update(state, state.conditioning + slots, state.conditioning + remembered[1:])


def evenly_spaced(low: float, high: float, count: int) -> NDArray[np.float64]:
    """(count,) from low to high, with the fp32 rounding of the program (`torch.linspace`: from both ends); low if one.

    >>> evenly_spaced(0.0, 1.0, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    if count == 1:
        return np.array([np.float32(low)], dtype=np.float64)
    first, last, index = float(np.float32(low)), float(np.float32(high)), np.arange(count)
    step = float((np.float32(high) - np.float32(low)) / np.float32(count - 1))
    spaced = np.where(index < count // 2, first + step * index, last - step * (count - 1 - index))
    return spaced.astype(np.float32).astype(np.float64)


def to_bfloat16(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to the 8 significant bits of bfloat16, ties to even.

    >>> to_bfloat16(np.array([0.95, 1.0])).tolist()
    [0.94921875, 1.0]
    """
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def _present(candidate: Candidate) -> float:
    return 1.0 if candidate.object_score > 0 else -1.0


def _remembered(state: PathwayState, t: int, limit: int) -> tuple[Entry, ...]:
    """The newest `limit` remembered entries and the last frame, whatever it holds; oldest first."""
    accepted = state.accepted[-limit:]
    if state.last is None or state.last.frame != t - 1 or state.last in accepted:
        return accepted
    return (*accepted, state.last)
