"""Trackers that are programs of their own: which command starts them, and which protocol they speak."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosam.errors import MosamError
from mosam.tracking.outside.answers import Answer
from mosam.tracking.outside.engine import NO_LIMITS, Deadline, Limits, OnlineSession, Session
from mosam.tracking.outside.folder import FolderSession
from mosam.tracking.outside.process import TrackerProcess
from mosam.tracking.outside.tracker import OutsideTracker
from mosam.tracking.outside.trax import TraxTracker
from mosam.types import Prompt, Size

TRAX, FOLDER = "trax", "folder"
PROTOCOLS = (TRAX, FOLDER)
ANSWER_SECONDS = 30.0  # for an answer where nobody says how long; the VOT toolkit's
_HASHED_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Program:
    """How a tracker's program is started.

    Attributes:
        name: of the tracker.
        protocol: `trax` or `folder`.
        command: its words.
        environment: added to ours.
        seconds: for an answer; None = `ANSWER_SECONDS`.
        convert: of `folder`, see `FolderSession`.
        version: what its author calls it.
    """

    name: str
    protocol: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    convert: str | None = None
    version: str | None = None


class ProgramTracker(OutsideTracker):
    """A tracker in a process of its own, started anew for every pass over a sequence.

    Args:
        program: how it is started.
        limits: how long it may take; for an answer its own limit holds unless one is given here.
    """

    reads_files = True

    def __init__(self, program: Program, limits: Limits = NO_LIMITS):
        self.program = program
        own = ANSWER_SECONDS if program.seconds is None else program.seconds
        frame = limits.frame if limits.frame is not None else own
        super().__init__(program.name, {}, Limits(frame if frame > 0 else None, limits.sequence))

    def check(self) -> None:
        """See `Tracker.check`: the program must be there."""
        word = self.program.command[0]
        path = self.program.environment.get("PATH")
        if shutil.which(word, path=path) is None:
            raise MosamError(f"{self.name}: expected a program, found no {word}")

    def describe(self) -> dict[str, Any]:
        """Protocol, command and environment, and the hashes of the files that the command names."""
        program = self.program
        found: dict[str, Any] = {"protocol": program.protocol, "command": list(program.command)}
        if program.environment:
            found["environment"] = dict(program.environment)
        if program.convert is not None:
            found["convert"] = program.convert
        if program.version is not None:
            found["version"] = program.version
        return {**found, "files": _hashes(program.command[1:])}

    def begin(self, prompts: Sequence[Prompt], size: Size, non_overlap: bool) -> Session:
        """See `OutsideTracker.begin`."""
        deadline = Deadline(self.limits)
        if self.program.protocol == FOLDER:
            return FolderSession(prompts, size, non_overlap, deadline, self._process, self.program.convert)
        return OnlineSession(
            prompts, size, non_overlap, lambda: _Processes(lambda: TraxTracker(self._process(), size, deadline))
        )

    def _process(self) -> TrackerProcess:
        talks = self.program.protocol == TRAX
        environment = {**({"TRAX": "1"} if talks else {}), **self.program.environment}
        return TrackerProcess(self.program.command, environment, talks=talks)


def _hashes(words: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files among some words."""
    found = {}
    for word in words:
        path = Path(word)
        there = path.is_absolute() and os.path.isfile(path)  # noqa: PTH113  # Path raises for a name no file can have
        if there and path.stat().st_size <= _HASHED_BYTES:
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class _Processes:
    """Objects that start together: in one process where it takes several, else each in its own; see `Instance`."""

    def __init__(self, new: Any):
        self._new = new
        self._trackers: list[TraxTracker] = []

    def start(self, image: Any, prompts: Sequence[Prompt], frame: int) -> None:
        """See `Instance.start`."""
        first = self._introduced(frame)
        if first.several or len(prompts) == 1:
            first.start(image, prompts, frame)
            return
        for number, prompt in enumerate(prompts):
            tracker = first if number == 0 else self._introduced(frame)
            tracker.start(image, [prompt], frame)

    def update(self, image: Any, frame: int) -> list[Any]:
        """See `Instance.update`."""
        return [(tracker, state) for tracker in self._trackers for state in tracker.update(image, frame)]

    def check(self, answer: Any, frame: int) -> Answer:
        """See `Instance.check`."""
        tracker, state = answer
        return tracker.check(state, frame)

    def close(self) -> None:
        """See `Instance.close`."""
        while self._trackers:
            self._trackers.pop().close()

    def _introduced(self, frame: int) -> TraxTracker:
        self._trackers.append(self._new())
        self._trackers[-1].introduce(frame)
        return self._trackers[-1]
