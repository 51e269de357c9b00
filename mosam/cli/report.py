"""The command report; a file of its own, since its options load the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.commands.report import ReportOptions
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}


@dataclass(frozen=True, slots=True)
class Page:
    """What a report is made of, and where it goes."""

    results: tuple[Path, ...] = option("Folders of runs or of those, or scores files.", positional=True)
    out: Path = option("The HTML file to write.")


@command(Page, ReportOptions, table=COMMANDS)
def report(page: Page, options: ReportOptions) -> None:
    """Write one self-contained page: tables, figures, every sequence, settings and raw scores."""
    from mosam.commands.progress import scoring_view
    from mosam.commands.report import build_report
    from mosam.system.files import write_text

    content = build_report(page.results, options, progress=scoring_view)
    page.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(page.out, content)
    print(page.out)
