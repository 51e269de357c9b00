"""From what is typed after `--tracker` to a tracker: a memory policy, a class of somebody's own, or a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosam.errors import MosamError, UnknownNameError
from mosam.policies.base import POLICIES, MemoryPolicy, load_policy, parse_tracker
from mosam.registry import Registry
from mosam.system import plugins
from mosam.system.arguments import instance
from mosam.tracking.outside.classes import TRACKERS, ClassTracker, is_tracker_class
from mosam.tracking.outside.engine import Limits
from mosam.tracking.outside.programs import PROTOCOLS, Program, ProgramTracker
from mosam.tracking.outside.registry_files import is_file, is_form, load_program, seconds_of, split_form, words_of
from mosam.tracking.outside.tracker import OutsideTracker

REGISTRIES: tuple[Registry[Any], ...] = (POLICIES, TRACKERS)


def load_tracker(
    tracker: str | type, *, frame_timeout: float | None = None, sequence_timeout: float | None = None, **options: Any
) -> MemoryPolicy | OutsideTracker:
    """A tracker, whatever it is.

    Args:
        tracker: a name (`mosam`, `opencv:MIL`), `module:Class`, `file.py:Class`, `trackers.ini:NAME`, or a class with
            the methods `init` and `update`; text may have options, `mosam[stride=3]`.
        frame_timeout: seconds that one of your own may take for an answer; None = any time, of a program 30.
        sequence_timeout: seconds that one of your own may take for one pass over a sequence; None = any time.
        options: of the tracker, besides those in its text.
    Raises:
        UnknownNameError: no tracker or option of that name.
        MosamError: an option that cannot be, a class without `init` and `update`, or a limit for a memory policy.
    """
    limits = Limits(frame_timeout, sequence_timeout)
    if isinstance(tracker, type):
        return ClassTracker(tracker, options=options, limits=limits)
    instance(tracker, str, "load_tracker: tracker", "a name or a class")
    found = find_tracker(tracker, limits, options)
    if limits != Limits() and not isinstance(found, OutsideTracker):
        raise MosamError(f"{found.label}: expected no time limit, which is for trackers of your own; leave it out")
    return found


def find_tracker(text: str, limits: Limits, options: Mapping[str, Any] | None = None) -> MemoryPolicy | OutsideTracker:
    """As `load_tracker`, of text; a memory policy has no limits."""
    name, typed = parse_tracker(text)
    values = {**typed, **(options or {})}
    return _outside(name, values, limits) or load_policy(name, **values)


def _outside(name: str, values: dict[str, Any], limits: Limits) -> OutsideTracker | None:
    """A tracker that is no memory policy; None where the name may be one's."""
    if is_form(name):
        _take_none(name, values)
        return ProgramTracker(load_program(name), limits)
    if name in PROTOCOLS:
        return ProgramTracker(_typed_program(name, values), limits)
    registry, listed = registered(name)
    return ClassTracker(TRACKERS[listed], listed, values, limits) if registry is TRACKERS else None  # type: ignore[arg-type]


def registered(name: str) -> tuple[Registry[Any], str]:
    """The registry, of memory policies or of other classes, and the name there that a name, `file.py:Class` or
    `module:Class` means; what it names is imported and filed.

    Raises:
        UnknownNameError: nobody has registered the name.
        MosamError: what is named is no tracker.
    """
    file, _, inner = name.rpartition(":")
    if file.endswith(".py"):
        item, _ = plugins.load_file_attribute(Path(file), inner, f"tracker {name}")
        policy = isinstance(item, type) and issubclass(item, MemoryPolicy)
        if not (policy or is_tracker_class(item)):
            raise _no_tracker(name)
        found = (POLICIES if policy else TRACKERS).file_under(name, item)
        return POLICIES if policy else TRACKERS, found
    for registry in REGISTRIES:
        if name in registry:
            return registry, registry.canonical(name)
    if not file or any(known.startswith(f"{file}:") for known in TRACKERS):
        raise UnknownNameError("tracker", name, [*POLICIES, *TRACKERS])
    for registry in REGISTRIES:
        filed = registry.find_class(name)
        if filed is not None:
            return registry, filed
    raise _no_tracker(name)


def _no_tracker(name: str) -> MosamError:
    return MosamError(f"tracker {name}: expected a memory policy, or a class with the methods init and update")


def _typed_program(protocol: str, values: dict[str, Any]) -> Program:
    """`trax[command=python ncc.py,name=NCC]`; a command with commas or brackets belongs into a file."""
    known = {"command": None, "name": None, "timeout": None}
    for key in values:
        if key not in known:
            raise UnknownNameError("option", key, known, where=protocol)
    if "command" not in values:
        raise MosamError(f"{protocol}: expected {protocol}[command=...], or a file of trackers as trackers.ini:NAME")
    words = [_absolute(word) for word in words_of(values["command"], protocol)]
    name = values.get("name") or Path(next((w for w in words[1:] if not w.startswith("-")), words[0])).stem
    return Program(name, protocol, tuple(words), seconds=seconds_of(values.get("timeout"), protocol))


def _absolute(word: str) -> str:
    path = Path(word)
    return str(path.absolute()) if not word.startswith("-") and is_file(path) else word


def _take_none(name: str, values: dict[str, Any]) -> None:
    if values:
        raise MosamError(f"{name}: takes no options here; its command in {split_form(name)[0]} has them")


def elsewhere(text: str) -> str:
    """A tracker's text with its file as an absolute path, for another process.

    >>> elsewhere("sam2"), elsewhere("lab.trackers:NCC[size=3]")
    ('sam2', 'lab.trackers:NCC[size=3]')
    """
    name, bracket, options = text.partition("[")
    file, sign, inner = name.strip().rpartition(":")
    if not sign:
        file, inner = name.strip(), ""
    if not (file.endswith(".py") or is_form(name.strip())):
        return text
    return f"{Path(file).absolute()}{sign}{inner}{bracket}{options}"
