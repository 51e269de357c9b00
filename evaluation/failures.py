"""Where trackers fail and come back, and which frames of a sequence are worth looking at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.multistart import FAILURE_OVERLAP, GRACE, frames_before_failure

if TYPE_CHECKING:
    from mosam.evaluation.framewise import ObjectFrames, TrackedSequence

BACK_OVERLAP = 0.5  # a lost object is found again where its overlap reaches this
SMALLEST_GAP = 0.05  # trackers that differ less nowhere disagree
COUNT = 6  # frames of a strip


@dataclass(frozen=True, slots=True)
class Pick:
    """A frame to look at.

    Attributes:
        frame: 0-based.
        reasons: why, the most telling first (`first loss: mosam`); empty where it only fills a gap.
    """

    frame: int
    reasons: tuple[str, ...] = ()


def first_loss(item: ObjectFrames, *, threshold: float = FAILURE_OVERLAP, grace: int = GRACE) -> int | None:
    """The frame on which a tracker first loses its object, by VOT2020's rule.

    Args:
        item: one object.
        threshold: overlap that is a miss.
        grace: annotated frames in a row, the object being there, that must miss.
    Returns:
        the first of them, or the first frame that VOT's results call a failure; None where there is neither.
    """
    marked = np.flatnonzero(item.failed)
    if marked.size:
        return int(item.frames[marked[0]])
    row = frames_before_failure(item.iou, ~item.visible, threshold=threshold, grace=grace)
    return int(item.frames[row]) if row < len(item.frames) else None


def first_recovery(item: ObjectFrames, *, threshold: float = BACK_OVERLAP) -> int | None:
    """The first frame after the first loss on which the overlap with the object reaches `threshold`; None without."""
    lost = first_loss(item)
    if lost is None:
        return None
    back = np.flatnonzero((item.frames > lost) & item.visible & (item.iou >= threshold))
    return int(item.frames[back[0]]) if back.size else None


def largest_disagreement(items: Sequence[ObjectFrames]) -> tuple[int, float] | None:
    """Where trackers differ most about one object.

    Args:
        items: the same object and run under several trackers.
    Returns:
        the frame and the largest difference in overlap there, among frames that show the object; None where no frame
        has two numbers.
    """
    frames = np.unique(np.concatenate([item.frames for item in items]))
    table = np.full((len(items), len(frames)), np.nan)
    for row, item in zip(table, items, strict=True):
        row[np.searchsorted(frames, item.frames)] = np.where(item.visible, item.iou, np.nan)
    known = np.flatnonzero((~np.isnan(table)).sum(axis=0) > 1)
    if not known.size:
        return None
    gaps = np.nanmax(table[:, known], axis=0) - np.nanmin(table[:, known], axis=0)
    best = int(np.argmax(gaps))
    return int(frames[known[best]]), float(gaps[best])


def worst_frame(item: ObjectFrames) -> int | None:
    """The frame after the start, showing the object, with the lowest overlap; None without one."""
    rows = np.flatnonzero(item.visible & ~np.isnan(item.iou) & (item.frames != item.start))
    return int(item.frames[rows[np.argmin(item.iou[rows])]]) if rows.size else None


def pick_frames(items: Sequence[TrackedSequence], *, count: int = COUNT) -> list[Pick]:
    """Frames that tell how trackers differ: the start, losses, the largest disagreement, recoveries, then gaps filled.

    Args:
        items: trackers on one sequence.
        count: how many; fewer where the sequence has no more annotated frames.
    Returns:
        in order of time.
    """
    several = len({one.object_id for item in items for one in item.objects}) > 1
    found: dict[int, list[str]] = {}

    def note(frame: int | None, reason: str, object_id: int) -> None:
        if frame is not None:
            reasons = found.setdefault(frame, [])
            text = f"{reason}, object {object_id}" if several else reason
            if text not in reasons:
                reasons.append(text)

    pairs = [(item, one) for item in items for one in item.objects]
    first = min((one.start for _, one in pairs), default=0)
    found[first] = ["start"]
    who: dict[tuple[str, int], list[str]] = {}
    for name, find in (("first loss", first_loss), ("recovery", first_recovery)):
        dated = [(frame, item, one) for item, one in pairs if (frame := find(one)) is not None]
        earliest = min((frame for frame, _, _ in dated), default=None)
        for _, item, one in [entry for entry in dated if entry[0] == earliest]:
            who.setdefault((name, one.object_id), []).append(item.tracker)
        for (what, object_id), trackers in who.items():
            if what == name:
                note(earliest, f"{name}: {', '.join(dict.fromkeys(trackers))}", object_id)
        if name == "first loss":
            note(*_telling(items))
    events = list(found)[:count]
    frames = sorted({int(frame) for _, one in pairs for frame in one.frames} | set(events))
    chosen = _spread(frames, events, count)
    return [Pick(frame, tuple(found.get(frame, ()))) for frame in chosen]


def _telling(items: Sequence[TrackedSequence]) -> tuple[int | None, str, int]:
    """The frame of the largest disagreement; of one tracker, the one where it is worst."""
    together: dict[tuple[int, str], list[ObjectFrames]] = {}
    for item in items:
        for one in item.objects:
            together.setdefault((one.object_id, one.run), []).append(one)
    if len(items) < 2:
        worst = [(frame, one) for same in together.values() for one in same if (frame := worst_frame(one)) is not None]
        if not worst:
            return None, "", 0
        frame, one = min(worst, key=lambda entry: _overlap_at(entry[1], entry[0]))
        return frame, "lowest overlap", one.object_id
    gaps = {key: gap for key, same in together.items() if (gap := largest_disagreement(same)) is not None}
    if not gaps:
        return None, "", 0
    (object_id, _), (frame, largest) = max(gaps.items(), key=lambda entry: entry[1][1])
    return frame if largest >= SMALLEST_GAP else None, "largest disagreement", object_id


def _overlap_at(item: ObjectFrames, frame: int) -> float:
    return float(item.iou[np.searchsorted(item.frames, frame)])


def _spread(frames: Sequence[int], chosen: Iterable[int], count: int) -> list[int]:
    """The chosen frames, and others each as far as possible from all so far."""
    kept = list(chosen)
    rest: NDArray[np.int64] = np.array([frame for frame in frames if frame not in kept], dtype=np.int64)
    while len(kept) < count and rest.size:
        distance = np.abs(rest[:, None] - np.array(kept)).min(axis=1)
        best = int(np.argmax(distance))
        kept.append(int(rest[best]))
        rest = np.delete(rest, best)
    return sorted(kept)


def absences(items: Sequence[ObjectFrames]) -> list[tuple[int, int, float]]:
    """Stretches of frames on which objects are gone.

    Args:
        items: the objects of one tracker in one run each.
    Returns:
        (first, last, share of the started objects that is gone) of each stretch, in order.
    """
    gone: dict[int, list[bool]] = {}
    for item in items:
        for frame, visible in zip(item.frames.tolist(), item.visible.tolist(), strict=True):
            gone.setdefault(frame, []).append(not visible)
    return _runs({frame: float(np.mean(flags)) for frame, flags in sorted(gone.items())})


def _runs(shares: Mapping[int, float]) -> list[tuple[int, int, float]]:
    runs: list[tuple[int, int, float]] = []
    previous: float = 0.0
    for frame, share in shares.items():
        if share and share == previous:
            runs[-1] = (runs[-1][0], frame, share)
        elif share:
            runs.append((frame, frame, share))
        previous = share
    return runs
