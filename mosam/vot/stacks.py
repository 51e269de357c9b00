"""The VOT toolkit's experiment stacks: which release of the toolkit runs each, and which of our datasets is the same.

The releases differ in what they can run (measured, see docs/vot.md): 0.9.0 refuses supervised and multistart
experiments, which 0.7.4 runs; VOTS 2026 is in 0.9.0 alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mosam.errors import MissingDataError, UnknownNameError

OLD, NEW = "0.7.4", "0.9.0"  # of vot-toolkit


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack.

    Attributes:
        name: as the toolkit has it, or the path of a file.
        toolkit: the release of vot-toolkit to run it with.
        dataset: our dataset with the same sequences and main experiment, None where there is none.
        path: of a stack that is no part of the toolkit.
    """

    name: str
    toolkit: str = OLD
    dataset: str | None = None
    path: Path | None = None


def _known() -> dict[str, Stack]:
    datasets: dict[str, str | None] = {"vot2013": "vot2013", "vot2014": "vot2014", "vot2017": "vot2017"}
    for year in (2015, 2016):
        datasets |= {f"vot{year}/rgb": f"vot{year}", f"vot{year}/tir": None}
    for year in (2018, 2019):
        datasets |= {f"vot{year}/shortterm": f"vot{year}", f"vot{year}/longterm": f"vot{year}-lt"}
    for year in (2020, 2021, 2022):
        datasets |= {f"vot{year}/shortterm": f"vot{year}-st", f"vot{year}/longterm": f"vot{year}-lt"}
    datasets |= {"vot2022/shorttermbox": "vot2022-stb", "vot2022/depth": None, "vot2022/rgbd": None}
    datasets |= {f"vot{year}/rgbd": None for year in (2019, 2020, 2021)}
    datasets |= {f"vot{year}/rgbtir": None for year in (2019, 2020)}
    stacks = {name: Stack(name, OLD, dataset) for name, dataset in datasets.items()}
    newer: dict[str, str | None] = {"vots2023": "vots2023", "vots2026/main": "vots2026"}
    for year in (2024, 2025):
        newer |= {f"vots{year}/main": f"vots{year}", f"vots{year}/votst": None, f"vots{year}/votstval": None}
    newer["vots2025/realtime"] = "vots2025"
    return stacks | {name: Stack(name, NEW, dataset) for name, dataset in newer.items()}


STACKS = _known()


def find_stack(name: str, *, inside: str | os.PathLike[str] = ".") -> Stack:
    """A stack by the toolkit's name, by our dataset's name (`vot2022-st`), or from a file of one's own (`my.yaml`).

    Args:
        name: of the stack.
        inside: a workspace, where a file is looked for too.

    Raises:
        UnknownNameError: no such stack (lists the known, suggests the nearest).
        MissingDataError: a file that is not there.

    >>> find_stack("vot2022-st").name, find_stack("vots2024/main").toolkit
    ('vot2022/shortterm', '0.9.0')
    """
    if name in STACKS:
        return STACKS[name]
    for stack in STACKS.values():
        if stack.dataset == name:
            return stack
    path = Path(name) if os.path.isfile(name) else Path(inside) / name  # noqa: PTH113  # Path raises for some names
    if path.suffix not in (".yaml", ".yml"):
        raise UnknownNameError("stack", name, STACKS, where="--stack")
    if not os.path.isfile(path):  # noqa: PTH113
        raise MissingDataError(f"--stack: {path}: expected a stack file, found nothing")
    return Stack(os.fspath(path), OLD, None, path)
