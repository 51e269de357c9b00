"""The seam between a run and what it runs: a policy with its network, or a tracker of somebody's own.

A run asks a `Tracker` what to record, how many sequences to open together, and for an engine; the tracking loop then
knows nothing but `SequenceEngine`. `NetworkTracker` is one of our policies with a network; those that are no memory
policies are in `mosam.tracking.outside`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mosam.system.plugins import origins
from mosam.tracking.outside.tracker import OutsideTracker

if TYPE_CHECKING:
    import torch

    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.model.family import ModelFamily
    from mosam.policies.base import MemoryPolicy
    from mosam.types import FrameOutput, Prompt, Size

NETWORK_OPTIONS = ("formulas", "resize")  # choices some networks have besides weights and precision
Lanes = int | Literal["auto"] | None


class SequenceEngine(Protocol):
    """What tracks: several videos may be open, each takes its frames in order. `mosam.engine.engine.Engine` is one.

    Attributes:
        ahead: whether `step` should be given the next images too.
    """

    ahead: bool

    def open(
        self, prompts: Iterable[Prompt], *, size: Size, num_frames: int | None = None, non_overlap: bool = False
    ) -> Any:
        """Begins a video and returns its handle; see `Engine.open`."""

    def motion_stream(self) -> Any:
        """What estimates motion while frames are read, None where nobody reads it."""

    def step(self, images: Mapping[Any, Any], motion: Any = None, next_images: Any = None) -> Any:
        """The next frame of some videos: a picture, or its file where the tracker `reads_files`."""

    def drain(self, video: Any) -> list[FrameOutput]:
        """Outputs that are final, in frame order, each handed out once."""

    def close(self, video: Any) -> list[FrameOutput]:
        """After the last frame: the outputs that were still open."""

    def discard(self, video: Any) -> None:
        """Ends a video whose outputs are no longer wanted, at any frame."""


class Tracker(Protocol):
    """What a run runs."""

    @property
    def reads_files(self) -> bool:
        """Whether it takes the paths of picture files, not pictures."""

    @property
    def label(self) -> str:
        """Its name with the options that differ from their defaults."""

    @property
    def hypotheses(self) -> int:
        """Rows of a batch that one object takes."""

    @property
    def device(self) -> torch.device | None:
        """Where its network computes; None where it is nobody's business."""

    def check(self) -> None:
        """MosamError, before anything is written, for what cannot work on any sequence."""

    def settings(self) -> dict[str, Any]:
        """The fields of `RunSettings` that it decides."""

    def environment(self) -> dict[str, Any]:
        """What the record says of it besides."""

    def choose_lanes(self, asked: Lanes, *, free: int | None = None) -> tuple[int, str | None]:
        """Rows of a batch, and a note for the user where they differ from what was asked for."""

    def working(self) -> contextlib.AbstractContextManager[Any]:
        """Around all tracking of a process."""

    def new_engine(self, rows: int, *, log: bool) -> SequenceEngine:
        """An engine for batches of `rows`."""


@dataclass(frozen=True, slots=True)
class NetworkTracker:
    """A policy with the network that it reads; see `Tracker`."""

    model: Backbone
    policy: MemoryPolicy
    parity: Parity
    reads_files: bool = False

    @property
    def label(self) -> str:
        """See `Tracker.label`."""
        return self.policy.label

    @property
    def hypotheses(self) -> int:
        """See `Tracker.hypotheses`."""
        return self.policy.hypotheses

    @property
    def device(self) -> torch.device:
        """See `Tracker.device`."""
        return self.model.device

    def check(self) -> None:
        """See `Tracker.check`: estimators are built and weights read once, so that what is missing fails now."""
        if self.policy.weights is not None:
            from mosam.model.arrays import load_arrays

            load_arrays(self.policy.weights)
        needs = self.policy.motion()
        if needs is not None:
            from mosam.motion.field import build_estimators, build_tracker

            build_estimators(needs.sparse, needs.dense)
            if needs.tracker != "off":
                build_tracker(needs.tracker)

    def settings(self) -> dict[str, Any]:
        """See `Tracker.settings`."""
        model, policy = self.model, self.policy
        return {
            "tracker": policy.label,
            "policy": dataclasses.asdict(policy.config),
            "model": model.name,
            "weights_hash": model.weights_hash,
            "precision": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
            "network": {key: getattr(model, key) for key in NETWORK_OPTIONS if hasattr(model, key)},
            "engine": dataclasses.asdict(self.parity),
            "plugins": origins(model, policy, *_families(model.name), *_estimators(policy)),
        }

    def environment(self) -> dict[str, Any]:
        """See `Tracker.environment`."""
        compiled = {"compiled": True} if getattr(self.model, "compiled", False) else {}
        return {"device": str(self.model.device), **compiled}

    def choose_lanes(self, asked: Lanes, *, free: int | None = None) -> tuple[int, str | None]:
        """See `Tracker.choose_lanes`."""
        return choose_lanes(self.model, self.policy, asked, free=free)

    def working(self) -> contextlib.AbstractContextManager[Any]:
        """See `Tracker.working`."""
        from mosam.model.threads import suitable_threads

        return suitable_threads(self.model)

    def new_engine(self, rows: int, *, log: bool) -> SequenceEngine:
        """See `Tracker.new_engine`."""
        from mosam.engine.engine import Engine

        lanes = max(1, rows // self.policy.hypotheses)
        return Engine(self.model, self.policy, parity=self.parity, max_lanes=lanes, log=log)


def tracker_of(model: Backbone | None, policy: MemoryPolicy | OutsideTracker, parity: Parity | None) -> Tracker:
    """A policy with its network, or a tracker that needs none, as a run asks it."""
    if isinstance(policy, OutsideTracker):
        return policy
    assert model is not None
    assert parity is not None
    return NetworkTracker(model, policy, parity)


def choose_lanes(
    model: Backbone, policy: MemoryPolicy, max_lanes: Lanes, *, free: int | None = None
) -> tuple[int, str | None]:
    """Rows of a batch, and a note for the user where they differ from what was asked for.

    Args:
        model: on its device.
        policy: the tracker.
        max_lanes: as for `mosam.run`.
        free: bytes of memory for it; None = all that is free.
    """
    from mosam.engine import capacity

    if max_lanes is None:
        max_lanes = "auto" if model.device.type == "cuda" else 1
    if max_lanes == 1:
        return 1, None
    return capacity.choose_lanes(max_lanes, capacity.measure_capacity(model, policy, free=free))


def _families(name: str) -> list[ModelFamily]:
    """The family of a network that goes by a published or random name."""
    from mosam.model.family import families

    size = name.removeprefix("random:")
    return [family for family in families() if family.name_of(name) or size in family.random_sizes]


def _estimators(policy: MemoryPolicy) -> list[type]:
    """Classes that estimate the motion a policy reads."""
    needs = policy.motion()
    if needs is None:
        return []
    from mosam.motion.base import FLOW_ESTIMATORS, POINT_ESTIMATORS, POINT_TRACKERS, find_estimator

    found: list[type] = [] if needs.sparse == "off" else [find_estimator(POINT_ESTIMATORS, needs.sparse)]
    found += [] if needs.dense == "off" else [find_estimator(FLOW_ESTIMATORS, needs.dense)]
    return found + ([] if needs.tracker == "off" else [find_estimator(POINT_TRACKERS, needs.tracker)])
