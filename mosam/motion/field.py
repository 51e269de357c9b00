"""Motion of a frame pair for every object at once: computed when a frame is read, ahead of the network.

All coordinates that leave this file are fractions of the picture, x and y in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MosamError
from mosam.motion.base import (
    FLOW_ESTIMATORS,
    POINT_ESTIMATORS,
    POINT_TRACKERS,
    FlowEstimator,
    PointEstimator,
    PointTracker,
    find_estimator,
)
from mosam.types import Image

WORKING_SIDE = 640  # longer side of the picture motion is estimated on; smaller pictures are not enlarged
LEAST_SIDE = 64  # but for sides below this: DIS refuses less than 12 pixels and crashes where a quarter is below 8
CONSISTENCY_SHARE, CONSISTENCY_PIXELS = 0.01, 0.5  # forward-backward test of Sundaram et al., ECCV 2010


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """Which estimators to run; `off` leaves one out.

    Attributes:
        sparse: a point estimator's name, or `off`.
        dense: a flow estimator's name, or `off`.
        side: side of the grid the flow is sampled on.
        frames: pictures that are kept before the current one, for a point tracker.
    """

    sparse: str
    dense: str
    side: int
    frames: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Motion between a picture and the next.

    Attributes:
        start, end: (N, 2) float32 points that survived the forward-backward check, as fractions.
        survival: share of the sentinel points that survived; NaN where there are none.
        backward: (side, side, 2) float32: from each cell of the current picture to the previous one, in fractions; None
            without dense motion.
        consistent: (side, side) bool: the flow leads there and back.
        shape: (h, w) of the working picture.
    """

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    survival: float
    backward: NDArray[np.float32] | None
    consistent: NDArray[np.bool_] | None
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class MotionPair:
    """What is known when a frame arrives: the motion from the one before; None on the first frame.

    `clip` has the working pictures of this frame and those before it, newest first, as many as a point tracker wants.
    """

    current: Motion | None
    clip: tuple[NDArray[np.uint8], ...] = ()


class MotionStream:
    """Motion along one video; keeps the last working picture, for a point tracker those before it, and nothing else.

    Args:
        settings: estimators to run. They are built on the first frame.
    """

    def __init__(self, settings: MotionSettings):
        self.settings = settings
        self._points: PointEstimator | None = None
        self._flow: FlowEstimator | None = None
        self._built = False
        self._clip: tuple[NDArray[np.uint8], ...] = ()  # newest first

    def push(self, image: Image) -> MotionPair:
        """Motion that ends at this frame; frames must come in order."""
        self._build()
        picture = _working_picture(image)
        current = self._between(self._clip[0], picture) if self._clip else None
        self._clip = (picture, *self._clip)[: 1 + self.settings.frames]
        return MotionPair(current, self._clip if self.settings.frames else ())

    def _build(self) -> None:
        if not self._built:
            self._points, self._flow = build_estimators(self.settings.sparse, self.settings.dense)
            self._built = True

    def _between(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Motion:
        h, w = after.shape[:2]
        scale = np.array([w, h], dtype=np.float32)
        start = end = np.empty((0, 2), np.float32)
        survival = float("nan")
        if self._points is not None:
            tracks = self._points.track(before, after)
            start, end = (tracks.start[tracks.kept] + 0.5) / scale, (tracks.end[tracks.kept] + 0.5) / scale
            survival = float(tracks.kept[tracks.sentinel].mean()) if tracks.sentinel.any() else float("nan")
        backward = consistent = None
        if self._flow is not None:
            backward, consistent = _sample_flow(*self._flow.flow(before, after), self.settings.side)
        return Motion(start, end, survival, backward, consistent, (h, w))


def build_estimators(sparse: str, dense: str) -> tuple[PointEstimator | None, FlowEstimator | None]:
    """The two estimators by name; None for `off`.

    Raises:
        UnknownNameError: no such name (lists the known ones).
        MissingDataError: weights that are not there (says how to get them and what to use instead).
        MosamError: a `package.module:Class` that cannot be imported or is no estimator.
    """
    points = None if sparse == "off" else find_estimator(POINT_ESTIMATORS, sparse)()
    flow = None if dense == "off" else find_estimator(FLOW_ESTIMATORS, dense)()
    for name, estimator, method in ((sparse, points, "track"), (dense, flow, "flow")):
        if estimator is not None and not callable(getattr(estimator, method, None)):
            raise MosamError(f"{name}: expected a class with {method}(previous, current), got {type(estimator)}")
    return points, flow


def build_tracker(name: str) -> PointTracker:
    """A point tracker by name; errors as `build_estimators`."""
    tracker = find_estimator(POINT_TRACKERS, name)()
    if not callable(getattr(tracker, "follow", None)):
        raise MosamError(f"{name}: expected a class with follow(clip, points), got {type(tracker)}")
    return tracker


@lru_cache(maxsize=4)
def cell_centers(side: int) -> NDArray[np.float32]:
    """(side, side, 2) x, y of the cells of a grid over the picture, as fractions; always the same array, read-only.

    >>> cell_centers(2)[0, 1].tolist()
    [0.75, 0.25]
    """
    line = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(line, line)
    centers: NDArray[np.float32] = np.stack([x, y], axis=-1, dtype=np.float32)
    centers.flags.writeable = False
    return centers


def sample(picture: NDArray, places: NDArray[np.float32], *, outside: float | None = None) -> NDArray:
    """Bilinear values of a picture (h, w) or (h, w, 2) at (..., 2) fractional places.

    Args:
        picture: values at cell centers.
        places: x, y as fractions of the picture.
        outside: value outside the picture; None = that of the nearest pixel.
    """
    import cv2

    h, w = picture.shape[:2]
    x = np.ascontiguousarray(places[..., 0] * w - 0.5, dtype=np.float32)
    y = np.ascontiguousarray(places[..., 1] * h - 0.5, dtype=np.float32)
    if outside is None:
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)


def _sample_flow(
    backward: NDArray[np.float32], forward: NDArray[np.float32], side: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Backward flow on a grid of cells, and where following it and coming back ends near the start."""
    h, w = backward.shape[:2]
    scale = np.array([w, h], dtype=np.float32)
    centers = cell_centers(side)
    there = sample(backward, centers).astype(np.float32, copy=False)
    fractions = there / scale
    back = sample(forward, centers + fractions)
    gap, length = _squared(there + back), _squared(there) + _squared(back)
    return fractions, gap < CONSISTENCY_SHARE * length + CONSISTENCY_PIXELS


def _squared(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) squared lengths of (h, w, 2); a sum over an axis of two is several times slower."""
    x, y = vectors[..., 0], vectors[..., 1]
    return x * x + y * y


def _working_picture(image: Image) -> NDArray[np.uint8]:
    import cv2

    h, w = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(h, w))
    size = max(LEAST_SIDE, round(w * scale)), max(LEAST_SIDE, round(h * scale))
    return image if size == (w, h) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
