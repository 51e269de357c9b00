"""Training batches of photographic clips: the counterpart of `generated_batches.make_batch`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from nano_training import FEWEST_PIXELS, Batch
from numpy.typing import NDArray
from torch import Tensor
from train_settings import Stage

from photo.painter import Pictures, paint
from photo.scenes import LAYERS, draw_scenes

LEAST_SHARE, MOST_SHARE = 0.006, 0.6  # of the picture that an object shows on the frame it is asked for on


def batch_maker(pictures: Pictures, *, held: bool) -> Callable[[tuple[int, ...], Stage, float, int], Batch]:
    """A function that makes batches of a pack's training pictures, or of those held back."""
    cutouts, photos = pictures.numbers(held=held)

    def make(seed: tuple[int, ...], stage: Stage, progress: float, side: int) -> Batch:
        """The batch of one step: a pure function of its arguments; see `generated_batches.make_batch`."""
        rng = np.random.default_rng((*seed, 2))
        for _ in range(20):
            batch = _batch(rng, stage, progress, side, pictures, cutouts, photos)
            if batch is not None:
                return batch
        raise RuntimeError(f"no object to ask for in 20 batches of seed {seed}")

    return make


def _batch(
    rng: np.random.Generator,
    stage: Stage,
    progress: float,
    side: int,
    pictures: Pictures,
    cutouts: list[int],
    photos: list[int],
) -> Batch | None:
    jump = int(rng.integers(1, 25)) if rng.random() < stage.jumps else 0
    # Clips are short, videos are long: the distance to the first frame is often told to be larger than it is.
    gap = jump or (int(rng.integers(1, 100)) if rng.random() < 0.4 else 0)
    hard = stage.hard[0] + (stage.hard[1] - stage.hard[0]) * progress
    times = _times(rng, stage, jump)
    scenes = draw_scenes(rng, times, cutouts=cutouts, photos=photos, hard=hard)
    images, labels = paint(scenes, pictures, side, int(rng.integers(1 << 31)))
    owners, layers = _targets(rng, labels[0], stage.targets)
    if len(owners) == 0:
        return None
    device = labels.device
    clips, wanted = torch.from_numpy(owners).to(device), torch.from_numpy(layers).to(device)
    masks = (labels[:, clips] == wanted[None, :, None, None]).float()[:, :, None]
    other = "box" if rng.random() < 0.5 else "point"  # one of them a step: they have different numbers of points
    kinds = tuple("mask" if rng.random() < stage.by_mask else other for _ in owners)
    start, end = stage.teach
    teach = rng.random((stage.frames, len(owners))) < start + (end - start) * progress
    correct = int(rng.integers(1, stage.frames)) if stage.frames > 1 and rng.random() < 0.15 else 0
    seed = tuple(int(number) for number in rng.integers(1 << 31, size=2))
    return Batch(images, owners, masks, kinds, teach, gap, correct, seed, labels, stage.cut)


def _times(rng: np.random.Generator, stage: Stage, jump: int) -> NDArray[np.float64]:
    """(B, T) when the frames of each clip are taken: some take every frame, some leave several out."""
    step = np.exp(rng.uniform(0, np.log(max(stage.stride, 1) + 1e-9), (stage.clips, 1)))
    times = np.arange(stage.frames)[None] * step
    times[:, 1:] += jump
    return times


def _targets(rng: np.random.Generator, labels: Tensor, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clips and layers of the objects asked for: `count` in each clip where anything shows enough; some come twice."""
    clips, side = len(labels), labels.shape[-1]
    bins = labels.long().flatten(1) + (LAYERS + 1) * torch.arange(clips, device=labels.device)[:, None]
    counts = torch.bincount(bins.flatten(), minlength=clips * (LAYERS + 1)).view(clips, -1)[:, 1:].cpu().numpy()
    least = max(LEAST_SHARE * side * side, FEWEST_PIXELS)
    owners, layers = [], []
    for clip in range(clips):
        usable = np.flatnonzero((counts[clip] >= least) & (counts[clip] <= MOST_SHARE * side * side)) + 1
        if len(usable):
            owners += [clip] * count
            layers += list(rng.choice(usable, size=count, replace=len(usable) < count))
    return np.array(owners, dtype=np.int64), np.array(layers, dtype=np.int64)
