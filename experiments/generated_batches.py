"""Training batches of generated clips: scenes as in the benchmark `toy`, with other draws."""

from __future__ import annotations

import numpy as np
import torch
from nano_training import Batch
from train_settings import Stage

from mosam.datasets.toy import scenario_recipe
from mosam.datasets.toy_scenes import random_recipe, training_clip


def make_batch(seed: tuple[int, ...], stage: Stage, progress: float, side: int) -> Batch:
    """The batch of one step: a pure function of its arguments, so that any worker can make it.

    Args:
        seed: what identifies the step.
        stage: lengths and counts.
        progress: share of the stage that is done, for what changes in its course.
        side: pixels of the network's input.
    """
    rng = np.random.default_rng(seed)
    frames = stage.frames
    jump = int(rng.integers(1, 25)) if rng.random() < stage.jumps else 0
    # Clips are short, videos are long: the distance to the first frame is often told to be larger than it is.
    gap = jump or (int(rng.integers(1, 100)) if rng.random() < 0.4 else 0)
    clips = []
    for _ in range(stage.clips):
        recipe_of = scenario_recipe if rng.random() < stage.scenarios else random_recipe
        clips.append(training_clip(rng, frames, recipe_of=recipe_of, jump=jump, stride=stage.stride, side=side))
    owners, masks, kinds = [], [], []
    other = "box" if rng.random() < 0.5 else "point"  # one of them a step: they have different numbers of points
    for number, clip in enumerate(clips):
        # The same target may come twice: same picture, other prompt.
        targets = rng.choice(clip.targets, size=stage.targets, replace=len(clip.targets) < stage.targets)
        if clip.main and clip.main not in targets:
            targets[0] = clip.main
        for target in targets:
            owners.append(number)
            masks.append(clip.labels == target)
            kinds.append("mask" if rng.random() < stage.by_mask else other)
    start, end = stage.teach
    teach = rng.random((frames, len(owners))) < start + (end - start) * progress
    correct = int(rng.integers(1, frames)) if rng.random() < 0.25 else 0
    stacked = torch.from_numpy(np.stack(masks, axis=1)).float()[:, :, None]
    images = np.stack([clip.images for clip in clips], axis=1)
    labels = np.stack([clip.labels for clip in clips], axis=1)
    return Batch(images, np.array(owners), stacked, tuple(kinds), teach, gap, correct, (*seed, 1), labels, stage.cut)
