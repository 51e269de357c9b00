"""Who decides what is tracked when: a queue of sequences, longest first, and the lanes they are tracked in.

Nothing here computes or waits: the same objects run a real benchmark (`mosam.tracking.run`, `mosam.tracking.launch`)
and a simulated one (`mosam.tracking.launch.simulation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

PATIENCE = 4  # jobs that may overtake one which does not fit, before the lanes are emptied for it
MAX_ATTEMPTS = 3  # workers that may die over a sequence before it counts as failed


@dataclass(frozen=True, slots=True)
class Job:
    """A sequence to be tracked.

    Attributes:
        name: its name.
        frames: its length; 0 where not known.
        rows: rows of the batch it takes: objects times hypotheses.
        attempts: workers that died over it.
    """

    name: str
    frames: int = 0
    rows: int = 1
    attempts: int = 0

    @property
    def alone(self) -> bool:
        """A worker died over it: it is tried with nothing beside it, so that it takes no other along."""
        return self.attempts > 0


def longest_first(jobs: Iterable[Job]) -> list[Job]:
    """Jobs by length, then by rows; equal ones stay in order. The last to end is then a short one."""
    return sorted(jobs, key=lambda job: (-job.frames, -job.rows))


class Source(Protocol):
    """Where lanes get their jobs from: a queue, or a pipe to one."""

    def take(self, room: int | None) -> Job | None:
        """The next job of at most `room` rows (None = of any number); None where there is none."""


class JobQueue:
    """Jobs that wait, longest first.

    A job with more rows than there is room for is overtaken by smaller ones, but by `PATIENCE` of them at most.

    Args:
        jobs: in any order.
    """

    def __init__(self, jobs: Iterable[Job] = ()):
        self._jobs = longest_first(jobs)
        self._work = sum(map(_work, self._jobs))
        self._overtaken = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def work(self) -> int:
        """Frames times rows of all that wait."""
        return self._work

    def take(self, room: int | None = None) -> Job | None:
        """See `Source.take`."""
        for place, job in enumerate(self._jobs):
            if room is None or (job.rows <= room and not job.alone):
                if place:
                    self._overtaken += 1
                else:
                    self._overtaken = 0
                self._work -= _work(job)
                return self._jobs.pop(place)
            if self._overtaken >= PATIENCE:
                return None
        return None

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Jobs that were taken and not done."""
        self._jobs = longest_first([*jobs, *self._jobs])
        self._work = sum(map(_work, self._jobs))


class Lanes:
    """The jobs in flight in one engine.

    Args:
        source: where the next one comes from.
        rows: rows of a batch; a job with more runs by itself.

    Attributes:
        rows: as given, or less after the device ran out of memory.
    """

    def __init__(self, source: Source, rows: int):
        if rows < 1:
            raise ValueError(f"lanes: expected at least 1, got {rows}")
        self.rows = rows
        self._source = source
        self._again = JobQueue()  # of a batch that was too big
        self._alone: list[Job] = []  # of a batch that failed: tried one at a time
        self._open: dict[str, Job] = {}
        self._by_itself = False

    @property
    def open(self) -> tuple[Job, ...]:
        """Jobs in flight."""
        return tuple(self._open.values())

    def next(self) -> Job | None:
        """The job to open now; None where the lanes are full or nothing is left. Call again until it is None."""
        if self._by_itself and self._open:
            return None
        if self._alone:
            job = None if self._open else self._alone.pop(0)
            self._by_itself = job is not None
        else:
            used = sum(job.rows for job in self._open.values())
            if used >= self.rows:
                return None
            room = self.rows - used if self._open else None
            job = self._again.take(room) or self._source.take(room)
            self._by_itself = job is not None and job.alone
        if job is not None:
            self._open[job.name] = job
        return job

    @property
    def careful(self) -> bool:
        """What is open is there because something failed: nothing may run beside it, not even more of itself."""
        return self._by_itself and bool(self._open)

    def close(self, name: str) -> None:
        """A job is done or has failed."""
        self._open.pop(name, None)

    def retry_alone(self) -> list[Job]:
        """A batch failed and nobody knows who is to blame: its members start again, one at a time.

        Returns:
            the members; they are no longer open.
        """
        members = list(self._open.values())
        self._open.clear()
        self._alone += members
        return members

    def back_off(self, used: int | None = None) -> list[Job]:
        """The device ran out of memory: what was open starts again with half as many rows.

        Args:
            used: rows that were in use; None = those of the open jobs.
        Returns:
            the members; they are no longer open.
        """
        members = list(self._open.values())
        self._open.clear()
        used = sum(job.rows for job in members) if used is None else used
        self.rows = max(1, min(self.rows, used) // 2)
        self._again.give_back(members)
        return members


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that a worker has, until it is done or the worker is given up.

    Attributes:
        number: of the lease; a job that goes back and is taken again has another.
        job: what it is for.
        worker: who has it.
        expires: on the clock of whoever keeps the book; no other clock counts.
    """

    number: int
    job: Job
    worker: int
    expires: float


class Leases:
    """One queue for many workers: who has what, and what goes back when a worker is lost.

    A worker gets no job beside its own where that would make it the last to finish: rows in flight times the frames
    that its longest sequence has left stay below its share of all the work (`fair_rows`). Without this rule a few
    workers would take all sequences into their lanes while the others have none.

    Args:
        jobs: all of them.
        seconds: a worker that shows no sign of life for so long has lost its jobs.
        clock: seconds, as `time.monotonic`.
        workers: how many there are.

    Attributes:
        given_up: reason, by name, of jobs that `MAX_ATTEMPTS` workers died over.
        workers: how many there are now.
    """

    def __init__(self, jobs: Iterable[Job], *, seconds: float, clock: Callable[[], float], workers: int = 1):
        self.given_up: dict[str, str] = {}
        self.workers = workers
        self._queue = JobQueue(jobs)
        self._seconds, self._clock = seconds, clock
        self._leases: dict[int, Lease] = {}
        self._tracked: dict[str, int] = {}
        self._next = 0

    @property
    def waiting(self) -> int:
        """Jobs nobody has."""
        return len(self._queue)

    @property
    def leased(self) -> int:
        """Jobs that workers have."""
        return len(self._leases)

    def of(self, worker: int) -> list[Lease]:
        """What a worker has."""
        return [lease for lease in self._leases.values() if lease.worker == worker]

    def take(self, worker: int, room: int | None = None) -> Lease | None:
        """Gives a worker the next job; None where there is none that fits, or it has its share."""
        own = [lease.job for lease in self.of(worker)]
        if own and room is not None:
            work = self._queue.work + sum(self._left(lease.job) * lease.job.rows for lease in self._leases.values())
            room = min(room, fair_rows(work, self.workers, max(map(self._left, own))) - sum(job.rows for job in own))
            if room < 1:
                return None
        job = self._queue.take(room)
        if job is None:
            return None
        self._next += 1
        lease = Lease(self._next, job, worker, self._clock() + self._seconds)
        self._leases[lease.number] = lease
        return lease

    def renew(self, worker: int) -> None:
        """A worker has shown that it lives."""
        expires = self._clock() + self._seconds
        for lease in self.of(worker):
            self._leases[lease.number] = replace(lease, expires=expires)

    def progress(self, name: str, frames: int) -> None:
        """So many frames of a job are tracked."""
        self._tracked[name] = frames

    def _left(self, job: Job) -> int:
        return max(1, job.frames - self._tracked.get(job.name, 0))

    def finish(self, number: int) -> Job | None:
        """A job is done; None where the lease is no longer valid, so that the result must not count."""
        lease = self._leases.pop(number, None)
        if lease is None:
            return None
        self._tracked.pop(lease.job.name, None)
        return lease.job

    def expired(self) -> set[int]:
        """Workers that have been silent for too long."""
        now = self._clock()
        return {lease.worker for lease in self._leases.values() if lease.expires <= now}

    def lose(self, worker: int, reason: str) -> list[Job]:
        """A worker is gone: its jobs go back, or are given up.

        Args:
            worker: whose.
            reason: why, for those that are given up.
        Returns:
            those that were given up.
        """
        back: list[Job] = []
        lost: list[Job] = []
        for lease in self.of(worker):
            del self._leases[lease.number]
            self._tracked.pop(lease.job.name, None)
            job = replace(lease.job, attempts=lease.job.attempts + 1)
            (lost if job.attempts >= MAX_ATTEMPTS else back).append(job)
        self._queue.give_back(back)
        for job in lost:
            self.given_up[job.name] = f"{job.attempts} workers died over it, the last one: {reason}"
        return lost


def fair_rows(work: int, workers: int, longest: int) -> int:
    """Rows that a worker may have in flight beside a sequence without making it the last to finish.

    Args:
        work: frames times rows that are left, of all workers.
        workers: how many share them.
        longest: frames left of the worker's longest sequence.

    >>> fair_rows(685_360, 8, 9_999), fair_rows(685_360, 64, 9_999)  # LaSOT
    (8, 1)
    """
    return max(1, work // (max(1, workers) * max(1, longest)))


def group(jobs: Iterable[Job], rows: int, workers: int) -> list[list[Job]]:
    """Jobs in groups that are tracked together, for tasks that cannot take another when one ends; longest first.

    Args:
        jobs: in any order.
        rows: most rows of a group.
        workers: tasks that run at a time; a long sequence gets less company where there are many.

    >>> [[job.name for job in g] for g in group([Job("a", 90), *(Job(x, 10) for x in "bcdef")], rows=4, workers=2)]
    [['a'], ['b', 'c'], ['d'], ['e'], ['f']]
    """
    ordered, groups = longest_first(jobs), []
    left = sum(map(_work, ordered))
    while ordered:
        members = [ordered.pop(0)]
        most = min(rows, fair_rows(left, workers, members[0].frames))
        while ordered and sum(job.rows for job in members) + ordered[0].rows <= most:
            members.append(ordered.pop(0))
        left -= sum(map(_work, members))
        groups.append(members)
    return groups


def _work(job: Job) -> int:
    return max(1, job.frames) * job.rows


def share(jobs: Sequence[Job], parts: int) -> list[list[Job]]:
    """Jobs in `parts` lists of about equal frames, for launchers that cannot move a job later; longest first.

    >>> [[job.name for job in part] for part in share([Job("a", 9), Job("b", 5), Job("c", 4)], 2)]
    [['a'], ['b', 'c']]
    """
    made: list[list[Job]] = [[] for _ in range(parts)]
    load = [0] * parts
    for job in longest_first(jobs):
        least = load.index(min(load))
        made[least].append(job)
        load[least] += max(job.frames, 1)
    return made
