"""The demo's loop: frames in, trackers side by side, a video and results out; memory does not grow with the video."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import CodecOptions
from mosam.commands.demo import draw
from mosam.commands.demo.source import Picture, Source, read_ahead
from mosam.commands.demo.write import OVERLAY, ResultWriter, VideoWriter, folder_name
from mosam.errors import DataError
from mosam.geometry import mask_to_box
from mosam.system.processes import ENDING
from mosam.types import FrameOutput, Image, ObjectOutput, Prompt, Size

if TYPE_CHECKING:
    from mosam.engine.engine import Engine
    from mosam.engine.parity import Parity
    from mosam.engine.records import Video
    from mosam.model.backbone import Backbone
    from mosam.motion.field import MotionPair
    from mosam.policies.base import MemoryPolicy

REMEMBERED = 200  # frames of which small pictures are kept for the strip of memories
JPEG_QUALITY = 95  # of frames that wait for a tracker that decides later


@dataclass(frozen=True, slots=True)
class TrackerSummary:
    """What became of one tracker.

    Attributes:
        tracker: its label.
        frames: frames tracked.
        seconds: time in the engine.
        absent: number of frames since its start and their ranges as text, by object id.
    """

    tracker: str
    frames: int
    seconds: float
    absent: Mapping[int, tuple[int, str]]

    @property
    def fps(self) -> float:
        """Frames per second of the engine."""
        return self.frames / self.seconds if self.seconds else 0.0

    def lines(self) -> list[str]:
        """For a person to read."""
        pace = f"{self.fps:.1f} fps ({1000 * self.seconds / max(1, self.frames):.1f} ms a frame)"
        lines = [f"{self.tracker}: {self.frames} frames, {pace}"]
        for object_id, (count, ranges) in self.absent.items():
            where = f"absent on {count} of {self.frames} frames: {ranges}" if count else "present on every frame"
            lines.append(f"  object {object_id}: {where}")
        return lines


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demo left.

    Attributes:
        out: its folder.
        frames: frames in the video.
        trackers: one summary each.
        problem: why it ended before the end of the video, or None.
        interrupted: the user stopped it.
        dropped: frames of a camera that came while another one was tracked.
    """

    out: Path
    frames: int
    trackers: tuple[TrackerSummary, ...]
    problem: str | None = None
    interrupted: bool = False
    dropped: int = 0

    def lines(self) -> list[str]:
        """For a person to read."""
        lines = [line for tracker in self.trackers for line in tracker.lines()]
        if self.dropped:
            lines.append(f"{self.dropped} frames came while another one was tracked, and were dropped")
        return lines


class Watcher(Protocol):
    """Who looks on, and may take part."""

    stopped: bool

    def show(self, index: int, image: Image) -> None:
        """A drawn frame; called in order."""

    def added(self, index: int) -> list[Prompt]:
        """Prompts of new objects, which begin on frame `index`, the next one; each is handed out once."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A frame that is not drawn yet. `kept` is the frame, as JPEG where many may wait."""

    index: int
    time: Fraction | None
    kept: Any
    pairs: list[MotionPair | None]


@dataclass(slots=True, eq=False)
class _Lane:
    """One tracker at work."""

    policy: MemoryPolicy
    engine: Engine
    video: Video
    results: ResultWriter
    seconds: float = 0.0
    done: deque[Any] = field(default_factory=deque)


def track_source(
    source: Source,
    prompts: Sequence[Prompt],
    model: Backbone,
    policies: Sequence[MemoryPolicy],
    *,
    out: Path,
    parity: Parity | None = None,
    show_motion: bool = False,
    masks: bool = True,
    frames: int | None = None,
    options: CodecOptions | None = None,
    progress: Callable[[int, int | None, float], None] | None = None,
    watcher: Watcher | None = None,
    added: Callable[[list[Prompt]], object] | None = None,
) -> DemoResult:
    """Tracks objects through a stream with one or several trackers and writes an overlay video, boxes and masks.

    `<out>/overlay.mp4` shows all trackers side by side; boxes and masks are in `<out>`, of several trackers in a folder
    each. A stream that ends early, and a Ctrl-C, leave complete files of the frames so far.

    Args:
        source: the frames.
        prompts: on the first frame of the source.
        model: the network.
        policies: the trackers, with different labels.
        out: an existing folder.
        parity: which program the engine imitates; None = the official one.
        show_motion: draw points, flow, the motion box and the frames that memory read.
        masks: write masks as PNG too.
        frames: stop after the first so many.
        options: how masks become boxes.
        progress: called after each frame with (frames so far, frames there are or None, seconds in the engines).
        watcher: sees each drawn frame, and may stop or add objects.
        added: called with the prompts of objects that a watcher added, before their files are made.
    """
    from mosam.engine.engine import Engine
    from mosam.model.threads import suitable_threads

    limit = source.length if frames is None else min(frames, source.length or frames)
    expected = min((count for count in (limit, source.expected) if count), default=None)
    ids = sorted({prompt.object_id for prompt in prompts})
    lanes = []
    for policy in policies:
        engine = Engine(model, policy, parity=parity, log=show_motion)
        length = source.length  # pointer distances go by the whole clip, however much of it is tracked
        video = engine.open(prompts, size=source.size, num_frames=length, non_overlap=True)
        folder = out if len(policies) == 1 else out / folder_name(policy.label)
        begin = getattr(source, "start", 0)  # of the frames a caller makes up, none are passed over
        results = ResultWriter(folder, ids, source.size, masks=masks, options=options or CodecOptions(), first=begin)
        lanes.append(_Lane(policy, engine, video, results))
    loop = _DemoLoop(source, lanes, out, show_motion, limit, expected, progress, watcher, added)
    with suitable_threads(model):
        return loop.run()


class _DemoLoop:
    """Frames to every tracker, and drawn as soon as all of them are done with one; arguments as `track_source`'s."""

    def __init__(
        self,
        source: Source,
        lanes: list[_Lane],
        out: Path,
        show_motion: bool,
        limit: int | None,
        expected: int | None,
        progress: Callable[[int, int | None, float], None] | None,
        watcher: Watcher | None,
        added: Callable[[list[Prompt]], object] | None,
    ):
        self._source, self._lanes, self._out = source, lanes, out
        self._show_motion, self._limit, self._expected = show_motion, limit, expected
        self._progress, self._watcher, self._added = progress, watcher, added
        self._waiting: deque[_Waiting] = deque()
        self._late = any(lane.policy.emit == "final" for lane in lanes)
        self._thumbnails: OrderedDict[int, Image] = OrderedDict()
        self._used: dict[int, int] = {}
        self._writer: VideoWriter | None = None
        self._read = 0
        self._drawn = 0

    def run(self) -> DemoResult:
        """Tracks until the stream ends."""
        problem = None
        # a camera's frames are kept by a thread of its own, which gives the newest
        stream = self._prepared() if self._source.live else read_ahead(self._prepared())
        with _interrupts() as interrupted:
            try:
                for picture, pairs in stream:
                    self._step(picture, pairs)
                    if self._watcher is not None and self._watcher.stopped:
                        interrupted.set()
                    if self._read == self._limit or interrupted.is_set():
                        break
            except DataError as error:
                problem = str(error)
            finally:
                stream.close()  # type: ignore[attr-defined]  # both are generators
                self._finish()
        summaries = tuple(
            TrackerSummary(
                lane.policy.label,
                self._read,
                lane.seconds,
                {key: (gone.count, str(gone)) for key, gone in lane.results.absent.items()},
            )
            for lane in self._lanes
        )
        dropped = getattr(self._source, "dropped", 0)
        return DemoResult(self._out, self._drawn, summaries, problem, interrupted.is_set(), dropped)

    def _prepared(self) -> Iterator[tuple[Picture, list[MotionPair | None]]]:
        """Frames with their motion, made in the reader's thread; a camera has none, so its motion has to wait."""
        streams = [None if self._source.live else lane.engine.motion_stream() for lane in self._lanes]
        for picture in islice(self._source, self._limit):
            known: dict[Any, MotionPair] = {}  # trackers that read the same motion share it
            pairs: list[MotionPair | None] = []
            for stream in streams:
                if stream is None:
                    pairs.append(None)
                    continue
                if stream.settings not in known:
                    known[stream.settings] = next(s for s in streams if s and s.settings == stream.settings).push(
                        picture.image
                    )
                pairs.append(known[stream.settings])
            yield picture, pairs

    def _add_objects(self) -> None:
        """New objects of whoever looks on, from the next frame on."""
        new = [] if self._watcher is None else self._watcher.added(self._read)
        if new and self._added is not None:
            self._added(new)
        for prompt in new:
            for lane in self._lanes:
                lane.engine.prompt(lane.video, [prompt])
                lane.results.add_object(prompt.object_id, self._read)

    def _step(self, picture: Picture, pairs: list[MotionPair | None]) -> None:
        self._add_objects()
        image = picture.image
        for number, lane in enumerate(self._lanes):
            if pairs[number] is None and lane.video.motion is not None:
                pairs[number] = lane.video.motion.push(image)
            pair = pairs[number]
            started = time.perf_counter()
            lane.engine.step({lane.video: image}, None if pair is None else {lane.video: pair})
            lane.seconds += time.perf_counter() - started
            self._take(lane, lane.engine.drain(lane.video))
        if self._show_motion:
            self._thumbnails[self._read] = draw.thumbnail(image)
        kept: Any = _compress(image) if self._late else image
        self._waiting.append(_Waiting(self._read, picture.time, kept, pairs if self._show_motion else []))
        self._read += 1
        self._draw_ready()
        if self._progress is not None:
            self._progress(self._read, self._expected, sum(lane.seconds for lane in self._lanes))

    def _take(self, lane: _Lane, outputs: list[FrameOutput]) -> None:
        for output in outputs:
            lane.results.add(output)
            lane.done.append(_pack(output) if self._late else output)

    def _draw_ready(self) -> None:
        while self._waiting and all(lane.done for lane in self._lanes):
            self._draw(self._waiting.popleft())

    def _draw(self, waiting: _Waiting) -> None:
        image = _decompress(waiting.kept) if isinstance(waiting.kept, bytes) else waiting.kept
        tiles = []
        for number, lane in enumerate(self._lanes):
            output = lane.done.popleft()
            output = _unpack(output, self._source.size) if isinstance(output, _Packed) else output
            if self._show_motion:
                tile = self._with_motion(image, output, waiting.pairs[number])
            else:
                tile = draw.draw_objects(image, output)
            tiles.append(tile)
        titles = [lane.policy.label for lane in self._lanes]
        drawn = tiles[0] if len(tiles) == 1 else draw.side_by_side(tiles, titles)
        if self._writer is None:
            timed = waiting.time is not None
            size = (drawn.shape[0], drawn.shape[1])
            self._writer = VideoWriter(self._out / OVERLAY, size, self._source.rate, timed=timed)
        self._writer.add(drawn, waiting.time)
        self._drawn += 1
        if self._watcher is not None:
            self._watcher.show(waiting.index, drawn)

    def _with_motion(self, image: Image, output: FrameOutput, pair: MotionPair | None) -> Image:
        logs = {key: item.log or {} for key, item in output.objects.items()}
        boxes = [mask_to_box(item.mask, convention="inclusive") for item in output.objects.values()]
        tile = draw.draw_field(image, None if pair is None else pair.current, boxes)
        tile = draw.draw_prompts(draw.draw_objects(tile, output), logs)
        slots: dict[int, Any] = {key: log.get("slots", ()) for key, log in logs.items()}
        reads = {key: [int(frame) for frame, _ in read] for key, read in slots.items()}
        for numbers in reads.values():
            for number in numbers:
                self._used[number] = output.frame_index
        self._forget(output.frame_index)
        small = next(iter(self._thumbnails.values()))
        strip = draw.memory_strip(tile.shape[1], reads, self._thumbnails, small.shape[:2], output.frame_index)
        return np.concatenate([tile, strip])

    def _forget(self, now: int) -> None:
        """Drops small pictures of frames that were neither shown nor read for long."""
        for number in list(self._thumbnails):
            if max(number, self._used.get(number, 0)) >= now - REMEMBERED:
                continue
            del self._thumbnails[number]
            self._used.pop(number, None)

    def _finish(self) -> None:
        """Draws what is left and completes the files."""
        try:
            for lane in self._lanes:
                self._take(lane, lane.engine.close(lane.video))
            self._draw_ready()
        finally:
            for lane in self._lanes:
                lane.results.close()
            if self._writer is not None:
                self._writer.close()


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C asks to stop after the frame in work, so that all files are of one length; a second one stops at once.

    So do SIGTERM and SIGHUP, unless they are ignored.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    asking = [number for number in (signal.SIGINT, *ENDING) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in asking}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """An output that takes an eighth of the memory."""

    frame_index: int
    objects: Mapping[int, tuple[NDArray[np.uint8], ObjectOutput]]


def _pack(output: FrameOutput) -> _Packed:
    nothing = np.zeros((0, 0), dtype=bool)
    return _Packed(
        output.frame_index,
        {
            key: (np.packbits(item.mask), ObjectOutput(nothing, item.object_score, item.iou, item.log))
            for key, item in output.objects.items()
        },
    )


def _unpack(packed: _Packed, size: Size) -> FrameOutput:
    count = size[0] * size[1]
    return FrameOutput(
        packed.frame_index,
        {
            key: ObjectOutput(
                np.unpackbits(bits, count=count).astype(bool).reshape(size), item.object_score, item.iou, item.log
            )
            for key, (bits, item) in packed.objects.items()
        },
    )


def _compress(image: Image) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _decompress(data: bytes) -> Image:
    import cv2

    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
