"""The values that cross module borders: prompts in, per-frame outputs out.

Arrays follow one convention everywhere: a box is float64 `(4,)` as `x, y, w, h` in pixels, exactly as annotated,
with `x + w` the exclusive right edge; a mask is bool `(H, W)`; an image is uint8 RGB `(H, W, 3)`; a size is
`(height, width)`. A box that does not exist is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.system.arguments import described, numbers, whole

Box = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Where one object is on one frame: a mask, or a box and/or points.

    Lists and tuples are taken where arrays are meant.

    Attributes:
        object_id: the object's permanent number, >= 1, as annotated.
        frame_index: 0-based frame the prompt is given on.
        mask: (H, W) bool, or None.
        box: (4,) float64 x, y, w, h in pixels, or None.
        points: (N, 2) float64 x, y in pixels, or None.
        labels: (N,) int64, 1 = on the object, 0 = not on it; one per point.
    Raises:
        ValueError: nothing given, a mask together with a box or points, a box without area, an empty mask, points
            none of which is on the object (without a box), or anything of another type or shape.
    """

    object_id: int
    frame_index: int = 0
    mask: Mask | None = None
    box: Box | None = None
    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        where = f"prompt of object {self.object_id} on frame {self.frame_index}"
        self._set("object_id", whole(self.object_id, f"{where}: object id", 1))
        self._set("frame_index", whole(self.frame_index, f"{where}: frame index", 0))
        if self.mask is not None:
            if self.box is not None or self.points is not None:
                raise ValueError(f"{where}: expected a mask or a box with points, got both")
            self._set("mask", _as_mask(self.mask, where))
            return
        if self.box is None and self.points is None:
            raise ValueError(f"{where}: expected a mask, a box or points, got none of them")
        if self.box is not None:
            self._set("box", numbers(self.box, where, "a box of four finite numbers x,y,w,h"))
            _check_box(self.box, where)
        if self.points is not None:
            self._set("points", numbers(self.points, where, "(N, 2) finite points"))
        if self.labels is not None:
            self._set("labels", _as_labels(self.labels, where))
        if self.points is not None:
            _check_points(self.points, self.labels, where)
            if self.box is None and not np.any(self.labels):
                raise ValueError(f"{where}: expected a point on the object (label 1), got only points off it")
        elif self.labels is not None:
            raise ValueError(f"{where}: expected labels with points only, got labels and no points")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # as given, in the form that is meant

    @property
    def kind(self) -> str:
        """`mask`, `box` or `point`."""
        if self.mask is not None:
            return "mask"
        return "box" if self.box is not None else "point"


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPrompt(Prompt):
    """A mask prompt that the network made of a box; unlike one that is given, it may be empty."""

    def __post_init__(self) -> None:
        pass


def _as_mask(mask: Any, where: str) -> Mask:
    if isinstance(mask, list | tuple):
        try:
            listed = np.asarray(mask)
        except ValueError:  # rows of unequal lengths
            listed = np.array(None)
        mask = listed.astype(bool) if listed.dtype.kind in "biu" and np.isin(listed, (0, 1)).all() else mask
    if not isinstance(mask, np.ndarray):
        raise ValueError(f"{where}: expected a bool (H, W) mask, got {described(mask)}")
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"{where}: expected a bool (H, W) mask, got {mask.dtype} {mask.shape}")
    if not mask.any():
        raise ValueError(f"{where}: expected a mask with pixels, got an empty one of {mask.shape}")
    return mask


def _as_labels(labels: Any, where: str) -> NDArray[np.int64]:
    found = numbers(labels, where, "labels of 0 and 1")
    if not np.isin(found, (0, 1)).all():
        raise ValueError(f"{where}: expected one label, 0 or 1, for each point, got {described(labels)}")
    return found.astype(np.int64)


def _check_box(box: Box, where: str) -> None:
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"{where}: expected a box of four finite numbers x,y,w,h, got {box}")
    if box[2] <= 0 or box[3] <= 0:
        raise ValueError(f"{where}: expected a box with w > 0 and h > 0, got w={box[2]:g} h={box[3]:g}")


def _check_points(points: NDArray[np.float64], labels: NDArray[np.int64] | None, where: str) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(f"{where}: expected (N, 2) finite points with N >= 1, got shape {points.shape}")
    if labels is None or labels.shape != (len(points),) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"{where}: expected one label, 0 or 1, for each of {len(points)} points")


@dataclass(frozen=True, slots=True, eq=False)
class ObjectOutput:
    """What the tracker says of one object on one frame.

    Attributes:
        mask: (H, W) bool at video size; all False = absent.
        object_score: the presence logit; <= 0 means the model takes the object for absent.
        iou: predicted IoU of the mask, in [0, 1]; 1 on a mask-prompted frame.
        log: what the policy wants recorded of this frame (only filled when the engine was asked to log).
        box: (4,) x, y, w, h in pixels, where the tracker answers with boxes; results of boxes hold it as it is. None =
            they hold the box around the mask.
    """

    mask: Mask
    object_score: float
    iou: float
    log: Mapping[str, object] | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """All objects tracked on one frame.

    Attributes:
        frame_index: 0-based.
        objects: by object id; an object that has not started yet is not in it.
        seconds: the tracker took for this frame, where it was timed by itself; None = its share of the engine's step.
    """

    frame_index: int
    objects: Mapping[int, ObjectOutput] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MotionNeeds:
    """Which motion a policy reads.

    Attributes:
        sparse, dense: names of estimators, or `off`.
        points: points of a forecast.
        distractors: also keep a map of distractors (`mosam.motion.distractors`); reads the flow to frame t.
        tracker: name of a point tracker, or `off`: candidates can be followed back (`mosam.motion.retrace`).
        frames: how far, and
        skip_current: from the frame before the current one, as HiM2SAM's program does.
    """

    sparse: str
    dense: str
    points: int
    distractors: bool = False
    tracker: str = "off"
    frames: int = 0
    skip_current: bool = False

    @property
    def forecasts(self) -> bool:
        """Motion between two frames is read."""
        return self.sparse != "off" or self.dense != "off"


@dataclass(frozen=True, slots=True)
class Retraced:
    """How well a mask's points, followed back in time, meet the mask that was shown there.

    Attributes:
        dice: soft Dice of a heat map of the points and the old mask, in [0, 1].
        box: IoU of the boxes of the two, in [0, 1].
    """

    dice: float
    box: float


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Where motion says an object went between two frames; coordinates are fractions of the picture.

    Attributes:
        box: (4,) x0, y0, x1, y1 merged from both estimates and grown, or None where they give none.
        points: (N, 2) x, y inside the object, the surest first; may be empty.
        expected: (side, side) bool, the previous mask moved along; None where no estimate is valid.
        trust: of the estimate used, in [0, 1]; 0 where none is valid.
        trust_sparse, trust_dense: of each estimate, NaN where it was not made.
        previous_box: (4,) of the previous mask, or None where that was empty.
        survival: share of the points that only a scene cut can lose together that could be followed; NaN where there
            are none.
    """

    box: NDArray[np.float64] | None
    points: NDArray[np.float64]
    expected: NDArray[np.bool_] | None
    trust: float
    trust_sparse: float
    trust_dense: float
    previous_box: NDArray[np.float64] | None
    survival: float
