"""Dense motion by OpenCV's DIS optical flow (Kroeger et al., ECCV 2016)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.motion.base import FLOW_ESTIMATORS


@FLOW_ESTIMATORS.register("dis-medium", "dis")
class DisMedium:
    """DIS, medium preset."""

    preset = "PRESET_MEDIUM"
    iterations = 25, 5  # of gradient descent and of variational refinement; as the preset

    def __init__(self) -> None:
        import cv2

        self._flow = cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_{self.preset}"))
        descent, refinement = self.iterations
        self._flow.setGradientDescentIterations(descent)
        self._flow.setVariationalRefinementIterations(refinement)

    def flow(
        self, previous: NDArray[np.uint8], current: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `FlowEstimator.flow`."""
        import cv2

        before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (previous, current))
        return self._flow.calc(after, before, None), self._flow.calc(before, after, None)


@FLOW_ESTIMATORS.register("dis-fast")
class DisFast(DisMedium):
    """DIS, fast preset with fewer iterations (its own are 16 and 5): a sixth of the time, coarser."""

    preset = "PRESET_FAST"
    iterations = 12, 2
