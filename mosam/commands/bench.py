"""`mosam bench`: frames per second of a tracker from pictures on disk to result files, and where the time goes.

Two passes over the same made clips. The first is a run as anybody has it: frames per second end to end. The second
waits for the device after every call and says how long each stage takes by itself; where stages overlap in the first
pass, their sum is more than the time of a frame.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosam.datasets.base import Dataset, DatasetInfo
from mosam.datasets.base import Sequence as VideoSequence
from mosam.datasets.frames import FrameFolder
from mosam.errors import MosamError
from mosam.evaluation.layouts import MISSING, Cell, Line, Table, assemble, render
from mosam.system.files import write_text
from mosam.types import Mask, Prompt, Size

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy

STAGES = ("read", "decode", "resize", "encode", "attend", "decode masks", "memorize", "other", "write")
CPU_FRAMES, GPU_FRAMES = 20, 100  # of a clip that are timed where nobody says how many
FILL = 8  # frames until the memory slots are full: the prompted one and seven tracked
QUALITY = 90


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What was measured.

    Attributes:
        tracker, model, device, precision: what ran.
        objects, lanes, frames: objects of a clip, clips at a time, frames of a clip that count.
        fps: frames per second end to end, all clips together.
        stages: milliseconds of a frame by stage, each by itself.
        flops: operations of one frame, in matrix products, convolutions and attention.
        attainable: operations per second of a large matrix product in that precision.
        busy: share of the time in which the GPU did something; None without one.
        peak: bytes of the device (without one, of this process) at most.
    """

    tracker: str
    model: str
    device: str
    precision: str
    objects: int
    lanes: int
    frames: int
    fps: float
    stages: dict[str, float] = field(default_factory=dict)
    flops: float = 0.0
    attainable: float = 0.0
    busy: float | None = None
    peak: int = 0

    @property
    def network_ms(self) -> float:
        """Milliseconds of a frame in the network."""
        return sum(self.stages.get(name, 0.0) for name in ("encode", "attend", "decode masks", "memorize"))

    @property
    def achieved(self) -> float:
        """Operations per second while the network computes."""
        return self.flops / (self.network_ms / 1000) if self.network_ms else 0.0

    @property
    def floor_ms(self) -> float:
        """Milliseconds of a frame if everything ran at the attainable rate."""
        return 1000 * self.flops / self.attainable if self.attainable else 0.0

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return {
            **dataclasses.asdict(self),
            "achieved": self.achieved,
            "floor_ms": self.floor_ms,
        }


class MadeClips(Dataset):
    """Clips of noise with squares that move, as JPEG files; more objects are more squares. What is there is kept."""

    info = DatasetInfo(
        title="clips made for timing",
        task="mask",
        splits=("val",),
        default_split="val",
        prompts=("mask",),
        protocol="davis",
        result_format="davis",
    )
    name = "bench"

    def __init__(self, root: Path, *, clips: int, frames: int, objects: int, size: Size):
        self._clips, self._objects, self._size = clips, objects, size
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = [
                pool.submit(_write_clip, root / f"clip{clip:03d}", frames, objects, size, seed=clip)
                for clip in range(clips)
            ]
        for one in made:
            one.result()
        super().__init__(root)

    def list_names(self) -> list[str]:
        """See `Dataset.list_names`."""
        return [f"clip{clip:03d}" for clip in range(self._clips)]

    def load(self, name: str) -> VideoSequence:
        """See `Dataset.load`."""
        assert isinstance(self.root, Path)
        source = FrameFolder(self.root / name)
        masks = [square(n, 0, self._size) for n in range(self._objects)]
        return VideoSequence(
            name=name,
            source=source,
            frame_names=source.stems,
            object_ids=tuple(range(1, self._objects + 1)),
            load_prompts=lambda: tuple(Prompt(n + 1, mask=mask) for n, mask in enumerate(masks)),
        )


def square(number: int, frame: int, size: Size) -> Mask:
    """Where object `number` is on a frame, (H, W) bool."""
    height, width = size
    side = max(8, min(height, width) // 8)
    x = (number * width // 10 + 3 * frame) % (width - side)
    y = (number * 37 + 2 * frame) % (height - side)
    mask = np.zeros(size, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def _write_clip(folder: Path, frames: int, objects: int, size: Size, seed: int) -> None:
    from PIL import Image

    if len(list(folder.glob("*.jpg"))) == frames:
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 120, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    background = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
    for t in range(frames):
        picture = background.copy()
        for n in range(objects):
            picture[square(n, t, size)] = 130 + 12 * n
        Image.fromarray(picture).save(folder / f"{t:05d}.jpg", quality=QUALITY)


def bench(
    model: Backbone,
    policy: MemoryPolicy,
    *,
    objects: int = 1,
    lanes: int = 1,
    frames: int | None = None,
    clips: int | None = None,
    size: Size = (720, 1280),
) -> BenchResult:
    """Measures one tracker.

    Args:
        model: the network, on its device.
        policy: the tracker.
        objects: of each clip.
        lanes: clips tracked together.
        frames: of each clip that are timed by stage, after eight that fill the memory; None = 20, on a GPU 100.
        clips: None = as many as lanes.
        size: (height, width) of the pictures.
    Raises:
        MosamError: numbers below 1.
    """
    for name, value in (("objects", objects), ("lanes", lanes), ("frames", frames)):
        if value is not None and value < 1:
            raise MosamError(f"--{name}: expected at least 1, got {value}")
    from mosam.engine.stages import count_flops, gpu_busy_share, matmul_rate, peak_memory, reset_peak
    from mosam.tracking.run import run

    if frames is None:
        frames = CPU_FRAMES if model.device.type == "cpu" else GPU_FRAMES
    rows = lanes * objects * policy.hypotheses
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = MadeClips(folder / "clips", clips=clips or lanes, frames=FILL + frames, objects=objects, size=size)
        # every shape of batch is met once before it is timed: kernels are chosen, compiled and recorded then
        run(data.select(limit=lanes), model, policy, out=folder / "warm", max_lanes=rows)
        reset_peak(model.device)
        started = time.perf_counter()
        done = run(data, model, policy, out=folder / "timed", max_lanes=rows)
        elapsed = time.perf_counter() - started
        if done.failed:
            raise MosamError(f"bench: {next(iter(done.failed.values()))}")
        busy = gpu_busy_share(model.device, lambda: run(data, model, policy, out=folder / "profiled", max_lanes=rows))
        peak = peak_memory(model.device)
        stages = _time_stages(data, model, policy, lanes, folder / "stages")
        flops = count_flops(_one_step(data, model, policy, lanes)) / lanes
    return BenchResult(
        tracker=policy.label,
        model=model.name,
        device=str(model.device),
        precision=str(model.dtype).removeprefix("torch."),
        objects=objects,
        lanes=lanes,
        frames=frames,
        fps=len(data) * (FILL + frames) / elapsed,
        stages=stages,
        flops=flops,
        attainable=matmul_rate(model.device, model.dtype),
        busy=busy,
        peak=peak,
    )


def _open_all(data: MadeClips, model: Any, policy: MemoryPolicy, lanes: int) -> tuple[Any, list[Any], list[Any]]:
    from mosam.engine.engine import Engine

    engine = Engine(model, policy, max_lanes=lanes)
    sequences = [data[name] for name in itertools.islice(itertools.cycle(data), lanes)]
    videos = [
        engine.open(sequence.prompts, size=sequence.source.size(), num_frames=len(sequence), non_overlap=True)
        for sequence in sequences
    ]
    return engine, videos, sequences


def _time_stages(data: MadeClips, model: Backbone, policy: MemoryPolicy, lanes: int, out: Path) -> dict[str, float]:
    """Milliseconds of a frame by stage, after the memory is full."""
    from mosam.codecs import CODECS, CodecOptions
    from mosam.datasets.decoders import decode_image
    from mosam.engine.stages import StageClock, TimedBackbone

    clock = StageClock(model.device)
    engine, videos, sequences = _open_all(data, TimedBackbone(model, clock), policy, lanes)
    writers = []
    for number, sequence in enumerate(sequences):
        (out / str(number)).mkdir(parents=True)
        writers.append(CODECS[data.info.result_format].writer(out / str(number), sequence, CodecOptions()))
    counted = 0
    for t in range(len(sequences[0])):
        if t == FILL:
            clock.seconds.clear()
        images = {}
        for video, sequence in zip(videos, sequences, strict=True):
            path = sequence.source.path(t)
            with clock.stage("read"):
                content = path.read_bytes()
            with clock.stage("decode"):
                images[video] = decode_image(content, path)
        inside = sum(clock.seconds.values())
        started = time.perf_counter()
        engine.step(images)
        outputs = [
            (writer, output) for writer, video in zip(writers, videos, strict=True) for output in engine.drain(video)
        ]
        elapsed = time.perf_counter() - started
        clock.seconds["other"] += elapsed - (sum(clock.seconds.values()) - inside)
        with clock.stage("write"):
            for writer, output in outputs:
                writer.add(output, 0.0)
        counted += lanes * (t >= FILL)
    return {stage: 1000 * clock.seconds.get(stage, 0.0) / counted for stage in STAGES}


def _one_step(data: MadeClips, model: Backbone, policy: MemoryPolicy, lanes: int) -> Any:
    """A step with full memory, to be called once."""
    engine, videos, sequences = _open_all(data, model, policy, lanes)
    for t in range(FILL):
        engine.step({video: sequence.source.read(t) for video, sequence in zip(videos, sequences, strict=True)})
    images = {video: sequence.source.read(FILL) for video, sequence in zip(videos, sequences, strict=True)}
    return lambda: engine.step(images)


def run_bench(
    trackers: str | None,
    model: str | None,
    device: str,
    precision: str | None,
    *,
    objects: Sequence[int],
    lanes: Sequence[int],
    frames: int | None,
    size: Size,
    compile: bool = False,
    json_file: Path | None = None,
) -> list[BenchResult]:
    """What `mosam bench` does: every tracker with every number of objects and lanes.

    Args:
        trackers, model, device, precision: as typed; None = the usual ones, `large` where there is a GPU, else `nano`.
        objects, lanes, frames, size: as for `bench`.
        compile: as for `load_model`.
        json_file: where results are also written.
    """
    from mosam.datasets.select import split_list
    from mosam.model.checkpoints import load_model
    from mosam.model.devices import choose_device
    from mosam.policies.base import load_policy, parse_tracker
    from mosam.tracking.presets import default_model, default_tracker

    place = choose_device(device)
    name = model or ("large" if place.type == "cuda" else default_model("toy"))
    network = load_model(name, device=device, precision=precision or "auto", compile=compile)  # type: ignore[arg-type]
    results = []
    for text in split_list(trackers) or [default_tracker()]:
        tracker, values = parse_tracker(text)
        policy = load_policy(tracker, **values)
        for count in objects:
            for rows in lanes:
                results.append(bench(network, policy, objects=count, lanes=rows, frames=frames, size=size))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_text(json_file, json.dumps([result.to_json() for result in results], indent=1) + "\n")
    return results


def parse_numbers(option: str, text: str) -> list[int]:
    """
    >>> parse_numbers("--lanes", "1,8")
    [1, 8]
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise MosamError(f"{option}: expected numbers from 1 on with commas, got {text!r}")
    return [int(word) for word in words]


def parse_size(text: str) -> Size:
    """Width and height as typed -> (height, width).

    >>> parse_size("1280x720")
    (720, 1280)
    """
    width, _, height = text.lower().partition("x")
    if not (
        width.isascii() and width.isdigit() and height.isascii() and height.isdigit() and int(width) and int(height)
    ):
        raise MosamError(f"--size: expected WIDTHxHEIGHT, got {text!r}")
    return int(height), int(width)


def render_bench(results: Sequence[BenchResult], format: str = "text") -> str:
    """Two tables: throughput and floor, then milliseconds of a frame by stage.

    Args:
        results: of `run_bench`.
        format: see `mosam.evaluation.layouts.render`.
    """
    return "\n\n".join(render(table, format) for table in (_throughput(results), _by_stage(results)))


def _throughput(results: Sequence[BenchResult]) -> Table:
    lines = []
    for r in results:
        shown = {
            "model": r.model,
            "device": r.device,
            "precision": r.precision,
            "fps": f"{r.fps:.2f}",
            "GPU busy [%]": MISSING if r.busy is None else f"{100 * r.busy:.0f}",
            "TFLOP/frame": f"{r.flops / 1e12:.4g}",
            "TFLOP/s": f"{r.achieved / 1e12:.3g}",
            "attainable": f"{r.attainable / 1e12:.3g}",
            "floor [ms]": f"{r.floor_ms:.4g}",
            "network [ms]": f"{r.network_ms:.4g}",
            "peak [GiB]": f"{r.peak / 2**30:.2f}",
        }
        lines.append(Line((r.tracker, str(r.objects), str(r.lanes)), tuple(map(Cell, shown.values()))))
    return assemble("Throughput, and what the device could do", ("tracker", "objects", "lanes", *shown), lines)


def _by_stage(results: Sequence[BenchResult]) -> Table:
    lines = [
        Line(
            (r.tracker, str(r.objects), str(r.lanes)),
            tuple(
                Cell(f"{value:.4g}")
                for value in (*(r.stages.get(stage, 0.0) for stage in STAGES), sum(r.stages.values()))
            ),
        )
        for r in results
    ]
    return assemble("Milliseconds of a frame by stage", ("tracker", "objects", "lanes", *STAGES, "all"), lines)
