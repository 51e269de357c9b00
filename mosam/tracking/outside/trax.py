"""The client's side of TraX, the protocol in which the VOT toolkit talks to a tracker's program.

Messages are lines that begin with `@@TRAX:`, everything else is the program's own output; see "TraX protocol
specification" (Cehovin Zajc et al., trax.readthedocs.io). Versions up to 4 are spoken: until 3 one `initialize` has the
picture and the region, from 4 on each object has an `initialize` of its own before the `frame`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosam.errors import DataError
from mosam.regions.files import format_text, parse_text
from mosam.regions.trajectory import UNKNOWN, Region, Special, Trajectory, mask_region
from mosam.tracking.outside.answers import FARTHEST, Answer, TrackerFailure, as_box, as_mask, region_answer
from mosam.tracking.outside.engine import Deadline
from mosam.tracking.outside.process import Ended, TooLate, TrackerProcess
from mosam.types import Prompt, Size

PREFIX = b"@@TRAX:"
SEVERAL = 4  # version that has objects of their own
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9._]{1,64}")
_EMPTY_MASK = re.compile(r"m-?\d+,-?\d+,(0,\d+|\d+,0)(,|$)")
_SHOWN = 60  # characters of an answer that an error shows


@dataclass(frozen=True, slots=True)
class Message:
    """A line of TraX."""

    kind: str
    arguments: tuple[str, ...] = ()
    properties: Mapping[str, str] | None = None

    def line(self) -> str:
        r"""As it is sent.

        >>> Message("frame", ("file:///a b.png",)).line()
        '@@TRAX:frame "file:///a b.png"\n'
        """
        named = [f"{key}={value}" for key, value in (self.properties or {}).items()]
        words = "".join(f" {_quoted(word)}" for word in (*self.arguments, *named))
        return f"{PREFIX.decode()}{self.kind}{words}\n"

    @classmethod
    def parse(cls, line: bytes) -> Message:
        r"""A line that begins with the prefix.

        >>> Message.parse(b'@@TRAX:state "1,2,3,4" "confidence=0.5"')
        Message(kind='state', arguments=('1,2,3,4',), properties={'confidence': '0.5'})
        """
        kind, _, rest = line.removeprefix(PREFIX).decode("utf-8", "replace").partition(" ")
        arguments, properties = [], {}
        for quoted, plain in _WORD.findall(rest):
            word = re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), quoted) if quoted else plain
            key, sign, value = word.partition("=")
            if sign and _KEY.fullmatch(key):
                properties[key] = value
            else:
                arguments.append(word)
        return cls(kind.strip(), tuple(arguments), properties)


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class TraxTracker:
    """One process that follows one or several objects; see `mosam.tracking.outside.engine.Instance`.

    Args:
        process: not yet started.
        size: (height, width) of the frames.
        deadline: for each answer.
    """

    def __init__(self, process: TrackerProcess, size: Size, deadline: Deadline):
        self._process, self._size, self._deadline = process, size, deadline
        self._objects = 0
        self._version, self._regions, self._several = 1, frozenset[str](), False

    @property
    def several(self) -> bool:
        """Whether it follows more than one object, as it said when it was started."""
        return self._several

    def introduce(self, frame: int) -> None:
        """Starts the program and hears what it can do."""
        self._process.start()
        hello = self._hear(frame, "hello", "hello of a TraX tracker")
        told = hello.properties or {}
        self._version = _whole(told.get("trax.version", "1"), frame)
        self._several = self._version >= SEVERAL and told.get("trax.multiobject", "0") not in ("", "0")
        self._regions = _listed(told.get("trax.region"), "rectangle")
        pictures, channels = _listed(told.get("trax.image"), "path"), _listed(told.get("trax.channels"), "color")
        if "path" not in pictures:
            raise TrackerFailure(f"expected a tracker that takes pictures as path, got {', '.join(pictures)}", frame)
        if channels != {"color"}:
            raise TrackerFailure(f"expected a tracker of color, got one of {', '.join(sorted(channels))}", frame)

    def start(self, image: Any, prompts: Sequence[Prompt], frame: int) -> None:
        """See `Instance.start`; the answer to the first frame is only waited for, its result is the given region."""
        self._objects = len(prompts)
        regions = [self._region(prompt) for prompt in prompts]
        if self._version >= SEVERAL:
            for region in regions:
                self._say(Message("initialize", (region,)), frame)
            self._say(Message("frame", (_address(image),)), frame)
        else:
            self._say(Message("initialize", (_address(image), regions[0])), frame)
        self._states(frame)

    def update(self, image: Any, frame: int) -> list[Any]:
        """See `Instance.update`."""
        self._say(Message("frame", (_address(image),)), frame)
        return self._states(frame)

    def check(self, answer: Any, frame: int) -> Answer:
        """See `Instance.check`: the region, and `confidence` as its score."""
        (text,), properties = answer.arguments or ("",), answer.properties or {}
        return region_answer(parse_region(text, frame), self._size, score=_score(properties.get("confidence"), frame))

    def close(self) -> None:
        """See `Instance.close`."""
        self._process.close(ask=Message("quit").line())

    def _states(self, frame: int) -> list[Message]:
        found = []
        for _ in range(self._objects):
            message = self._hear(frame, "state", "state with one region")
            if len(message.arguments) != 1:
                words = self._process.last_words()
                raise TrackerFailure(f"expected one region, got {len(message.arguments)}{words}", frame)
            found.append(message)
        return found

    def _say(self, message: Message, frame: int) -> None:
        try:
            self._process.write(message.line(), self._deadline.left())
        except TooLate:
            raise self._late(frame) from None
        except Ended:
            raise self._gone(frame) from None

    def _hear(self, frame: int, kind: str, expected: str) -> Message:
        """The next message; lines that are none are the program's own output, and win it no time."""
        seconds = self._deadline.left()
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise self._late(frame)
            try:
                line = self._process.line(left)
            except TooLate:
                raise self._late(frame) from None
            except Ended:
                raise self._gone(frame) from None
            except TrackerFailure as error:
                raise TrackerFailure(error.what, frame) from None
            if not line.startswith(PREFIX):
                self._process.note(line + b"\n")
                continue
            message = Message.parse(line)
            if message.kind in (kind, {"state": "status"}.get(kind)):
                return message
            reason = (message.properties or {}).get("trax.reason", "")
            got = f"quit{f' ({reason})' if reason else ''}" if message.kind == "quit" else _short(message.kind)
            raise TrackerFailure(f"expected the message {expected}, got {got}{self._process.last_words()}", frame)

    def _late(self, frame: int) -> TrackerFailure:
        failure = self._deadline.missed(frame)
        return TrackerFailure(f"{failure.what}{self._process.last_words()}", frame)

    def _gone(self, frame: int) -> TrackerFailure:
        return TrackerFailure(f"its program ended ({self._process.how_it_ended()})", frame)

    def _region(self, prompt: Prompt) -> str:
        """A prompt in a form that the tracker takes: as it is where it can be."""
        if prompt.kind == "mask" and "mask" in self._regions:
            return "mask:" + text_of(mask_region(as_mask(prompt, self._size)))[1:]
        box = as_box(prompt)
        if "rectangle" in self._regions:
            return ",".join(f"{value:.4f}" for value in box)
        if "polygon" in self._regions:
            x, y, w, h = box
            corners = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
            return ",".join(f"{value:.4f}" for corner in corners for value in corner)
        return "mask:" + text_of(mask_region(as_mask(prompt, self._size)))[1:]


def _listed(text: str | None, usual: str) -> frozenset[str]:
    """The words of a list; the usual one where there are none."""
    return frozenset(filter(None, re.split(r"[;,\s]+", text or ""))) or frozenset({usual})


def text_of(region: Region) -> str:
    """A region as VOT writes it."""
    return format_text(Trajectory.of([region])).strip()


def parse_region(text: str, frame: int) -> Region:
    """A region in TraX's or VOT's text, NaN and single numbers being no region; TrackerFailure where it is none.

    >>> parse_region("mask:4,5,2,2,1,3", 0), parse_region("1", 0)
    (RunMask(x=4, y=5, w=2, h=2, runs=(1, 3)), Special(code=0))
    """
    kind, sign, rest = text.strip().rpartition(":")
    plain = f"m{rest}" if sign and "mask".startswith(kind) else rest
    if _is_code(plain) or _EMPTY_MASK.match(plain):
        return Special(UNKNOWN)
    try:
        trajectory = parse_text(plain.encode("ascii", "replace"), "answer")
        if len(trajectory) != 1:
            raise DataError("answer", "no region")
        with np.errstate(over="ignore"):
            farthest = np.abs(trajectory.boxes()).max()
        if farthest > FARTHEST:
            raise DataError("answer", "out of all pictures")
    except DataError:
        raise TrackerFailure(f"expected a region (x,y,w,h, a polygon or a mask), got {_short(text)}", frame) from None
    return trajectory[0]


def _is_code(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _score(text: str | None, frame: int) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise TrackerFailure(f"expected a finite confidence, got {_short(text)}", frame)
    return value


def _whole(text: str, frame: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise TrackerFailure(f"expected a version of TraX, got {_short(text)}", frame)
    return int(text)


def _address(image: Any) -> str:
    return f"file://{image}"
