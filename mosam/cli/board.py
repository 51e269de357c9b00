"""The commands board and board check; a file of their own, since their options load more than a score needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.cli.output import note
from mosam.commands.board import BoardOptions, CheckOptions
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}
FAILED = 1


@dataclass(frozen=True, slots=True)
class Site:
    """What a board is made of, and where it goes."""

    results: Path = option("Folder of runs, at any depth.", positional=True)
    out: Path = option("Folder of the site.")


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked."""

    results: Path = option("Folder of runs, at any depth.", positional=True)


@command(Site, BoardOptions, table=COMMANDS)
def build(site: Site, options: BoardOptions) -> None:
    """Write a static site: a page a benchmark with tests and published numbers, a card a result."""
    from mosam.commands.board import build_board
    from mosam.commands.board.site import SiteFolder

    with SiteFolder(site.out) as folder:
        notes = build_board(site.results, options, write=folder.write)
    for line in notes:
        note(line)
    print(site.out / "index.html")


@command(Checked, CheckOptions, table=COMMANDS)
def check(checked: Checked, options: CheckOptions) -> int:
    """Recompute every score from raw results; exit code 1 where one differs."""
    from mosam.commands.board import check_scores
    from mosam.commands.board.check import NAMED

    found = check_scores(checked.results, options, progress=None)
    for name, reason in found.skipped.items():
        note(f"not recomputed: {name}: {reason}")
    for run in dict.fromkeys(one.run for one in found.differences):
        own = [one for one in found.differences if one.run == run]
        for one in own[:NAMED]:
            print(one)
        if len(own) > NAMED:
            print(f"{run}: and {len(own) - NAMED} more differences")
    print(
        f"{len(found.recomputed)} scores files recomputed, {found.numbers} numbers, "
        f"{len(found.differences)} differ; {len(found.skipped)} could not be recomputed"
    )
    failed = found.differences or (options.complete and found.skipped) or not found.recomputed
    return FAILED if failed else 0
