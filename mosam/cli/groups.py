"""The groups of commands: tracker, protocol, figure, data, model, board, vot."""

from __future__ import annotations

import click

from mosam.cli.build import Commands, Entry

_DATA, _MODEL, _VOT = "mosam.cli.data", "mosam.cli.model", "mosam.cli.vot"
_NAMES = "mosam.cli.names"

COMMANDS: dict[str, click.Command] = {
    "tracker": Commands(
        "tracker",
        {
            "list": Entry(_NAMES, "Name every tracker, built in and of plugins.", "TRACKER"),
            "info": Entry(_NAMES, "Describe a tracker and its options.", "TRACKER"),
        },
        "Trackers: list, and the options of one.",
    ),
    "protocol": Commands(
        "protocol",
        {
            "list": Entry(_NAMES, "Name every protocol, built in and of plugins.", "PROTOCOL"),
            "info": Entry(_NAMES, "Describe a protocol, its options and values.", "PROTOCOL"),
        },
        "Protocols: list, and the options of one.",
    ),
    "figure": Commands(
        "figure",
        {
            "list": Entry(_NAMES, "Name every figure, built in and of plugins.", "FIGURE"),
            "info": Entry(_NAMES, "Describe a figure and what it is drawn from.", "FIGURE"),
        },
        "Figures: list, and what one is drawn from.",
    ),
    "data": Commands(
        "data",
        {
            "list": Entry(_DATA, "List every benchmark that mosam can load."),
            "fetch": Entry(_DATA, "Download a benchmark and lay it out; resumes."),
            "check": Entry(_DATA, "Look for everything wrong with a copy on disk."),
            "pack": Entry(_DATA, "Put frames and annotation into one LMDB."),
            "make": Entry(_DATA, "Write a small generated tree of a benchmark."),
        },
        "Benchmarks: list, fetch, check, pack or make a copy.",
    ),
    "model": Commands(
        "model",
        {
            "list": Entry(_MODEL, "Name the models."),
            "fetch": Entry(_MODEL, "Download a checkpoint and check it; resumes."),
            "info": Entry(_MODEL, "Describe a model and where its weights come from."),
        },
        "Networks and checkpoints.",
    ),
    "board": Commands(
        "board",
        {
            "build": Entry("mosam.cli.board", "Write the site: mosam board RESULTS --out SITE."),
            "check": Entry("mosam.cli.board", "Recompute every score from raw results."),
        },
        "A static site of a folder of runs, and a check of its scores.",
        usual="build",
    ),
    "vot": Commands(
        "vot",
        {
            "init": Entry(_VOT, "Write a workspace of the VOT toolkit."),
            "track": Entry(_VOT, "Be the tracker the toolkit starts."),
            "evaluate": Entry(_VOT, "Have the toolkit run and analyze."),
        },
        "The VOT toolkit: workspaces, and the tracker it starts.",
    ),
}
