"""Inputs of the stored numbers in `parity/masks_official.json`, made from seeds; numpy and Pillow only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.uint8]
# height, width: MOSE v2's distance is a whole number of pixels for the second only
SIZES = {"wide": (240, 427), "plain": (300, 400), "small": (150, 200)}
FRAMES = 14
OBJECTS = 4


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of moving ellipses and what a poor tracker makes of it.

    Attributes:
        truth, predicted: (T, H, W) labels.
        void: (T, H, W) pixels of label 255 in the maps that the two DAVIS tasks read.
        proposals: (T, H, W) labels of another tracker, in another order, more of them than objects.
    """

    truth: Labels
    predicted: Labels
    void: NDArray[np.bool_]
    proposals: Labels

    @property
    def ids(self) -> range:
        return range(1, OBJECTS + 1)


def ellipse(size: tuple[int, int], y: float, x: float, h: float, w: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return ((rows - y) / max(h, 0.5)) ** 2 + ((columns - x) / max(w, 0.5)) ** 2 <= 1


def make_clip(kind: str, *, late: bool = False) -> Clip:
    """Every object is away at times but on the first frame; with `late` the last one comes on frame 3 only."""
    size, rng = SIZES[kind], np.random.default_rng(sum(map(ord, kind)))
    centers = rng.uniform(0.25, 0.75, (OBJECTS, 2)) * size
    radii = rng.uniform(0.02, 0.3, (OBJECTS, 2)) * min(size)
    speeds = rng.uniform(-0.02, 0.02, (OBJECTS, 2)) * size
    away = rng.random((OBJECTS, FRAMES)) < 0.3
    away[:, 0] = False
    away[1, 1:3] = True  # a stretch that begins with the first frame that counts
    away[2, -4:] = True
    away[3] = False
    if late:
        away[3, :3] = True
    order = rng.permutation(OBJECTS) + 1
    truth, predicted, proposals = np.zeros((3, FRAMES, *size), dtype=np.uint8)
    void = np.zeros((FRAMES, *size), dtype=bool)
    for t in range(FRAMES):
        for i in range(OBJECTS):
            (y, x), (h, w) = centers[i] + t * speeds[i], radii[i]
            if not away[i, t]:
                truth[t][ellipse(size, y, x, h, w)] = i + 1
            dy, dx, scale = rng.normal(0, 3), rng.normal(0, 3), rng.uniform(0.8, 1.25)
            if rng.random() < (0.4 if away[i, t] else 0.85):
                shape = ellipse(size, y + dy, x + dx, h * scale, w)
                predicted[t][shape] = i + 1
                proposals[t][shape] = order[i] if rng.random() < 0.8 else OBJECTS + 2
        void[t] = ellipse(size, size[0] * 0.5, size[1] * 0.4, 12, 30) & (truth[t] != 1)
    return Clip(truth, predicted, void, proposals)


def object_masks(clip: Clip) -> Iterator[tuple[int, dict[int, Labels], dict[int, Labels]]]:
    """Per object its true and predicted masks by frame, as SA-V has them: they overlap, each on frames of its own."""
    for i in clip.ids:
        frames = range(0, FRAMES - i, 1 + i % 2)
        grown = {t: (clip.truth[t] == i) | np.roll(clip.truth[t] == i, 4, axis=1) for t in frames}
        yield (
            i,
            {t: m.astype(np.uint8) for t, m in grown.items()},
            {t: np.where(clip.predicted[t] == i, np.uint8(255), np.uint8(0)) for t in frames},
        )


def pairs(count: int = 40) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Random masks of many sizes, touching the border, empty, of one pixel, full of holes."""
    rng = np.random.default_rng(7)
    for number in range(count):
        size = (int(rng.integers(20, 200)), int(rng.integers(20, 260)))
        masks = []
        for _ in range(2):
            mask = np.zeros(size, dtype=bool)
            for _ in range(int(rng.integers(0, 4))):
                y, x = rng.uniform(-0.1, 1.1, 2) * size
                mask ^= ellipse(size, y, x, *rng.uniform(0, 0.5, 2) * size)
            masks.append(mask ^ (rng.random(size) < (0.02 if number % 3 == 0 else 0)))
        yield masks[0], masks[1]


def write_maps(folder: Path, maps: NDArray[np.uint8] | dict[int, Labels]) -> None:
    """Label maps `00000.png` ... as gray images."""
    folder.mkdir(parents=True, exist_ok=True)
    items = maps.items() if isinstance(maps, dict) else enumerate(maps)
    for t, labels in items:
        Image.fromarray(labels).save(folder / f"{t:05d}.png")
