"""Tracks the rows of an experiment in several processes; `run_experiment` then finds them done and scores them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import as_completed
from typing import TYPE_CHECKING

from mosam.commands.experiment.study import planned_runs
from mosam.errors import MosamError, one_line
from mosam.system.processes import asked_to_end, process_pool
from mosam.tracking.plan import plan_runs

if TYPE_CHECKING:
    from mosam.commands.experiment.study import Experiment
    from mosam.tracking.plan import RunOptions


def track_rows(
    experiment: Experiment, options: RunOptions, *, workers: int, report: Callable[[str], None] = lambda line: None
) -> None:
    """Every row and draw in one of several processes; two rows that are the same run are one, finished rows are kept.

    Args:
        experiment: what to run.
        options: of the command line; what it leaves open, the experiment says.
        workers: processes at once.
        report: called with a line for each run that is finished.
    Raises:
        MosamError: data, model or a name is wrong (then nothing has been tracked), or a sequence failed.
    """
    planned = {plan_runs(one)[0].out: one for _, _, one in planned_runs(experiment, options)}
    with process_pool(workers, fork=False) as pool:
        waiting = {pool.submit(track_one, one): (one, out) for out, one in planned.items()}
        for done in as_completed(waiting):
            one, out = waiting[done]
            failed = done.result()
            if failed:
                name, reason = next(iter(failed.items()))
                raise MosamError(f"{one.tracker}: {len(failed)} sequences failed, the first {name}: {reason}")
            report(f"{one.tracker} -> {out}")


def track_one(options: RunOptions) -> dict[str, str]:
    """The run that some options ask for, in the process that calls this; the reasons of what failed."""
    from mosam.model.checkpoints import load_model

    try:
        with asked_to_end():  # by the parent, see `process_pool`
            [planned] = plan_runs(options)
            return dict(planned.start(planned.load(load_model), lambda event: None).failed)
    except MosamError as error:  # its own class may not travel between processes
        raise MosamError(one_line(error)) from None
