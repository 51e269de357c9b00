"""The `mosam` command: a file for each group of commands, no logic but reading options and printing results.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 some sequences failed, 2 the
call or the data is wrong (one line), 130 interrupted (143 by SIGTERM, 129 by SIGHUP). `MOSAM_DEBUG=1` shows the
traceback behind an error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

import click

from mosam.cli.build import Commands, Entry
from mosam.cli.output import Lossy, Printable, note
from mosam.errors import MosamError, one_line
from mosam.system.processes import asked_to_end, exit_code

if TYPE_CHECKING:
    from typing import TextIO

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "MOSAM_DEBUG"

_TRACK, _SCORE, _LOOK = "mosam.cli.track", "mosam.cli.score", "mosam.cli.look"
_GROUPS = "mosam.cli.groups"


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from mosam import __version__

        print(f"mosam {__version__}")
        ctx.exit()


app = Commands(
    "mosam",
    {
        "eval": Entry(_TRACK, "Run trackers on a benchmark, score them and print the table."),
        "run": Entry(_TRACK, "Run trackers and write raw results; resumes."),
        "demo": Entry(_LOOK, "Track objects in your own video and look at the result."),
        "experiment": Entry(_TRACK, "Run, score and tabulate every row of a file."),
        "paper": Entry(_TRACK, "Published tables beside our numbers; runs the rest."),
        "score": Entry(_SCORE, "Score raw results of any tracker; no network or GPU."),
        "table": Entry(_SCORE, "Print a table of scores computed before."),
        "plot": Entry("mosam.cli.plot", "Draw a figure of scores, or of one sequence."),
        "report": Entry("mosam.cli.report", "Write one self-contained page of everything."),
        "board": Entry(_GROUPS, "Write a site of all runs, or check every score."),
        "submit": Entry(_SCORE, "Write the archive that a benchmark's server takes."),
        "doctor": Entry(_LOOK, "Report what this installation has and lacks."),
        "bench": Entry(_LOOK, "Measure speed by stage."),
        "tracker": Entry(_GROUPS, "Trackers: list, and the options of one."),
        "protocol": Entry(_GROUPS, "Protocols: list, and the options of one."),
        "figure": Entry(_GROUPS, "Figures: list, and what one is drawn from."),
        "data": Entry(_GROUPS, "Benchmarks: list, fetch, check, pack or make one."),
        "model": Entry(_GROUPS, "Networks and checkpoints."),
        "vot": Entry(_GROUPS, "The VOT toolkit: workspaces, and the tracker it starts."),
    },
    "One engine, every tracker: run and score visual object tracking and video object segmentation.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version and stop.",
        )
    ],
)


def main() -> None:
    """Entry point of the `mosam` command."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; every error the user can mend becomes one line.

    Args:
        arguments: the words after `mosam`.
    """
    shown, told = cast("TextIO", Printable(sys.stdout)), cast("TextIO", Lossy(sys.stderr))
    with asked_to_end() as asked, contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        code = _run_command(arguments)
        told.flush()
        try:
            shown.flush()
        except OSError as error:  # a full disk behind `> file`
            note(f"mosam: the output cannot be written: {error.strerror or error}")
            code = WRONG
    return exit_code(asked[0]) if asked and code == INTERRUPTED else code


def _run_command(arguments: list[str]) -> int:
    debug = bool(os.environ.get(DEBUG_VARIABLE))
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        code = app.main(arguments, prog_name="mosam", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, click.Abort):
        note("interrupted; finished sequences are kept, the same command goes on from there")
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:  # a bare group shows its help
        note(error.format_message())
        return WRONG
    except click.ClickException as error:
        note(f"mosam: {error.format_message()}")
        return WRONG
    except (MosamError, ValueError, OSError) as error:
        if debug:
            raise
        note(str(error) if isinstance(error, MosamError) else one_line(error))
        return WRONG
