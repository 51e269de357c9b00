"""The state of one object in one sequence: its hypotheses, and the masks that are not final yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosam.policies.base import Entry, TrackInfo, Update
from mosam.types import Mask, Prompt

DEVICE_FRAMES = 32  # open frames whose masks stay on the device as they are
OPEN_FRAMES = 512  # frames that may be open at once, in all of them at most 3 x 64 MiB of a 256 x 256 mask


@dataclass(slots=True, eq=False)
class FrameMask:
    """One object's mask on one frame as it will be shown: (1, mask, mask) logits and its scores.

    `mask` is the same at video size, (H, W) on the host, where a policy asked for it in this step.
    """

    frame: int
    low_res: Tensor
    object_score: float
    iou: float
    log: Mapping[str, object] | None = None
    mask: Mask | None = None


@dataclass(slots=True, eq=False)
class Hypothesis:
    """One alternative history of a track.

    Attributes:
        state: of the policy.
        features, pointers: entries it holds in the bank.
        pending: its masks on the frames that are not final yet, oldest first.
    """

    state: Any
    features: tuple[Entry, ...] = ()
    pointers: tuple[Entry, ...] = ()
    pending: deque[FrameMask] = field(default_factory=deque)

    @classmethod
    def of(cls, update: Update, pending: deque[FrameMask]) -> Hypothesis:
        """The hypothesis an update describes."""
        return cls(update.state, update.features, update.pointers, pending)


@dataclass(slots=True, eq=False)
class Track:
    """One object of one sequence.

    Attributes:
        info: what its policy knows.
        prompts: still to come, by clip index.
        hypotheses: best first; empty until the first prompt.
        probability: (side, side) of the object on the previous frame, for motion; None before the first.
        distractors: (side, side) how surely each cell shows what was seen beside it, where the policy asked for it.
        shown: (mask, mask) logits of the last frames, newest first, where the policy asked for a point tracker.
    """

    info: TrackInfo
    prompts: dict[int, Prompt]
    hypotheses: list[Hypothesis] = field(default_factory=list)
    probability: NDArray[np.float32] | None = None
    distractors: NDArray[np.float32] | None = None
    shown: tuple[Tensor, ...] = ()

    @property
    def started(self) -> bool:
        """The first prompt has been seen."""
        return bool(self.hypotheses)

    def pop_final(self, *, everything: bool) -> list[FrameMask]:
        """Masks that no later frame can change.

        Those on which all hypotheses agree, everything of the best one where asked, and what would stay open longer
        than `OPEN_FRAMES`: there the best hypothesis decides.
        """
        best = self.hypotheses[0].pending
        final = []
        while best and (everything or len(best) > OPEN_FRAMES or self._agreed()):
            final.append(best[0])
            for hypothesis in self.hypotheses:
                hypothesis.pending.popleft()
        return final

    def _agreed(self) -> bool:
        first = self.hypotheses[0].pending[0]
        return all(hypothesis.pending[0] is first for hypothesis in self.hypotheses[1:])

    def offload(self) -> None:
        """Keep open masks small; called once a frame after `pop_final`.

        The newest is copied out of the batch it came in, one that has been open for long goes to the host in half
        precision (all of what a 16-bit network says).
        """
        for hypothesis in self.hypotheses:
            pending = hypothesis.pending
            if pending:
                pending[-1].low_res, pending[-1].mask = pending[-1].low_res.clone(), None
            if len(pending) > DEVICE_FRAMES:
                older = pending[-1 - DEVICE_FRAMES]
                older.low_res = older.low_res.to("cpu", torch.float16)
