"""Sequences in array jobs of Slurm, through submitit (extra `slurm`)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mosam.errors import MosamError, one_line
from mosam.tracking.launch.tasks import Launcher, Task, TaskSpec, do_task
from mosam.tracking.launch.worker import WorkerSlot
from mosam.tracking.schedule import Job, share

FOLDER = ".slurm"
LOST_SECONDS = 60.0  # that a job may be over without a result, before it counts as lost


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """Options of `--launcher slurm[...]`.

    Attributes:
        jobs: array jobs the sequences are shared among.
        minutes: most time of each; one that needs longer is requeued and goes on.
        partition, account, qos, constraint: as sbatch takes them; empty = the cluster's default.
        cpus, gpus, memory: of each job; memory in GB, 0 = the cluster's default.
        parallel: array jobs at a time; 0 = all.
        cluster: `slurm`, or `local` to try without one.
    """

    jobs: int = 8
    minutes: int = 240
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    cpus: int = 4
    gpus: int = 1
    memory: float = 0.0
    parallel: int = 0
    cluster: str = "slurm"


class Checkpointable:
    """`do_task` as submitit calls it: a job that is preempted or out of time is requeued and goes on."""

    def __call__(self, task: TaskSpec) -> str | None:
        """See `do_task`."""
        return do_task(task)

    def checkpoint(self, task: TaskSpec) -> Any:
        """Called before Slurm ends the job: the same once more; what is finished is left out then."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


class SlurmLauncher(Launcher):
    """Slurm.

    Args:
        options: of the jobs.
        folder: of the run; submitit's own files go into `.slurm` in it.
    Raises:
        MosamError: submitit or Slurm is not there, or it refuses the options.
    """

    name = "slurm"

    def __init__(self, options: SlurmOptions, folder: Path):
        try:
            import submitit
        except ImportError:
            raise MosamError("--launcher slurm: submitit is not installed; pip install 'mosam[slurm]'") from None
        if min(options.jobs, options.minutes, options.cpus) < 1 or min(options.gpus, options.parallel) < 0:
            raise MosamError("--launcher slurm: expected jobs, minutes and cpus >= 1, gpus and parallel >= 0")
        self._options = options
        self.slot = WorkerSlot("cuda" if options.gpus else "cpu", options.cpus)
        self._open: list[Any] = []
        try:
            self._executor = submitit.AutoExecutor(folder=str(folder / FOLDER), cluster=options.cluster)
            self._executor.update_parameters(**_parameters(options))
        except Exception as error:
            raise MosamError(f"--launcher slurm: {one_line(error)}; is this a machine that can call sbatch?") from None

    def split(self, jobs: Sequence[Job], rows: int | Literal["auto"] | None) -> list[list[Job]]:
        """As many parts as array jobs, of about equal frames."""
        return [part for part in share(jobs, min(self._options.jobs, max(1, len(jobs)))) if part]

    def submit(self, tasks: Sequence[TaskSpec]) -> list[Task]:
        """See `Launcher.submit`."""
        try:
            jobs = self._executor.map_array(Checkpointable(), list(tasks))
        except Exception as error:
            raise MosamError(f"--launcher slurm: the jobs were not accepted: {one_line(error)}") from None
        self._open += jobs
        return [_SlurmTask(job) for job in jobs]

    def cancel(self) -> None:
        """See `Launcher.cancel`."""
        for job in self._open:
            with contextlib.suppress(Exception):
                if not job.done():
                    job.cancel(check=False)


class _SlurmTask(Task):
    def __init__(self, job: Any):
        self._job = job
        self._result: str | Literal[False] | None = False
        self._over_since: float | None = None

    def poll(self) -> str | Literal[False] | None:
        """See `Task.poll`."""
        if self._result is not False:
            return self._result
        if not self._job.done():
            return False
        if not self._job.paths.result_pickle.exists() and self._job.state.upper() != "FINISHED":
            # over by its state, but the file may still be on its way over the network
            self._over_since = self._over_since or time.monotonic()
            if time.monotonic() < self._over_since + (
                0.0 if self._job.state.upper() == "INTERRUPTED" else LOST_SECONDS
            ):
                return False
            self._result = f"job {self._job.job_id} ended as {self._job.state} without a result"
            return self._result
        try:
            self._result = self._job.result()
        except Exception as error:
            self._result = f"job {self._job.job_id} failed: {one_line(error)}"
        return self._result


def _parameters(options: SlurmOptions) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "mosam",
        "timeout_min": options.minutes,
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus,
    }
    if options.memory:
        found["mem_gb"] = options.memory
    if options.cluster == "slurm":
        for key in ("partition", "account", "qos", "constraint"):
            if getattr(options, key):
                found[f"slurm_{key}"] = getattr(options, key)
        if options.parallel:
            found["slurm_array_parallelism"] = options.parallel
    return found
