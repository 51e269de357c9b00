"""Cost, memories and J&F of each tracker against `sam2`.

    python benchmarks/policies.py [--model nano] [--tracker sam2,samurai,...] [--frames 60]
    python benchmarks/policies.py --memories 3000
    python benchmarks/policies.py --scores results/policies [--workers 2]

Cost: every frame is given to all of them in turn, so that they share the machine. Frames are of `toy` val, a few
sequences of each difficulty. What a tracker costs more than the first one is the median, over frames, of the ratio of
their processor times: time that other programs took is not in it. `step` is the engine's thread alone, as the motion of
a frame is estimated by the thread that reads ahead; `all` adds that motion, as if there were one core only. Exit code 1
if a tracker is above the limit of its row.

Memories: most that are alive after any frame, over made-up scores (`tests/drive.py`, no network) with the object away
for 200 of every 700 frames and in doubt now and then, and how many `live_features` allows for.

J&F: six sequences of each of three draws of `toy` test, with differences from the first tracker, paired by sequence;
the intervals are bootstrap ones over sequences. Finished runs are kept in the folder.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LIMITS = {"mosam": 1.5, "samurai": 1.15, "dam4sam": 1.15, "sam2long": 3.2}
SEQUENCES = ("rotation-1", "fast-1", "crossing-1", "full_occlusion-1", "distractor-1")
TRACKERS = "sam2,samurai,sam2long,dam4sam,him2sam,him2sam[points=lk],rcms,sam3,mosam"
SCORED = "full_occlusion-1,distractor-1,crossing-1,out_of_view-1,fast-2,light-1"
AWAY, PERIOD = 200, 700
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


def most_memories(tracker: str, frames: int) -> tuple[int, int]:
    """Most memories alive after any frame of a long video, and how many the pool has room for."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from drive import Offer, Side, drive, live_features, track_length
    from simulate import info

    from mosam.policies.base import load_policy, parse_tracker

    name, options = parse_tracker(tracker)
    policy = load_policy(name, **options)

    def offer(t: int, trace: tuple[int, ...]) -> Offer:
        draw = random.Random(f"{t} {trace[-4:]}")
        away = t % PERIOD >= PERIOD - AWAY
        boxes = tuple((10.0 + k, 10.0, 30.0 + k, 40.0) for k in (0, draw.randrange(9), draw.randrange(30)))
        iou = draw.choice((0.05, 0.35)), draw.choice((0.55, 0.82)), draw.choice((0.35, 0.95))
        return Offer(iou, -6.0 if away else draw.choice((6.0, 6.0, 6.0, -0.5 if t > PERIOD else 0.5)), boxes)

    def side(t: int) -> Side:
        mask, other = np.zeros((2, 12, 16), dtype=bool)
        mask[2:6, 2:7] = True
        other[8:11, 12:15] = random.Random(t).random() < 0.3
        return Side(mask, np.stack([mask, mask | other]))

    steps = drive(policy, offer, frames, side=side, trace_length=4)
    return max(map(live_features, steps)), policy.live_features(info(track_length(frames)))


def scores_table(trackers: Sequence[str], model: str, results: Path, workers: int) -> str:
    """J&F of every tracker on the chosen sequences of three draws, in Markdown."""
    from mosam.commands.experiment.study import Experiment, Row, run_experiment
    from mosam.commands.experiment.tables import experiment_table, group_tables
    from mosam.commands.experiment.workers import track_rows
    from mosam.evaluation.tables import render
    from mosam.tracking.plan import RunOptions

    experiment = Experiment(
        title=f"{SCORED}, three draws", dataset="toy", split="test", model=model, seeds=(0, 1, 2),
        columns=("jf_mean", "presence"), groups={"hidden or beside a distractor": ("full_occlusion", "distractor")},
        baseline=trackers[0], rows=tuple(Row(tracker, tracker) for tracker in trackers),
    )  # fmt: skip
    options = RunOptions(dataset="toy", sequences=SCORED, device="cpu", results=results)
    if workers > 1:
        track_rows(experiment, options, workers=workers, report=lambda line: print(line, file=sys.stderr, flush=True))
    rows = run_experiment(experiment, options)
    tables = (experiment_table(experiment, rows), *group_tables(experiment, rows)[:1])
    return "\n\n".join(render(table, "markdown") for table in tables)


def main() -> int:
    """Print one line a tracker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tracker", default=TRACKERS)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--memories", type=int, metavar="FRAMES")
    parser.add_argument("--scores", type=Path, metavar="RESULTS")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    import cv2
    import torch

    from mosam.datasets.select import split_list

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    trackers = split_list(options.tracker)
    if options.memories:
        print(f"| tracker | memories, at most, in {options.memories} frames | room |\n|---|---|---|")
        for tracker in trackers:
            most, room = most_memories(tracker, options.memories)
            print(f"| {tracker} | {most} | {room} |", flush=True)
        return 0
    if options.scores:
        print(scores_table(trackers, options.model, options.scores, options.workers))
        return 0
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
