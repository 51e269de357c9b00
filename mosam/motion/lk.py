"""Pyramidal Lucas-Kanade, checked forward and backward: corners and a grid of points, or points that are given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mosam.motion.base import POINT_ESTIMATORS, POINT_TRACKERS, PointTracks

MAX_CORNERS = 400
CORNER_QUALITY = 0.01
CORNER_DISTANCE = 5  # pixels
MIN_SENTINELS = 8  # corners, below which the grid has to tell a scene cut
LEVELS = 3  # pyramid levels above the picture itself
PRECISION = 0.01  # pixels
RETURN_DISTANCE = 1.0  # pixels between a point and where following it forth and back ends


@POINT_ESTIMATORS.register("lk")
class LucasKanade:
    """Shi-Tomasi corners and a regular grid, followed by OpenCV's pyramidal Lucas-Kanade (Bouguet 2001)."""

    window, iterations, grid_step = 21, 30, 16

    def track(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> PointTracks:
        """See `PointEstimator.track`."""
        import cv2

        before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (previous, current))
        corners = cv2.goodFeaturesToTrack(before, MAX_CORNERS, CORNER_QUALITY, CORNER_DISTANCE)
        corners = np.empty((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
        h, w = before.shape
        step = self.grid_step
        y, x = np.mgrid[step // 2 : h : step, step // 2 : w : step]
        grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
        start = np.concatenate([corners, grid]).astype(np.float32)
        end, kept = there_and_back(before, after, start, self.window, self.iterations)
        # grid points in flat regions are lost between any two pictures, so only corners tell a cut, if there are some
        is_corner = np.arange(len(start)) < len(corners)
        return PointTracks(start, end, kept, is_corner if len(corners) >= MIN_SENTINELS else ~is_corner)


@POINT_ESTIMATORS.register("lk-fast")
class LucasKanadeFast(LucasKanade):
    """A smaller window, fewer iterations and a wider grid: a third of the time; a few more points are lost."""

    window, iterations, grid_step = 11, 10, 24


@POINT_TRACKERS.register("lk")
class LucasKanadeWalk:
    """Given points, followed from picture to picture; one that was lost once is not seen again."""

    window, iterations = LucasKanade.window, LucasKanade.iterations

    def follow(
        self, clip: Sequence[NDArray[np.uint8]], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See `PointTracker.follow`."""
        import cv2

        gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in clip]
        places, seen = [points.astype(np.float32)], [np.ones(len(points), dtype=bool)]
        for before, after in pairwise(gray):
            end, kept = there_and_back(before, after, places[-1], self.window, self.iterations)
            places.append(end)
            seen.append(seen[-1] & kept)
        return np.stack(places), np.stack(seen)


def there_and_back(
    before: NDArray[np.uint8], after: NDArray[np.uint8], start: NDArray[np.float32], window: int, iterations: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points followed from one gray picture (h, w) to the next.

    Args:
        before, after: the pictures.
        start: (N, 2) float32 x, y.
        window: side of the square that is compared, in pixels.
        iterations: on each level of the pyramid at most.
    Returns:
        (N, 2) float32 where they end, and (N,) bool whether following them back leads to the start.
    """
    import cv2

    if len(start) == 0:
        return start, np.zeros(0, dtype=bool)
    settings = {
        "winSize": (window, window),
        "maxLevel": LEVELS,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, PRECISION),
    }
    end, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **settings)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **settings)
    near = np.linalg.norm(back - start, axis=1) <= RETURN_DISTANCE
    return end, near & (found.ravel() == 1) & (returned.ravel() == 1)
