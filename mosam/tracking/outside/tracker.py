"""What all trackers that are no memory policies have in common, as a run asks them (`mosam.tracking.tracker`)."""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mosam.errors import MosamError
from mosam.tracking.outside.engine import Limits, OutsideEngine

if TYPE_CHECKING:
    from mosam.tracking.outside.engine import Session
    from mosam.types import Prompt, Size


_NAME = re.compile(r"\w[\w.:+ -]*", re.ASCII)


class OutsideTracker(ABC):
    """A tracker that brings everything it needs.

    Args:
        name: its own.
        options: that were given, by name; they are in its label.
        limits: how long it may take.
    Raises:
        MosamError: a name that no folder should have.

    Attributes:
        hypotheses: rows of a batch that an object takes; there are no batches.
        reads_files: see `Tracker.reads_files`.
    """

    hypotheses = 1
    reads_files = False
    device = None

    def __init__(self, name: str, options: Mapping[str, Any], limits: Limits):
        if not _NAME.fullmatch(name):
            raise MosamError(f"tracker {name!r}: expected letters, digits and _ . : + - and blanks; rename it")
        self.name, self.options, self.limits = name, dict(options), limits

    @property
    def label(self) -> str:
        """Name with the options that were given."""
        from mosam.system.describe import shown

        given = ",".join(f"{key}={shown(value)}" for key, value in self.options.items())
        return f"{self.name}[{given}]" if given else self.name

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What its results depend on, for `run.json`."""

    @abstractmethod
    def begin(self, prompts: Sequence[Prompt], size: Size, non_overlap: bool) -> Session:
        """One pass over frames."""

    @abstractmethod
    def check(self) -> None:
        """See `Tracker.check`."""

    def configuration(self) -> dict[str, Any]:
        """Every option with its value."""
        return self.options

    def plugins(self) -> dict[str, Any]:
        """Version and hash of the plugin that it is from, if it is from one."""
        return {}

    def settings(self) -> dict[str, Any]:
        """See `Tracker.settings`."""
        nothing: dict[str, Any] = dict.fromkeys(("model", "weights_hash", "precision", "device"), "")
        return {
            "tracker": self.label,
            "policy": self.configuration(),
            **nothing,
            "network": {},
            "engine": {},
            "plugins": self.plugins(),
            "outside": self.describe(),
        }

    def environment(self) -> dict[str, Any]:
        """See `Tracker.environment`."""
        return {}

    def choose_lanes(self, asked: int | Literal["auto"] | None, *, free: int | None = None) -> tuple[int, str | None]:
        """See `Tracker.choose_lanes`: one."""
        if asked in (None, 1, "auto"):
            return 1, None
        return 1, f"{self.label} tracks one sequence at a time; --jobs tracks several"

    def working(self) -> contextlib.AbstractContextManager[Any]:
        """See `Tracker.working`."""
        return contextlib.nullcontext()

    def new_engine(self, rows: int, *, log: bool) -> OutsideEngine:
        """See `Tracker.new_engine`."""
        return OutsideEngine(self.begin)
