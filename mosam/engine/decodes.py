"""Candidates of a batch of decodes: masks on the device, and the small numbers about them on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mosam.engine.transfer import download, upload, upload_index
from mosam.model.backbone import Decoded
from mosam.model.constants import ABSENT_LOGIT

# of `Decodes`, (R, K) or (R, K, ...) or None
CANDIDATE_NUMBERS = ("iou", "area", "boxes", "motion_iou", "distractors", "prototypes", "cycle_iou")


@dataclass(slots=True, eq=False)
class Decodes:
    """Candidates of R rows: masks stay on the device, the small numbers are on the host.

    Attributes:
        masks: (R, K, mask, mask) float32 logits, blanked where the object is absent.
        tokens: (R, K, width) token a pointer is made from.
        score: (R,) presence logit on the device.
        top: (R, width, grid, grid) features the masks were decoded from.
        iou: (R, K) float64. object_score: (R,) float64. area: (R, K) int64.
        boxes: (R, K, 4) float64 inclusive corners at network input size, zeros where empty; or None.
        motion_iou: (R, K) float64 IoU with the expected mask, NaN where there is none; or None.
        distractors: (R, K) float64 mean of the distractor map over a mask's pixels, NaN where there is no map; or None.
        prototypes: (R, K, width) float64 mean of the features under a mask; or None.
        cycle_iou: (R, K) float64 IoU of the masks in memories with those found back, NaN where not asked for; or None.
    """

    masks: Tensor
    tokens: Tensor
    score: Tensor
    top: Tensor
    iou: NDArray[np.float64]
    object_score: NDArray[np.float64]
    area: NDArray[np.int64]
    boxes: NDArray[np.float64] | None = None
    motion_iou: NDArray[np.float64] | None = None
    distractors: NDArray[np.float64] | None = None
    prototypes: NDArray[np.float64] | None = None
    cycle_iou: NDArray[np.float64] | None = None


def measured(
    decoded: Decoded,
    top: Tensor,
    *,
    threshold: float,
    measures: Mapping[str, Callable[[Tensor], Tensor]],
    expected: Sequence[NDArray[np.bool_] | None] = (),
    distractors: Sequence[NDArray[np.float32] | None] = (),
) -> Decodes:
    """Blank absent masks and bring all that policies read of them to the host, in one transfer.

    Args:
        decoded: what the network answered, and `top`, from what.
        threshold: presence logit above which a mask is not blanked.
        measures: what else the policy reads of the masks, by its name in `Decodes`.
        expected, distractors: planes to compare the masks with, as for `ModelRunner.track`.
    """
    present = decoded.object_score > threshold
    masks = torch.where(present[:, None, None, None], decoded.masks.float(), ABSENT_LOGIT)
    numbers = _plain_numbers(decoded, masks) | {name: measure(masks) for name, measure in measures.items()}
    if any(plane is not None for plane in expected):
        numbers["motion_iou"] = motion_iou(masks, *planes(expected, masks.device))
    if any(plane is not None for plane in distractors):
        numbers["distractors"] = mean_over(masks, *planes(distractors, masks.device))
    host = to_host_numbers(numbers)
    object_score, area = host.pop("object_score")[:, 0], host.pop("area").astype(np.int64)
    return Decodes(masks, decoded.tokens, decoded.object_score, top, object_score=object_score, area=area, **host)


def _plain_numbers(decoded: Decoded, masks: Tensor) -> dict[str, Tensor]:
    area = (masks > 0).flatten(2).sum(dim=2)
    return {"iou": decoded.iou, "area": area, "object_score": decoded.object_score[:, None]}


def to_host_numbers(numbers: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
    """Arrays of equal first dimension, in one transfer; counts of pixels are exact in 32 bits up to 2^24."""
    flat = download(torch.cat([value.flatten(1).float() for value in numbers.values()], dim=1)).astype(np.float64)
    host, start = {}, 0
    for name, value in numbers.items():
        count = value[0].numel()
        host[name] = flat[:, start : start + count].reshape(value.shape)
        start += count
    return host


def planes(known: Sequence[NDArray | None], device: torch.device) -> tuple[Tensor, Tensor]:
    """(R, 1, side, side) planes of one kind, zeros where a row has none, and (R,) which rows have one."""
    some = next(plane for plane in known if plane is not None)
    stacked = np.stack([np.zeros_like(some) if plane is None else plane for plane in known])
    planes, has = upload(device, stacked, np.array([plane is not None for plane in known]))
    return planes[:, None], has


def _at_side(masks: Tensor, side: int) -> Tensor:
    """(R, K, side, side) bool of (R, K, mask, mask) logits."""
    return F.interpolate(masks, size=(side, side), mode="bilinear", align_corners=False) > 0


def motion_iou(masks: Tensor, expected: Tensor, has: Tensor) -> Tensor:
    """(R, K) IoU of candidates with what motion expects, NaN in rows without."""
    on = _at_side(masks, expected.shape[-1])
    union = (on | expected).flatten(2).sum(dim=2)
    iou = (on & expected).flatten(2).sum(dim=2) / union.clamp(min=1)
    return torch.where(has[:, None], iou, torch.nan)


def mean_over(masks: Tensor, distractors: Tensor, has: Tensor) -> Tensor:
    """(R, K) mean of what was seen beside the object over the pixels of each candidate, 0 where empty; NaN in rows
    without.
    """
    on = _at_side(masks, distractors.shape[-1])
    share = (on * distractors).flatten(2).sum(dim=2) / on.flatten(2).sum(dim=2).clamp(min=1)
    return torch.where(has[:, None], share, torch.nan)


def best_only(decodes: Decodes) -> Decodes:
    """Each row's candidate with the highest predicted IoU."""
    if decodes.masks.shape[1] == 1:
        return decodes
    best = decodes.iou.argmax(axis=1)
    row = np.arange(len(best))
    k = upload_index(decodes.masks.device, best.tolist())
    i = torch.arange(len(best), device=k.device)
    taken: dict[str, Any] = {
        name: None if value is None else value[row, best][:, None]
        for name in CANDIDATE_NUMBERS
        for value in [getattr(decodes, name)]
    }
    return replace(decodes, masks=decodes.masks[i, k][:, None], tokens=decodes.tokens[i, k][:, None], **taken)


def merged(parts: list[tuple[list[int], Decodes]], count: int) -> Decodes:
    """Chunks back into the order of the rows."""
    if len(parts) == 1 and parts[0][0] == list(range(count)):
        return parts[0][1]
    order = np.argsort([i for members, _ in parts for i in members])
    index = upload_index(parts[0][1].masks.device, order.tolist())

    def joined(name: str) -> Any:
        values = [getattr(part, name) for _, part in parts]
        present = [value for value in values if value is not None]
        if not present:
            return None
        if isinstance(present[0], Tensor):
            return torch.cat(values)[index]
        if len(present) < len(values):  # motion is known in some chunks only
            values = [
                np.full(part.iou.shape, np.nan) if v is None else v for v, (_, part) in zip(values, parts, strict=True)
            ]
        return np.concatenate(values)[order]

    return Decodes(**{field.name: joined(field.name) for field in fields(Decodes)})


def groups(keys: Sequence[object]) -> list[list[int]]:
    """Indices by equal key, in order of first appearance."""
    groups: dict[object, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return list(groups.values())
