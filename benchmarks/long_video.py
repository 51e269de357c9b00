"""Memory of `mosam demo` along a video of an hour, generated at small size; the demo streams, so it must not grow.

    python benchmarks/long_video.py --minutes 60 --model random:mini

The file has the whole length; `--frames` tracks only its beginning where an hour costs too much. With `--live`, frames
come from a generated camera instead, faster than they are tracked, so that most are dropped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from mosam.commands.demo.live import LiveSource
from mosam.commands.demo.run import DemoOptions, choose_policies
from mosam.commands.demo.source import open_source
from mosam.commands.demo.track import track_source
from mosam.model.checkpoints import load_model
from mosam.types import Image, Prompt

RATE = 25


def picture(t: int, size: tuple[int, int]) -> Image:
    """A bright square that wanders over a gray picture."""
    height, width = size
    image = np.full((height, width, 3), 70, dtype=np.uint8)
    x = round((width - 24) * (0.5 + 0.5 * np.sin(t / 40)))
    y = round((height - 24) * (0.5 + 0.5 * np.cos(t / 53)))
    image[y : y + 20, x : x + 24] = (220, 180, 40)
    return image


def camera(minutes: float, size: tuple[int, int]) -> LiveSource:
    """A camera that gives `RATE` frames of the video's time in 2 ms each."""

    def images() -> Iterator[Image]:
        for t in range(round(minutes * 60 * RATE)):
            yield picture(t, size)
            time.sleep(0.002)

    return LiveSource("camera", images(), Fraction(RATE), "camera")


def make_video(path: Path, minutes: float, size: tuple[int, int]) -> None:
    """A file of these pictures."""
    import av

    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(round(minutes * 60 * RATE)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t, size), format="rgb24")))
        container.mux(stream.encode())


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Prints memory at ten places of the video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--frames", type=int, default=None)
    parser.add_argument("--tracker", default="sam2")
    parser.add_argument("--model", default="random:mini")
    parser.add_argument("--show-motion", action="store_true")
    parser.add_argument("--live", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.mp4"
        if not arguments.live:
            make_video(path, arguments.minutes, (72, 96))
        total = min(arguments.frames or 10**9, round(arguments.minutes * 60 * RATE))
        step, started = max(1, total // 10), time.perf_counter()

        def sample(frames: int, length: int | None, seconds: float) -> None:
            if frames in (200, 1000) or frames % step == 0:
                pace = (time.perf_counter() - started) / frames * 1000
                print(f"frame {frames:6}  {resident():7.1f} MiB  {pace:.1f} ms a frame", flush=True)

        out = Path(folder) / "out"
        out.mkdir()
        source = camera(arguments.minutes, (72, 96)) if arguments.live else open_source(str(path))
        result = track_source(
            source,
            [Prompt(1, box=np.array([36.0, 48.0, 24.0, 20.0]))],
            load_model(arguments.model, device="cpu"),
            choose_policies(DemoOptions(str(path), tracker=arguments.tracker)),
            out=out,
            masks=False,
            show_motion=arguments.show_motion,
            frames=total,
            progress=sample,
        )
        if arguments.live:
            print(f"{result.frames} frames tracked, {result.dropped} dropped")
            return
        print(f"overlay {(out / 'overlay.mp4').stat().st_size / 1e6:.1f} MB, input {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
