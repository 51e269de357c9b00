"""Point tracking by CoTracker3 (Karaev et al., 2024), as its authors say to load it: through `torch.hub`.

Neither its code nor its weights are part of mosam. `torch.hub` brings both into its cache once; without a network the
error says what to do instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MissingDataError
from mosam.motion.base import POINT_TRACKERS

REPOSITORY, MODEL = "facebookresearch/co-tracker", "cotracker3_offline"


@POINT_TRACKERS.register("cotracker")
class CoTracker:
    """CoTracker3, offline: all pictures at once, which lets it see a point again that was hidden."""

    contrast = 1.0

    def __init__(self) -> None:
        import torch

        try:
            model = torch.hub.load(REPOSITORY, MODEL, trust_repo=True, verbose=False)
        except Exception as error:  # no network, no such release, a package that it needs
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise MissingDataError(
                f"point tracker cotracker: expected {REPOSITORY} in {torch.hub.get_dir()}, could not load it ({reason})"
                f"; run `torch.hub.load('{REPOSITORY}', '{MODEL}')` once with a network connection, or use points=lk"
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.float().eval().to(self._device)

    def follow(
        self, clip: Sequence[NDArray[np.uint8]], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See `PointTracker.follow`."""
        import torch

        video = torch.from_numpy(np.stack(clip)).to(self._device).permute(0, 3, 1, 2)[None].float() * self.contrast
        queries = np.concatenate([np.zeros((len(points), 1), np.float32), points.astype(np.float32)], axis=1)
        with torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
            tracks, seen = self._model(video, queries=torch.from_numpy(queries)[None].to(self._device))
        return tracks[0].float().cpu().numpy(), seen[0].reshape(tracks.shape[1:3]).bool().cpu().numpy()


@POINT_TRACKERS.register("cotracker-dim")
class DimCoTracker(CoTracker):
    """The same on pictures of 1/255 the contrast, as HiM2SAM's program feeds it."""

    contrast = 1 / 255
