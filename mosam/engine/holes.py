"""Hole filling as SAM 2's compiled extension does it, without the extension.

The official program skips it silently where its CUDA extension is missing, so published box-tracking numbers may or may
not contain it; here it always runs where it is asked for, on the host.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mosam.model.constants import FILLED_LOGIT


def fill_holes(low_res: Tensor, max_area: int) -> Tensor:
    """Give background components of at most `max_area` pixels a small positive logit.

    Args:
        low_res: (N, 1, h, w) logits; background is `<= 0`, 8-connected.
        max_area: largest hole, pixels.
    Returns:
        (N, 1, h, w), the argument where nothing had to be filled.
    """
    import cv2

    background = (low_res <= 0).to(torch.uint8).cpu().numpy()
    holes = np.zeros(background.shape, dtype=bool)
    for n in range(len(background)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(background[n, 0], connectivity=8, ltype=cv2.CV_32S)
        small = stats[:, cv2.CC_STAT_AREA] <= max_area
        small[0] = False  # label 0 is the foreground
        if count > 1 and small.any():
            holes[n, 0] = small[labels]
    if not holes.any():
        return low_res
    return torch.where(torch.from_numpy(holes).to(low_res.device), FILLED_LOGIT, low_res)
