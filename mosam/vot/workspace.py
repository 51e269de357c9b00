"""`mosam vot init`: a workspace of the VOT toolkit with our trackers registered, and our results in it where asked."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.errors import DataError, MismatchError, MissingDataError, MosamError
from mosam.system.files import read_regular, write_bytes, write_text
from mosam.system.typed import from_data
from mosam.vot.stacks import Stack

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.vot.service import Order

CONFIG, TRACKERS, STACK_FILE = "config.yaml", "trackers.ini", "stack.yaml"
SEQUENCES, RESULTS, LIST = "sequences", "results", "list.txt"
TIMEOUT = 600  # seconds that the toolkit waits for an answer; it gives 30 unless told, and a large network loads longer


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace that was written.

    Attributes:
        path: its folder.
        stack: what it runs.
        trackers: names of the trackers, as the toolkit knows them.
        sequences: how many are there, None where the toolkit will fetch them.
    """

    path: Path
    stack: Stack
    trackers: tuple[str, ...]
    sequences: int | None


def identifier(label: str) -> str:
    """A name that the toolkit accepts: letters, digits, `-` and `_`.

    >>> identifier("mosam[stride=3,mgp=off]"), identifier("sam2long[emit=online]")
    ('mosam_stride-3_mgp-off', 'sam2long')
    """
    name = label.replace("[emit=online]", "").replace(",emit=online", "").replace("emit=online,", "")
    return re.sub(r"[^A-Za-z0-9_-]", "-", re.sub(r"[\[,]", "_", name.rstrip("]")).replace("=", "-"))


def init_workspace(
    path: str | os.PathLike[str],
    stack: Stack,
    orders: Sequence[Order],
    *,
    keep: float,
    protocol: str = "trax",
    dataset: Dataset | None = None,
    results: Mapping[str, Path] | None = None,
) -> Workspace:
    """Writes a workspace, or adds trackers to one of the same stack.

    Sequences that are in the workspace already are used as they are.

    Args:
        path: its folder.
        stack: what it runs.
        orders: our trackers, started by the toolkit.
        keep: seconds for which the process with the network outlives the tracker process.
        protocol: how the toolkit talks to them, `trax` or `folder`.
        dataset: sequences on disk to link to; None = those in the workspace, else the toolkit downloads the stack's.
        results: runs of ours to copy in, by label; the toolkit then analyses them as they are.
    Raises:
        MismatchError: the folder holds a workspace of another stack, other sequences, or a tracker of that name with
            other settings.
        MosamError: two trackers of one name, or a folder of something else.
    """
    root = Path(path)
    if root.exists() and not _is_workspace(root) and (not root.is_dir() or any(root.iterdir())):
        raise MosamError(
            f"{root}: expected a workspace, a folder with {SEQUENCES}/, or a new or empty one; choose another"
        )
    sections: dict[str, dict[str, str]] = {}
    for order in orders:
        section = _section(order, keep, protocol)
        if sections.setdefault(identifier(order.tracker), section) != section:
            raise MosamError(f"--tracker: expected names that differ, got two for {identifier(order.tracker)}")
    for label in results or {}:
        sections[identifier(label)] = {"label": label, "protocol": "trax", "command": "false"}
    config = _check(root, stack, dataset)
    registered = _merged(root / TRACKERS, sections)
    root.mkdir(parents=True, exist_ok=True)
    (root / RESULTS).mkdir(exist_ok=True)
    if stack.path is not None and not stack.path.resolve().is_relative_to(root.resolve()):
        write_bytes(root / STACK_FILE, stack.path.read_bytes())
    count = _link(root / SEQUENCES, dataset)
    _write_trackers(root / TRACKERS, registered)
    for label, run in (results or {}).items():
        _copy_results(run, root / RESULTS / identifier(label))
    if not (root / CONFIG).is_file():
        import yaml

        write_text(root / CONFIG, yaml.safe_dump(config))
    return Workspace(root, stack, tuple(sections), count)


def stack_of(path: str | os.PathLike[str]) -> str | None:
    """The stack that a workspace says it is of, None where there is no workspace yet."""
    there = _read_config(Path(path))
    name = None if there is None else there.stack
    if name is None:
        return None
    inside = Path(path) / name
    return str(inside) if os.path.isfile(inside) else name  # noqa: PTH113  # Path raises for a name no file can have


def _is_workspace(root: Path) -> bool:
    return (root / CONFIG).is_file() or (root / SEQUENCES).is_dir()


def _section(order: Order, keep: float, protocol: str) -> dict[str, str]:
    words = [sys.executable, "-m", "mosam", "vot", "track"]
    defaults = {field.name: field.default for field in dataclasses.fields(order)}
    for name, value in dataclasses.asdict(order).items():
        if value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--protocol", protocol] if protocol != "trax" else []
    words += ["--keep", f"{keep:g}"]
    section = {"label": order.tracker, "protocol": protocol, "command": shlex.join(words)}
    # for folders the toolkit takes 30 seconds a frame, which is enough, and trips over a number from this file
    return section | ({"timeout": str(TIMEOUT)} if protocol == "trax" else {})


def _check(root: Path, stack: Stack, dataset: Dataset | None) -> dict[str, object]:
    """The configuration; MismatchError where a workspace that is there is not the one that is asked for."""
    name = stack.name
    if stack.path is not None:
        inside = stack.path.resolve().is_relative_to(root.resolve())
        name = str(stack.path.resolve().relative_to(root.resolve())) if inside else STACK_FILE
    config: dict[str, object] = {"registry": [f"./{TRACKERS}"], "stack": name, "sequences": SEQUENCES}
    there = _read_config(root)
    if there is not None and there.stack != name:
        raise MismatchError(f"{root}: holds a workspace of the stack {there.stack}, not {name}; choose another folder")
    if there is not None and f"./{TRACKERS}" not in there.registry:
        raise MismatchError(f"{root / CONFIG}: expected ./{TRACKERS} in registry; add it, or choose another folder")
    copied = root / STACK_FILE
    copies = stack.path is not None and name == STACK_FILE and copied.is_file()
    if copies and copied.read_bytes() != stack.path.read_bytes():  # type: ignore[union-attr]
        raise MismatchError(f"{root}: holds a workspace of another {name} than {stack.path}; choose another folder")
    names = root / SEQUENCES / LIST
    if dataset is not None and names.is_file() and names.read_text(encoding="utf-8").split() != list(dataset):
        raise MismatchError(f"{root}: holds a workspace of other sequences; choose another folder")
    return config


@dataclass(frozen=True, slots=True)
class _Config:
    """What we look at of a workspace's configuration."""

    stack: str | None = None
    registry: tuple[str, ...] = ()


def _read_config(root: Path) -> _Config | None:
    path = root / CONFIG
    if not path.is_file():
        return None
    import yaml

    try:
        there = yaml.load(read_regular(path), Loader=yaml.BaseLoader)  # text, lists and mappings only
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DataError(path, "expected YAML; repair it or choose another workspace") from None
    return from_data(_Config, there or {}, path, unknown=True)


def read_trackers(path: Path) -> dict[str, dict[str, str]]:
    """Sections of a workspace's `trackers.ini`; none where there is no such file.

    Raises:
        DataError: it is no such file.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(read_regular(path).decode("utf-8"))
    except MissingDataError:
        return {}
    except (configparser.Error, ValueError, AttributeError, TypeError) as error:  # it trips over some of its own states
        reason = " ".join(str(error).split())[:120]
        raise DataError(path, f"expected sections of name=value, got {reason}") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _merged(path: Path, sections: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The trackers that are registered and ours; MismatchError where one is there with other settings."""
    merged = read_trackers(path)
    for name, section in sections.items():
        wanted = {key: value.replace("%", "%%") for key, value in section.items()}  # the toolkit's reader wants it so
        if merged.setdefault(name, wanted) != wanted:
            there = merged[name].get("command", "nothing")
            raise MismatchError(
                f"{path}: {name} is registered with other settings ({there}); remove it there or choose another folder"
            )
    return merged


def _write_trackers(path: Path, sections: Mapping[str, Mapping[str, str]]) -> None:
    lines = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in section.items()), ""]
    write_text(path, "\n".join(lines))


def _link(folder: Path, dataset: Dataset | None) -> int | None:
    """Links to sequences on disk, and their list, which keeps the toolkit from downloading; how many there are."""
    folder.mkdir(exist_ok=True)
    if dataset is None:
        names = sorted(path.parent.name for path in folder.glob("*/groundtruth*.txt"))
        names = list(dict.fromkeys(names))
        if (folder / LIST).is_file():
            return len((folder / LIST).read_text(encoding="utf-8").split())
    else:
        names = list(dataset)
        for name in names:
            target = folder / name
            if not target.exists():
                target.symlink_to(_place(dataset, name).resolve(), target_is_directory=True)
    if names:
        write_text(folder / LIST, "".join(f"{name}\n" for name in names))
    return len(names) or None


def _place(dataset: Dataset, name: str) -> Path:
    place = getattr(dataset, "folder_of", None)
    folder = None if place is None else place(name)
    if not isinstance(folder, Path):
        raise MissingDataError(f"{dataset.root}: expected folders, which are all that the VOT toolkit reads; unpack it")
    return folder


def _copy_results(run: Path, target: Path) -> None:
    """The result files of a run, without our own records."""
    for folder in sorted(path for path in run.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if folder.name != "log":
            shutil.copytree(folder, target / folder.name, dirs_exist_ok=True)
