"""Work for worker processes that needs no network: squares, and an engine that can be told to fail."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from fakes import FakeEngine, FakeModel, FakePolicy, SquareDataset, SquareVideo

from mosam.codecs import CodecOptions
from mosam.engine.parity import Parity
from mosam.errors import MosamError
from mosam.tracking import loop
from mosam.tracking import run as runner
from mosam.tracking.launch.worker import TrackingSetup

NAMES = {f"s{length:02d}": length for length in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17)}


class Squares(SquareDataset):
    """Twelve videos, each of another length."""

    def list_names(self):
        return list(NAMES)

    def load(self, name):
        return self.make(SquareVideo(name, NAMES[name]))


@dataclass(frozen=True)
class Faults:
    """What goes wrong in a worker.

    Attributes:
        die: chance of SIGKILL at each step.
        deadly, raising: length of the video that kills its worker, or raises, at its third frame.
        most: rows that fit into the simulated memory.
        hang: a file; the first worker that can make it sleeps instead of stepping.
        broken: nothing can be loaded.
        deadly_once: a file; the process that can make it is killed at its fifth step.
        slow: seconds that a step takes.
        weights: hash of the network; None = the usual, `pid` = another in every process.
    """

    die: float = 0.0
    deadly: int = 0
    raising: int = 0
    most: int = 1000
    hang: str = ""
    broken: bool = False
    deadly_once: str = ""
    slow: float = 0.0
    weights: str | None = None


@dataclass(frozen=True)
class FakeRunSpec:
    """Twelve squares to follow."""

    faults: Faults = Faults()
    dataset: Squares = field(default_factory=lambda: Squares(None))
    policy: FakePolicy = field(default_factory=lambda: FakePolicy(FakePolicy.Config()))

    def open(self, place):
        if self.faults.broken:
            raise MosamError("weights: expected a file, found none")
        dice, faults = random.Random(os.getpid()), self.faults

        class Faulty(FakeEngine):
            steps = 0

            def step(self, images, motion=None, next_images=None):
                self.steps += 1
                time.sleep(faults.slow)
                if faults.deadly_once and self.steps == 5 and _first(Path(faults.deadly_once)):
                    os.kill(os.getpid(), signal.SIGKILL)
                if dice.random() < faults.die:
                    os.kill(os.getpid(), signal.SIGKILL)
                if len(images) > faults.most:
                    raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
                if faults.hang and _first(Path(faults.hang)):
                    time.sleep(600)
                return super().step(images, motion, next_images)

        def fail(frames, frame):
            if frame == 2 and frames == faults.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            if frame == 2 and frames == faults.raising:
                raise ValueError("expected a square, got a circle")

        loop._new_engine = lambda *arguments: Faulty(fail=fail)
        weights = {None: "0" * 64, "pid": f"{os.getpid():064d}"}.get(faults.weights, faults.weights)
        parity, options = Parity(), CodecOptions(box_from_mask="exclusive")
        return TrackingSetup(self.dataset, FakeModel(weights_hash=weights), self.policy, parity, options)


def _first(path):
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def undisturbed(folder):
    """Result files of a run in one process, by name."""
    before = loop._new_engine
    try:
        setup = FakeRunSpec().open(None)
        runner.run(setup.dataset, setup.model, setup.policy, out=folder)
    finally:
        loop._new_engine = before
    return results(folder)


def results(folder):
    """Box files of a run, by name."""
    return {path.name: path.read_bytes() for path in Path(folder).glob("s*.txt") if "_time" not in path.name}
