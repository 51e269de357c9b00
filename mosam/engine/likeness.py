"""What features look like where a mask is: prototypes, the dense prompt made of them, and the check in a cycle.

A prototype is the mean of the features of some cells. Where a frame is more like the prototype of an object than like
that of its surroundings, and not far from where the object was, the object is expected: the prior. A mask is checked in
a cycle by the priors that its own prototypes give on earlier frames: these should be the masks that were found there.

Source: SAMITE's `generate_prior_enc`, `generate_prior_feat_enc_batch` and `check_results` (`mosam.policies.samite`).
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7  # of cosines and of scaling to [0, 1]
WAVELENGTH = 10_000.0  # of the code of places
FOUND = 0.5  # a prior of this and more is the object
PROMPT_SCALE, PROMPT_SHIFT = 20.0, -10.0  # from a prior to logits


def covered(masks: Tensor, grid: int) -> Tensor:
    """(N, K, mask, mask) logits -> (N, K, grid, grid) float32, the share of each cell that is positive."""
    return F.interpolate((masks > 0).float(), size=(grid, grid), mode="bilinear", align_corners=False)


def inside(masks: Tensor, grid: int) -> Tensor:
    """(N, K, mask, mask) logits -> (N, K, grid, grid) bool, cells whose middle is in the mask."""
    return F.interpolate(masks.float(), size=(grid, grid), mode="bilinear", align_corners=False) >= 0


def prototypes(features: Tensor, weights: Tensor) -> Tensor:
    """(N, K, C) weighted means of (N, C, grid, grid) features by (N, K, grid, grid) weights, zeros where all are 0."""
    weights = weights.flatten(2).to(features.dtype)
    total = weights.sum(dim=2, keepdim=True)
    return weights @ features.flatten(2).transpose(1, 2) / torch.where(total > 0, total, 1)


def cosine(prototype: Tensor, features: Tensor) -> Tensor:
    """(..., P, grid, grid) cosines of (..., P, C) prototypes with (..., C, grid, grid) features."""
    flat = features.flatten(-2)
    norms = prototype.norm(dim=-1, keepdim=True) * flat.norm(dim=-2, keepdim=True)
    return (prototype @ flat / (norms + EPSILON)).unflatten(-1, features.shape[-2:])


def near(cells: Tensor, width: int) -> Tensor:
    """(N, grid, grid) in [0, 1] of masks (N, grid, grid): how close each cell is to the middle of the mask."""
    code = place_code(cells.shape[-1], width, cells.device)
    place = prototypes(code[None], cells[None])[0]
    like = cosine(place, code)
    low, high = like.amin(dim=(1, 2), keepdim=True), like.amax(dim=(1, 2), keepdim=True)
    return (like - low) / (high - low + EPSILON)


@functools.lru_cache(maxsize=8)
def place_code(grid: int, width: int, device: torch.device) -> Tensor:
    """(width, grid, grid) sines and cosines of the row, then of the column, of each cell."""
    with torch.inference_mode(False):
        half = 2 * -(-width // 4)
        frequency = 1 / WAVELENGTH ** (torch.arange(0, half, 2, device=device).float() / half)
        angle = torch.arange(grid, device=device).float()[:, None] * frequency
        code = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).T
        rows, columns = code[:, :, None].expand(-1, -1, grid), code[:, None].expand(-1, grid, -1)
        return torch.cat((rows, columns))[:width].contiguous()


def prior(features: Tensor, own: Tensor, around: Tensor, close: Tensor) -> Tensor:
    """Where features are more like an object's prototype than like that of its surroundings, close to a place.

    Args:
        features: (..., C, grid, grid).
        own, around: (P, C) prototypes.
        close: (P or 1, grid, grid) in [0, 1].
    Returns:
        (..., P, grid, grid), the largest of each 1, or all 0.
    """
    more = ((cosine(own, features) - cosine(around, features)) / 2).clamp(min=0) * close
    return more / (more.amax(dim=(-2, -1), keepdim=True) + EPSILON)


def dense_prompt(query: Tensor, views: Tensor, cells: Tensor, last: Tensor, sides: tuple[int, int]) -> Tensor:
    """Logits of a mask prompt: the mean of the priors that memories give.

    Args:
        query: (C, grid, grid) features of the frame, with their position code.
        views: (P, C, grid, grid) features of the frames of the memories.
        cells: (P, grid, grid) bool, their masks.
        last: (grid, grid) bool, the mask near which the object is expected.
        sides: of the network's input, and of the prompt.
    Returns:
        (1, side, side) float32.
    """
    weights = torch.stack((cells, ~cells), dim=1)
    own, around = prototypes(views.float(), weights).unbind(1)
    mean = prior(query, own, around, near(last[None], len(query))).mean(dim=0)[None, None]
    image, side = ((length, length) for length in sides)
    logits = F.interpolate(mean, size=image, mode="bilinear", align_corners=False) * PROMPT_SCALE + PROMPT_SHIFT
    return F.interpolate(logits, size=side, mode="bilinear", align_corners=False, antialias=True)[0]


def cycle_iou(top: Tensor, masks: Tensor, views: Tensor, cells: Tensor) -> Tensor:
    """(K,) IoU of the masks in memories with where the memories look like each of K masks.

    Args:
        top: (C, grid, grid) features that the masks were decoded from.
        masks: (K, mask, mask) their logits.
        views, cells: of the memories, as for `dense_prompt`; all their pixels count together.
    """
    on = inside(masks[None], top.shape[-1])[0]
    own, around = prototypes(top[None], torch.cat((on, ~on))[None])[0].chunk(2)
    found = prior(views.float(), own, around, near(on, len(top))) >= FOUND
    both = (found & cells[:, None]).sum(dim=(0, 2, 3))
    either = (found | cells[:, None]).sum(dim=(0, 2, 3))
    return both / (either + EPSILON)
