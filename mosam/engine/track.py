"""The state of one object in one sequence: its hypotheses, and the masks that are not final yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mosam.policies.base import Entry, TrackInfo, Update
from mosam.types import Prompt


@dataclass(slots=True, eq=False)
class Shown:
    """One object's mask on one frame as it will be shown: (1, mask, mask) logits and its scores."""

    frame: int
    low: Tensor
    object_score: float
    iou: float
    log: Mapping[str, object] | None = None


@dataclass(slots=True, eq=False)
class Hypothesis:
    """One alternative history of a track.

    Attributes:
        state: of the policy.
        features, pointers: entries it holds in the bank.
        trail: its masks on the frames that are not final yet, oldest first.
    """

    state: Any
    features: tuple[Entry, ...] = ()
    pointers: tuple[Entry, ...] = ()
    trail: deque[Shown] = field(default_factory=deque)

    @classmethod
    def of(cls, update: Update, trail: deque[Shown]) -> Hypothesis:
        """The hypothesis an update describes."""
        return cls(update.state, update.features, update.pointers, trail)


@dataclass(slots=True, eq=False)
class Track:
    """One object of one sequence.

    Attributes:
        info: what its policy knows.
        prompts: still to come, by clip index.
        hypotheses: best first; empty until the first prompt.
        last_low: (1, mask, mask) logits shown on the previous frame, for motion; None before the first.
    """

    info: TrackInfo
    prompts: dict[int, Prompt]
    hypotheses: list[Hypothesis] = field(default_factory=list)
    last_low: Tensor | None = None

    @property
    def started(self) -> bool:
        """The first prompt has been seen."""
        return bool(self.hypotheses)

    def settle(self, *, everything: bool) -> list[Shown]:
        """Masks that no later frame can change: those on which all hypotheses agree, or everything of the best one."""
        best = self.hypotheses[0].trail
        settled = []
        while best and (everything or all(h.trail[0] is best[0] for h in self.hypotheses[1:])):
            settled.append(best[0])
            for hypothesis in self.hypotheses:
                hypothesis.trail.popleft()
        return settled
