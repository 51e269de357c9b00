"""Milliseconds per frame of a small network with one thread and with two: why `mosam.model.threads` takes one.

    python benchmarks/threads.py [--model nano] [--frames 60] [--rounds 3]

One object, pictures of noise; the rounds alternate, and the median over all frames of a setting is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

SIZE = (240, 320)
SKIPPED = 10  # frames of each round until the memory is full


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    import torch

    import mosam

    model = mosam.load_model(options.model, device="cpu")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(8)]
    mask = np.zeros(SIZE, dtype=bool)
    mask[50:100, 50:100] = True
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for threads, seconds in times.items():
            torch.set_num_threads(threads)
            engine = mosam.Engine(model, mosam.load_policy("sam2"))
            video = engine.open([mosam.Prompt(1, mask=mask)], size=SIZE)
            for t in range(options.frames):
                start = time.perf_counter()
                engine.step({video: pictures[t % len(pictures)]})
                if t >= SKIPPED:
                    seconds.append(time.perf_counter() - start)
            engine.close(video)
    print("| threads | ms/frame |\n|---|---|")
    for threads, seconds in times.items():
        print(f"| {threads} | {1000 * statistics.median(seconds):.1f} |")


if __name__ == "__main__":
    main()
