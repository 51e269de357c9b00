"""Trackers that are Python classes: `init(image, region)`, then `update(image)` for every frame after it.

One object of the class follows one object of the video. The arguments of its constructor are its options.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import inspect
import os
import signal
import sys
import threading
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mosam.errors import MosamError, UnknownNameError, one_line
from mosam.registry import Registry
from mosam.system.option_values import convert
from mosam.system.plugins import origins
from mosam.tracking.outside.answers import Answer, TrackerFailure, as_answer, as_box, as_mask
from mosam.tracking.outside.engine import NO_LIMITS, Deadline, Limits, OnlineSession, Session
from mosam.tracking.outside.tracker import OutsideTracker

if TYPE_CHECKING:
    from mosam.types import Box, Image, Mask, Prompt, Size

REGIONS = ("box", "mask", "any")
_LONGEST_ALARM = 1e8  # seconds
_NEXT_ALARM = 1.0  # seconds after an alarm that the tracker swallowed


class TrackerClass(Protocol):
    """What is registered: a class of which every object tracks one object of a video.

    Attributes:
        name: in `--tracker` and in tables; the class's own where it has none.
        version: text, or a function without arguments that gives it; recorded with results.
        region: what `init` is given: `box` (the usual), `mask`, or `any` = whichever the benchmark has.
    """

    def init(self, image: Image, region: Box | Mask) -> object:
        """The first frame: uint8 RGB (H, W, 3), and a box (4,) x, y, w, h in pixels or a mask (H, W) of bool."""

    def update(self, image: Image) -> Any:
        """The next frame; returns a box or a mask, alone or as (region, score); see `as_answer`."""


TRACKERS: Registry[Callable[..., Any]] = Registry(
    "tracker", "mosam.tracking.outside.trackers", accepts=lambda item: is_tracker_class(item)
)


def is_tracker_class(item: Any) -> bool:
    """Whether something has the methods of a tracker's class."""
    return isinstance(item, type) and all(callable(getattr(item, method, None)) for method in ("init", "update"))


def options_of(cls: type) -> type:
    """The arguments of a class's constructor as a dataclass, to be shown, checked and converted.

    Raises:
        MosamError: an argument without a default, or one that is given by place only.
    """
    hints = _hints(cls)
    fields = []
    for parameter in list(inspect.signature(cls).parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
            expected = "expected a default for every argument of __init__"
            raise MosamError(f"{cls.__name__}: {expected}, {parameter.name} has none")
        hint = hints.get(parameter.name)
        if hint is None:
            hint = str | None if parameter.default is None else type(parameter.default)
        default: Any = dataclasses.field(default_factory=partial(copy.copy, parameter.default))
        fields.append((parameter.name, hint, parameter.default if _is_plain(parameter.default) else default))
    made = dataclasses.make_dataclass(f"{cls.__name__}Options", fields)
    made.__doc__ = (inspect.getdoc(cls) or "").replace("Args:\n", "Attributes:\n")
    return made


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):  # names that exist for type checkers only
        return {}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


class ClassTracker(OutsideTracker):
    """A tracker of somebody's own class.

    Args:
        cls: see `TrackerClass`.
        name: that it was registered by.
        options: of its constructor; text is converted as on the command line.
        limits: how long it may take; a call that stays inside a library cannot be interrupted.
    Raises:
        UnknownNameError: an option that it does not have.
        MosamError: a value that it cannot have, or a class that is none.
    """

    def __init__(
        self,
        cls: type,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
        limits: Limits = NO_LIMITS,
    ):
        if not is_tracker_class(cls):
            raise MosamError(f"{getattr(cls, '__name__', cls)}: expected a class with the methods init and update")
        self.cls = cls
        self.region: Literal["box", "mask", "any"] = getattr(cls, "region", "box")
        if self.region not in REGIONS:
            raise MosamError(f"{cls.__name__}: region: expected {', '.join(REGIONS)}, got {self.region!r}")
        name = name or getattr(cls, "name", None) or cls.__name__
        known = options_of(cls)
        self._values = _converted(known, name, options or {})
        defaults = known()
        changed = {key: value for key, value in self._values.items() if getattr(defaults, key) != value}
        super().__init__(name, changed, limits)

    def check(self) -> None:
        """One object is made, so that what its constructor refuses is told before anything is written."""
        self.make()

    def make(self) -> Any:
        """An object of the class; MosamError where its constructor raises."""
        try:
            return self.cls(**self._values)
        except MosamError:
            raise
        except (Exception, SystemExit) as error:
            raise MosamError(f"{self.label}: {place_of(error, self.cls)}{one_line(error)}") from error

    def configuration(self) -> dict[str, Any]:
        """See `OutsideTracker.configuration`."""
        return {key: value if _is_plain(value) else repr(value) for key, value in self._values.items()}

    def plugins(self) -> dict[str, Any]:
        """See `OutsideTracker.plugins`."""
        return origins(self.cls)

    def describe(self) -> dict[str, Any]:
        """The class, what it starts with, its version, and the hash of its file where that is no plugin's."""
        found: dict[str, Any] = {"class": self.cls.__qualname__, "region": self.region}
        version = getattr(self.cls, "version", None)
        if version is not None:
            found["version"] = str(version() if callable(version) else version)
        file = _file_of(self.cls)
        if file is not None and not self.plugins() and not self.cls.__module__.startswith("mosam."):
            found |= {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        return found

    def begin(self, prompts: Sequence[Prompt], size: Size, non_overlap: bool) -> Session:
        """See `OutsideTracker.begin`."""
        deadline = Deadline(self.limits)
        return OnlineSession(prompts, size, non_overlap, lambda: _Objects(self, size, deadline))


def _converted(known: type, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(known)
    values = dataclasses.asdict(known())
    for key, value in options.items():
        if key not in values:
            raise UnknownNameError("option", key, values, where=name)
        values[key] = convert(value, hints[key], f"{name}[{key}]") if isinstance(value, str) else value
    return values


class _Objects:
    """Objects that start on the same frame, each with a tracker of its own; see `Instance`."""

    def __init__(self, tracker: ClassTracker, size: Size, deadline: Deadline):
        self._tracker, self._size, self._deadline = tracker, size, deadline
        self._trackers: list[Any] = []

    def start(self, image: Any, prompts: Sequence[Prompt], frame: int) -> None:
        """See `Instance.start`."""
        for prompt in prompts:
            one = self._tracker.make()
            self._trackers.append(one)
            region = self._region(prompt)
            self._call(partial(one.init, image, region), frame)

    def update(self, image: Any, frame: int) -> list[Any]:
        """See `Instance.update`."""
        return [self._call(partial(one.update, image), frame) for one in self._trackers]

    def check(self, answer: Any, frame: int) -> Answer:
        """See `Instance.check`."""
        return as_answer(answer, self._size, frame)

    def close(self) -> None:
        """See `Instance.close`."""
        self._trackers.clear()

    def _region(self, prompt: Prompt) -> Any:
        kind = prompt.kind if self._tracker.region == "any" else self._tracker.region
        region = as_box(prompt) if kind == "box" else as_mask(prompt, self._size)
        return region.copy()  # it is the tracker's own now

    def _call(self, work: Callable[[], Any], frame: int) -> Any:
        try:
            with _same_folder(), _alarm(self._deadline, frame):
                return work()
        except (TrackerFailure, KeyboardInterrupt):
            raise
        except BaseException as error:  # `sys.exit` in a tracker must not end the run as if all were well
            raise TrackerFailure(f"{place_of(error, self._tracker.cls)}{one_line(error)}", frame) from error


class _LateError(BaseException):
    """The time is over; no Exception, which many a tracker catches."""


@contextlib.contextmanager
def _same_folder() -> Iterator[None]:
    """Paths of results may be relative: a tracker that changes the current folder changes only its own."""
    here = os.getcwd()  # noqa: PTH109  # a frame may take microseconds
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _alarm(deadline: Deadline, frame: int) -> Iterator[None]:
    """TrackerFailure inside where the time is over; nothing outside the main thread, which alone gets signals."""
    seconds = deadline.left()
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, where: object) -> None:
        raise _LateError

    handler = signal.signal(signal.SIGALRM, ring)
    before = signal.setitimer(signal.ITIMER_REAL, max(min(seconds, _LONGEST_ALARM), 1e-3), _NEXT_ALARM)
    try:
        yield
    except _LateError:
        raise deadline.missed(frame) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)


def place_of(error: BaseException, cls: type) -> str:
    """`file:line: ` of the last line of the class's own file that an error passed through."""
    file = _file_of(cls)
    own = [one for one in traceback.extract_tb(error.__traceback__) if file is not None and Path(one.filename) == file]
    return f"{file.name}:{own[-1].lineno}: " if own and file is not None else ""


def _file_of(cls: type) -> Path | None:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file) if file and Path(file).is_file() else None
