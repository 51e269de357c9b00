"""SA-V: J and F of every object on its own annotated frames, objects apart since their masks may overlap."""

from __future__ import annotations

from mosam.datasets.base import Sequence
from mosam.evaluation import columns as cols
from mosam.evaluation.protocols.base import Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.masks import (
    _arrays,
    frame_jf,
    jf_values,
    listed_frames,
    mask_notes,
    mask_truth,
    means_over_objects,
    read_pair,
)


@protocol("sav", needs="masks")
class Sav(Protocol):
    """The SA-V evaluation: of every object the frames annotated for it, the first and last of them left out.

    An object counts from the frame where truth or prediction first show it, as in vos-benchmark, on which the official
    program is built. It ends with an error where the truth shows an object on none of these frames; here such an object
    is left out, with a note.
    """

    columns = cols.JF_COLUMNS

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        counting = {object_id: set(frames[1:-1]) for object_id, frames in listed_frames(truth).items()}
        pairs: dict[int, list[tuple[float, float]]] = {}
        shown: set[int] = set()
        for frame_index in sorted(set().union(*counting.values())):
            wanted = [object_id for object_id, frames in counting.items() if frame_index in frames]
            seen, found = read_pair(truth, result, frame_index, sequence, wanted)
            for object_id in wanted:
                true, predicted = seen.get(object_id), found.get(object_id)
                if true is not None and true.any():
                    shown.add(object_id)
                elif object_id not in pairs and predicted is None:
                    continue
                pairs.setdefault(object_id, []).append(frame_jf(predicted, true))
        values = jf_values(_arrays({object_id: pairs[object_id] for object_id in sorted(shown)}))
        notes = mask_notes(sequence, truth, result, values)
        return SequenceScore({**means_over_objects(values), **speed(sequence, results)}, objects=values, notes=notes)
