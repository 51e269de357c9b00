"""Commands on networks: model list, fetch, info."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import click

from mosam.cli.build import command
from mosam.cli.output import aligned, note
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}


@command(table=COMMANDS, name="list")
def model_list() -> None:
    """Name the models."""
    from mosam.model.checkpoints import SHIPPED, list_models

    rows = [("name", "input", "MB", "here", "source", "license")]
    for info in list_models():
        here = "shipped" if info.name == SHIPPED and info.here else "yes" if info.here else "no"
        size = f"{info.bytes / 1e6:.0f}" if info.bytes else ""
        rows.append((info.name, f"{info.image}", size, here, info.source.removeprefix("hub: "), info.license))
    print(aligned(rows))
    note("also: a hub id, a folder, a sam2.1_hiera_*.pt file, or random:NAME for weights drawn from a seed")


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Which checkpoint, and from where."""

    name: str = option("tiny, small, base-plus, large, a hub id, or samosa-motion.", positional=True, complete="model")
    origin: str = option("hub, or meta for Meta's .pt file.", "hub", name="from", complete="hub,meta")


@command(FetchOptions, table=COMMANDS)
def fetch(options: FetchOptions) -> None:
    """Download a checkpoint into the user's cache and check it; resumes where it was interrupted."""
    from mosam.commands.progress import download_view
    from mosam.model.checkpoints import fetch_model

    with download_view(options.name) as watch:
        path = fetch_model(options.name, options.origin, watch)
    print(path)


@dataclass(frozen=True, slots=True)
class WhichModel:
    """A model."""

    name: str = option("Model, folder or checkpoint.", positional=True, metavar="NAME|PATH", complete="model")


@command(WhichModel, table=COMMANDS, name="info")
def info(which: WhichModel) -> None:
    """Describe a model and where its weights come from."""
    from mosam.model import checkpoints

    found = checkpoints.model_info(which.name)
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        print(f"{field.name.replace('_', ' ')}: {'not on this machine' if value is None else value}")
