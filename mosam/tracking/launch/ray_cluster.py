"""Sequences as tasks of a Ray cluster that somebody runs (extra `ray`)."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mosam.errors import MosamError, one_line
from mosam.tracking.launch.tasks import Launcher, Task, TaskSpec, do_task
from mosam.tracking.launch.worker import WorkerSlot
from mosam.tracking.schedule import Job, group

ANSWER_SECONDS = 5.0  # that an address has to accept a connection
RETRIES = 3  # of a task whose worker or machine is lost, by Ray
AUTO_ROWS = 16  # rows a part is made for where a task chooses its lanes itself


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Options of `--launcher ray[...]`.

    Attributes:
        address: of the cluster: `auto` (the one this machine belongs to), `host:port` or `ray://host:port`.
        cpus: processors a task takes.
        gpus: GPUs a task takes; 0 = it runs on the processor.
    """

    address: str = "auto"
    cpus: int = 1
    gpus: float = 0.0


class RayLauncher(Launcher):
    """A Ray cluster.

    Raises:
        MosamError: Ray is not installed, or no cluster answers.
    """

    name = "ray"

    def __init__(self, options: RayOptions):
        try:
            import ray
        except ImportError:
            raise MosamError("--launcher ray: Ray is not installed; pip install 'mosam[ray]'") from None
        if options.cpus < 1 or options.gpus < 0:
            raise MosamError(f"--launcher ray: expected cpus >= 1 and gpus >= 0, got {options.cpus}, {options.gpus}")
        _check_answers(options.address)
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(address=options.address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:
                raise MosamError(
                    f"--launcher ray: no cluster at {options.address} ({one_line(error)}); start one with `ray start "
                    "--head`, or name it with ray[address=host:port]"
                ) from None
        self._usual_rows = AUTO_ROWS if options.gpus else 1
        self._check_resources(options)
        self.slot = WorkerSlot("cuda" if options.gpus else "cpu", options.cpus)
        self._task = ray.remote(
            num_cpus=options.cpus, num_gpus=options.gpus, max_retries=RETRIES, scheduling_strategy="SPREAD"
        )(do_task)
        self._open: list[Any] = []

    def split(self, jobs: Sequence[Job], rows: int | Literal["auto"] | None) -> list[list[Job]]:
        """One sequence a task; with lanes as many as fill them, alike in length since the longest come first."""
        return group(jobs, self._usual_rows if rows is None else AUTO_ROWS if rows == "auto" else rows, self._slots)

    def submit(self, tasks: Sequence[TaskSpec]) -> list[Task]:
        """See `Launcher.submit`."""
        references = [self._task.remote(task) for task in tasks]
        self._open += references
        return [_RayTask(self._ray, reference) for reference in references]

    def cancel(self) -> None:
        """See `Launcher.cancel`."""
        for reference in self._open:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
        if self._ours:
            self._ray.shutdown()

    def _check_resources(self, options: RayOptions) -> None:
        """A task that no machine can take would wait forever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self._slots = 0
        for node in nodes:
            by_gpu = node.get("GPU", 0) // options.gpus if options.gpus else node.get("CPU", 0)
            self._slots += int(min(node.get("CPU", 0) // options.cpus, by_gpu))
        if any(node.get("CPU", 0) >= options.cpus and node.get("GPU", 0) >= options.gpus for node in nodes):
            return
        found = ", ".join(f"{node.get('CPU', 0):g} CPUs {node.get('GPU', 0):g} GPUs" for node in nodes) or "none"
        raise MosamError(
            f"--launcher ray: expected a machine with {options.cpus} CPUs and {options.gpus:g} GPUs for a task, the "
            f"cluster has {found}"
        )


class _RayTask(Task):
    def __init__(self, ray: Any, reference: Any):
        self._ray, self._reference = ray, reference
        self._result: str | Literal[False] | None = False

    def poll(self) -> str | Literal[False] | None:
        """See `Task.poll`."""
        if self._result is False and self._ray.wait([self._reference], timeout=0)[0]:
            try:
                self._result = self._ray.get(self._reference)
            except Exception as error:
                self._result = f"Ray lost the task ({type(error).__name__})"
        return self._result


def _check_answers(address: str) -> None:
    """A host that does not answer is an error in seconds, not after Ray's minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        if address != "auto":
            raise MosamError(f"--launcher ray: expected address=auto, host:port or ray://host:port, got {address!r}")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise MosamError(
            f"--launcher ray: {address} does not answer ({one_line(error)}); is the cluster up, and may this machine "
            "reach it?"
        ) from None
