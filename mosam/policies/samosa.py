"""SAMOSA: a learned motion model has a say in the choice, errors are noticed and recovered from, the best are read.

Source: its program, DurYi/SAMOSA at 1ca2c2c (`sam2_base.py`, configurations `samosa_a` and `samosa_b`). After five good
frames in a row the motion model expects a box, and candidates are scored by predicted IoU, IoU with that box, shape and
size. A mask that changes too much, or whose features are unlike those of the last good ones, raises an alarm; it is
called off by a candidate that resembles what was there before it. Of the last 29 good frames the newest is read and the
five that scored best. A box prompt comes with its center.

The program keeps its history and banks on the network and does not clear them, so that its published numbers depend on
the order of the videos; here they belong to the track. A defect of it is an option: in preset `b`, a mask after an
empty one counts as one that jumped. From a mask prompt it learns the decoder's mask, here the given one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MosamError
from mosam.policies.base import (
    POLICIES,
    About,
    Candidate,
    Choice,
    Entry,
    ImageSide,
    MemoryPolicy,
    PrototypeNeeds,
    Ranges,
    ReadPlan,
    TrackInfo,
    Update,
    check_ranges,
)
from mosam.policies.kalman import BoxFilter, corners_iou
from mosam.policies.lstm import BoxLstm, with_changes
from mosam.policies.sam2 import conditioning_pointers, conditioning_slots, recent_pointers
from mosam.policies.samurai import FIRST_REMEMBERED
from mosam.policies.topk import newest_and_best, slots_by_rank

HISTORY = 5  # boxes from which the next one is expected
BANK = 5  # good frames that a doubtful one is compared with
WEIGHTS = "samosa-motion"
SCORE_WEIGHT = 0.3  # of predicted IoU, presence and agreement alike in what a memory is worth


@dataclass(frozen=True, slots=True)
class Preset:
    """Thresholds that were published together: `a` for videos of all kinds, `b` for small aircraft."""

    error_overlap: float
    recovery_shape: float
    recovery_size: float
    recovery_feature: float
    recovery: Literal["first", "best"]


PRESETS = {"a": Preset(0.0, 0.1, 0.1, 0.4, "first"), "b": Preset(0.05, 0.4, 0.4, 0.6, "best")}


@dataclass(frozen=True, slots=True)
class SamosaConfig:
    """Parameters of `samosa`; the defaults are the published ones.

    Attributes:
        preset: `a` (LaSOText, OTB, TrackingNet, Anti-UAV410) or `b` (Anti-UAV300, DUT Anti-UAV): where the thresholds
            come from that are not given.
        motion: what expects the next box: the program's `lstm`, whose weights are fetched, or a `kalman` filter of the
            same five boxes, which needs none.
        center: a box prompt comes with its center as a point on the object.
        iou_weight: weight of the predicted IoU in the choice,
        motion_weight: of the IoU with the expected box,
        shape_weight: of the likeness of shapes with it,
        size_weight: and of sizes.
        stable_iou: predicted IoU of a good frame; below it the history of boxes starts again.
        presence: masks are kept where the presence logit is above this (the memory's own test stays at 0).
        pool: newest good frames that may be read: those whose
        memory_iou: predicted IoU is above this,
        memory_presence: presence logit above this,
        memory_motion: and IoU with the expected box, if there was one, above this.
        errors: notice errors and recover from them.
        error_overlap: an error is an IoU of two masks in a row below this (0 = never; None = by the preset),
        error_shape: a second difference of w/h beyond this,
        error_size: one of the area, over the area two frames back, beyond this,
        error_feature: or a cosine of the features under the mask with those of the last good ones below this.
        recovery_shape: a candidate ends the error if its shape is as like the mean box before it as this,
        recovery_size: its size too,
        recovery_feature: and the cosine of its features is at least this.
        recovery: of several such candidates the `first` or the `best` one is taken (None = by the preset).
        after_empty: overlap of a mask with an empty one before it: not looked at (`skip`), or an `error` as in the
            program.
    """

    RANGES: ClassVar[Ranges] = {
        "iou_weight": (0, 1),
        "motion_weight": (0, 1),
        "shape_weight": (0, 1),
        "size_weight": (0, 1),
        "stable_iou": (0, 1),
        "presence": (-100, 100),
        "pool": (1, 100),
        "memory_iou": (0, 1),
        "memory_presence": (-100, 100),
        "memory_motion": (0, 1),
        "error_overlap": (0, 1),
        "error_shape": (0, 1000),
        "error_size": (0, 1000),
        "error_feature": (-1, 1),
        "recovery_shape": (0, 1),
        "recovery_size": (0, 1),
        "recovery_feature": (-1, 1),
    }

    preset: Literal["a", "b"] = "a"
    motion: Literal["lstm", "kalman"] = "lstm"
    center: bool = True
    iou_weight: float = 0.85
    motion_weight: float = 0.15
    shape_weight: float = 0.15
    size_weight: float = 0.10
    stable_iou: float = 0.3
    presence: float = -1.0
    pool: int = 29
    memory_iou: float = 0.5
    memory_presence: float = 0.0
    memory_motion: float = 0.0
    errors: bool = True
    error_overlap: float | None = None
    error_shape: float = 10.0
    error_size: float = 10.0
    error_feature: float = 0.1
    recovery_shape: float | None = None
    recovery_size: float | None = None
    recovery_feature: float | None = None
    recovery: Literal["first", "best"] | None = None
    after_empty: Literal["skip", "error"] = "skip"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {self.preset!r}")
        check_ranges(self)

    def thresholds(self) -> Preset:
        """The preset's, with those that are given."""
        given = {name: getattr(self, name) for name in Preset.__slots__}
        return replace(PRESETS[self.preset], **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What the last good frames were like, and whether there has been an error since.

    Attributes:
        error: the alarm is on.
        boxes: newest boxes of theirs, oldest first.
        prototypes: newest features under their masks, likewise.
        mask: the newest mask as bits; None where it is empty or was not looked at.
        empty: the newest mask is empty.
    """

    error: bool = False
    boxes: tuple[NDArray[np.float64], ...] = ()
    prototypes: tuple[NDArray[np.float64], ...] = ()
    mask: NDArray[np.uint8] | None = None
    empty: bool = False

    @property
    def usual_prototype(self) -> NDArray[np.float64]:
        """(width,) mean of the features."""
        return np.mean(self.prototypes, axis=0)

    def learn(
        self, box: NDArray[np.float64] | None, prototype: NDArray[np.float64] | None, mask: NDArray[np.uint8] | None
    ) -> Watch:
        """One more good frame; None of a box or prototype leaves out what an empty mask does not have."""
        return Watch(
            boxes=self.boxes if box is None else (*self.boxes, box)[-BANK:],
            prototypes=self.prototypes if prototype is None else (*self.prototypes, prototype)[-BANK:],
            mask=mask,
            empty=box is None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class SamosaState:
    """What a track remembers.

    Attributes:
        track: whose state this is.
        conditioning: prompted entries in order of arrival.
        recent: entries of the last 15 frames, oldest first.
        good: newest entries that may be read with what they are worth, oldest first.
        history: newest boxes in a row as steps of the motion model, oldest first.
        agreement: of the mask just chosen with the expected box; None while there is none.
        watch: for errors.
    """

    track: TrackInfo
    conditioning: tuple[Entry, ...]
    recent: tuple[Entry, ...] = ()
    good: tuple[tuple[Entry, float], ...] = ()
    history: tuple[NDArray[np.float64], ...] = ()
    agreement: float | None = None
    watch: Watch = Watch()


@POLICIES.register("samosa")
class Samosa(MemoryPolicy):
    """Learned motion, errors noticed, memory by score."""

    name = "samosa"
    Config = SamosaConfig
    about = About(
        memory="of the last 29 good frames the newest, and the five that scored best",
        mask="mix of predicted IoU and the likeness to the box that a small LSTM expects; after an error, the one that "
        "resembles the object before it",
        parameters="Zhu et al. 2026; `preset=a|b`, `motion=kalman`; `after_empty=error` reproduces a defect of its "
        "program",
    )
    needs_boxes = True

    def __init__(self, config: SamosaConfig):
        super().__init__(config)
        self.presence_threshold = config.presence
        self.adds_center = config.center
        self.prototypes = PrototypeNeeds("memory", "share") if config.errors else None
        self.weights = WEIGHTS if config.motion == "lstm" else None
        self._limits = config.thresholds()
        self._lstm: BoxLstm | None = None

    def receive(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """The motion model's weights."""
        self._lstm = BoxLstm(arrays)

    def live_features(self, info: TrackInfo) -> int:
        """The prompted frame, and all that may be read."""
        return 1 + self.config.pool

    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """See `MemoryPolicy.start`."""
        return self.prompted(SamosaState(track, ()), entry.frame, entry)

    def prompted(self, state: SamosaState, t: int, entry: Entry) -> Update:
        """See `MemoryPolicy.prompted`."""
        watch = self._watched(state.watch, entry, None)
        return self._keep(replace(state, conditioning=(*state.conditioning, entry), watch=watch), t)

    def read(self, state: SamosaState, t: int) -> ReadPlan:
        """The prompted frames and the good ones that are worth most, counted by rank."""
        track, span = state.track, state.track.pointer_span(t)
        prompted = conditioning_slots(track, state.conditioning)
        room, good = track.slots - len(prompted), state.good[-self.config.pool :]
        best = newest_and_best(good, room, lambda items: np.array([worth for _, worth in items])) if room > 0 else ()
        pointers = conditioning_pointers(track, state.conditioning, t) + recent_pointers(state.recent, t, span)
        return ReadPlan(prompted + slots_by_rank([entry for entry, _ in best]), pointers, span)

    def choose(self, states: Sequence[SamosaState], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """Highest predicted IoU until there is a history, then the highest score, or what ends an error."""
        state = states[0]
        boxes = [candidate.box for candidate in candidates if candidate.box is not None]
        iou = np.array([candidate.iou for candidate in candidates])
        best, agreement, watch = int(iou.argmax()), None, state.watch
        if len(state.history) == HISTORY:
            expected = self._expected(state.history)
            scores = self._scores(iou, boxes, expected)
            best = int(scores.argmax())
            if watch.error:
                best, watch = self._recovered(watch, candidates, boxes, scores, best)
            agreement = corners_iou(expected, boxes[best])
        history = self._history(state.history, float(iou[best]), boxes[best])
        state = replace(state, history=history, agreement=agreement, watch=watch)
        return [Choice(best, state, log={"motion": agreement, "stable": len(history)})]

    def memorized(self, state: SamosaState, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Remember the frame if it is good, and look for an error; its pointer is kept either way."""
        good = state.good
        if self._worthy(state, entry):
            good = self.newest((*good, (entry, worth(entry, state.agreement))), self.config.pool)
        watch = self._watched(state.watch, entry, image_side)
        state = replace(state, recent=(*state.recent, entry), good=good, watch=watch)
        return replace(self._keep(state, t), log={"error": watch.error})

    # motion

    def _expected(self, history: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
        """(4,) corners of the next box."""
        if self.config.motion == "kalman":
            return filtered(history)
        if self._lstm is None:
            raise MosamError("samosa: motion=lstm expects its weights (`receive`), got none; use motion=kalman")
        return self._lstm.expected(history)

    def _scores(
        self, iou: NDArray[np.float64], boxes: Sequence[NDArray[np.float64]], expected: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        config = self.config
        agreement = np.array([corners_iou(expected, box) for box in boxes])
        shape, size = (np.array([like(expected, box) for box in boxes]) for like in (shape_likeness, size_likeness))
        likeness = config.shape_weight * shape + config.size_weight * size
        return config.motion_weight * agreement + config.iou_weight * iou + likeness

    def _history(
        self, history: tuple[NDArray[np.float64], ...], iou: float, box: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], ...]:
        """One box more; none after a bad frame, but the first in a row is taken whatever it is."""
        threshold = self.config.stable_iou
        good = iou >= threshold if len(history) == HISTORY else iou > threshold or not history
        return (*history, with_changes(box, history[-1] if history else None))[-HISTORY:] if good else ()

    # memory

    def _worthy(self, state: SamosaState, entry: Entry) -> bool:
        config = self.config
        return (
            state.track.local(entry.frame) >= FIRST_REMEMBERED
            and entry.iou > config.memory_iou
            and entry.object_score > config.memory_presence
            and (state.agreement is None or state.agreement > config.memory_motion)
        )

    def _keep(self, state: SamosaState, t: int) -> Update:
        """Keep what frame `t + 1` or any later one can read."""
        if self.keep_everything:
            everything = state.conditioning + state.recent
            return Update(state, everything, everything)
        recent = tuple(entry for entry in state.recent if t + 1 - entry.frame < state.track.pointers)
        state = replace(state, recent=recent)
        features = state.conditioning + tuple(entry for entry, _ in state.good)
        return Update(state, features, state.conditioning + recent)

    # errors

    def _watched(self, watch: Watch, entry: Entry, image_side: ImageSide | None) -> Watch:
        """What is known after a frame: an error, or one more good frame."""
        if not self.config.errors or watch.error:
            return watch
        box = entry.box if entry.box is not None and np.any(entry.box) else None
        mask = None
        if self._limits.error_overlap > 0 and image_side is not None and box is not None:
            mask = np.packbits(image_side.at_network_size()[0])
        prototype = entry.prototype if entry.area > 0 else None
        if self._is_error(watch, box, prototype, mask):
            return replace(watch, error=True)
        return watch.learn(box, prototype, mask)

    def _is_error(
        self,
        watch: Watch,
        box: NDArray[np.float64] | None,
        prototype: NDArray[np.float64] | None,
        mask: NDArray[np.uint8] | None,
    ) -> bool:
        """The mask is too unlike the last good ones."""
        if len(watch.boxes) < 2:
            return False
        if mask is not None and self._overlap(watch, mask) < self._limits.error_overlap:
            return True
        if box is not None and self._jumps((*watch.boxes[-2:], box)):
            return True
        if prototype is None or not watch.prototypes:
            return False
        return cosine(prototype, watch.usual_prototype) < self.config.error_feature

    def _overlap(self, watch: Watch, mask: NDArray[np.uint8]) -> float:
        """IoU with the mask before; 1 where there is none to compare with."""
        if watch.mask is None:
            return 0.0 if watch.empty and self.config.after_empty == "error" else 1.0
        both, either = (int(np.unpackbits(bits).sum()) for bits in (mask & watch.mask, mask | watch.mask))
        return both / either if either else 0.0

    def _jumps(self, boxes: Sequence[NDArray[np.float64]]) -> bool:
        """Shape or size of the last of three boxes in a row changed too suddenly."""
        sides = [box[2:] - box[:2] for box in boxes]
        shapes = [side[0] / max(side[1], 1) for side in sides]
        sizes = [side.prod() / max(sides[0].prod(), 1) for side in sides]
        shape, size = (abs((c - b) - (b - a)) for a, b, c in (shapes, sizes))
        return bool(shape > self.config.error_shape or size > self.config.error_size)

    def _recovered(
        self,
        watch: Watch,
        candidates: Sequence[Candidate],
        boxes: Sequence[NDArray[np.float64]],
        scores: NDArray[np.float64],
        best: int,
    ) -> tuple[int, Watch]:
        """The candidate that resembles what was there before the error, and no alarm; `best` where none does."""
        if not watch.boxes or not watch.prototypes:
            return best, replace(watch, error=False)
        usual, limits = np.mean(watch.boxes, axis=0), self._limits
        fit = [
            i
            for i, (candidate, box) in enumerate(zip(candidates, boxes, strict=True))
            if size_likeness(usual, box) >= limits.recovery_size
            and shape_likeness(usual, box) >= limits.recovery_shape
            and self._familiar(watch, candidate) >= limits.recovery_feature
        ]
        if not fit:
            return best, watch
        return (fit[0] if limits.recovery == "first" else max(fit, key=lambda i: scores[i])), Watch()

    def _familiar(self, watch: Watch, candidate: Candidate) -> float:
        """Cosine of a candidate's features with the usual ones; 0 where it is empty."""
        if candidate.area == 0 or candidate.prototype is None:
            return 0.0
        return cosine(candidate.prototype, watch.usual_prototype)


def worth(entry: Entry, agreement: float | None) -> float:
    """What a memory is worth: predicted IoU, presence and agreement with the expected box.

    >>> round(worth(Entry(3, "track", 0.0, 0.8, 50), None), 3)
    0.39
    """
    presence = 1 / (1 + math.exp(-min(max(entry.object_score, -100), 100)))
    return SCORE_WEIGHT * (entry.iou + presence + (agreement or 0.0))


def filtered(history: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(4,) corners of the box after some steps of (8,), as a Kalman filter of them expects it."""
    first, *others = (np.concatenate((step[:2], step[:2] + step[2:4])) for step in history)
    known = BoxFilter.start(first)
    for box in others:
        known = known.predict().update(box)
    return known.predict().corners


def shape_likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The smaller of two boxes' w/h over the larger; 1 where both are flat, 0 where one is.

    >>> shape_likeness(np.array([0.0, 0, 4, 2]), np.array([0.0, 0, 4, 4]))
    0.5
    """
    (wa, ha), (wb, hb) = a[2:] - a[:2], b[2:] - b[:2]
    if ha == 0 or hb == 0:
        return float(ha == hb)
    return _ratio(wa / ha, wb / hb)


def size_likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The smaller of two boxes' areas over the larger; 1 where both are 0."""
    return _ratio(float((a[2:] - a[:2]).prod()), float((b[2:] - b[:2]).prod()))


def _ratio(a: float, b: float) -> float:
    if a < 0 or b < 0:
        return 0.0
    return 1.0 if a == b == 0 else float(min(a, b) / max(a, b))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of two vectors; 0 where either is 0."""
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0
