"""From the options of `mosam vot init` to a workspace: everything that can be checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.codecs import CodecOptions
from mosam.datasets.select import split_list
from mosam.errors import MosamError
from mosam.system import options as shared
from mosam.system.options import Option, option
from mosam.tracking.presets import default_model, preset
from mosam.vot.service import BOX_FROM_MASK, KEEP_FOR, PROMPT, Order, online_policy
from mosam.vot.session import PROMPTS
from mosam.vot.stacks import OLD, STACKS, Stack, find_stack
from mosam.vot.trax_process import has_trax, require_trax
from mosam.vot.workspace import Workspace, init_workspace, stack_of

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset

PROTOCOLS = ("trax", "folder")
PROTOCOL = Option("How the toolkit talks to trackers: trax, folder (0.9.0).", None, complete=",".join(PROTOCOLS))
ANY_DATASET = "vot2022-st"  # all of VOT are read alike; this one reads the sequences of a stack that is none of them


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The options of `mosam vot init`, as the user gave them; None = not given."""

    workspace: Path = option("A new folder, or a workspace of that stack.", positional=True)
    stack: str | None = option("Stack, e.g. vot2022/shortterm or vot2022-st, or a file.", None, usual="the workspace's")
    root: Path | None = option("Sequences on disk.", None, usual="the workspace's, else they are downloaded")
    tracker: str | None = shared.TRACKERS.field(help="One or more.", usual="all")
    model: str | None = shared.MODEL.field()
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    sequences: str | None = shared.SEQUENCES.field()
    limit: int | None = shared.LIMIT.field()
    protocol: str | None = PROTOCOL.field(usual="trax; folder where vot-trax is missing")
    prompt: str = PROMPT.field()
    settings: str = shared.SETTINGS.field()
    seed: int = shared.SEED.field()
    box_from_mask: str = BOX_FROM_MASK.field()
    keep: float = KEEP_FOR.field()
    results: Path | None = option("Also copy runs of mosam there, as results to analyze.", None)


def init(options: InitOptions) -> Workspace:
    """Makes the workspace that is asked for; MosamError where a name is unknown or something is missing."""
    from mosam.policies.base import POLICIES

    name = options.stack or stack_of(options.workspace)
    if name is None:
        raise MosamError(f"--stack: expected one of {', '.join(STACKS)}, or a file, got none")
    stack = find_stack(name, inside=options.workspace)
    protocol = choose_protocol(options.protocol, stack)
    if options.prompt not in PROMPTS:
        raise MosamError(f"--prompt: expected one of {', '.join(PROMPTS)}, got {options.prompt!r}")
    try:
        CodecOptions(box_from_mask=options.box_from_mask)
    except ValueError as error:
        raise MosamError(f"--{str(error).replace('_', '-', 2)}") from None
    wanted = list(POLICIES) if options.tracker is None else split_list(options.tracker)
    policies = [online_policy(text) for text in wanted]
    for policy in policies:
        preset(options.settings, policy.name, "region")
    model = options.model or default_model(ANY_DATASET)
    _check_model(model)
    orders = [
        Order(
            policy.label,
            str(Path(model).resolve()) if Path(model).exists() else model,  # the toolkit starts trackers elsewhere
            options.device,
            options.precision,
            options.settings,
            options.seed,
            options.prompt,
            options.box_from_mask,
        )
        for policy in policies
    ]
    dataset = None if options.root is None else _dataset(stack, options)
    results = None if options.results is None else _runs(stack, options, dataset)
    return init_workspace(
        options.workspace, stack, orders, keep=options.keep, protocol=protocol, dataset=dataset, results=results
    )


def check_protocol(name: str) -> None:
    """MosamError where there is no such protocol."""
    if name not in PROTOCOLS:
        raise MosamError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}")


def choose_protocol(name: str | None, stack: Stack) -> str:
    """How the toolkit talks to our trackers: as asked for, else TraX if the package for it is there.

    Raises:
        MosamError: an unknown one, one that the stack's toolkit does not know, or no package for TraX.
    """
    if name is not None:
        check_protocol(name)
    if name == "folder" and stack.toolkit == OLD and stack.path is None:
        raise MosamError(f"--protocol folder: {stack.name} is run by vot-toolkit {OLD}, which knows TraX alone")
    if name == "folder" or (name is None and stack.toolkit != OLD and not has_trax()):
        return "folder"
    require_trax()
    return "trax"


def _check_model(name: str) -> None:
    """An unknown network is an error now, not when the toolkit has started a tracker."""
    from mosam.model.checkpoints import model_info

    model_info(name)


def _dataset(stack: Stack, options: InitOptions) -> Dataset:
    from mosam.tracking.plan import RunOptions, choose_dataset

    name = stack.dataset or ANY_DATASET
    data = choose_dataset(RunOptions(name, options.root, None, sequences=options.sequences, limit=options.limit))
    data.require(frames=True)
    return data


def _runs(stack: Stack, options: InitOptions, dataset: Dataset | None) -> dict[str, Path]:
    """Runs to copy, by the name that the toolkit shall know them by: that of their folder."""
    from mosam.evaluation.finding import find_runs

    assert options.results is not None
    if dataset is None:
        raise MosamError("--results: expected also --root, with the sequences that they are results of")
    return {folder.name: folder for _, folder in find_runs(options.results, dataset)}
