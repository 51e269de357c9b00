"""Peak memory of a run at two lengths of one video: it must not grow with the length.

    python benchmarks/memory.py [--model random:nano] [--tracker sam2,samurai,sam2long,dam4sam,mosam,mosam-literal]

Each tracker runs in its own process. Frames are drawn when they are read; the object is away for 200 of every 700
frames, which is where a bank that only forgets bad frames would grow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import numpy as np

EARLY = 200  # frames after which the first peak is read: everything is allocated by then
SIZE = (240, 320)
AWAY, PERIOD = 200, 700


def frame(t: int, background: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """A textured square on its round, away for a part of every period."""
    image = np.roll(background, t // 2, axis=1)
    if t % PERIOD < PERIOD - AWAY:
        x, y = int(130 + 100 * np.cos(t / 40)), int(90 + 60 * np.sin(t / 25))
        image[y : y + 60, x : x + 60] = texture
    return image


def track(tracker: str, model: str, frames: int) -> dict[str, object]:
    """Run one tracker and read the peaks; MiB of the whole process, and rows of the memory bank."""
    import mosam
    from mosam.engine.engine import Engine
    from mosam.policies.base import load_policy, parse_tracker
    from mosam.types import Prompt

    name, options = parse_tracker(tracker)
    policy = load_policy(name, **options)
    engine = Engine(mosam.load_model(model, device="cpu"), policy)
    rng = np.random.default_rng(0)
    background = rng.integers(0, 120, (*SIZE, 3), dtype=np.uint8)
    texture = rng.integers(100, 255, (60, 60, 3), dtype=np.uint8)
    start = np.zeros(SIZE, dtype=bool)
    start[90:150, 230:290] = True
    video = engine.open([Prompt(1, mask=start)], size=SIZE, num_frames=frames)
    peaks, rows, absent = {}, 0, 0
    for t in range(frames):
        output = engine.step({video: frame(t, background, texture)})[video]
        absent += not output.objects[1].mask.any()
        engine.drain(video)
        rows = max(rows, len(engine.bank.features))
        if t + 1 in (EARLY, frames):
            peaks[t + 1] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    early, late = peaks[EARLY], peaks[frames]
    return {
        "tracker": tracker,
        "early": early,
        "late": late,
        "growth": late / early - 1,
        "rows": rows,
        "limit": policy.live_features(next(iter(video.tracks.values())).info),
        "absent": absent,
    }


def main() -> int:
    """Print one line a tracker; exit code 1 if any grows by 5 % or more, or keeps more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:nano")
    parser.add_argument("--tracker", default="sam2,samurai,sam2long,dam4sam,mosam,mosam-literal")
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(track(options.tracker, options.model, options.frames)))
        return 0
    from mosam.datasets.select import split_list

    columns = ("tracker", f"MiB at frame {EARLY}", f"at frame {options.frames}", "growth", "memories kept", "may keep")
    print(f"| {' | '.join(columns)} | frames absent |")
    print("|---|---|---|---|---|---|---|")
    grown = False
    for tracker in split_list(options.tracker):
        command = [sys.executable, __file__, "--one", "--tracker", tracker, "--model", options.model]
        result = subprocess.run([*command, "--frames", str(options.frames)], capture_output=True, text=True, check=True)
        row = json.loads(result.stdout.splitlines()[-1])
        grown |= row["growth"] >= 0.05 or row["rows"] > row["limit"]
        size = f"{row['early']:.0f} | {row['late']:.0f} | {row['growth']:+.1%}"
        print(f"| {tracker} | {size} | {row['rows']} | {row['limit']} | {row['absent']} |", flush=True)
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
