"""The values that cross module borders: prompts in, per-frame outputs out.

Arrays follow one convention everywhere: a box is float64 `(4,)` as `x, y, w, h` in pixels, exactly as annotated,
with `x + w` the exclusive right edge; a mask is bool `(H, W)`; an image is uint8 RGB `(H, W, 3)`; a size is
`(height, width)`. A box that does not exist is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Where one object is on one frame: a mask, or a box and/or points.

    Attributes:
        object_id: the object's permanent number, >= 1, as annotated.
        frame_index: 0-based frame the prompt is given on.
        mask: (H, W) bool, or None.
        box: (4,) float64 x, y, w, h in pixels, or None.
        points: (N, 2) float64 x, y in pixels, or None.
        labels: (N,) int64, 1 = on the object, 0 = not on it; one per point.
    Raises:
        ValueError: nothing given, a mask together with a box or points, or a degenerate box, mask or point list.
    """

    object_id: int
    frame_index: int = 0
    mask: Mask | None = None
    box: Box | None = None
    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        where = f"prompt of object {self.object_id} on frame {self.frame_index}"
        if self.object_id < 1:
            raise ValueError(f"{where}: expected an object id >= 1")
        if self.frame_index < 0:
            raise ValueError(f"{where}: expected a frame index >= 0")
        if self.mask is not None:
            if self.box is not None or self.points is not None:
                raise ValueError(f"{where}: expected a mask or a box with points, got both")
            if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
                raise ValueError(f"{where}: expected a bool (H, W) mask, got {self.mask.dtype} {self.mask.shape}")
            return
        if self.box is None and self.points is None:
            raise ValueError(f"{where}: expected a mask, a box or points, got none of them")
        if self.box is not None:
            _check_box(self.box, where)
        if self.points is not None:
            _check_points(self.points, self.labels, where)

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
    """

    mask: Mask
    object_score: float
    iou: float
    log: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """All objects tracked on one frame.

    Attributes:
        frame_index: 0-based.
        objects: by object id; an object that has not started yet is not in it.
    """

    frame_index: int
    objects: Mapping[int, ObjectOutput] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MotionNeeds:
    """Which motion a policy reads.

    Attributes:
        sparse, dense: names of estimators, or `off`.
        points: points of a forecast.
        source: `measured` uses the pixels of frame t; `extrapolated` carries the motion t-2 -> t-1 one step further.
        beside: also keep what was seen beside each object (`mosam.motion.beside`), for `Candidate.beside`; reads the
            flow to frame t.
    """

    sparse: str
    dense: str
    points: int
    source: Literal["measured", "extrapolated"]
    beside: bool = False


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
