"""Regions of one sequence: every object's trajectory, tags and values of the frames, and where runs may start.

What `mosam.tracking.modes` needs for resets and anchors is here: `RegionTruth.anchors` with the frames in tracking
order, `RegionTruth.restart` after a failure, and `RegionTruth.prompt` for any frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MismatchError, MissingDataError
from mosam.geometry import mask_to_box
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import MASK, SPECIAL, Point, Trajectory
from mosam.types import Mask, Prompt, Size

ANCHOR = "anchor"  # value: > 0 forward from this frame, < 0 backward
SKIP_AFTER_FAILURE = 5


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a multistart run begins.

    Attributes:
        frame: 0-based.
        forward: towards the end; else towards frame 0.
    """

    frame: int
    forward: bool

    def frames(self, count: int) -> range:
        """The frames of a run in a sequence of `count`, in the order they are played.

        >>> list(Anchor(2, forward=False).frames(5))
        [2, 1, 0]
        """
        return range(self.frame, count) if self.forward else range(self.frame, -1, -1)


@dataclass(frozen=True, eq=False)
class RegionTruth:
    """Regions of one sequence, all in memory; also a `MaskTruth`.

    Attributes:
        objects: by object id, T regions each.
        image_size: (height, width), or None where nothing tells.
        tags: (T,) bool by name, in file order.
        values: (T,) float64 by name.
        ignore: T regions whose pixels do not count, or None.
    """

    objects: Mapping[int, Trajectory]
    image_size: Size | None = None
    tags: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    ignore: Trajectory | None = None

    def __len__(self) -> int:
        return len(next(iter(self.objects.values())))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object, ascending."""
        return tuple(sorted(self.objects))

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """All frames: each has a region or a code."""
        return tuple(range(len(self)))

    @property
    def single(self) -> Trajectory:
        """The only object's regions; MismatchError where there are several."""
        if len(self.objects) != 1:
            raise MismatchError(f"expected one object, got {len(self.objects)}; choose a protocol for several objects")
        return next(iter(self.objects.values()))

    @property
    def size(self) -> Size:
        """(height, width); MissingDataError where nothing tells."""
        if self.image_size is None:
            raise MissingDataError("expected the size of the frames: width= and height= in `sequence`, or the frames")
        return self.image_size

    @cached_property
    def anchors(self) -> tuple[Anchor, ...]:
        """Anchors as the toolkit visits them: all forward ones, then all backward ones; none without `anchor.value`."""
        value = self.values.get(ANCHOR, np.zeros(0))
        forward = [Anchor(int(frame), True) for frame in np.flatnonzero(value > 0)]
        return (*forward, *(Anchor(int(frame), False) for frame in np.flatnonzero(value < 0)))

    def first_frame(self, object_id: int) -> int:
        """The first frame with a region of an object; DataError where there is none."""
        shown = np.flatnonzero(self.objects[object_id].kinds != SPECIAL)
        if not shown.size:
            raise MismatchError(f"object {object_id}: expected a region on some frame, got codes only")
        return int(shown[0])

    def restart(self, failure: int, *, skip: int = SKIP_AFTER_FAILURE) -> int | None:
        """The frame at which a tracker that failed is started again, or None where the sequence ends before.

        Args:
            failure: the frame of the failure.
            skip: frames from it to the next start; a frame without a region is passed over too.
        """
        shown = np.flatnonzero(self.single.kinds[failure + skip :] != SPECIAL)
        return failure + skip + int(shown[0]) if shown.size else None

    def prompt(self, object_id: int, frame_index: int, kind: str) -> Prompt:
        """An object's annotation on any frame, to start a tracker with.

        Args:
            kind: `box` or `mask`; a point is a point whichever is asked for. A polygon's box is the one around it, a
                mask's the one around its pixels.
        Raises:
            MismatchError: no region there, an empty one, or one that is no mask where a mask is asked for.
        """
        trajectory = self.objects[object_id].take(np.array([frame_index]))
        where = f"object {object_id}, frame {frame_index}"
        region = trajectory[0]
        if isinstance(region, Point):
            point = np.array([[region.x, region.y]])
            return Prompt(object_id, frame_index, points=point, labels=np.ones(1, dtype=np.int64))
        if trajectory.kinds[0] == MASK:
            mask = region_mask(trajectory, 0, self.size)
            if not mask.any():
                raise MismatchError(f"{where}: expected a region to start with, got an empty mask")
            if kind == "mask":
                return Prompt(object_id, frame_index, mask=mask)
            return Prompt(object_id, frame_index, box=mask_to_box(mask, convention="inclusive"))
        box = trajectory.boxes()[0]
        if kind == "mask":
            raise MismatchError(f"{where}: expected an annotated mask, got {region}; choose --prompt box")
        if not ((box[2:] > 0).all() and np.isfinite(box).all()):
            raise MismatchError(f"{where}: expected a region with width and height to start with, got {region}")
        return Prompt(object_id, frame_index, box=box)

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) of all objects on a frame, by id; all False where an object is not there."""
        return {object_id: region_mask(regions, frame_index, self.size) for object_id, regions in self.objects.items()}

    def void(self, frame_index: int) -> Mask | None:
        """Pixels (H, W) that do not count, or None where the sequence has none."""
        return None if self.ignore is None else region_mask(self.ignore, frame_index, self.size)
