"""How long a benchmark takes on any number of GPUs: the real scheduler, run over lengths instead of pictures.

Workers are simulated from event to event (a sequence ends, a worker is ready); `mosam.tracking.schedule` makes every
decision. What a step of a batch costs is a measured line: so much for the step, for each frame and for each row.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from mosam.datasets.annotations import official_list
from mosam.tracking.schedule import Job, JobQueue, Lanes, Leases, share

ASK_EVERY = 1.0  # seconds until a worker with free lanes asks again, as `mosam.tracking.launch.local`


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
    """A simulated worker; between `since` and `until` it does `steps` steps, after which `left` frames are left."""

    lanes: Lanes
    left: dict[str, int] = field(default_factory=dict)
    busy: float = 0.0
    since: float = 0.0
    until: float = 0.0
    steps: int = 0

    def left_at(self, now: float) -> dict[str, int]:
        """Frames left of each sequence at a moment."""
        if self.until <= self.since:
            return self.left
        undone = int(self.steps * max(0.0, self.until - now) / (self.until - self.since))
        return {name: left + undone for name, left in self.left.items()}


def simulate(jobs: Sequence[Job], cost: StepCost, *, workers: int, lanes: int, queue: str = "shared") -> Simulated:
    """One run.

    Args:
        jobs: with their frames and rows.
        cost: of a step on one worker.
        workers: GPUs or processes.
        lanes: rows of each.
        queue: `shared` = one queue with leases, longest first, as for the workers of one machine; `fixed` = shared out
            before the start, as array jobs of Slurm; `official` = one after the other in the order given, each to
            whoever has a lane free.
    Raises:
        ValueError: no worker, or another kind of queue.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, got {workers}")
    crew: list[_Worker] = []
    if queue == "shared":
        book = _Book(jobs, crew, workers)
        crew += [_Worker(Lanes(book.source(number), lanes)) for number in range(workers)]
    elif queue == "fixed":
        crew += [_Worker(Lanes(JobQueue(part), lanes)) for part in share(jobs, workers)]
    elif queue == "official":
        ordered = _Ordered(jobs)
        crew += [_Worker(Lanes(ordered, lanes)) for _ in range(workers)]
    else:
        raise ValueError(f"queue: expected shared, fixed or official, got {queue!r}")
    events = [(cost.start, number) for number in range(workers)]
    # The real interval, but no finer than matters: a thousandth of the least that the whole can take.
    alone = sum(max(job.frames, 1) * cost.of(1, job.rows) for job in jobs)
    ask_every = max(ASK_EVERY, alone / workers / lanes / 1000)
    makespan = 0.0
    while events:
        now, number = heapq.heappop(events)
        worker = crew[number]
        if queue == "shared":
            book.now = now
        for name in [name for name, left in worker.left.items() if left == 0]:
            del worker.left[name]
            worker.lanes.close(name)
            if queue == "shared":
                book.finish(name)
            makespan = now
        spent = 0.0
        while (job := worker.lanes.next()) is not None:
            worker.left[job.name] = max(job.frames, 1)
            spent += cost.opening
        if not worker.left:
            continue  # nothing comes back in a simulation: this worker is done
        rows = sum(job.rows for job in worker.lanes.open)
        step = cost.of(len(worker.left), rows)
        steps = min(worker.left.values())
        if queue == "shared" and rows < lanes and book.waiting and step > 0:  # it will ask again
            steps = min(steps, max(1, math.ceil(ask_every / step)))
        spent += steps * step
        for name in worker.left:
            worker.left[name] -= steps
        worker.busy += spent
        worker.since, worker.until, worker.steps = now, now + spent, steps
        heapq.heappush(events, (now + spent, number))
    return Simulated(makespan, tuple(worker.busy for worker in crew), sum(max(job.frames, 1) for job in jobs))


class _Book:
    """The parent of simulated workers."""

    def __init__(self, jobs: Sequence[Job], crew: list[_Worker], workers: int):
        self.now = 0.0
        self._crew = crew
        self._leases = Leases(jobs, seconds=math.inf, clock=lambda: self.now, workers=workers)
        self._frames = {job.name: max(job.frames, 1) for job in jobs}
        self._numbers: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        return self._leases.waiting

    def finish(self, name: str) -> None:
        self._leases.finish(self._numbers.pop(name))

    def take(self, worker: int, room: int | None) -> Job | None:
        for other in self._crew:
            for name, left in other.left_at(self.now).items():
                self._leases.progress(name, self._frames[name] - left)
        lease = self._leases.take(worker, room)
        if lease is None:
            return None
        self._numbers[lease.job.name] = lease.number
        return lease.job

    def source(self, worker: int) -> _BookSource:
        return _BookSource(self, worker)


@dataclass(frozen=True, slots=True)
class _BookSource:
    book: _Book
    worker: int

    def take(self, room: int | None) -> Job | None:
        """See `mosam.tracking.schedule.Source`."""
        return self.book.take(self.worker, room)


class _Ordered:
    def __init__(self, jobs: Sequence[Job]):
        self._jobs = list(jobs)

    def take(self, room: int | None = None) -> Job | None:
        """See `mosam.tracking.schedule.Source`."""
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
