"""How a sequence is tracked: the passes a tracker makes over it, and what its outputs become in result files.

Most benchmarks let a tracker see a sequence once, from the first prompts to the end. VOT does not: until 2019 a tracker
that failed was started again, from 2020 to 2022 it was started at every anchor, forward or backward. A `TrackingMode`
says which passes there are, takes their outputs frame by frame, and says what follows; the tracking loop runs passes of
any sequences beside each other and knows none of this.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mosam.codecs.background import unwrapped
from mosam.codecs.base import Codec, CodecOptions
from mosam.codecs.vot import Regions, VotCodec, name_of_anchor, name_of_pass, write_run
from mosam.errors import DataError, MismatchError
from mosam.regions.overlap import region_overlaps
from mosam.regions.trajectory import FAILED, INITIALIZED, UNKNOWN, Region, Special, Trajectory
from mosam.types import FrameOutput, ObjectOutput, Prompt

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence
    from mosam.datasets.region_folders import RegionSequence
    from mosam.datasets.region_truth import RegionTruth

FAILURE_OVERLAP = 0.0  # a supervised tracker has failed where its overlap is not above this (VOT2013, section 3)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One uninterrupted run of a tracker over frames of a sequence.

    Attributes:
        frames: their indices in the sequence, in the order they are tracked.
        prompts: `frame_index` counts in that order.
        num_frames: the length that the tracker is told, None where it must not know.
    """

    frames: range
    prompts: tuple[Prompt, ...]
    num_frames: int | None = None


class TrackingMode(Protocol):
    """One sequence being tracked."""

    @property
    def length(self) -> int:
        """Frames that will be tracked, or the most there can be."""

    def begin(self) -> list[Pass]:
        """The passes that can begin now, each independent of the others."""

    def add(self, spec: Pass, output: FrameOutput, seconds: float) -> bool:
        """Takes the next frame of a pass.

        Args:
            spec: the pass.
            output: of its next frame; `frame_index` counts in the order tracked.
            seconds: the tracker took for it.
        Returns:
            whether the pass goes on; False ends it here.
        """

    def end(self, spec: Pass) -> list[Pass]:
        """After the last frame of a pass: the passes that can begin because of it."""

    def finish(self) -> None:
        """After the last pass: leaves the result files."""


class OnePass:
    """The whole sequence in one pass, from every object's prompt to the end."""

    def __init__(self, folder: Path, sequence: Sequence, codec: Codec, options: CodecOptions):
        self._sequence = sequence
        self._writer = codec.writer(folder, sequence, options)

    @property
    def length(self) -> int:
        """See `TrackingMode.length`."""
        return len(self._sequence)

    def begin(self) -> list[Pass]:
        """See `TrackingMode.begin`."""
        return [Pass(range(self.length), self._sequence.prompts, self.length)]

    def add(self, spec: Pass, output: FrameOutput, seconds: float) -> bool:
        """See `TrackingMode.add`."""
        self._writer.add(output, seconds)
        return True

    def end(self, spec: Pass) -> list[Pass]:
        """See `TrackingMode.end`."""
        return []

    def finish(self) -> None:
        """See `TrackingMode.finish`."""
        self._writer.finish()


class _OneObject:
    """What modes that start a tracker anywhere share: a sequence of one object with regions, and results like VOT's."""

    def __init__(self, folder: Path, sequence: Sequence, codec: Codec, options: CodecOptions):
        codec = unwrapped(codec)  # whole passes are written here, when they have ended
        if not (isinstance(codec, VotCodec) and hasattr(sequence, "prompt_at")):
            raise MismatchError(f"{sequence.name}: expected annotated regions, and results in VOT's layout")
        self.sequence: RegionSequence = sequence  # type: ignore[assignment]
        self.truth: RegionTruth = self.sequence.regions
        if len(self.truth.object_ids) != 1:
            raise MismatchError(f"{sequence.name}: expected one object, got {len(self.truth.object_ids)}")
        self._folder, self._codec, self._options = folder, codec, options
        self._object = self.truth.object_ids[0]

    def pass_over(self, frames: range) -> Pass:
        """A pass that starts with the annotation of its first frame."""
        prompt = self.sequence.prompt_at(self._object, frames[0])
        return Pass(frames, (dataclasses.replace(prompt, frame_index=0),))

    def regions(self) -> Regions:
        """An empty list of regions, to be filled with a pass."""
        return Regions(self._codec, self._options)

    def item(self, output: FrameOutput) -> ObjectOutput | None:
        """What an output says of the object; None where it has nothing."""
        return output.objects.get(self._object)

    def write(self, name: str, regions: list[Region], seconds: list[float]) -> None:
        """Leaves one trajectory with its times."""
        place = self._folder / self._codec.experiment / self.sequence.name
        write_run(place, name, regions, seconds=seconds, suffix=self._codec.file_suffix(self._options))


class Supervised(_OneObject):
    """VOT 2013-2019: where the tracker's region does not touch the annotated one it has failed, and is started again.

    The start is written as code 1, the failure as 2; the frames skipped after it are 0. What is compared is the region
    as it is written. Trackers are taken to be deterministic: there is one repetition.
    """

    def __init__(self, folder: Path, sequence: Sequence, codec: Codec, options: CodecOptions):
        super().__init__(folder, sequence, codec, options)
        self._all: list[Region] = [Special(UNKNOWN)] * self.length
        self._seconds = [math.nan] * self.length
        self._current = self.regions()
        self._failure: int | None = None

    @property
    def length(self) -> int:
        """See `TrackingMode.length`."""
        return len(self.sequence)

    def begin(self) -> list[Pass]:
        """See `TrackingMode.begin`."""
        return [self._from(self.truth.first_frame(self._object))]

    def add(self, spec: Pass, output: FrameOutput, seconds: float) -> bool:
        """See `TrackingMode.add`."""
        frame = spec.frames[output.frame_index]
        self._seconds[frame] = seconds
        if output.frame_index == 0:
            self._all[frame] = Special(INITIALIZED)
            return True
        region = self._current.add(self.item(output))
        if self._overlap(region, frame) <= FAILURE_OVERLAP:
            self._all[frame] = Special(FAILED)
            self._failure = frame
            return False
        self._all[frame] = region
        return True

    def end(self, spec: Pass) -> list[Pass]:
        """See `TrackingMode.end`."""
        start = None if self._failure is None else self.truth.restart(self._failure)
        return [] if start is None else [self._from(start)]

    def finish(self) -> None:
        """See `TrackingMode.finish`."""
        self.write(name_of_pass(self.sequence, self._object), self._all, self._seconds)

    def _from(self, frame: int) -> Pass:
        self._current, self._failure = self.regions(), None
        return self.pass_over(range(frame, self.length))

    def _overlap(self, region: Region, frame: int) -> float:
        true = self.truth.single.take(np.array([frame]))
        return float(region_overlaps(Trajectory.of([region], cropped=True), true, size=self.truth.size)[0])


class Multistart(_OneObject):
    """VOT 2020-2022: one pass from each anchor, forward to the end or backward to the beginning."""

    def __init__(self, folder: Path, sequence: Sequence, codec: Codec, options: CodecOptions):
        super().__init__(folder, sequence, codec, options)
        if not self.truth.anchors:
            raise DataError(sequence.name, "expected anchor.value with an anchor, found none")
        self._orders = [anchor.frames(len(sequence)) for anchor in self.truth.anchors]
        self._of: dict[int, tuple[Regions, list[float]]] = {}

    @property
    def length(self) -> int:
        """See `TrackingMode.length`."""
        return sum(map(len, self._orders))

    def begin(self) -> list[Pass]:
        """See `TrackingMode.begin`."""
        return [self.pass_over(order) for order in self._orders]

    def add(self, spec: Pass, output: FrameOutput, seconds: float) -> bool:
        """See `TrackingMode.add`."""
        regions, times = self._of.setdefault(spec.frames[0], (self.regions(), []))
        times.append(seconds)
        if output.frame_index == 0:
            regions.add_code(INITIALIZED)
        else:
            regions.add(self.item(output))
        return True

    def end(self, spec: Pass) -> list[Pass]:
        """See `TrackingMode.end`."""
        regions, times = self._of.pop(spec.frames[0])
        self.write(name_of_anchor(self.sequence, spec.frames[0]), regions.all, times)
        return []

    def finish(self) -> None:
        """See `TrackingMode.finish`."""


ONCE = "once"
MODES: Mapping[str, type[OnePass | Supervised | Multistart]] = {
    ONCE: OnePass,
    "supervised": Supervised,
    "multistart": Multistart,
}
