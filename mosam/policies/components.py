"""Connected components, for the policies that look at the shape of a mask."""

from __future__ import annotations

import numpy as np

from mosam.types import Mask


def largest_component(mask: Mask) -> Mask:
    """The 8-connected component with the most pixels; of equal ones the one that OpenCV counts first, as DAM4SAM does.

    Args:
        mask: (H, W) bool.
    Returns:
        (H, W) bool; empty where `mask` is.
    """
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())
