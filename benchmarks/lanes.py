"""Throughput of many lanes against one, and whether they give the same: pairs of runs, one after the other.

    python benchmarks/lanes.py [--model nano] [--tracker sam2] [--lanes 8] [--limit 16] [--frames 40] [--rounds 3]

Each round tracks the first sequences of `toy`, cut to so many frames, with one lane and with many, from pictures that
are ready to result files. Two ratios are printed: of the time on the clock, and of the processor time of the process,
which says the same on a machine that others use too. What was read and chosen on every frame and every mask are then
compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


class Cut:
    """The first frames of a source, kept in memory: drawing toy's pictures is not what is timed."""

    def __init__(self, source: object, count: int):
        self._frames = [source.read(index) for index in range(count)]  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._frames)

    def size(self) -> tuple[int, int]:
        return self._frames[0].shape[:2]

    def read(self, index: int) -> np.ndarray:
        return self._frames[index]


def cut(dataset: object, frames: int) -> object:
    """A dataset whose sequences end early."""
    kept = {}
    plain = dataset.load  # type: ignore[attr-defined]

    def load(name: str) -> object:
        if name not in kept:
            sequence = plain(name)
            count = min(frames, len(sequence))
            kept[name] = dataclasses.replace(
                sequence, source=Cut(sequence.source, count), frame_names=sequence.frame_names[:count]
            )
        return kept[name]

    dataset.load = load  # type: ignore[attr-defined]
    for name in dataset:  # type: ignore[attr-defined]
        load(name)
    return dataset


def compare(one: Path, many: Path, names: list[str]) -> tuple[int, int, float, int]:
    """Frames that read or chose otherwise, worst difference of a mask in pixels, and worst IoU beyond two pixels."""
    from mosam.results.frame_log import log_path

    other, frames, pixels, iou = 0, 0, 0, 1.0
    for name in names:
        logs = [
            [json.loads(line) for line in (folder / log_path(name)).read_text().splitlines()] for folder in (one, many)
        ]
        for a, b in zip(*logs, strict=True):
            frames += 1
            other += _decisions(a) != _decisions(b)
        for first in sorted((one / name).glob("*.png")):
            from PIL import Image

            a, b = (np.array(Image.open(folder / name / first.name)) for folder in (one, many))
            for label in np.union1d(np.unique(a), np.unique(b)):
                if label == 0:
                    continue
                differs = int(((a == label) ^ (b == label)).sum())
                pixels = max(pixels, differs)
                if differs > 2:
                    union = int(((a == label) | (b == label)).sum())
                    iou = min(iou, 1 - differs / union)
    return other, pixels, iou, frames


def _decisions(line: object) -> object:
    """What was read and chosen; predicted numbers are rounded otherwise in another batch."""
    if isinstance(line, dict):
        return {k: _decisions(v) for k, v in line.items() if k in KEPT or isinstance(v, dict | list)}
    return [_decisions(item) for item in line] if isinstance(line, list) else line


KEPT = {"slots", "pointers", "candidate", "source", "frame"}


def main() -> int:
    """Print both ratios and the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tracker", default="sam2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    import mosam

    dataset = cut(mosam.load_dataset("toy").select(limit=options.limit), options.frames)
    total = sum(len(dataset[name]) for name in dataset)  # type: ignore[index, attr-defined]
    model = mosam.load_model(options.model, device=options.device, precision=options.precision)
    policy = mosam.load_policy(options.tracker)
    clock: dict[int, list[float]] = {1: [], options.lanes: []}
    processor: dict[int, list[float]] = {1: [], options.lanes: []}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(options.rounds):
            for lanes in clock:
                out = Path(name) / f"{lanes}-{turn}"
                started, used = time.perf_counter(), time.process_time()
                result = mosam.run(dataset, model, policy, out=out, max_lanes=lanes, log=turn == 0)  # type: ignore[arg-type]
                clock[lanes].append(time.perf_counter() - started)
                processor[lanes].append(time.process_time() - used)
                assert not result.failed, result.failed
        other, pixels, iou, frames = compare(
            Path(name) / "1-0",
            Path(name) / f"{options.lanes}-0",
            list(dataset),  # type: ignore[call-overload]
        )
    print("| lanes | fps | ms of the processor a frame |\n|---|---|---|")
    for lanes in clock:
        print(
            f"| {lanes} | {total / statistics.median(clock[lanes]):.1f} | "
            f"{1000 * statistics.median(processor[lanes]) / total:.2f} |"
        )
    pairs = [a / b for a, b in zip(clock[1], clock[options.lanes], strict=True)]
    work = [a / b for a, b in zip(processor[1], processor[options.lanes], strict=True)]
    print(f"\nthroughput x {statistics.median(pairs):.2f} on the clock, x {statistics.median(work):.2f} a CPU second")
    print(f"{frames} frames: {other} read or chose otherwise; masks differ by {pixels} pixels at most, IoU {iou:.5f}")
    return 0 if other == 0 and (pixels <= 2 or iou >= 0.999) else 1


if __name__ == "__main__":
    sys.exit(main())
