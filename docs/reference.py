"""Writes docs/commands.md, every command and option as the program declares it, as `make docs` does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from mosam.cli import app
from mosam.cli.build import every_command
from mosam.system.describe import Field, about, fields_of

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands and options

Made by `docs/reference.py` from what the program declares; do not edit it by hand.

Every command has `--help`, and takes `--plugin FILE|MODULE`, once or more, to load [plugins](plugins.md) besides those
of `MOSAM_PLUGINS`. `mosam --version` prints the version.
"""
SHARED = ("--plugin", "--help")
_VALUES = {"integer": "N", "integer range": "N", "float": "X", "float range": "X", "path": "PATH"}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_commands(), *_trackers(), *_protocols(), *_figures()])


def _commands() -> Iterator[str]:
    for words, command in every_command(app):
        if isinstance(command, click.Group):
            continue
        yield f"## mosam {' '.join(words)}\n\n{' '.join((command.help or '').split())}\n"
        rows = [_row(param) for param in command.params if not set(param.opts) & set(SHARED)]
        if rows:
            yield _table(("argument or option", "meaning"), rows)


def _row(param: click.Parameter) -> tuple[str, str]:
    context = click.Context(click.Command("mosam"))
    if isinstance(param, click.Argument):
        return f"`{param.make_metavar(context)}`", param.about  # type: ignore[attr-defined]
    assert isinstance(param, click.Option)
    value = "" if param.is_flag else f" {param.metavar or _VALUES.get(param.type.name, 'TEXT')}"
    names = "/".join([*param.opts, *param.secondary_opts])
    more = [_range(param.type), "Required." if param.required else "", "Again for more." if param.multiple else ""]
    return f"`{names}{value}`", " ".join(filter(None, [" ".join((param.help or "").split()), *more]))


def _range(kind: click.ParamType) -> str:
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    if least is None and most is None:
        return ""
    return f"At least {least}." if most is None else f"At most {most}." if least is None else f"{least} to {most}."


def _trackers() -> Iterator[str]:
    from mosam.policies.base import POLICIES

    yield "## Trackers\n\nTyped as `NAME[option=value,...]`.\n"
    for name in POLICIES:
        yield f"### {name}\n\n{about(POLICIES[name])}\n"
        yield _fields(fields_of(POLICIES[name].Config))


def _protocols() -> Iterator[str]:
    from mosam.evaluation.protocols.base import PROTOCOLS

    yield "## Protocols\n\nTyped as `NAME` or `NAME[option,...]`.\n"
    rows = [(f"`{name}`", about(PROTOCOLS[name]), _words(fields_of(PROTOCOLS[name]))) for name in PROTOCOLS]
    yield _table(("protocol", "meaning", "options"), rows)


def _words(fields: Iterable[Field]) -> str:
    return "; ".join(f"`{one.name}`: {one.meaning.rstrip('.')}" for one in fields)


def _figures() -> Iterator[str]:
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES

    yield "## Figures\n"
    registries: tuple[tuple[Any, str], ...] = ((FIGURES, "scores"), (SEQUENCE_FIGURES, "one sequence"))
    rows = [(f"`{name}`", about(found[name].draw), kind) for found, kind in registries for name in found]
    yield _table(("figure", "meaning", "drawn from"), rows)


def _fields(fields: Iterable[Field]) -> str:
    rows = [(f"`{one.name}`", one.kind, one.range, f"`{one.default}`", one.meaning) for one in fields]
    return _table(("option", "value", "range", "default", "meaning"), rows)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [
        headings,
        tuple("---" for _ in headings),
        *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
