"""The command plot; a file of its own, since its options load more than a score needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.cli.output import note
from mosam.commands.plot import PlotOptions
from mosam.errors import MosamError
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}


@dataclass(frozen=True, slots=True)
class Drawing:
    """Which figure, of what, and where it goes."""

    kind: str = option("Figure, as success, or all; an unknown one lists them.", positional=True, complete="figure")
    scores: tuple[Path, ...] = option(
        "scores.json files, files of --json, or folders of runs; for frames and jf-time runs.", positional=True
    )
    out: Path = option("Path of the files without extension; all adds -KIND.")
    format: str = option("Any of png, pdf, svg and tikz.", "png,pdf,svg,tikz", complete="png,pdf,svg,tikz")


@command(Drawing, PlotOptions, table=COMMANDS)
def plot(drawing: Drawing, options: PlotOptions) -> None:
    """Draw a figure of scores computed before, or of one sequence from raw results."""
    from mosam.commands.plot import ALL, draw, draw_all
    from mosam.datasets.select import split_list
    from mosam.evaluation.figures import save

    if drawing.kind != ALL:
        drawn = [(drawing.out, draw(drawing.kind, drawing.scores, options))]
    else:
        drawn = []
        for name, found in draw_all(drawing.scores, options):
            if isinstance(found, MosamError):
                note(f"left out: {found}")
            else:
                drawn.append((drawing.out.with_name(f"{drawing.out.name}-{name}"), found))
    for stem, figure in drawn:
        for path in save(figure, stem, formats=split_list(drawing.format)):
            print(path)
