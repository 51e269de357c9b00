"""Candidates of a decode as a policy sees them, and what is logged of its choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mosam.engine.decodes import Decodes
from mosam.policies.base import Candidate, Choice, MotionPrompt, ReadPlan


@dataclass(frozen=True, slots=True, eq=False)
class DecodedCandidate:
    """A candidate and where its tensors are."""

    candidate: Candidate
    decodes: Decodes
    row: int


def decoded_candidates(
    decodes: Decodes,
    source: Literal["free", "guided"],
    where: Mapping[int, int],
    members: Sequence[int],
    guides: Sequence[MotionPrompt | None],
) -> list[DecodedCandidate]:
    """Candidates of one object: `where` leads from its rows to rows of the decode."""
    return [
        DecodedCandidate(
            Candidate(
                hypothesis=members.index(i),
                source=source,
                index=k,
                iou=float(decodes.iou[row, k]),
                object_score=float(decodes.object_score[row]),
                area=int(decodes.area[row, k]),
                box=None if decodes.boxes is None else decodes.boxes[row, k],
                motion_iou=_known(decodes.motion_iou, row, k),
                motion_trust=0.0 if guides[i] is None else guides[i].trust,  # type: ignore[union-attr]
                distractors=_known(decodes.distractors, row, k),
                prototype=None if decodes.prototypes is None else decodes.prototypes[row, k],
                cycle_iou=_known(decodes.cycle_iou, row, k),
            ),
            decodes,
            row,
        )
        for i, row in where.items()
        for k in range(decodes.iou.shape[1])
    ]


def _known(values: NDArray[np.float64] | None, row: int, k: int) -> float | None:
    return None if values is None or np.isnan(values[row, k]) else float(values[row, k])


def decision_log(plan: ReadPlan, candidate: Candidate, choice: Choice, guide: MotionPrompt | None) -> dict[str, object]:
    """What was read and chosen, as `ObjectOutput.log` has it."""
    return {
        "slots": [(slot.entry.frame, slot.temporal) for slot in plan.slots],
        "pointers": [(pointer.entry.frame, pointer.position) for pointer in plan.pointers],
        "candidate": candidate.index,
        "source": candidate.source,
        "iou": candidate.iou,
        "object_score": candidate.object_score,
        **({} if guide is None or guide.box is None else {"prompt_box": guide.box.tolist()}),
        **({} if guide is None or guide.points is None else {"prompt_points": guide.points.tolist()}),
        **((guide.log if guide else None) or {}),
        **(choice.log or {}),
    }
