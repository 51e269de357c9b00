"""Dense motion by RAFT (Teed and Deng, ECCV 2020) through torchvision: the shipped example of a learned estimator.

Its weights are downloaded once by torchvision into torch's cache; without them and without a network the error says
where to put the file and what to use instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MissingDataError
from mosam.motion.base import FLOW_ESTIMATORS

STRIDE = 8  # RAFT wants sides that are multiples of 8


@FLOW_ESTIMATORS.register("raft-small")
class RaftSmall:
    """RAFT small, 1.0 M parameters."""

    builder, weights = "raft_small", "Raft_Small_Weights"

    def __init__(self) -> None:
        import torch
        from torchvision.models import optical_flow

        weights = getattr(optical_flow, self.weights).DEFAULT
        try:
            state = weights.get_state_dict(progress=False, check_hash=True)
        except Exception as error:
            name = weights.url.rsplit("/", 1)[-1]
            raise MissingDataError(
                f"{torch.hub.get_dir()}/checkpoints/{name}: expected the RAFT weights, got {type(error).__name__}; "
                f"put {name} of torchvision's model hub there, or use dense=dis-medium, which needs none"
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = getattr(optical_flow, self.builder)(weights=None)
        self._model.load_state_dict(state)
        self._model = self._model.eval().to(self._device)

    def flow(
        self, previous: NDArray[np.uint8], current: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `FlowEstimator.flow`; both directions in one batch."""
        import torch
        import torch.nn.functional as F

        h, w = previous.shape[:2]
        images = torch.from_numpy(np.stack([current, previous])).permute(0, 3, 1, 2).to(self._device)
        images = images.float() / 127.5 - 1.0
        images = F.pad(images, (0, -w % STRIDE, 0, -h % STRIDE), mode="replicate")
        with torch.inference_mode():
            flows = self._model(images, images.flip(0))[-1][:, :, :h, :w]
        backward, forward = flows.permute(0, 2, 3, 1).cpu().numpy()
        return backward, forward


@FLOW_ESTIMATORS.register("raft-large")
class RaftLarge(RaftSmall):
    """RAFT large, 5.3 M parameters."""

    builder, weights = "raft_large", "Raft_Large_Weights"
