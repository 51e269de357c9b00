"""Two worker processes against one: pairs of runs, one after the other.

    python benchmarks/workers.py [--model nano] [--tracker sam2] [--limit 8] [--lanes 1] [--rounds 3]

Each round tracks the first sequences of `toy` with one worker process and with two, each with one thread. Loading the
network is part of neither: time counts from the first started sequence to the last finished one. The processor time of
all workers is printed too: where it is the same for both, two free cores give twice the throughput, less the tail.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print a table and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tracker", default="sam2")
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from mosam.tracking.launch.local import run_workers
    from mosam.tracking.launch.start import PlannedRunSpec
    from mosam.tracking.launch.worker import WorkerSlot
    from mosam.tracking.plan import RunOptions, plan_runs

    (planned,) = plan_runs(RunOptions("toy", tracker=options.tracker, model=options.model, limit=options.limit))
    work = PlannedRunSpec.of(planned)
    clock: dict[int, list[float]] = {1: [], 2: []}
    processor: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(options.rounds):
        for workers in clock:
            times: list[float] = []

            def see(event: object, times: list[float] = times) -> None:
                if event.event in ("start", "done"):  # type: ignore[attr-defined]
                    times.append(time.perf_counter())

            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            with tempfile.TemporaryDirectory() as name:
                places = [WorkerSlot("cpu", 1, 1 / workers)] * workers
                run_workers(work, places, out=Path(name) / str(turn), max_lanes=options.lanes, progress=see)
            clock[workers].append(times[-1] - times[0])
            processor[workers].append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    print("| workers | s on the clock | s of the processor, loading included |\n|---|---|---|")
    for workers in clock:
        print(f"| {workers} | {statistics.median(clock[workers]):.1f} | {statistics.median(processor[workers]):.1f} |")
    pairs = [a / b for a, b in zip(clock[1], clock[2], strict=True)]
    print(f"\nthroughput x {statistics.median(pairs):.2f} (pairs: {', '.join(f'{pair:.2f}' for pair in pairs)})")


if __name__ == "__main__":
    main()
