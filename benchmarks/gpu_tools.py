"""What the sections of gpu.py share: pictures, engines that step, networks with one of their means switched off."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from mosam.commands.bench import MadeClips, square
from mosam.engine.engine import Engine
from mosam.engine.records import Video
from mosam.engine.stages import synchronize
from mosam.model import blocked, norms
from mosam.model.backbone import ImageFeatures, MemoryRead
from mosam.model.graphs import CudaRecorder, Graphed
from mosam.model.threads import suitable_threads
from mosam.policies.base import load_policy
from mosam.types import Prompt, Size

if TYPE_CHECKING:
    from gpu import Plan

    from mosam.datasets.base import Dataset
    from mosam.policies.base import MemoryPolicy
    from mosam.tracking.launch.worker import TrackingSetup, WorkerSlot
    from mosam.tracking.run import Progress

FILL = 28  # frames until 7 slots and 16 pointers are full and each shape's graph is recorded
QUICK_FILL = 9
SHOTS = 4  # pictures that a video repeats


class Repeating:
    """Stands for a recorder of graphs where there is no GPU: replays by calling again."""

    def __init__(self, device: torch.device):
        pass

    def has_room(self) -> bool:
        return True

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        outputs = work()

        def replay() -> None:
            for output, made in zip(outputs, work(), strict=True):
                output.copy_(made)

        return replay, outputs

    def wait(self) -> None:
        pass

    def close(self) -> None:
        pass


def pictures(size: Size, count: int = SHOTS) -> list[np.ndarray]:
    """Noise with ten squares that move, (H, W, 3) uint8."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 120, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    background = coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    shots = []
    for t in range(count):
        image = background.copy()
        for n in range(10):
            image[square(n, t, size)] = 130 + 12 * n
        shots.append(image)
    return shots


def milliseconds(device: torch.device, work: Callable[[], object], seconds: float = 0.4, warm: int = 2) -> float:
    """Median time of a call, until the device is done with it."""
    for _ in range(warm):
        work()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while len(took) < 3 or (time.perf_counter() < until and len(took) < 400):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took)


def error_of(found: Tensor, expected: Tensor) -> float:
    """Length of the difference, relative to what is expected."""
    expected = expected.float().cpu()
    return float((found.float().cpu() - expected).norm() / expected.norm().clamp(min=1e-12))


class Stepper:
    """Videos that are stepped together, their pictures in memory.

    Attributes:
        engine: as for `mosam.Engine`.
        videos: one for each lane.
    """

    def __init__(self, net: Any, lanes: int, objects: int, size: Size, *, tracker: str = "sam2", ahead: bool = True):
        policy = load_policy(tracker)
        self.engine = Engine(net, policy, max_lanes=lanes * objects * policy.hypotheses)
        self.videos: list[Video] = [
            self.engine.open(
                [Prompt(n + 1, mask=square(n, 0, size)) for n in range(objects)], size=size, non_overlap=True
            )
            for _ in range(lanes)
        ]
        self._shots, self._ahead, self._frame = pictures(size), ahead and self.engine.ahead, 0

    def step(self) -> None:
        """The next frame of every video."""
        after = dict.fromkeys(self.videos, self._shots[(self._frame + 1) % SHOTS]) if self._ahead else None
        self.engine.step(dict.fromkeys(self.videos, self._shots[self._frame % SHOTS]), next_images=after)
        for video in self.videos:
            self.engine.drain(video)
        self._frame += 1

    def fill(self, quick: bool) -> Stepper:
        """Plays until nothing changes from step to step."""
        for _ in range(QUICK_FILL if quick else FILL):
            self.step()
        return self


def speed_of(net: Any, lanes: int, objects: int, size: Size, *, quick: bool, **more: Any) -> tuple[float, float]:
    """Frames per second of the engine alone with full memory, and milliseconds until a step returns."""
    with suitable_threads(net):
        stepper = Stepper(net, lanes, objects, size, **more).fill(quick)
        frames = 3 if quick else max(10, min(60, 300 // (lanes * objects)))
        host = []
        synchronize(net.device)
        begun = time.perf_counter()
        for _ in range(frames):
            started = time.perf_counter()
            stepper.step()
            host.append(time.perf_counter() - started)
        synchronize(net.device)
        return lanes * frames / (time.perf_counter() - begun), 1000 * statistics.median(host)


def steady_calls(
    net: Any, rows: int, size: Size, features: ImageFeatures | None = None
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """The four calls of a step with full memory, on inputs that are the same every time.

    Args:
        net: the network.
        rows: frames, and objects, of each call.
        size: of the pictures.
        features: that the other calls than `encode` read; None = its own.
    """
    sizes, device = net.sizes, net.device
    dice = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice).to(device)

    pixels = net.preprocess(pictures(size, 1) * rows)
    own = net.encode(pixels)
    if features is None:
        features = own
    else:
        high = zip(features.high, own.high, strict=True)
        features = ImageFeatures(features.top.to(own.top), tuple(given.to(made) for given, made in high))
    index = torch.arange(rows, device=device)
    read = MemoryRead(
        memory=(0.5 * random(rows, sizes.slots, sizes.tokens, sizes.memory)).bfloat16(),
        temporal=torch.arange(sizes.slots, device=device).expand(rows, -1).contiguous(),
        pointers=random(rows, sizes.pointers, sizes.width),
        positions=torch.linspace(0, 1, sizes.pointers, device=device).expand(rows, -1).contiguous(),
    )
    logits, present = 5 * random(rows, 1, sizes.image, sizes.image), torch.ones(rows, dtype=torch.bool, device=device)

    def encode() -> tuple[Tensor, ...]:
        made = net.encode(pixels)
        return (made.top, *made.high)

    def decode() -> tuple[Tensor, ...]:
        made = net.decode(features.top, features, index, net.no_prompt(rows), outputs="multi")
        return made.masks, made.iou, made.tokens, made.object_score

    return {
        "encode": encode,
        "attend": lambda: (net.attend(features, index, read),),
        "decode": decode,
        "memorize": lambda: (net.memorize(features, index, logits, present),),
    }


@contextlib.contextmanager
def graphs_of(net: Any, used: bool = True) -> Iterator[None]:
    """New graphs inside, or none; those from before afterwards."""
    before = net._calls, net._recorders
    net.use_graphs((CudaRecorder if net.device.type == "cuda" else Repeating) if used else None)
    try:
        yield
    finally:
        net._calls, net._recorders = before


def graphs_made(net: Any) -> int:
    """Graphs in use."""
    return sum(call.made for call in net._calls.values() if isinstance(call, Graphed))


@contextlib.contextmanager
def no_rotary_kernel(net: Any) -> Iterator[None]:
    """The rotary code by torch's operations."""
    with mock.patch.object(net._rotary, "_kernel", None):
        yield


@contextlib.contextmanager
def no_norm_kernel(net: Any) -> Iterator[None]:
    """Sums and layer normalizations by torch's operations."""
    with mock.patch.object(norms, "_kernel", return_value=None):
        yield


@contextlib.contextmanager
def torchs_attention(net: Any) -> Iterator[None]:
    """Whichever attention kernel torch prefers."""
    with mock.patch.object(blocked, "fitting_kernel", return_value=contextlib.nullcontext()):
        yield


@contextlib.contextmanager
def many_threads(net: Any) -> Iterator[None]:
    """As many threads of the host as there are cores."""
    with mock.patch("gpu_tools.suitable_threads", return_value=contextlib.nullcontext()):
        yield


def tracked_masks(data: Dataset, net: Any, tracker: str, lanes: int, frames: int) -> dict[tuple, np.ndarray]:
    """Masks of the first frames, by (sequence, frame, object)."""
    engine = Engine(net, load_policy(tracker), max_lanes=lanes)
    found: dict[tuple, np.ndarray] = {}
    names = list(data)
    for start in range(0, len(names), lanes):
        sequences = [data[name] for name in names[start : start + lanes]]
        videos = [
            engine.open([p for p in s.prompts if p.frame_index < frames], size=s.source.size(), num_frames=frames)
            for s in sequences
        ]
        for t in range(min(frames, *(len(s) for s in sequences), frames)):
            engine.step({video: s.source.read(t) for video, s in zip(videos, sequences, strict=True)})
        for video, s in zip(videos, sequences, strict=True):
            for output in engine.close(video):
                found.update({(s.name, output.frame_index, i): o.mask for i, o in output.objects.items()})
    return found


def differences(found: dict[tuple, np.ndarray], expected: dict[tuple, np.ndarray]) -> tuple[int, float]:
    """The most pixels in which a mask differs, and the least IoU."""
    worst, least = 0, 1.0
    for key, mask in expected.items():
        worst = max(worst, int((mask ^ found[key]).sum()))
        union = int((mask | found[key]).sum())
        least = min(least, int((mask & found[key]).sum()) / union if union else 1.0)
    return worst, least


def uneven_masks(plan: Plan, net: Any, *, ahead: bool = False) -> list[np.ndarray]:
    """Masks of three videos that begin and end at unlike times."""
    engine = Engine(net, load_policy("sam2"), max_lanes=6)
    shots = pictures(plan.size)
    lives = {0: (0, 3), 1: (0, 2), 2: (1, 4)} if plan.quick else {0: (0, 20), 1: (0, 9), 2: (3, 17)}
    videos = {
        n: engine.open([Prompt(k + 1, mask=square(k + n, 0, plan.size)) for k in range(2)], size=plan.size)
        for n in lives
    }
    found: list[np.ndarray] = []
    for t in range(max(end for _, end in lives.values())):
        on = [n for n, (begin, end) in lives.items() if begin <= t < end]
        after = {videos[n]: shots[(t + 1 + n) % 4] for n in on if t + 1 < lives[n][1]} if ahead else None
        engine.step({videos[n]: shots[(t + n) % 4] for n in on}, next_images=after)
        for n in on:
            found += [o.mask for output in engine.drain(videos[n]) for _, o in sorted(output.objects.items())]
    return found


class Throughput:
    """Frames per second from the moment on at which all lanes are warm: workers are not ready at the same time.

    Args:
        lanes: of all workers.
        warm: frames of a sequence after which its lane is.
    """

    def __init__(self, lanes: int, warm: int):
        self._lanes, self._warm, self._since, self._before, self._end = lanes, warm, 0.0, 0, 0.0
        self._frames: dict[str, int] = {}

    def __call__(self, event: Progress) -> None:
        """What a run tells."""
        self._end = time.perf_counter()
        if event.event != "frame":
            return
        self._frames[event.sequence] = event.frames
        if not self._since and sum(frames >= self._warm for frames in self._frames.values()) >= self._lanes:
            self._since, self._before = self._end, sum(self._frames.values())

    def fps(self, frames: int) -> float:
        """Of a run of so many frames; NaN where the lanes were never warm."""
        if not self._since:
            return float("nan")
        return (frames - self._before) / (self._end - self._since)


@dataclass(frozen=True)
class ClipRunSpec:
    """Made clips for worker processes.

    Attributes:
        root: folder of the clips.
        clips, frames, size: of them.
        model: name of the network.
    """

    root: Path
    clips: int
    frames: int
    size: Size
    model: str

    @property
    def dataset(self) -> MadeClips:
        """See `mosam.tracking.launch.worker.RunSpec`; clips that are there are read."""
        return MadeClips(self.root, clips=self.clips, frames=self.frames, objects=1, size=self.size)

    @property
    def policy(self) -> MemoryPolicy:
        """See `mosam.tracking.launch.worker.RunSpec`."""
        return load_policy("sam2")

    def open(self, place: WorkerSlot) -> TrackingSetup:
        """See `mosam.tracking.launch.worker.RunSpec`."""
        import mosam
        from mosam.codecs import CodecOptions
        from mosam.engine.parity import Parity
        from mosam.model.threads import limit_threads
        from mosam.tracking.launch.worker import TrackingSetup

        if place.device == "cpu":
            limit_threads(place.threads)
        net = mosam.load_model(self.model, device=place.device or "cpu", precision="auto")
        return TrackingSetup(self.dataset, net, self.policy, Parity(), CodecOptions())


def unequal(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> tuple[int, int]:
    """How many masks differ, and by how many pixels at most."""
    pixels = [int((a ^ b).sum()) for a, b in zip(found, expected, strict=True)]
    return sum(n > 0 for n in pixels), max(pixels, default=0)
