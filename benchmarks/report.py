"""Time and size of `mosam report` for a benchmark of LaSOT's size: made videos, results and scores.

    python benchmarks/report.py --sequences 280 --trackers 5 --frames 200

The frames are JPEGs of 1280 x 720 (a few pictures under many names), the results boxes that drift and get lost. Time is
that of the report alone; CPU seconds count all its processes, so that company on the machine does not show.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from mosam.commands.report import ReportOptions, build_report
from mosam.datasets.base import load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.scores import save_scores

TRACKERS = ("sam2", "samurai", "sam2long", "dam4sam", "mosam")
PICTURES = 12


def make(folder: Path, sequences: int, frames: int, trackers: int) -> None:
    """Writes `folder/lasot` and `folder/results/<tracker>`, scored."""
    rng = np.random.default_rng(0)
    root = folder / "lasot"
    names = [f"thing-{number}" for number in range(1, sequences + 1)]
    root.mkdir(parents=True)
    (root / "testing_set.txt").write_text("\n".join(names), encoding="utf-8")
    for number in range(PICTURES):
        ground = cv2.resize(
            rng.integers(0, 255, (24, 42, 3), dtype=np.uint8), (1280, 720), interpolation=cv2.INTER_CUBIC
        )
        noisy = np.clip(ground + rng.normal(0, 8, ground.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), noisy)
    for place, name in enumerate(names):
        images = root / name / "img"
        images.mkdir(parents=True)
        for frame in range(frames):
            os.link(folder / f"{(place + frame) % PICTURES}.jpg", images / f"{frame + 1:08d}.jpg")
        at = np.cumsum(rng.normal(0, 4, (frames, 2)), axis=0) + np.array([500, 300])
        boxes = np.column_stack([at, np.full((frames, 2), (120, 90))])
        np.savetxt(root / name / "groundtruth.txt", boxes, fmt="%.2f", delimiter=",")
        for flags in ("full_occlusion", "out_of_view"):
            (root / name / f"{flags}.txt").write_text(",".join(["0"] * frames), encoding="utf-8")
        for tracker in TRACKERS[:trackers]:
            out = folder / "results" / tracker
            out.mkdir(parents=True, exist_ok=True)
            drift = np.cumsum(rng.normal(0, 3, (frames, 2)), axis=0)
            lost = rng.integers(frames // 2, 2 * frames)
            drift[lost:] += 400
            np.savetxt(out / f"{name}.txt", boxes + np.pad(drift, ((0, 0), (0, 2))), fmt="%.2f", delimiter=",")
    dataset = load_dataset("lasot", root=root)
    for tracker in TRACKERS[:trackers]:
        out = folder / "results" / tracker
        save_scores(out / "scores.json", evaluate(out, dataset, jobs=os.cpu_count() or 1))


def cpu_seconds() -> float:
    """Of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Makes the data, writes the page, prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=280)
    parser.add_argument("--trackers", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the page there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.sequences, given.frames, given.trackers)
        options = ReportOptions(root=Path(folder) / "lasot", jobs=given.jobs)
        start, cpu = time.perf_counter(), cpu_seconds()
        page = build_report([Path(folder) / "results"], options).encode()
        wall, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    if given.out:
        given.out.write_bytes(page)
    what = f"{given.sequences} sequences of {given.frames} frames, {given.trackers} trackers, {given.jobs} processes"
    print(f"{what}: {wall:.1f} s, {cpu:.1f} CPU s, {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
