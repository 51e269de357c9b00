"""Sparse motion: corners and a grid of points followed by pyramidal Lucas-Kanade, checked forward and backward."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.motion.base import POINT_ESTIMATORS, PointTracks

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
        if len(start) == 0:
            none = np.zeros(0, dtype=bool)
            return PointTracks(start, start, none, none)
        settings = {
            "winSize": (self.window, self.window),
            "maxLevel": LEVELS,
            "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, self.iterations, PRECISION),
        }
        end, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **settings)
        back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, end, None, **settings)
        near = np.linalg.norm(back - start, axis=1) <= RETURN_DISTANCE
        kept = near & (found.ravel() == 1) & (returned.ravel() == 1)
        # grid points in flat regions are lost between any two pictures, so only corners tell a cut, if there are some
        is_corner = np.arange(len(start)) < len(corners)
        return PointTracks(start, end, kept, is_corner if len(corners) >= MIN_SENTINELS else ~is_corner)


@POINT_ESTIMATORS.register("lk-fast")
class LucasKanadeFast(LucasKanade):
    """A smaller window, fewer iterations and a wider grid: a third of the time; a few more points are lost."""

    window, iterations, grid_step = 11, 10, 24
