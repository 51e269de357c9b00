"""Tracks with a tracker of somebody's own: what the tracking loop asks of an engine, one frame and object at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mosam.tracking.outside.answers import Answer, TrackerFailure, apart, given
from mosam.types import FrameOutput, Prompt, Size


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a tracker may take.

    Attributes:
        frame: seconds for one answer; None = any time.
        sequence: seconds for one pass over a sequence; None = any time.
    """

    frame: float | None = None
    sequence: float | None = None


NO_LIMITS = Limits()


@dataclass(slots=True)
class Deadline:
    """When a tracker must have answered.

    Attributes:
        limits: of the run.
        began: the pass, by `time.monotonic`.
    """

    limits: Limits
    began: float = field(default_factory=time.monotonic)

    def left(self, *, answers: int = 1) -> float | None:
        """Seconds for so many answers from now; None = any time."""
        frame = None if self.limits.frame is None else self.limits.frame * answers
        ends = None if self.limits.sequence is None else self.began + self.limits.sequence - time.monotonic()
        known = [seconds for seconds in (frame, ends) if seconds is not None]
        return max(0.0, min(known)) if known else None

    def missed(self, frame: int | None) -> TrackerFailure:
        """The failure to answer in time."""
        limits = self.limits
        if limits.sequence is not None and time.monotonic() - self.began >= limits.sequence:
            return TrackerFailure(f"expected the sequence within {limits.sequence:g} s, got no end", frame)
        return TrackerFailure(f"expected an answer within {limits.frame:g} s, got none", frame)


class Session(Protocol):
    """One pass of a tracker over frames of a video."""

    def frame(self, image: Any) -> list[FrameOutput]:
        """The next frame; returns outputs that are known now, in frame order."""

    def finish(self) -> list[FrameOutput]:
        """After the last frame: the other outputs."""

    def close(self) -> None:
        """Gives back whatever the pass holds; may be called again."""


class Instance(Protocol):
    """A tracker that follows objects which start on the same frame."""

    def start(self, image: Any, prompts: Sequence[Prompt], frame: int) -> None:
        """The frame that the objects start on."""

    def update(self, image: Any, frame: int) -> list[Any]:
        """The next frame; one answer an object, in the order of the prompts, not yet checked."""

    def check(self, answer: Any, frame: int) -> Answer:
        """An answer of `update`; TrackerFailure where it is none."""

    def close(self) -> None:
        """No more frames; may be called again."""


class OnlineSession:
    """A pass of trackers that answer every frame before they see the next.

    Args:
        prompts: where objects start; those of one frame share an instance.
        size: (height, width) of the frames.
        non_overlap: give each pixel to one object.
        new_instance: makes one.
    """

    def __init__(self, prompts: Sequence[Prompt], size: Size, non_overlap: bool, new_instance: Callable[[], Instance]):
        self._size, self._non_overlap, self._new_instance = size, non_overlap, new_instance
        self._starts: dict[int, list[Prompt]] = {}
        for prompt in prompts:
            self._starts.setdefault(prompt.frame_index, []).append(prompt)
        self._instances: list[tuple[Instance, list[Prompt]]] = []
        self._next = 0

    def frame(self, image: Any) -> list[FrameOutput]:
        """See `Session.frame`."""
        number, self._next = self._next, self._next + 1
        answers: dict[int, Answer] = {}
        seconds = 0.0
        for instance, prompts in self._instances:
            began = time.perf_counter()
            found = instance.update(image, number)
            seconds += time.perf_counter() - began
            answers |= {p.object_id: instance.check(one, number) for p, one in zip(prompts, found, strict=True)}
        starting = self._starts.pop(number, [])
        if starting:
            began = time.perf_counter()
            instance = self._new_instance()
            self._instances.append((instance, starting))
            instance.start(image, starting, number)
            seconds += time.perf_counter() - began
            answers |= {prompt.object_id: given(prompt, self._size) for prompt in starting}
        return [compose(number, answers, seconds, non_overlap=self._non_overlap)]

    def finish(self) -> list[FrameOutput]:
        """See `Session.finish`."""
        return []

    def close(self) -> None:
        """See `Session.close`."""
        while self._instances:
            self._instances.pop()[0].close()


def compose(frame: int, answers: dict[int, Answer], seconds: float, *, non_overlap: bool) -> FrameOutput:
    """A frame's output from the answers of its objects, and the tracker's time for it."""
    if non_overlap and len(answers) > 1:
        answers = apart(answers)
    return FrameOutput(frame, {key: answers[key].output() for key in sorted(answers)}, seconds)


@dataclass(slots=True, eq=False)
class _Video:
    session: Session
    finished: list[FrameOutput] = field(default_factory=list)


class OutsideEngine:
    """See `mosam.tracking.tracker.SequenceEngine`.

    Args:
        begin: makes the session of a pass, of its prompts, the size of its frames, and whether objects may not overlap.
    """

    ahead = False

    def __init__(self, begin: Callable[[Sequence[Prompt], Size, bool], Session]):
        self._begin = begin

    def open(
        self, prompts: Iterable[Prompt], *, size: Size, num_frames: int | None = None, non_overlap: bool = False
    ) -> _Video:
        """Begins a video; ValueError for points, which such a tracker cannot start with."""
        first: dict[int, Prompt] = {}
        for prompt in sorted(prompts, key=lambda one: one.frame_index):
            if prompt.kind == "point":
                raise ValueError(f"object {prompt.object_id}: expected a box or a mask to start with, got points")
            first.setdefault(prompt.object_id, prompt)
        return _Video(self._begin(tuple(first.values()), size, non_overlap))

    def motion_stream(self) -> None:
        """None: nobody reads motion."""

    def step(self, images: Mapping[_Video, Any], motion: Any = None, next_images: Any = None) -> None:
        """The next frame of some videos; what one of them raises ends it."""
        for video, image in images.items():
            try:
                video.finished += video.session.frame(image)
            except BaseException:
                self.discard(video)
                raise

    def drain(self, video: _Video) -> list[FrameOutput]:
        """See `SequenceEngine.drain`."""
        done, video.finished = video.finished, []
        return done

    def close(self, video: _Video) -> list[FrameOutput]:
        """See `SequenceEngine.close`."""
        try:
            return [*self.drain(video), *video.session.finish()]
        finally:
            video.session.close()

    def discard(self, video: _Video) -> None:
        """See `SequenceEngine.discard`."""
        video.session.close()
