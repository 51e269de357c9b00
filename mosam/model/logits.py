"""Formulas over mask logits that the programs of the SAM 2 family share."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.model.backbone import Decoded, MaskPrompts, Outputs
from mosam.model.constants import MEMORY_BIAS, MEMORY_SCALE, PROMPT_LOGIT, STABILITY_DELTA, STABILITY_THRESHOLD


def select_outputs(masks: Tensor, iou: Tensor, tokens: Tensor, object_score: Tensor, outputs: Outputs) -> Decoded:
    """The wanted ones of a decoder's masks (R, K + 1, mask, mask), of which the first is the single mask."""
    if outputs == "stable":
        return Decoded(*_stable_single(masks, iou), tokens[:, :1], object_score)
    wanted = {"multi": slice(1, None), "single": slice(0, 1), "all": slice(0, None)}[outputs]
    return Decoded(masks[:, wanted], iou[:, wanted], tokens[:, wanted], object_score)


def _stable_single(masks: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """The single mask and its IoU, or the best of the others where it is unstable (dynamic multimask)."""
    single = masks[:, :1].float()
    inner = (single > STABILITY_DELTA).flatten(1).sum(dim=1).float()
    outer = (single > -STABILITY_DELTA).flatten(1).sum(dim=1).float()
    unstable = torch.where(outer > 0, inner / outer, 1.0) < STABILITY_THRESHOLD
    best = iou[:, 1:].argmax(dim=1) + 1
    row = torch.arange(len(best), device=best.device)
    stable = torch.where(unstable[:, None, None, None], masks[row, best][:, None].float(), single)
    return stable, torch.where(unstable[:, None], iou[row, best][:, None], iou[:, :1])


def mask_prompts(mask: Tensor, side: int) -> MaskPrompts:
    """What masks (R, 1, S, S) of 0 and 1 stand for, with logits of `side` pixels."""
    logits = mask.float() * (2 * PROMPT_LOGIT) - PROMPT_LOGIT
    low_res = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    given = mask.flatten(1).any(dim=1)
    return MaskPrompts(mask, logits, low_res, torch.where(given, PROMPT_LOGIT, -PROMPT_LOGIT))


def memory_values(logits: Tensor, binarize: Tensor | None) -> Tensor:
    """Values that memory is encoded from: of `logit > 0` in rows to binarize, else of the sigmoid."""
    values = torch.sigmoid(logits)
    if binarize is not None:
        values = torch.where(binarize[:, None, None, None], (logits > 0).float(), values)
    return values * MEMORY_SCALE + MEMORY_BIAS


def pool_cells(planes: Tensor, grid: int, how: Literal["mean", "max"]) -> Tensor:
    """(N, side, side) -> (N, grid * grid): the mean or the largest value of each cell."""
    pool = F.avg_pool2d if how == "mean" else F.max_pool2d
    return pool(planes[:, None], planes.shape[-1] // grid).flatten(1)
