"""Commands of the VOT toolkit: vot init, track, evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.cli.output import note
from mosam.system import options as shared
from mosam.system.options import option
from mosam.vot.service import KEEP_FOR, Order
from mosam.vot.setup import PROTOCOL, InitOptions, check_protocol

COMMANDS: dict[str, click.Command] = {}


@command(InitOptions, table=COMMANDS)
def init(options: InitOptions) -> None:
    """Write a workspace of the VOT toolkit with our trackers registered."""
    from mosam.vot.setup import init

    made = init(options)
    count = "sequences to be downloaded" if made.sequences is None else f"{made.sequences} sequences"
    note(f"{made.stack.name} (vot-toolkit {made.stack.toolkit}): {count}, trackers {', '.join(made.trackers)}")
    print(made.path)


@dataclass(frozen=True, slots=True)
class Serving:
    """How the toolkit is talked to, and how long a network waits for work."""

    protocol: str = PROTOCOL.field(default="trax", usual=None)
    keep: float = KEEP_FOR.field()


@command(Order, Serving, table=COMMANDS)
def track(order: Order, serving: Serving) -> None:
    """Be the tracker process that the VOT toolkit starts, as `mosam vot init` registers it."""
    check_protocol(serving.protocol)
    if serving.protocol == "folder":
        from mosam.vot.folder_process import track_folder

        track_folder(order, Path.cwd(), keep=serving.keep)
        return
    from mosam.vot.trax_process import track

    track(order, keep=serving.keep)


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """The options of `mosam vot evaluate`."""

    workspace: Path = option("As `mosam vot init` makes it.", positional=True)
    toolkit: Path = option("Environment with vot-toolkit; `make vot` creates it.")
    tracker: str | None = shared.TRACKERS.field(help="Names in trackers.ini.", usual="all")
    experiments: str | None = option("Only these of the stack, comma-separated.", None)
    only_analysis: bool = option("Only analyze existing results.", False)


@command(EvaluateOptions, table=COMMANDS)
def evaluate(options: EvaluateOptions) -> None:
    """Have the toolkit run and analyze the trackers of a workspace, and print its numbers."""
    from mosam.datasets.select import split_list
    from mosam.vot.toolkit import evaluate

    chosen, run = split_list(options.tracker), not options.only_analysis
    print(evaluate(options.workspace, options.toolkit, chosen, experiments=options.experiments, run=run))
