"""Seconds per frame of one network at several input sizes, in turn, on the CPU with one thread.

python benchmarks/sizes.py [--model random:tiny] [--sizes 1024,512] [--rounds 4]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

import mosam
from mosam.engine.engine import Engine
from mosam.types import Prompt

FRAME = (480, 854)


def opened(name: str) -> tuple[Engine, object]:
    """An engine with one object that has been tracked for two frames."""
    engine = Engine(mosam.load_model(name, device="cpu"), mosam.load_policy("sam2"))
    return engine, engine.open([Prompt(1, box=np.array([100.0, 100, 200, 150]))], size=FRAME)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:tiny")
    parser.add_argument("--sizes", default="1024,512")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    image = np.random.default_rng(0).integers(0, 255, (*FRAME, 3), dtype=np.uint8)
    names = [f"{options.model}@{size}" for size in options.sizes.split(",")]
    runs = {name: opened(name) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(2 + options.rounds):  # the first two are not counted
        for name, (engine, video) in runs.items():
            started = time.perf_counter()
            engine.step({video: image})  # type: ignore[dict-item]
            seconds[name].append(time.perf_counter() - started)
    first = statistics.median(seconds[names[0]][2:])
    print("| model | s/frame | times faster |\n|---|--:|--:|")
    for name in names:
        median = statistics.median(seconds[name][2:])
        print(f"| {name} | {median:.2f} | {first / median:.2f} |")


if __name__ == "__main__":
    main()
