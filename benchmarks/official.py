"""Seconds per frame against the official SAM 2 predictor on a processor: same weights, frames and process, in turn.

    python benchmarks/official.py [--model random:tiny] [--objects 1,3] [--frames 10] [--precision fp32,bf16]

For a GPU there is benchmarks/peers.py; this one runs on the CPU whatever else is there. The official program is
installed by you, outside this project (`import sam2` must work); without it only ours is timed. Both start from mask
prompts, fill the seven memory slots first, and are then timed on the frames that follow; the median is reported.
Weights are random: speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SIZE = (480, 854)
FILL = 8  # frames before the timed ones: the prompted one and seven tracked
CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base-plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}


def clip(count: int) -> list[np.ndarray]:
    """Noise with squares that move; uint8 RGB."""
    rng = np.random.default_rng(0)
    background = rng.integers(0, 120, (*SIZE, 3), dtype=np.uint8)
    frames = []
    for t in range(count):
        image = background.copy()
        for n in range(10):
            x, y = 30 + 75 * n + 3 * t, 60 + 30 * (n % 5) + 2 * t
            image[y : y + 60, x % 780 : x % 780 + 60] = 120 + 12 * n
        frames.append(image)
    return frames


def masks(objects: int) -> list[np.ndarray]:
    """One square an object, where the first frame shows it."""
    made = []
    for n in range(objects):
        mask = np.zeros(SIZE, dtype=bool)
        mask[60 + 30 * (n % 5) : 120 + 30 * (n % 5), 30 + 75 * n : 90 + 75 * n] = True
        made.append(mask)
    return made


def ours(model: object, frames: list[np.ndarray], objects: int) -> Iterator[None]:
    """Our engine, one frame at each `next`."""
    from mosam.engine.engine import Engine
    from mosam.policies.base import load_policy
    from mosam.types import Prompt

    engine = Engine(model, load_policy("sam2"))  # type: ignore[arg-type]
    prompts = [Prompt(n + 1, mask=mask) for n, mask in enumerate(masks(objects))]
    video = engine.open(prompts, size=SIZE, num_frames=len(frames), non_overlap=False)
    for image in frames:
        engine.step({video: image})
        engine.drain(video)
        yield


def official(predictor: object, folder: Path, objects: int, autocast: bool) -> Iterator[None]:
    """The official predictor over a folder of frames, one frame at each `next`."""
    import torch

    context = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
    with torch.inference_mode(), context:
        state = predictor.init_state(str(folder), offload_video_to_cpu=True)  # type: ignore[attr-defined]
        for n, mask in enumerate(masks(objects)):
            predictor.add_new_mask(state, 0, n + 1, mask)  # type: ignore[attr-defined]
        for _, _, logits in predictor.propagate_in_video(state):  # type: ignore[attr-defined]
            (logits > 0).cpu().numpy()
            yield


def timed(runs: dict[str, Iterator[None]], frames: int) -> dict[str, float]:
    """Median seconds per frame of each run, stepped in turn so that both see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for t in range(FILL + frames):
        for name, run in runs.items():
            start = time.perf_counter()
            next(run)
            if t >= FILL:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def official_predictor(size: str, state: dict) -> object:
    """The official predictor with our weights."""
    from sam2.build_sam import build_sam2_video_predictor

    predictor = build_sam2_video_predictor(CONFIGS[size], None, device="cpu", apply_postprocessing=False)
    predictor.load_state_dict(state)
    return predictor


def main() -> int:
    """Print a table: seconds per frame of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:tiny")
    parser.add_argument("--objects", default="1,3")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    import torch
    from PIL import Image

    import mosam
    from mosam.model.meta_format import to_meta_state_dict

    torch.set_num_threads(options.threads)
    found = importlib.util.find_spec("sam2") is not None
    frames = clip(FILL + options.frames)
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}",
        file=sys.stderr,
    )
    print("| precision | objects | official s/frame | ours s/frame | official / ours |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for t, image in enumerate(frames):
            Image.fromarray(image).save(folder / f"{t:05d}.jpg", quality=95)
        for precision in options.precision.split(","):
            model = mosam.load_model(options.model, device="cpu", precision=precision)
            for objects in map(int, options.objects.split(",")):
                runs = {"ours": ours(model, frames, objects)}
                if found:
                    whole = mosam.load_model(options.model, device="cpu", precision="fp32")
                    predictor = official_predictor(
                        options.model.rpartition(":")[2], to_meta_state_dict(whole.model.state_dict())
                    )
                    runs["official"] = official(predictor, folder, objects, precision == "bf16")
                seconds = timed(runs, options.frames)
                mine, theirs = seconds["ours"], seconds.get("official")
                cells = (
                    (f"{theirs:.2f}", f"{mine:.2f}", f"{theirs / mine:.2f}") if theirs else ("-", f"{mine:.2f}", "-")
                )
                print(f"| {precision} | {objects} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
