"""Cost of each tracker against `sam2`: every frame is given to all of them in turn, so that they share the machine.

    python benchmarks/policies.py [--model nano] [--tracker sam2,samurai,sam2long,dam4sam,mosam] [--frames 60]

Frames are of `toy` val, a few sequences of each difficulty. What a tracker costs more than the first one is the median,
over frames, of the ratio of their processor times: time that other programs took is not in it. `step` is the engine's
thread alone, as the motion of a frame is estimated by the thread that reads ahead; `all` adds that motion, as if there
were one core only. Exit code 1 if a tracker is above the limit of its row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LIMITS = {"mosam": 1.5, "samurai": 1.15, "dam4sam": 1.15, "sam2long": 3.2}
SEQUENCES = ("rotation-1", "fast-1", "crossing-1", "full_occlusion-1", "distractor-1")
WARM = 10  # frames of each sequence before the memory is full and counting starts


@dataclass
class Times:
    """Seconds of each counted frame: of the engine's thread, and of the motion that was estimated for it."""

    step: list[float] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def measure(trackers: Sequence[str], model_name: str, frames: int) -> dict[str, Times]:
    """Every tracker on the same frames, in turn; who goes first changes with the frame."""
    import mosam
    from mosam.engine.engine import Engine
    from mosam.policies.base import load_policy, parse_tracker

    dataset, model = mosam.load_dataset("toy", split="val"), mosam.load_model(model_name, device="cpu")
    times = {tracker: Times() for tracker in trackers}
    for name in SEQUENCES:
        sequence, opened = dataset[name], {}
        for tracker in trackers:
            policy, options = parse_tracker(tracker)
            engine = Engine(model, load_policy(policy, **options))
            video = engine.open(sequence.prompts, size=sequence.source.size(), num_frames=len(sequence))
            opened[tracker] = (engine, video, engine.motion_stream())
        for t in range(min(frames, len(sequence))):
            image = sequence.source.read(t)
            for tracker in (*trackers[t % len(trackers) :], *trackers[: t % len(trackers)]):
                engine, video, stream = opened[tracker]
                start = time.thread_time()
                motion = None if stream is None else {video: stream.push(image)}
                between, wall = time.thread_time(), time.perf_counter()
                engine.step({video: image}, motion)
                engine.drain(video)
                end = time.thread_time()
                if t >= WARM:
                    times[tracker].motion.append(between - start)
                    times[tracker].step.append(end - between)
                    times[tracker].wall.append(time.perf_counter() - wall)
        for engine, video, _ in opened.values():
            engine.close(video)
    return times


def main() -> int:
    """Print one line a tracker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tracker", default="sam2,samurai,sam2long,dam4sam,mosam")
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    import cv2
    import torch

    from mosam.datasets.select import split_list

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    trackers = split_list(options.tracker)
    times = measure(trackers, options.model, options.frames)
    base = np.array(times[trackers[0]].step)
    print("| tracker | step, ms | motion, ms | step / first | all / first | wall / first | limit |")
    print("|---|---|---|---|---|---|---|")
    over = False
    for tracker in trackers:
        step, motion = np.array(times[tracker].step), np.array(times[tracker].motion)
        ratio, both = float(np.median(step / base)), float(np.median((step + motion) / base))
        wall = float(np.median(np.array(times[tracker].wall) / np.array(times[trackers[0]].wall)))
        limit = LIMITS.get(tracker)
        over |= limit is not None and ratio > limit
        numbers = f"{1e3 * np.median(step):.1f} | {1e3 * np.median(motion):.1f} | {ratio:.2f} | {both:.2f} | {wall:.2f}"
        print(f"| {tracker} | {numbers} | {limit or '-'} |")
    print(f"\n{len(base)} frames of toy val ({', '.join(SEQUENCES)}), {options.model}, one thread", file=sys.stderr)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
