"""Candidates that can be followed back through the last frames, where a policy's motion names a point tracker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.engine.candidates import DecodedCandidate
from mosam.engine.records import Row
from mosam.engine.track import Track
from mosam.engine.transfer import download
from mosam.motion.field import build_tracker
from mosam.motion.retrace import NOTHING, SIDE, retraced
from mosam.types import MotionNeeds, Retraced


class Retracer:
    """Offers the way back; it is gone, and masks are brought to the host, only when a policy asks for it.

    Args:
        needs: the policy's, with a point tracker.
    """

    def __init__(self, needs: MotionNeeds):
        self._needs, self._tracker = needs, build_tracker(needs.tracker)

    def keep(self, track: Track, low_res: Tensor) -> None:
        """Remember (mask, mask) logits as they are shown on the frame just finished."""
        track.shown = (low_res.clone(), *track.shown)[: self._needs.frames]

    def offer(self, row: Row, candidates: Sequence[DecodedCandidate]) -> list[DecodedCandidate]:
        """The candidates of one decode, each with its way back."""
        masks = torch.stack([one.decodes.masks[one.row, one.candidate.index] for one in candidates])

        @cache
        def follow() -> list[Retraced]:
            return self._follow(row, masks)

        def way(k: int) -> Callable[[], Retraced]:
            return lambda: follow()[k]

        return [replace(one, candidate=replace(one.candidate, retraced=way(k))) for k, one in enumerate(candidates)]

    def _follow(self, row: Row, masks: Tensor) -> list[Retraced]:
        shown, pair, skip = row.track.shown, row.video.pair, self._needs.skip_current
        frames = min(len(shown), 0 if pair is None else len(pair.clip) - 1)
        if pair is None or frames < 1:
            return [NOTHING] * len(masks)
        large = F.interpolate(masks[None], (SIDE, SIDE), mode="bilinear", align_corners=False)[0] > 0
        old = shown[frames - 1][None, None]
        old = F.interpolate(old, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        return retraced(download(large), download(old)[0, 0], pair.clip[int(skip) : frames + 1], self._tracker)


def retracer_of(needs: MotionNeeds | None) -> Retracer | None:
    """One for a policy that asks for it."""
    return None if needs is None or needs.tracker == "off" else Retracer(needs)
