"""What a worker needs: the run as it is sent, the slot it computes in, and the folder it shares with whoever sent it.

What it leaves there is in `mosam.results.handover`. No clock of one machine is compared with that of another.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mosam.errors import MismatchError
from mosam.results.folder import StoreError, writing
from mosam.results.record import RunSettings
from mosam.system.files import Inside
from mosam.tracking.run import describe_settings
from mosam.tracking.tracker import Tracker, tracker_of

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy
    from mosam.tracking.outside.tracker import OutsideTracker

PROBE = ".shared-"  # a file by which a worker knows that it sees the folder of whoever sent it
PATIENCE = 20.0  # seconds until a network file system shows what another machine wrote


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """Where a worker computes.

    Attributes:
        device: as for `load_model`; None = as the run itself says.
        threads: of its arithmetic on the processor; None = as torch likes.
        share: part of the free memory that is its own.
    """

    device: str | None = None
    threads: int | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class TrackingSetup:
    """What `mosam.run` gets, ready in a worker; no network where the tracker needs none."""

    dataset: Dataset
    model: Backbone | None
    policy: MemoryPolicy | OutsideTracker
    parity: Parity | None
    options: CodecOptions

    @property
    def tracker(self) -> Tracker:
        """What tracks."""
        return tracker_of(self.model, self.policy, self.parity)

    def settings(self) -> RunSettings:
        """What the results depend on."""
        return describe_settings(self.dataset, self.tracker, options=self.options)


class RunSpec(Protocol):
    """What is to be tracked, in a form that can be sent to a worker."""

    @property
    def dataset(self) -> Dataset:
        """The sequences."""

    @property
    def policy(self) -> MemoryPolicy | OutsideTracker:
        """The tracker."""

    def open(self, slot: WorkerSlot) -> TrackingSetup:
        """Loads the network there, if there is one."""


def cores() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def leave_probe(folder: Path) -> str:
    """A file with a random name in the run's folder; the name is what `check_shared` looks for."""
    name = f"{PROBE}{secrets.token_hex(8)}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        Inside(folder).write_text(name, "")
    return name


def check_shared(folder: Path, probe: str, *, patience: float = PATIENCE) -> None:
    """Whether this machine sees the folder of the one that sent the work.

    Raises:
        StoreError: it does not.
    """
    until = time.monotonic() + patience
    while not (folder / probe).exists():
        if time.monotonic() > until:
            raise StoreError(
                f"{folder}: expected the folder of the machine that sent the work, but its file {probe} is not there "
                f"on {os.uname().nodename}; choose a folder that all machines share with --results"
            )
        time.sleep(min(0.2, patience / 10))


def same_settings(expected: RunSettings | None, found: RunSettings, where: str) -> None:
    """MismatchError where a worker's settings are not those of the run."""
    if expected is None:
        return
    differences = expected.differences(found)
    if differences:
        raise MismatchError(
            f"{where}: expected the settings of the run, got {'; '.join(differences[:3])}; give every worker the same "
            "code, weights and devices, or throw old results away with --overwrite"
        )
