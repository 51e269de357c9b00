"""One tracker as the VOT toolkit knows it: started on a picture with regions, asked for regions picture by picture.

Regions cross as lines of VOT's text. What is answered for an object is of the kind that was given: a mask for a mask, a
box for a box or polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosam.codecs.base import CodecOptions
from mosam.codecs.vot import Regions, VotCodec, confidence
from mosam.errors import MosamError
from mosam.regions.files import format_text, parse_text
from mosam.regions.trajectory import MASK, SPECIAL, Trajectory

if TYPE_CHECKING:
    from mosam.engine.engine import Engine
    from mosam.types import FrameOutput, Prompt, Size

PROMPTS = ("auto", "box", "mask")


@dataclass(frozen=True, slots=True)
class Answer:
    """One object on one frame.

    Attributes:
        region: a line of VOT's text.
        confidence: how sure the tracker is, in [0, 1].
    """

    region: str
    confidence: float


class Session:
    """Tracks through one video after the other.

    Args:
        engine: what tracks; may serve other sessions too.
        prompt: what a tracker is started with: `auto` = a mask where one is given, else a box; or `box`, `mask`.
        options: what a mask's box is.
    """

    def __init__(self, engine: Engine, *, prompt: str = "auto", options: CodecOptions | None = None):
        self._engine, self._prompt, self._options = engine, prompt, options or CodecOptions()
        self._video: Any = None
        self._size: Size = (0, 0)
        self._regions: dict[int, Regions] = {}

    def start(self, picture: str, regions: Sequence[str]) -> list[Answer]:
        """Begins a video.

        Args:
            picture: path of its first frame.
            regions: one a line, of each object that is there; more may come with later frames.
        Returns:
            one answer for each object, in the order given.
        Raises:
            MosamError: a picture that cannot be read, or a region that a tracker cannot be started with.
        """
        self.close()
        image = _read(picture)
        self._size, self._regions = (image.shape[0], image.shape[1]), {}
        if not regions:
            raise MosamError(f"{picture}: expected a region to start with, got none")
        # the length is not told: an online tracker must not know it
        self._video = self._engine.open(self._prompts(regions, 0), size=self._size, num_frames=None)
        return self._step(image)

    def frame(self, picture: str, regions: Sequence[str] = ()) -> list[Answer]:
        """The next frame, and objects that appear on it; MosamError as `start`."""
        if self._video is None:
            raise MosamError("expected a start before the first frame, got a frame")
        image = _read(picture)
        if regions:
            self._engine.prompt(self._video, self._prompts(regions, self._video.next_frame))
        return self._step(image)

    def close(self) -> None:
        """Ends the video, if one is open."""
        if self._video is not None:
            self._engine.close(self._video)
        self._video = None

    def _prompts(self, regions: Sequence[str], frame: int) -> list[Prompt]:
        from mosam.datasets.region_truth import RegionTruth

        prompts = []
        for region in regions:
            trajectory = parse_text(region.encode("ascii"), "region")
            kind = "mask" if trajectory.kinds[0] == MASK else "box"
            if trajectory.kinds[0] == SPECIAL:
                raise MosamError(f"expected a region to start with, got the code {region}")
            number = len(self._regions) + 1
            wanted = kind if self._prompt == "auto" else self._prompt
            truth = RegionTruth({number: trajectory.padded(1)}, self._size)
            prompt = truth.prompt(number, 0, wanted)
            prompts.append(_moved(prompt, frame))
            self._regions[number] = Regions(VotCodec(kind=kind), self._options)
        return prompts

    def _step(self, image: Any) -> list[Answer]:
        output = self._engine.step({self._video: image})[self._video]
        self._engine.drain(self._video)  # given already
        return [self._answer(number, regions, output) for number, regions in self._regions.items()]

    def _answer(self, number: int, regions: Regions, output: FrameOutput) -> Answer:
        item = output.objects.get(number)
        region = regions.add(item)
        regions.all.clear()  # only the last box matters here
        text = format_text(Trajectory.of([region])).strip()
        return Answer(text, 0.0 if item is None else confidence(item))


def _moved(prompt: Prompt, frame: int) -> Prompt:
    import dataclasses

    return dataclasses.replace(prompt, frame_index=frame)


def _read(picture: str) -> np.ndarray:
    from mosam.datasets.decoders import decode_image
    from mosam.errors import DataError

    try:
        data = Path(picture).read_bytes()
    except OSError as error:
        raise DataError(picture, f"cannot be read: {error.strerror or error}") from None
    return decode_image(data, picture)
