"""What was seen beside an object, carried along by the flow: a place that shows it does not show the object.

The object's mask tells object from surroundings on every frame on which it is seen. The flow carries the surroundings
on, frame by frame, also while the object is hidden. A look-alike that was in view all along arrives labeled; the
object, coming out from behind something or back into the picture, shows pixels that nobody has seen before.

Not in the paper; every number is our choice (see `docs/policies.md`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.motion.field import Motion, cell_centers, sample

RATE = 0.3  # of learning from one frame; the frame of a prompt is believed at once


def carry(distractors: NDArray[np.float32], motion: Motion | None) -> NDArray[np.float32]:
    """Move what is known to the next frame; nothing is known of pixels that the flow does not lead back to.

    Args:
        distractors: (side, side) in [0, 1], how surely each cell shows what was seen beside the object.
        motion: from that frame to the next; None = not known, and so is everything else.
    Returns:
        the same for the next frame.
    """
    if motion is None or motion.backward is None or motion.consistent is None:
        return np.zeros_like(distractors)
    moved = sample(distractors, cell_centers(len(distractors)) + motion.backward, outside=0.0)
    return np.where(motion.consistent, moved, np.float32(0))


def learn(
    distractors: NDArray[np.float32] | None, probability: NDArray[np.float32], *, prompted: bool
) -> NDArray[np.float32]:
    """What a frame on which the object is seen adds.

    Args:
        distractors: (side, side) as carried to this frame, or None at the start.
        probability: (side, side) of the object.
        prompted: its mask was given on this frame.
    """
    outside = (probability < 0.5).astype(np.float32)
    return outside if distractors is None or prompted else distractors + np.float32(RATE) * (outside - distractors)
