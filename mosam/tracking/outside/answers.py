"""What a tracker answers, checked: a box or a mask, with a score or without, for a frame of a known size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MosamError
from mosam.geometry import mask_to_box
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import POLYGON, Rectangle, Region, Special, Trajectory
from mosam.system.arguments import described
from mosam.types import Box, Mask, ObjectOutput, Prompt, Size

EXPECTED = "a box x,y,w,h or a mask, alone or as (region, score)"
PRESENT = 50.0  # presence logit of an object that is there; how sure a tracker is, its score says
FARTHEST = 1e9  # pixels from the corner of the picture


class TrackerFailure(MosamError):
    """A tracker gave no answer, or one that is none.

    Attributes:
        what: the message without the frame.
        frame: number of the frame in the pass; None = no frame is to blame.
    """

    def __init__(self, what: str, frame: int | None = None):
        self.what, self.frame = what, frame
        super().__init__(what if frame is None else f"frame {frame}: {what}")

    def within(self, frames: range) -> TrackerFailure:
        """The same, with the number that the frame has in its sequence; `frames` are those of the pass."""
        if self.frame is None or self.frame >= len(frames) or frames[self.frame] == self.frame:
            return self
        return TrackerFailure(f"{self.what} (in the pass that began at frame {frames[0]})", frames[self.frame])


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A checked answer.

    Attributes:
        mask: (H, W) bool; of a box its pixels. All False = the object is not there.
        box: (4,) x, y, w, h where the answer was a box with an area.
        score: how sure the tracker is, in its own units; None = it does not say.
    """

    mask: Mask
    box: Box | None = None
    score: float | None = None

    def output(self) -> ObjectOutput:
        """As an engine gives it; an object that is not there has no confidence."""
        if not self.mask.any() and self.box is None:
            return ObjectOutput(self.mask, -PRESENT, 0.0)
        return ObjectOutput(self.mask, PRESENT, 1.0 if self.score is None else self.score, box=self.box)


def as_answer(value: Any, size: Size, frame: int) -> Answer:
    """What `update` returned, or a region of a program.

    Args:
        value: a box of four numbers (an array, list or tuple), a mask (H, W) of bool or of 0 and other whole numbers,
            or either as the first of (region, score). A box without an area and an empty mask mean that the object is
            not there.
        size: (height, width) of the frame.
        frame: named in errors.
    Raises:
        TrackerFailure: anything else, NaN, or a mask of another size.
    """
    region, score = _split(value)
    if isinstance(region, np.ndarray) and region.ndim == 2:
        return Answer(_checked_mask(region, size, frame), score=_checked_score(score, frame))
    try:
        imaginary = np.iscomplexobj(region)
        box = np.zeros(0) if imaginary else np.asarray(region, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _not(region, frame) from None
    if isinstance(region, str | bytes) or box.shape != (4,):
        raise _not(region, frame)
    if not np.isfinite(box).all() or np.abs(box).max() > FARTHEST:
        shown = ",".join(f"{number:g}" for number in box)
        raise TrackerFailure(f"expected a box of four finite numbers x,y,w,h, got {shown}", frame)
    return Answer(*box_pixels(box, size), score=_checked_score(score, frame))


def box_pixels(box: Box, size: Size) -> tuple[Mask, Box | None]:
    """The pixels of a box as the VOT toolkit fills it, and the box; no pixels and None where it has no area."""
    if box[2] <= 0 or box[3] <= 0:
        return np.zeros(size, dtype=bool), None
    height, width = size
    left, top = np.clip(box[:2], -1.0, (width + 1.0, height + 1.0))
    right, bottom = np.clip(box[:2] + box[2:], -1.0, (width + 1.0, height + 1.0))
    inside = Rectangle(float(left), float(top), float(right - left), float(bottom - top))
    return region_mask(Trajectory.of([inside]), 0, size), box


def region_answer(region: Region, size: Size, *, score: float | None = None) -> Answer:
    """A region that a program sent; codes, points and regions without pixels mean that the object is not there."""
    if isinstance(region, Special):
        return Answer(np.zeros(size, dtype=bool))
    if isinstance(region, Rectangle):
        return Answer(*box_pixels(np.array([region.x, region.y, region.w, region.h]), size), score=score)
    trajectory = Trajectory.of([region])
    box = trajectory.boxes()[0] if trajectory.kinds[0] == POLYGON else None
    return Answer(region_mask(trajectory, 0, size), box, score)


def given(prompt: Prompt, size: Size) -> Answer:
    """The region that a tracker starts with, which is the result of its first frame."""
    if prompt.mask is not None:
        return Answer(prompt.mask)
    assert prompt.box is not None
    return Answer(*box_pixels(prompt.box, size))


def as_box(prompt: Prompt) -> Box:
    """(4,) x, y, w, h of a prompt; of a mask the box that holds all its pixels."""
    if prompt.box is not None:
        return prompt.box
    assert prompt.mask is not None
    return mask_to_box(prompt.mask, convention="inclusive")


def as_mask(prompt: Prompt, size: Size) -> Mask:
    """(H, W) pixels of a prompt; a box is filled."""
    return given(prompt, size).mask


def apart(answers: dict[int, Answer]) -> dict[int, Answer]:
    """Answers of which no two hold a pixel: the surest has it, of equally sure ones that of the lowest object id."""
    taken: NDArray[np.bool_] | None = None
    parted: dict[int, Answer] = {}
    for object_id in sorted(answers, key=lambda one: (-_sureness(answers[one]), one)):
        answer = answers[object_id]
        own = answer.mask if taken is None else answer.mask & ~taken
        taken = own if taken is None else taken | own
        parted[object_id] = Answer(own, answer.box, answer.score)
    return parted


def _sureness(answer: Answer) -> float:
    return 1.0 if answer.score is None else answer.score


def _split(value: Any) -> tuple[Any, Any]:
    """A region and its score; None where there is none."""
    if isinstance(value, tuple | list) and len(value) == 2 and not np.isscalar(value[0]):
        return value[0], value[1]
    return value, None


def _checked_mask(mask: NDArray[Any], size: Size, frame: int) -> Mask:
    if mask.dtype.kind not in "biu":
        raise TrackerFailure(f"expected a mask of bool or whole numbers, got {described(mask)}", frame)
    if mask.shape != size:
        expected, got = (f"{height}x{width}" for height, width in (size, mask.shape))
        raise TrackerFailure(f"expected a mask of the frame's {expected} (height x width), got {got}", frame)
    return mask != 0


def _checked_score(score: Any, frame: int) -> float | None:
    if score is None:
        return None
    try:
        number = float(score)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        raise TrackerFailure(f"expected a finite score, got {described(score)}", frame)
    return number


def _not(value: Any, frame: int) -> TrackerFailure:
    return TrackerFailure(f"expected {EXPECTED}, got {described(value)}", frame)
