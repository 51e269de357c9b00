"""The policy interface: which memories a track reads, which mask it takes, what it keeps.

A policy answers five questions a frame (`start`, `read`, `guide`, `choose`, `memorized`) on small host records; it
never touches a tensor. All per-pixel and network work is named in its answers and done by the engine. State belongs to
one hypothesis of one track and is immutable: `choose` and `memorized` return the next state, so that hypotheses can
fork and nothing outlives a track.

Frame numbers in this file are clip indices `t`; a policy that counts from the start of the track uses
`TrackInfo.local(t)`.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MosamError, UnknownNameError
from mosam.registry import Registry
from mosam.system.option_names import DELETED, present_options
from mosam.system.option_values import convert, shown
from mosam.types import Forecast, Mask, MotionNeeds, Retraced, Size

POLICIES: Registry[type[MemoryPolicy]] = Registry(
    "tracker", "mosam.policies", accepts=lambda item: isinstance(item, type) and issubclass(item, MemoryPolicy)
)

T = TypeVar("T")
Ranges: TypeAlias = Mapping[str, tuple[float, float]]  # of numbers of a configuration, ends included
PointerNorm = Literal["policy", "length", "fixed16", "seen"]


@dataclass(frozen=True, slots=True)
class TrackInfo:
    """What a policy may know of the track it serves.

    Attributes:
        object_id: permanent id of the object.
        start: clip index of the frame the object was first prompted on.
        num_frames: length of the whole clip, or None for a stream.
        size: (height, width) of the video.
        slots: memory slots of the network, the conditioning one included (7 in SAM 2.1).
        pointers: object pointers it attends to at most (16).
        conditioning: prompted frames it attends to at most; None = all.
        model: name of the network; some published settings depend on its size.
        pointer_norm: what divides pointer distances; `policy` leaves it to the policy.
    """

    object_id: int
    start: int
    num_frames: int | None
    size: Size
    slots: int
    pointers: int
    model: str = ""
    pointer_norm: PointerNorm = "policy"
    conditioning: int | None = None

    def attended(self, prompted: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Those of the prompted frames that the network attends to: the newest."""
        return prompted if self.conditioning is None else prompted[-self.conditioning :]

    def local(self, t: int) -> int:
        """Frames since the start of the track."""
        return t - self.start

    def pointer_span(self, t: int, own: Literal["length", "fixed16", "seen"] = "length") -> int:
        """P_eff: how many pointers are attended to at frame `t`; distances are divided by `P_eff - 1`.

        `length` is min(frames of the clip, 16), with 16 where the length is not known; `seen` counts the frames so far.
        """
        norm = own if self.pointer_norm == "policy" else self.pointer_norm
        if norm == "seen":
            return min(self.local(t) + 1, self.pointers)
        if norm == "fixed16" or self.num_frames is None:
            return self.pointers
        return min(self.num_frames, self.pointers)


@dataclass(slots=True, eq=False)
class Entry:
    """All that is kept of one processed frame of one hypothesis.

    Attributes:
        frame: clip index.
        kind: `prompt` (conditioning frame), `anchor` (promoted to one) or `track`.
        object_score: presence logit.
        iou: predicted IoU of the mask that was memorized; 1 for a mask prompt.
        area: its pixels at low resolution; 0 = absent.
        feature_row: row of its memory in the feature pool; None = not stored or given back.
        pointer_row: row of its object pointer in the pointer pool, likewise.
        reliability_row: row of its pixel reliability, where the policy asked for one.
        view_row: row of the frame's features in the pool of views, where the policy asked for views.
        cells_row: row of the cells of its mask, likewise.
        box: (4,) of its mask as in `Candidate`, where the policy reads boxes.
        prototype: (width,) of its mask as in `Candidate`, where the policy reads prototypes.
    """

    frame: int
    kind: Literal["prompt", "anchor", "track"]
    object_score: float
    iou: float
    area: int
    feature_row: int | None = None
    pointer_row: int | None = None
    reliability_row: int | None = None
    view_row: int | None = None
    cells_row: int | None = None
    box: NDArray[np.float64] | None = None
    prototype: NDArray[np.float64] | None = None

    @property
    def visible(self) -> bool:
        """The object was found on this frame."""
        return self.object_score > 0 and self.area > 0


@dataclass(frozen=True, slots=True)
class SlotRead:
    """One memory slot to attend to.

    Attributes:
        entry: whose memory.
        temporal: index of the learned temporal vector: `slots - 1` for conditioning, `r - 1` for r steps back.
        key_scale: factor on its keys before projection.
        filtered: apply the pixel filter of the plan to it.
    """

    entry: Entry
    temporal: int
    key_scale: float = 1.0
    filtered: bool = False


@dataclass(frozen=True, slots=True)
class PointerRead:
    """One object pointer to attend to, `position` frames away (signed, before normalization)."""

    entry: Entry
    position: float
    key_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class PixelFilter:
    """How unreliable pixels of a filtered slot lose weight (see the MoSAM policy): `bias` or `drop`."""

    mode: Literal["bias", "drop"]
    tau: float


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What one hypothesis attends to on one frame, in token order.

    Attributes:
        slots: conditioning entries first, then others oldest first.
        pointers: conditioning pointers first, then newest first.
        span: P_eff; positions are divided by `span - 1`.
        pixel_filter: for the slots marked `filtered`.
    """

    slots: tuple[SlotRead, ...]
    pointers: tuple[PointerRead, ...]
    span: int
    pixel_filter: PixelFilter | None = None


@dataclass(frozen=True, slots=True)
class PrototypeNeeds:
    """Of what a prototype is the mean.

    Attributes:
        features: the frame's own (`frame`), or those conditioned on memory that the mask was decoded from (`memory`).
        cells: weighted by the `share` of a cell that the mask covers, or over the cells that lie in it (`inside`).
    """

    features: Literal["frame", "memory"]
    cells: Literal["share", "inside"]


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """A dense prompt: where a frame looks like the object in some memories rather than like what was around it there.

    Attributes:
        entries: the memories; candidates are also checked against them (`Candidate.cycle_iou`).
        near: the one of them near whose mask the object is expected.
    """

    entries: tuple[Entry, ...]
    near: Entry


@dataclass(frozen=True, slots=True, eq=False)
class MotionPrompt:
    """What a policy expects of a frame: a mask to compare candidates with, and possibly an extra prompt.

    The prompt is decoded on the memory-conditioned features, beside the decode without prompt.

    Attributes:
        expected: (side, side) bool for `Candidate.motion_iou`, or None.
        trust: in it, for `Candidate.motion_trust`.
        box: (4,) x0, y0, x1, y1 as fractions of the picture, or None.
        points: (N, 2) x, y as fractions, all on the object, or None.
        likeness: a dense prompt, of which all candidates are offered (of a box or points the best one); goes alone.
        log: what to record.
    """

    expected: NDArray[np.bool_] | None = None
    trust: float = 0.0
    box: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    log: Mapping[str, object] | None = None
    likeness: Likeness | None = None

    @property
    def prompts(self) -> bool:
        """There is something to decode with."""
        return self.box is not None or self.points is not None or self.likeness is not None


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One mask the decoder offers.

    Attributes:
        hypothesis: index of the hypothesis it comes from.
        source: `free` = decoded without prompt, `guided` = with the policy's guide.
        index: output of the decoder call it came from.
        iou: predicted IoU in [0, 1].
        object_score: presence logit of that decode.
        area: pixels at low resolution, 0 where blanked as absent.
        box: (4,) inclusive x0, y0, x1, y1 of the mask at network input size, zeros where empty; only if `needs_boxes`.
        motion_iou: IoU with the mask that motion expects; None where the guide gave none.
        motion_trust: how far to trust that mask, in [0, 1].
        distractors: mean of the distractor map over its pixels, in [0, 1]; None where there is no map.
        retraced: follows its points back when called and says how well they meet the mask shown some frames ago; None
            where the policy's motion names no point tracker.
        prototype: (width,) mean of the features under it, zeros where it lies on no cell; only if `prototypes` says so.
        cycle_iou: IoU of the masks in the memories of the guide's `likeness` with where these memories look like this
            mask; None where the guide gave none.
    """

    hypothesis: int
    source: Literal["free", "guided"]
    index: int
    iou: float
    object_score: float
    area: int
    box: NDArray[np.float64] | None = None
    motion_iou: float | None = None
    motion_trust: float = 0.0
    distractors: float | None = None
    retraced: Callable[[], Retraced] | None = None
    prototype: NDArray[np.float64] | None = None
    cycle_iou: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One surviving hypothesis: which candidate it takes.

    Attributes:
        candidate: index into the candidates.
        state: the state to go on with.
        memory: `sigmoid` as SAM 2 does on tracked frames, `skip` where the memory can never be read.
        remask: pixels with reliability below this become sure background before memorizing; None = off.
        absent: the object is not there, whatever the candidate says: its mask is blanked, its presence logit negated.
        log: what to record of this frame.
    """

    candidate: int
    state: Any
    memory: Literal["sigmoid", "skip"] = "sigmoid"
    remask: float | None = None
    absent: bool = False
    log: Mapping[str, object] | None = None


class ImageSide(Protocol):
    """Masks of the finished frame at video size, computed only when asked for, and what else is on it."""

    def chosen(self) -> Mask:
        """(H, W) the mask that is shown."""

    def alternatives(self) -> NDArray[np.bool_]:
        """(K, H, W) the other candidates of the same decode, logits > 0, no hole filling."""

    def probability(self) -> float:
        """Mean probability of the chosen candidate's own pixels, of its low-resolution logits; 0 where it is empty."""

    def at_network_size(self) -> NDArray[np.bool_]:
        """(1 + K, image, image) the chosen candidate, then the others, at network input size; no hole filling."""

    def together(self) -> tuple[Entry, ...]:
        """Entries of all objects of the video that are followed on this frame, this one among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What a hypothesis can still read after this frame; everything else is given back at once.

    Attributes:
        state: the state to go on with.
        features: entries whose memory may still be read.
        pointers: entries whose pointer may still be read.
        reencode: encode this frame's memory again from the binarized low-resolution mask (DAM4SAM's promotion).
        log: what to record of this frame, added to the choice's.
    """

    state: Any
    features: tuple[Entry, ...]
    pointers: tuple[Entry, ...]
    reencode: bool = False
    log: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class About:
    """A tracker in the comparison table of the documentation, which `docs/tables.py` writes.

    Attributes:
        memory: what it reads.
        mask: which mask it takes.
        parameters: where they come from.
    """

    memory: str = "-"
    mask: str = "highest predicted IoU"
    parameters: str = "-"


class MemoryPolicy(ABC):
    """What a tracker remembers and takes: see `mosam.policies.sam2` for the plainest answers.

    Class attributes:
        Config: frozen dataclass of its parameters: the command line's options and the record in `run.json`.
        about: how it compares with the others.
        hypotheses: most hypotheses a track can have.
        presence_threshold: masks are blanked and pointers replaced where the presence logit is not above it. The
            memory's own no-object vector always goes by 0.
        needs_boxes: candidates carry boxes.
        prototypes: candidates and entries carry prototypes, of what; None = they carry none.
        keeps_views: memories keep what `Likeness` compares: the frame's features, and which cells its mask lies on.
        weights: name of a published file of numbers that `receive` gets before the first track; None = none.
        needs_reliability: the reliability of each token of a memory is kept with it (pixel filter).
        needs_memory_grid: the option that cuts single cells out of memories, which not every network's have; or None.
        starts_from_masks: a box prompt is decoded to a mask, and the track starts from that mask.
        adds_center: a box prompt comes with its center as a point on the object.
        emit: `online` = masks are final at once; `final` = a later frame may change them.
        keep_everything: forget nothing. For debugging: a policy must read, choose and answer exactly as it does when it
            forgets, or it forgot something that it can still read.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    about: ClassVar[About] = About()
    hypotheses: int = 1
    presence_threshold: float = 0.0
    needs_boxes: bool = False
    prototypes: PrototypeNeeds | None = None
    keeps_views: bool = False
    weights: str | None = None
    needs_reliability: bool = False
    needs_memory_grid: str | None = None
    starts_from_masks: bool = False
    adds_center: bool = False
    emit: Literal["online", "final"] = "online"
    keep_everything: bool = False

    def __init__(self, config: Any):
        self.config = config

    @property
    def label(self) -> str:
        """Name with the options that differ from their defaults: `mosam[stride=3]`."""
        default = self.Config()
        changed = {
            f.name: getattr(self.config, f.name)
            for f in dataclasses.fields(self.config)
            if getattr(self.config, f.name) != getattr(default, f.name)
        }
        options = ",".join(f"{key}={shown(value)}" for key, value in changed.items())
        return f"{self.name}[{options}]" if options else self.name

    def newest(self, items: tuple[T, ...], count: int) -> tuple[T, ...]:
        """The newest `count` (at least 1) of what a state remembers, oldest first; all of it with `keep_everything`."""
        return items if self.keep_everything else items[-count:]

    def live_features(self, info: TrackInfo) -> int:
        """Most memory entries one track keeps at once (sizes the feature pool)."""
        return info.slots * self.hypotheses

    @abstractmethod
    def start(self, track: TrackInfo, entry: Entry) -> Update:
        """First prompt of a track: the initial state and what it keeps."""

    @abstractmethod
    def prompted(self, state: Any, t: int, entry: Entry) -> Update:
        """A later prompt of the same object: `entry` is one more conditioning frame."""

    @abstractmethod
    def read(self, state: Any, t: int) -> ReadPlan:
        """What to attend to on frame `t`."""

    def receive(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:  # noqa: B027
        """The arrays of the file that `weights` names."""

    def motion(self) -> MotionNeeds | None:
        """What motion to estimate, or None where the policy reads none."""
        return None

    def guide(self, state: Any, t: int, forecast: Callable[[], Forecast | None]) -> MotionPrompt | None:
        """What to expect of frame `t`; `forecast` computes what motion says of it, None where there is no motion."""
        return None

    def skip_guided_decode(self, state: Any, t: int, free: Sequence[Candidate]) -> str | None:
        """Why the guide's prompt need not be decoded, seeing the candidates made without it; None where it must be."""
        return None

    def choose(self, states: Sequence[Any], t: int, candidates: Sequence[Candidate]) -> list[Choice]:
        """Which candidates live on, best first; the first one is shown. Default: highest predicted IoU."""
        best = int(np.argmax([candidate.iou for candidate in candidates]))
        return [Choice(best, states[0])]

    @abstractmethod
    def memorized(self, state: Any, t: int, entry: Entry, image_side: ImageSide) -> Update:
        """Frame `t` is memorized as `entry`: the next state and what it keeps."""


def check_ranges(config: Any) -> None:
    """ValueError where a number of a configuration is outside of its class's `RANGES`; None is in every range."""
    for name, (least, most) in config.RANGES.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"{name}: expected {least}..{most}, got {value:g}")


def load_policy(name: str, **options: Any) -> MemoryPolicy:
    """A policy by name, with its parameters.

    Args:
        name: a registered tracker: `sam2`, `samurai` ...
        options: fields of its `Config`; values are converted to the field's type, strings as on the command line.
    Raises:
        UnknownNameError: unknown tracker or field (lists the known ones).
        MosamError: a value of the wrong type or out of range.
        ValueError: a name that is no text.
    """
    cls = POLICIES[name]
    fields = {f.name: f for f in dataclasses.fields(cls.Config)}
    hints = typing.get_type_hints(cls.Config)
    values = {}
    for key, value in present_options(POLICIES.canonical(name), options).items():
        if key in DELETED.get(name, {}):
            raise MosamError(
                f"{name}: {key} was removed, only {key}={shown(DELETED[name][key])} is left (docs/notes.md)"
            )
        if key not in fields:
            raise UnknownNameError("option", key, fields, where=name)
        values[key] = convert(str(value), hints[key], f"{name}[{key}]")
    try:
        return cls(cls.Config(**values))
    except ValueError as error:
        raise MosamError(f"{name}: {error}") from error


def parse_tracker(text: str) -> tuple[str, dict[str, str]]:
    """`mosam[stride=3,mgp=off]` -> its name and its options as text.

    >>> parse_tracker("mosam[stride=3,mgp=off]")
    ('mosam', {'stride': '3', 'mgp': 'off'})
    """
    match = re.fullmatch(r"\s*([^\[\]\s]+)\s*(?:\[(.*)\])?\s*", text)
    if match is None:
        raise MosamError(f"tracker {text!r}: expected name or name[option=value,...]")
    name, inside = match.groups()
    options: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in (inside or "").split(","))):
        key, sign, value = part.partition("=")
        if not sign:
            raise MosamError(f"tracker {text!r}: expected option=value, got {part!r}")
        options[key.strip()] = value.strip()
    return name, options
