"""Quality over the time of one sequence, and where its objects are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mosam.errors import MosamError, UnknownNameError
from mosam.evaluation.failures import absences, first_loss
from mosam.evaluation.figures.base import add_legend, new_axes, of_sequence, sequence_looks, shade, tracked_name
from mosam.evaluation.figures.style import HEIGHT, WIDTH

if TYPE_CHECKING:
    from mosam.evaluation.framewise import ObjectFrames, TrackedSequence

GRAYS = (0.93, 0.72)  # of a stretch in which hardly any and all objects are gone
LIMITS = (-2, 102)  # of y: a line at 0 or 100 can be seen


@of_sequence("jf-time")
def jf_time_plot(title: str, items: Sequence[TrackedSequence], *, object_id: int | None = None) -> Figure:
    """J&F (for boxes and VOT's regions the overlap) by frame, one line per tracker.

    Stretches in which objects are gone are gray, the darker the more of them; a mask's line is at 100 there while
    nothing is predicted, and at 0 while something is. A cross marks where a tracker first loses an object (VOT2020's
    rule, see `failures.first_loss`).

    Args:
        title: above it: benchmark and sequence.
        items: trackers on one sequence.
        object_id: None = the mean over the objects that were given so far.
    Raises:
        MosamError: no trackers, or an unknown object.
    """
    chosen = {id(item): _choose(item, object_id) for item in items}
    made, axes = new_axes(width=2 * WIDTH, height=HEIGHT)
    for first, last, share in absences(chosen[id(items[0])]):
        gray = GRAYS[0] + (GRAYS[1] - GRAYS[0]) * share
        shade(axes, first - 0.5, last + 0.5, str(round(gray, 3)), along=LIMITS)
    ends = []
    for item, look in zip(items, sequence_looks(items), strict=True):
        objects = chosen[id(item)]
        frames, values = mean_quality(objects)
        ends += [frames[0], frames[-1]]
        label = f"{tracked_name(item)} [{100 * np.nanmean(values):.1f}]" if np.isfinite(values).any() else None
        axes.plot(
            frames,
            100 * values,
            color=look.color,
            linestyle=look.dashes,
            linewidth=1.1,
            label=label or f"{tracked_name(item)} [-]",
        )
        lost = sorted({frame for one in objects if (frame := first_loss(one)) is not None})
        at = 100 * values[np.searchsorted(frames, lost)]
        if lost:
            axes.plot(lost, at, color=look.color, linestyle="none", marker="x", markersize=5, zorder=3)
    masks = any(item.has_boundaries for item in items)
    suffix = "" if object_id is None else f", object {object_id}"
    axes.set(title=f"{title}{suffix}", xlabel="Frame", ylabel="J&F [%]" if masks else "Overlap [%]")
    axes.set(ylim=LIMITS, xlim=(min(ends), max(max(ends), min(ends) + 1)))
    add_legend(axes, "Mean over frames [%]")
    return made


def mean_quality(objects: Sequence[ObjectFrames]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames (N,) and, on each, the mean quality (N,) of the objects that have a number there, NaN where none has."""
    frames = np.unique(np.concatenate([item.frames for item in objects]))
    table = np.full((len(objects), len(frames)), np.nan)
    for row, item in zip(table, objects, strict=True):
        row[np.searchsorted(frames, item.frames)] = item.quality
    known = ~np.isnan(table)
    totals = np.where(known, table, 0.0).sum(axis=0)
    return frames, np.where(known.any(axis=0), totals / np.maximum(known.sum(axis=0), 1), np.nan)


def _choose(item: TrackedSequence, object_id: int | None) -> list[ObjectFrames]:
    """One run of each object, or of one: the longest."""
    best: dict[int, ObjectFrames] = {}
    for one in item.objects:
        if one.object_id not in best or len(one.frames) > len(best[one.object_id].frames):
            best[one.object_id] = one
    if object_id is None:
        found = [one for one in best.values() if len(one.frames)]
        if not found:
            raise MosamError(f"figure jf-time: {item.folder}: expected an annotated object, got none")
        return found
    if object_id not in best:
        raise UnknownNameError("object", str(object_id), map(str, best), where="figure jf-time")
    return [best[object_id]]
