"""Inputs of the runs whose numbers are in `tests/parity/him2sam_points.*`: masks, old masks and made-up tracks.

Whole numbers only, so that they are the same on every machine. The program that made the numbers imports this module.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

SIDE, LOW = 1024, 256
SHARE = 0.7  # of the soft Dice
FRAMES = 5
CASES = ("apart", "small", "tiny", "thin", "large", "lost", "gone", "first")


def masks(case: str) -> np.ndarray:
    """(3, SIDE, SIDE) float32 logits of the candidates."""
    y, x = np.mgrid[:SIDE, :SIDE]
    radius = {"small": 30, "tiny": 4, "large": 300}.get(case, 90)
    first = (x - 400) ** 2 + (y - 500) ** 2 < radius**2
    second = (abs(x - 430) < radius) & (abs(y - 480) < radius // 2)
    third = (x - 700) ** 2 + 2 * (y - 300) ** 2 < (radius // 2) ** 2
    if case == "thin":
        first, second, third = abs(y - 500) < 2, abs(x - 430) < 2, third & False
    return np.where(np.stack([first, second, third]), 6.0, -6.0).astype(np.float32)


def history(case: str) -> list[np.ndarray]:
    """(LOW, LOW) float32 logits of the masks shown on frames t - 1, t - 2 ..."""
    y, x = np.mgrid[:LOW, :LOW]
    planes = []
    for back in range(1 if case == "first" else FRAMES):
        inside = 24**2 - (x - 100 + 2 * back) ** 2 - (y - 124) ** 2
        logits = np.clip(inside // 16, -20, 20) / 2 - (30 if case == "gone" else 0)
        planes.append(logits.astype(np.float32))
    return planes


def follow(points: np.ndarray, frames: int, case: str) -> tuple[np.ndarray, np.ndarray]:
    """(frames, N, 2) places of points (N, 2) and (frames, N) whether they are seen."""
    back = np.arange(frames)[:, None]
    shift = np.stack([-8 * back + 0 * points[None, :, 0], 2 * back + 0 * points[None, :, 0]], axis=-1)
    number = np.arange(len(points))[None]
    seen = (number + back) % 40 == 0 if case == "lost" else (number + back) % 4 != 0
    return (points[None] + shift).astype(np.float32), seen


class Standing:
    """A tracker whose points stay where they are; notes how many pictures it was given."""

    lengths: ClassVar[list[int]] = []

    def follow(self, clip: list[np.ndarray], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `PointTracker.follow`."""
        self.lengths.append(len(clip))
        return np.repeat(points[None], len(clip), axis=0), np.ones((len(clip), len(points)), dtype=bool)
