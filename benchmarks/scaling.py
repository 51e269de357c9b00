"""Makespan and idle share of LaSOT, LVOS and SA-V on 1 to 64 GPUs, simulated, and simulated against real workers.

    python benchmarks/scaling.py [--lanes 1,16] [--model large] [--cost 0.022,0.012,0.003,0.3,20]
    python benchmarks/scaling.py --measure [--workers 1,2,4]

The cost is that of a step of a batch, in seconds: for the step, for each frame, for each row, to open a sequence, to
start a worker. Without `--cost` the first three are fitted to what one H100 needed from JPEG files to label maps with
1 to 32 lanes of 1 to 10 objects (benchmarks/measured), the last two are assumed; measure your own with `mosam bench`.
With `--measure`, real worker processes track sequences of LaSOT's lengths, divided by 400, with a network that only
waits as long as the cost says; the time on the clock is compared with the simulated one. So the queue, the leases,
the pipes and the result files are real, and the speed of this machine does not count.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mosam.tracking.launch.simulation import BENCHMARKS, StepCost, benchmark_jobs, simulate
from mosam.tracking.schedule import Job

GPUS = (1, 2, 4, 8, 16, 32, 64)
SIZE = (24, 32)
MEASURED = Path(__file__).resolve().parent / "measured" / "h100-2026-11-27" / "results.json"
OPENING, START = 0.3, 20.0  # seconds, assumed
COST = StepCost(step=0.2, frame=0.1, row=0.05)  # long steps: company on the machine counts less


def measured_cost(model: str) -> StepCost:
    """The cost that fits the measured runs of a network best, each within its own size.

    Raises:
        SystemExit: none was measured.
    """
    from scipy.optimize import nnls

    rows, seconds = [], []
    for name, found in json.loads(MEASURED.read_text(encoding="utf-8")).items():
        case = re.fullmatch(rf"speed random:{model} (\d+)x(\d+)", name)
        if case:
            lanes, objects = map(int, case.groups())
            rows.append((1, lanes, lanes * objects))
            seconds.append(lanes / found["fps"])
    if not rows:
        raise SystemExit(f"scaling: nothing was measured of {model}; choose large or tiny, or give --cost")
    parts, _ = nnls(np.array(rows) / np.array(seconds)[:, None], np.ones(len(seconds)))
    return StepCost(*map(float, parts), opening=OPENING, start=START)


@dataclass(frozen=True)
class Waiting:
    """Sequences of given lengths and a network that waits."""

    jobs: tuple[Job, ...]
    cost: StepCost

    @property
    def dataset(self) -> object:
        from mosam.commands.bench import MadeClips
        from mosam.datasets.base import Sequence
        from mosam.types import Prompt

        lengths = {job.name: job.frames for job in self.jobs}

        class Black:
            def __init__(self, count: int):
                self.count = count

            def __len__(self) -> int:
                return self.count

            def size(self) -> tuple[int, int]:
                return SIZE

            def read(self, index: int) -> np.ndarray:
                return np.zeros((*SIZE, 3), dtype=np.uint8)

        class Lengths(MadeClips):
            generated = True

            def __init__(self) -> None:
                super(MadeClips, self).__init__(None)

            def list_names(self) -> list[str]:
                return list(lengths)

            def load(self, name: str) -> Sequence:
                count, mask = lengths[name], np.ones(SIZE, dtype=bool)
                names = tuple(f"{t:05d}" for t in range(count))
                return Sequence(name, Black(count), names, (1,), lambda: (Prompt(1, mask=mask),))

        return Lengths()

    @property
    def policy(self) -> object:
        from mosam.policies.base import load_policy

        return load_policy("sam2")

    def open(self, place: object) -> object:
        import itertools

        from mosam.codecs import CodecOptions
        from mosam.engine.parity import Parity
        from mosam.model.backbone import BackboneSizes
        from mosam.tracking import loop
        from mosam.tracking.launch.worker import TrackingSetup
        from mosam.types import FrameOutput

        cost = self.cost

        class Device:
            type = "cpu"

        class Model:
            name, weights_hash, random, device, dtype = "waiting", "", True, Device(), "torch.float32"
            sizes = BackboneSizes(
                image=64,
                grid=4,
                mask=16,
                mask_input=64,
                width=8,
                tokens=16,
                memory=4,
                slots=7,
                pointers=16,
                candidates=3,
                mean=(0.5, 0.5, 0.5),
                std=(0.5, 0.5, 0.5),
                resize="pil_bicubic",
            )

        class Engine:
            ahead = False

            def __init__(self) -> None:
                self.numbers, self.frames = itertools.count(), {}

            def open(self, prompts: object, **named: object) -> int:
                video = next(self.numbers)
                self.frames[video] = []
                return video

            def motion_stream(self) -> None:
                return None

            def step(self, images: dict, motion: object = None, next_images: object = None) -> None:
                time.sleep(cost.of(len(images), len(images)))
                for video in images:
                    self.frames[video].append(FrameOutput(self.count(video)))

            def count(self, video: int) -> int:
                self.counts = getattr(self, "counts", {})
                self.counts[video] = self.counts.get(video, -1) + 1
                return self.counts[video]

            def drain(self, video: int) -> list:
                done, self.frames[video] = self.frames[video], []
                return done

            def close(self, video: int) -> list:
                return self.frames.pop(video)

            def discard(self, video: int) -> None:
                self.frames.pop(video, None)

        loop._new_engine = lambda *arguments: Engine()
        return TrackingSetup(self.dataset, Model(), self.policy, Parity(), CodecOptions())  # type: ignore[arg-type]


def measure(counts: list[int], lanes: int) -> None:
    """Print real against simulated makespans."""
    from mosam.tracking.launch.local import run_workers
    from mosam.tracking.launch.worker import WorkerSlot

    jobs = tuple(Job(job.name, max(2, job.frames // 400)) for job in benchmark_jobs("lasot")[::7])
    work = Waiting(jobs, COST)
    print("| workers | lanes | ready after s | simulated s | measured s | measured / simulated |\n|" + "---|" * 6)
    for workers in counts:
        times: dict[str, list[float]] = {"start": [], "done": []}

        def see(event: object, times: dict[str, list[float]] = times) -> None:
            if event.event in times:  # type: ignore[attr-defined]
                times[event.event].append(time.perf_counter())  # type: ignore[attr-defined]

        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            run_workers(work, [WorkerSlot(threads=1)] * workers, out=Path(name) / "run", max_lanes=lanes, progress=see)  # type: ignore[arg-type]
        # a worker fills its lanes as soon as it is ready
        ready = float(np.mean(times["start"][: workers * lanes])) - begun
        found = simulate(jobs, replace(COST, start=ready), workers=workers, lanes=lanes).makespan
        took = times["done"][-1] - begun
        print(f"| {workers} | {lanes} | {ready:.1f} | {found:.1f} | {took:.1f} | {took / found:.3f} |", flush=True)


def main() -> int:
    """Print a table for each benchmark, or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", default="1,16")
    parser.add_argument("--model", default="large", help="of the measured ones: large or tiny")
    parser.add_argument("--cost", help="instead of the measured one")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--workers", default="1,2,4")
    options = parser.parse_args()
    if options.measure:
        measure([int(word) for word in options.workers.split(",")], lanes=2)
        return 0
    if options.cost:
        cost = StepCost(*(float(word) for word in options.cost.split(",")))
    else:
        cost = measured_cost(options.model)
    print(
        f"a step: {1000 * cost.step:.1f} ms + {1000 * cost.frame:.1f} a frame + {1000 * cost.row:.1f} a row; "
        f"{cost.opening} s to open, {cost.start:.0f} s to start",
        file=sys.stderr,
    )
    print(
        "| benchmark | lanes | GPUs | makespan | speed-up | idle | idle, shared out before | idle, in the order given |"
    )
    print("|" + "---|" * 8)
    for name in BENCHMARKS:
        for lanes in map(int, options.lanes.split(",")):
            print_scaling(name, lanes, cost)
    return 0


def print_scaling(name: str, lanes: int, cost: StepCost) -> None:
    """Rows of one benchmark; the speed-up is against one GPU with as many lanes."""
    jobs = benchmark_jobs(name)
    alone = simulate(jobs, cost, workers=1, lanes=lanes).makespan
    for count in GPUS:
        runs = {
            queue: simulate(jobs, cost, workers=count, lanes=lanes, queue=queue)
            for queue in ("shared", "fixed", "official")
        }
        span = runs["shared"].makespan
        idle = " | ".join(f"{100 * run.idle:.0f}%" for run in runs.values())
        print(f"| {name} | {lanes} | {count} | {span / 60:.1f} min | {alone / span:.1f} | {idle} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
