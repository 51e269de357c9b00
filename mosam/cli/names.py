"""Lists of what there is, and what one of it takes: trackers, protocols, figures; built in or of plugins."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mosam.cli.build import command
from mosam.cli.output import aligned
from mosam.system import options as shared
from mosam.system import plugins
from mosam.system.describe import Field, about, fields_of
from mosam.system.options import option

if TYPE_CHECKING:
    from mosam.registry import Registry

TRACKER: dict[str, click.Command] = {}
PROTOCOL: dict[str, click.Command] = {}
FIGURE: dict[str, click.Command] = {}
HEADINGS = ("option", "value", "range", "default", "meaning")


@dataclass(frozen=True, slots=True)
class WhichTracker:
    """A tracker."""

    name: str = option("Tracker, MODULE:CLASS, FILE.py:CLASS or FILE.ini:NAME.", positional=True, complete="tracker")


@dataclass(frozen=True, slots=True)
class WhichProtocol:
    """A protocol."""

    name: str = option("Protocol, or MODULE:CLASS.", positional=True, complete="protocol")


@dataclass(frozen=True, slots=True)
class WhichFigure:
    """A figure."""

    name: str = option("Figure, or MODULE:FUNCTION.", positional=True, complete="figure")


@command(table=TRACKER, name="list")
def tracker_list() -> None:
    """Name every tracker, built in and of plugins."""
    from mosam.tracking.outside.load import REGISTRIES

    print(aligned([("name", "about", "source"), *(row for registry in REGISTRIES for row in _rows(registry))]))


@command(WhichTracker, table=TRACKER, name="info")
def tracker_info(which: WhichTracker) -> None:
    """Describe a tracker and its options, which are typed as NAME[option=value]."""
    from mosam.tracking.outside.classes import TRACKERS, options_of
    from mosam.tracking.outside.load import registered
    from mosam.tracking.outside.registry_files import is_form, load_program

    if is_form(which.name):
        program = load_program(which.name)
        print(f"{program.name}: a program that speaks {program.protocol}\ncommand: {shlex.join(program.command)}")
        return
    registry, name = registered(which.name)
    found = registry[name]
    options = fields_of(options_of(found) if registry is TRACKERS else found.Config)
    print("\n".join(_described(registry, name, options)))


@command(table=PROTOCOL, name="list")
def protocol_list() -> None:
    """Name every protocol, built in and of plugins."""
    from mosam.evaluation.protocols.base import PROTOCOLS

    print(aligned([("name", "about", "source"), *_rows(PROTOCOLS)]))


@command(WhichProtocol, table=PROTOCOL, name="info")
def protocol_info(which: WhichProtocol) -> None:
    """Describe a protocol, its options, which are typed as NAME[option], and its values."""
    from mosam.evaluation.protocols.base import PROTOCOLS

    for name in [which.name] if which.name in PROTOCOLS else _variants(PROTOCOLS, which.name):
        lines = _described(PROTOCOLS, name, fields_of(PROTOCOLS[name]))
        columns = ", ".join(f"{column.name} ({column.heading})" for column in PROTOCOLS[name].columns)
        print("\n".join([*lines, *([f"values: {columns}"] if columns else [])]))


@command(table=FIGURE, name="list")
def figure_list() -> None:
    """Name every figure, built in and of plugins."""
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES

    print(aligned([("name", "about", "source"), *_rows(FIGURES), *_rows(SEQUENCE_FIGURES)]))


@command(WhichFigure, table=FIGURE, name="info")
def figure_info(which: WhichFigure) -> None:
    """Describe a figure and what it is drawn from."""
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES

    if which.name in SEQUENCE_FIGURES:
        print("\n".join(_described(SEQUENCE_FIGURES, which.name, [])))
        takes = sorted(SEQUENCE_FIGURES[which.name].takes - {"items", "sequence", "title"})
        print(f"drawn from: raw results and one sequence{'; options: ' if takes else ''}{', '.join(takes)}")
    else:
        print("\n".join(_described(FIGURES, which.name, [])))
        print(f"drawn from: scores; title: {FIGURES[which.name].title}")


def _variants(registry: Registry[Any], name: str) -> list[str]:
    """`pysot:region` and its like for `pysot`; UnknownNameError where there are none."""
    return [filed for filed in registry if filed.partition(":")[0] == name] or [registry.canonical(name)]


def _rows(registry: Registry[Any]) -> Iterator[tuple[str, str, str]]:
    for name in registry:
        yield name, about(_documented(registry[name])), source_of(registry, name)


def _documented(item: Any) -> Any:
    """What has the docstring: of a figure the function that draws it."""
    return getattr(item, "draw", item) if not isinstance(item, type) else item


def source_of(registry: Registry[Any], name: str) -> str:
    """Where a registered name is from: `mosam`, or a plugin with its version and file."""
    file = registry.file_of(name)
    for plugin in plugins.loaded():
        if any(one.file == file for one in plugins.names_of(plugin)):
            return " ".join(filter(None, (plugin.name, plugin.version, f"({plugin.file})")))
    return f"mosam ({file.name})" if Path(shared.__file__).parents[1] in file.absolute().parents else f"{file}"


def _described(registry: Registry[Any], name: str, fields: list[Field]) -> list[str]:
    listed = registry.canonical(name)
    lines = [f"{listed}: {about(_documented(registry[name]))}", f"source: {source_of(registry, listed)}"]
    if fields:
        rows = [(one.name, one.kind, one.range, one.default, one.meaning) for one in fields]
        lines += ["", aligned([HEADINGS, *rows])]
    return lines
