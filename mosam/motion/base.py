"""What a motion estimator is: three small protocols, and how one is named.

Motion between two neighboring pictures is estimated without knowing any object, so it is computed once for all objects
and ahead of time; a point tracker follows given points over several pictures when it is asked to. A trained point
tracker or flow network plugs in by name: registered here, or as `package.module:Class` of the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mosam.errors import UnknownNameError
from mosam.registry import Registry
from mosam.system.plugins import load_attribute

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class PointTracks:
    """Points followed from one picture to the next, in pixels of the working picture.

    Attributes:
        start: (N, 2) float32 x, y in the previous picture.
        end: (N, 2) float32 in the current one.
        kept: (N,) bool, True where following back returns to the start.
        sentinel: (N,) bool, True for points that only a scene cut makes vanish together: those on texture. Where there
            are none, cuts are not noticed.
    """

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    kept: NDArray[np.bool_]
    sentinel: NDArray[np.bool_]


class PointEstimator(Protocol):
    """Sparse motion."""

    def track(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> PointTracks:
        """Follow points between two RGB pictures (h, w, 3) of one size."""


class FlowEstimator(Protocol):
    """Dense motion."""

    def flow(
        self, previous: NDArray[np.uint8], current: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(backward, forward) between two RGB pictures (h, w, 3): each (h, w, 2) x, y pixels.

        `backward` leads from a pixel of the current picture to the previous one, `forward` the other way.
        """


class PointTracker(Protocol):
    """Given points over several pictures."""

    def follow(
        self, clip: Sequence[NDArray[np.uint8]], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where points of the first picture are in every picture.

        Args:
            clip: T >= 1 RGB pictures (h, w, 3) of one size, in the order of the walk, which may lead back in time.
            points: (N, 2) x, y in pixels of the first one; pixel centers are whole numbers.
        Returns:
            (T, N, 2) float32 places, the first being `points`, and (T, N) bool whether a point is seen there.
        """


POINT_ESTIMATORS: Registry[type[PointEstimator]] = Registry("point estimator", "mosam.motion")
FLOW_ESTIMATORS: Registry[type[FlowEstimator]] = Registry("flow estimator", "mosam.motion")
POINT_TRACKERS: Registry[type[PointTracker]] = Registry("point tracker", "mosam.motion")


def find_estimator(registry: Registry[T], name: str) -> T:
    """An estimator class by its registered name or as `package.module:Class`.

    Raises:
        UnknownNameError: no such name (lists the known ones).
        PluginError: the module or class cannot be imported.
    """
    if ":" in name:
        found: T = load_attribute(name, f"{registry.kind} {name!r}")[0]
        return found
    if name not in registry:
        raise UnknownNameError(registry.kind, name, [*registry, "package.module:Class"])
    return registry[name]
