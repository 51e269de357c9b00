"""SA-V: J and F of every object on its own annotated frames, objects apart since their masks may overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from mosam.datasets.base import MaskTruth, Sequence
from mosam.evaluation import columns as cols
from mosam.evaluation.protocols.base import Protocol, SequenceScore, TrackerResults, WatchedMasks, protocol, speed
from mosam.evaluation.protocols.masks import (
    FrameScores,
    _arrays,
    frame_jf,
    jf_values,
    listed_frames,
    mask_notes,
    mask_truth,
    means_over_objects,
    read_pair,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One object on one frame.

    Attributes:
        jf: J and F.
        true, predicted: whether truth and prediction show it.
    """

    jf: tuple[float, float]
    true: bool
    predicted: bool


@protocol("sav", needs="masks")
class Sav(Protocol):
    """The SA-V evaluation: of every object the frames annotated for it, the first and last of them left out.

    An object counts from the frame where truth or prediction first show it, as in vos-benchmark, on which the official
    program is built. It ends with an error where the truth shows an object on none of these frames; here such an object
    is left out, with a note.
    """

    columns: ClassVar[tuple[cols.Column, ...]] = cols.JF_COLUMNS

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        counting = {object_id: frames[1:-1] for object_id, frames in listed_frames(truth).items()}
        values = jf_values(counted(look(sequence, truth, result, counting), counting))
        notes = mask_notes(sequence, truth, result, values)
        return SequenceScore({**means_over_objects(values), **speed(sequence, results)}, objects=values, notes=notes)


def look(
    sequence: Sequence, truth: MaskTruth, result: WatchedMasks, frames: Mapping[int, Iterable[int]]
) -> dict[int, dict[int, Seen]]:
    """Objects on the frames that are wanted of each, by object id and frame; errors as `read_pair`."""
    wanted = {object_id: set(indices) for object_id, indices in frames.items()}
    found: dict[int, dict[int, Seen]] = {object_id: {} for object_id in wanted}
    for frame_index in sorted(set().union(*wanted.values())):
        here = [object_id for object_id, indices in wanted.items() if frame_index in indices]
        true_masks, predicted_masks = read_pair(truth, result, frame_index, sequence, here)
        for object_id in here:
            true, predicted = true_masks.get(object_id), predicted_masks.get(object_id)
            shown = true is not None and bool(true.any()), predicted is not None
            found[object_id][frame_index] = Seen(frame_jf(predicted, true), *shown)
    return found


def counted(found: Mapping[int, Mapping[int, Seen]], frames: Mapping[int, Iterable[int]]) -> dict[int, FrameScores]:
    """J and F of the objects that the truth shows on some of these frames, from where they are first shown or found."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    for object_id in sorted(frames):
        seen = [found[object_id][index] for index in frames[object_id]]
        start = next((at for at, one in enumerate(seen) if one.true or one.predicted), len(seen))
        if any(one.true for one in seen):
            pairs[object_id] = [one.jf for one in seen[start:]]
    return _arrays(pairs)
