"""Constant-velocity Kalman filter of a box: center, aspect ratio and height, as SAMURAI uses it.

The state is (cx, cy, a, h) and its velocities per frame, `a = w / h`, in pixels of the network input; float64. The
noise is proportional to the height, so the filter does not depend on the size of the picture.

Source: Wojke et al., DeepSORT, 2017, with the constants of the SAMURAI program (yangchris11/samurai).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POSITION_NOISE = 1 / 20  # of the height
VELOCITY_NOISE = 1 / 160  # of the height, per frame
ASPECT_NOISE = 1e-2
ASPECT_VELOCITY_NOISE = 1e-5
MEASURED_ASPECT_NOISE = 1e-1

MOTION = np.eye(8) + np.eye(8, k=4)  # position += velocity
OBSERVED = np.eye(4, 8)


@dataclass(frozen=True, slots=True, eq=False)
class BoxFilter:
    """What is known of a box at one frame; immutable, each step returns the next.

    Attributes:
        mean: (8,) cx, cy, a, h and their velocities.
        covariance: (8, 8).
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def start(cls, corners: NDArray[np.float64]) -> BoxFilter:
        """A resting filter on a box of (4,) x0, y0, x1, y1."""
        measured = to_measurement(corners)
        std = _noise(measured[3], 2 * POSITION_NOISE, 10 * VELOCITY_NOISE)
        return cls(np.concatenate([measured, np.zeros(4)]), np.diag(std**2))

    def predict(self) -> BoxFilter:
        """One frame later, without having looked."""
        std = _noise(self.mean[3], POSITION_NOISE, VELOCITY_NOISE)
        return BoxFilter(MOTION @ self.mean, MOTION @ self.covariance @ MOTION.T + np.diag(std**2))

    def update(self, corners: NDArray[np.float64]) -> BoxFilter:
        """Corrected by a measured box of (4,) x0, y0, x1, y1."""
        position = POSITION_NOISE * self.mean[3]
        noise = np.diag(np.square([position, position, MEASURED_ASPECT_NOISE, position]))
        innovation = OBSERVED @ self.covariance @ OBSERVED.T + noise
        gain = np.linalg.solve(innovation, OBSERVED @ self.covariance).T
        mean = self.mean + gain @ (to_measurement(corners) - OBSERVED @ self.mean)
        return BoxFilter(mean, self.covariance - gain @ innovation @ gain.T)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4,) x0, y0, x1, y1 of the mean box."""
        x, y, aspect, height = self.mean[:4]
        half_width, half_height = aspect * height / 2, height / 2
        return np.array([x - half_width, y - half_height, x + half_width, y + half_height])

    def agreement(self, corners: NDArray[np.float64]) -> float:
        """IoU of the mean box and a box, as `corners_iou`."""
        return corners_iou(self.corners, corners)


@dataclass(frozen=True, slots=True, eq=False)
class BoxTrust:
    """A filter of the chosen boxes, which has a say in the choice once it has been right for a while.

    Attributes:
        box_filter: None before the first frame.
        stable: good frames in a row, counted up to the number that is asked for.
        agreement: of the mask just chosen; None while the filter has no say.
    """

    box_filter: BoxFilter | None = None
    stable: int = 0
    agreement: float | None = None

    def choose(
        self,
        iou: NDArray[np.float64],
        boxes: Sequence[NDArray[np.float64]],
        *,
        weight: float,
        stable_frames: int,
        stable_iou: float,
        doubt: Callable[[NDArray[np.float64], int], int] | None = None,
    ) -> tuple[int, BoxTrust]:
        """Highest predicted IoU until the filter is stable, then the mixture with its agreement.

        Args:
            iou: (K,) predicted IoU.
            boxes: K boxes (4,) x0, y0, x1, y1.
            weight: share of the agreement in the mixture.
            stable_frames: good frames in a row before the filter has a say.
            stable_iou: predicted IoU that makes a frame good; below it the filter starts again.
            doubt: given the (K,) scores and the index of the best, says again which one is; a filter that has no say
                yet goes by the first, as in HiM2SAM's program.
        Returns:
            index of the chosen one, and what is known afterwards.
        """
        scores, motion = self.scores(iou, boxes, weight=weight, stable_frames=stable_frames)
        best = shown = int(scores.argmax())
        if doubt is not None and self.box_filter is not None and self.stable > 0:
            shown = doubt(scores, best)
            best = best if motion is None else shown
        agreement = None if motion is None else float(motion[best])
        after = self.follow(
            float(iou[best]), boxes[best], agreement, stable_frames=stable_frames, stable_iou=stable_iou
        )
        return shown, after

    def scores(
        self, iou: NDArray[np.float64], boxes: Sequence[NDArray[np.float64]], *, weight: float, stable_frames: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """(K,) what each mask scores, and the filter's agreement with it if that has a say; arguments as `choose`."""
        if self.box_filter is None or self.stable < stable_frames:
            return iou, None
        predicted = self.box_filter.predict()
        motion = np.array([predicted.agreement(box) for box in boxes])
        return weight * motion + (1 - weight) * iou, motion

    def follow(
        self, iou: float, box: NDArray[np.float64], agreement: float | None, *, stable_frames: int, stable_iou: float
    ) -> BoxTrust:
        """What is known after a box with this predicted IoU was chosen; arguments as `choose`."""
        if self.box_filter is None or self.stable == 0:
            return BoxTrust(BoxFilter.start(box), 1)
        predicted, full = self.box_filter.predict(), self.stable >= stable_frames
        good = iou >= stable_iou if full else iou > stable_iou
        if not good:
            return BoxTrust(predicted, 0, agreement)
        return BoxTrust(predicted.update(box), self.stable if full else self.stable + 1, agreement)


def corners_iou(mine: NDArray[np.float64], corners: NDArray[np.float64]) -> float:
    """IoU of two boxes of (4,) x0, y0, x1, y1; 0 where the second is the empty box of zeros.

    >>> corners_iou(np.array([0.0, 0, 4, 4]), np.array([2.0, 0, 6, 4])), corners_iou(np.ones(4), np.zeros(4))
    (0.3333333333333333, 0.0)
    """
    if not np.any(corners):
        return 0.0
    overlap = np.maximum(0.0, np.minimum(mine[2:], corners[2:]) - np.maximum(mine[:2], corners[:2])).prod()
    union = (mine[2:] - mine[:2]).prod() + (corners[2:] - corners[:2]).prod() - overlap
    return float(overlap / union) if union != 0 else 0.0


def to_measurement(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) x0, y0, x1, y1 -> cx, cy, a, h; a height of 0 (an empty mask too) counts as 1.

    >>> to_measurement(np.array([10.0, 20.0, 30.0, 60.0]))
    array([20. , 40. ,  0.5, 40. ])
    """
    x0, y0, x1, y1 = corners
    height = (y1 - y0) or 1.0
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height])


def _noise(height: float, position: float, velocity: float) -> NDArray[np.float64]:
    """(8,) standard deviations of the state."""
    p, v = position * height, velocity * height
    return np.array([p, p, ASPECT_NOISE, p, v, v, ASPECT_VELOCITY_NOISE, v])
