"""How long a benchmark takes on any number of GPUs: the real scheduler, run over lengths instead of pictures.

Workers are simulated from event to event (a sequence ends, a worker is ready); what is decided, `mosam.schedule`
decides. What a step of a batch costs is a measured line: so much for the step, for each frame and for each row.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from mosam.datasets.annotations import official_list
from mosam.schedule import Job, JobQueue, Lanes, share


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds that tracking takes.

    Attributes:
        step: of a batch, whatever is in it.
        frame: for each of its frames (encoder, reading that is not hidden, writing).
        row: for each of its rows (attention, decoder, memory).
        opening: to open a sequence.
        start: until a worker is ready.
    """

    step: float
    frame: float
    row: float
    opening: float = 0.0
    start: float = 0.0

    def of(self, frames: int, rows: int) -> float:
        """Seconds of one step."""
        return self.step + self.frame * frames + self.row * rows


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulated run came to.

    Attributes:
        makespan: seconds until the last sequence is done.
        busy: seconds that each worker had something open.
        frames: tracked in all.
    """

    makespan: float
    busy: tuple[float, ...]
    frames: int

    @property
    def idle(self) -> float:
        """Share of the workers' time in which they had nothing to do, loading included."""
        return 1 - sum(self.busy) / (len(self.busy) * self.makespan) if self.makespan else 0.0

    @property
    def fps(self) -> float:
        """Frames per second of all workers together."""
        return self.frames / self.makespan if self.makespan else 0.0


@dataclass(slots=True, eq=False)
class _Worker:
    lanes: Lanes
    left: dict[str, int] = field(default_factory=dict)
    busy: float = 0.0


def simulate(jobs: Sequence[Job], cost: StepCost, *, workers: int, lanes: int, queue: str = "shared") -> Simulated:
    """One run.

    Args:
        jobs: with their frames and rows.
        cost: of a step on one worker.
        workers: GPUs or processes.
        lanes: rows of each.
        queue: `shared` = longest first, as workers of one machine and tasks of Ray; `fixed` = shared out before the
            start, as array jobs of Slurm; `official` = one after the other in the order given, each to whoever is free.
    Raises:
        ValueError: no worker, or another kind of queue.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    if queue == "shared":
        common = JobQueue(jobs)
        crew = [_Worker(Lanes(common, lanes)) for _ in range(workers)]
    elif queue == "fixed":
        crew = [_Worker(Lanes(JobQueue(part), lanes)) for part in share(jobs, workers)]
    elif queue == "official":
        ordered = _Ordered(jobs)
        crew = [_Worker(Lanes(ordered, lanes)) for _ in range(workers)]
    else:
        raise ValueError(f"queue: expected shared, fixed or official, got {queue!r}")
    events = [(cost.start, number) for number in range(workers)]
    heapq.heapify(events)
    makespan = 0.0
    while events:
        now, number = heapq.heappop(events)
        worker = crew[number]
        for name in [name for name, left in worker.left.items() if left == 0]:
            del worker.left[name]
            worker.lanes.close(name)
            makespan = now
        spent = 0.0
        while (job := worker.lanes.next()) is not None:
            worker.left[job.name] = max(job.frames, 1)
            spent += cost.opening
        if not worker.left:
            continue  # nothing comes back in a simulation: this worker is done
        steps = min(worker.left.values())
        spent += steps * cost.of(len(worker.left), sum(job.rows for job in worker.lanes.open))
        for name in worker.left:
            worker.left[name] -= steps
        worker.busy += spent
        heapq.heappush(events, (now + spent, number))
    return Simulated(makespan, tuple(worker.busy for worker in crew), sum(max(job.frames, 1) for job in jobs))


class _Ordered:
    def __init__(self, jobs: Sequence[Job]):
        self._jobs = list(jobs)

    def take(self, room: int | None = None) -> Job | None:
        """See `mosam.schedule.Source`."""
        if self._jobs and (room is None or self._jobs[0].rows <= room):
            return self._jobs.pop(0)
        return None


@dataclass(frozen=True, slots=True)
class Lengths:
    """Sequences of a benchmark of which only statistics are published: log-normal lengths between two bounds.

    Attributes:
        count: sequences.
        mean, least, most: frames.
        objects: mean objects a sequence.
        source: of these numbers.
    """

    count: int
    mean: float
    least: int
    most: int
    objects: float
    source: str

    def draw(self, seed: int = 0, spread: float = 0.55) -> list[Job]:
        """Jobs with that mean (exact to a frame), drawn once for each seed.

        Args:
            seed: of the draw.
            spread: standard deviation of the logarithm; published means and bounds leave it open.
        """
        dice = random.Random(seed)
        raw = [dice.lognormvariate(0.0, spread) for _ in range(self.count)]
        scale = self.mean * self.count / sum(raw)
        for _ in range(50):  # clipping moves the mean
            lengths = [min(max(round(scale * value), self.least), self.most) for value in raw]
            scale *= self.mean * self.count / sum(lengths)
        jobs = []
        for number, frames in enumerate(lengths):
            rows = 1 + min(9, _poisson(dice, self.objects - 1))
            jobs.append(Job(f"{number:03d}", frames, rows))
        return jobs


PUBLISHED = {
    "lvos": Lengths(140, 412, 100, 2500, 1.4, "LVOS v2: 140 validation videos; 720 videos hold 296 401 frames"),
    "sav": Lengths(155, 336, 96, 3312, 1.9, "SA-V: 155 validation videos, 293 masklets; 14 s (4 to 138 s) at 24 fps"),
}
BENCHMARKS = ("lasot", *PUBLISHED)


def benchmark_jobs(name: str, seed: int = 0) -> list[Job]:
    """The sequences of a benchmark as jobs: LaSOT's test set as it is, LVOS and SA-V drawn from their statistics."""
    if name != "lasot":
        return PUBLISHED[name].draw(seed)
    pairs = [line.split(",") for line in official_list("lasot_lengths")]
    return [Job(name, int(frames)) for name, frames in pairs]


def _poisson(dice: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count
