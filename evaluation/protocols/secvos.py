"""SeCVOS: SA-V's evaluation of whole videos, and J and F of the first, the second and the remaining shots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, runtime_checkable
from typing import Protocol as Interface

from mosam.datasets.base import Sequence
from mosam.evaluation import columns as cols
from mosam.evaluation.protocols.base import SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.masks import jf_values, listed_frames, mask_notes, mask_truth, means_over_objects
from mosam.evaluation.protocols.sav import Sav, counted, look

SHOTS = ("first", "second", "remain")
_COLUMNS = tuple(cols.Column(f"jf_{shot}", f"J&F {shot}") for shot in SHOTS)
_NAMES = {"jf_mean": "jf", "j_mean": "j", "f_mean": "f"}


@runtime_checkable
class ShotTruth(Interface):
    """Mask annotation of a video that is cut into shots."""

    @property
    def shots(self) -> Mapping[str, frozenset[int]]:
        """0-based frames of `first`, `second`, `remain`; what the video has not is left out."""


@protocol("secvos", needs="masks")
class SecVos(Sav):
    """The SeCVOS evaluation: SA-V's of whole videos; of the first, second and remaining shots all frames count.

    To the frames of a shot comes the first that is annotated for an object, as in the official program
    (github.com/OpenIXCLab/SeC at 1981ac4), so that a shot in which it hides still has a frame with it. Objects that the
    truth does not show then either are left out, where that program ends with an error.
    """

    columns: ClassVar[tuple[cols.Column, ...]] = (*cols.JF_COLUMNS, *_COLUMNS)

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        shots = truth.shots if isinstance(truth, ShotTruth) else {}
        listed = {object_id: tuple(frames) for object_id, frames in listed_frames(truth).items()}
        whole = {object_id: frames[1:-1] for object_id, frames in listed.items()}
        cut = {
            shot: {
                object_id: [index for at, index in enumerate(frames) if at == 0 or index in shots[shot]]
                for object_id, frames in listed.items()
            }
            for shot in SHOTS
            if shot in shots
        }
        wanted = {key: {*whole[key], *(index for one in cut.values() for index in one[key])} for key in whole}
        found = look(sequence, truth, result, wanted)
        values = jf_values(counted(found, whole))
        notes = mask_notes(sequence, truth, result, values)
        for shot, frames in cut.items():
            for object_id, numbers in jf_values(counted(found, frames)).items():
                named = {f"{short}_{shot}": numbers[name] for name, short in _NAMES.items()}
                values[object_id] = {**values.get(object_id, {}), **named}
        return SequenceScore({**means_over_objects(values), **speed(sequence, results)}, objects=values, notes=notes)
