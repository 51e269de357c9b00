"""Time and size of `mosam table` and `mosam board` for a results repository of many runs of LaSOT's size.

    python benchmarks/board.py --runs 500 --sequences 280

The scores are made (values of every sequence, curves, attributes, as `mosam score` writes them), with a `run.json` for
each. Each command runs in a process of its own, so that its start counts; CPU seconds count all its processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mosam.evaluation.scores import Scores, save_scores
from mosam.results.record import RunRecord, RunSettings, SequenceRecord, to_text

TRACKERS = ("sam2", "samurai", "sam2long", "dam4sam", "mosam")
VALUES = ("success_auc", "precision", "norm_precision", "norm_precision_auc", "op50", "op75", "mean_overlap")
CURVES = {"success": 21, "precision": 51, "norm_precision": 51}
ATTRIBUTES = ["IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC"]
FRAMES, FPS = 2448, 30.0


def make(folder: Path, runs: int, sequences: int) -> None:
    """Writes `folder/lasot/<tracker>-large` with scores and records."""
    rng = np.random.default_rng(0)
    names = [f"thing-{number}" for number in range(1, sequences + 1)]
    hard = rng.normal(0.6, 0.2, (sequences, 1))
    for number in range(runs):
        label = f"{TRACKERS[number % len(TRACKERS)]}[stride={number}]"
        values = np.clip(hard + rng.normal(0, 0.1, (sequences, len(VALUES))) + number / runs / 10, 0, 1)
        table = {
            name: {**dict(zip(VALUES, row, strict=True)), "fps": FPS}
            for name, row in zip(names, values.tolist(), strict=True)
        }
        means = {**dict(zip(VALUES, values.mean(axis=0).tolist(), strict=True)), "fps": FPS}
        scores = Scores(
            "lasot", "test", label, "large", "pytracking", means, table,
            curves={name: tuple(np.linspace(1, 0, count).tolist()) for name, count in CURVES.items()},
            attributes=dict.fromkeys(ATTRIBUTES, means),
            counts={name: {"fps": FRAMES / FPS} for name in names},
        )  # fmt: skip
        out = folder / "lasot" / f"{label}-large"
        out.mkdir(parents=True)
        save_scores(out / "scores.json", scores)
        (out / "run.json").write_text(to_text(_record(label, number, names)), encoding="utf-8")


def _record(label: str, number: int, names: list[str]) -> RunRecord:
    policy = {"stride": number, "memory": True}
    output = {"format": "lasot", "absent_as": "zeros", "box_from_mask": "exclusive"}
    settings = RunSettings(
        "lasot", "test", "box", 0, label, policy, "large", "0" * 64, "bfloat16", "cuda", {}, {}, output
    )
    code = {"version": "0.1.0", "commit": "0" * 40, "clean": True}
    done = SequenceRecord("done", FRAMES, FRAMES / FPS, FRAMES / FPS + 1, "0" * 64, None, "0" * 64)
    return RunRecord(settings, None, "0" * 64, {"code": code, "device": "NVIDIA H100"}, dict.fromkeys(names, done))


def run(*words: str) -> tuple[float, float, str]:
    """Seconds, CPU seconds and output of a command in a process of its own."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "mosam", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, done.stdout


def main() -> None:
    """Makes the data, runs the commands, prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--sequences", type=int, default=280)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="write everything there and keep it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        if not (folder / "results").is_dir():
            make(folder / "results", given.runs, given.sequences)
        print(f"{given.runs} runs of {given.sequences} sequences, {os.cpu_count()} cores")
        wall, cpu, shown = run("table", str(folder / "results"))
        print(f"table: {wall:.1f} s, {cpu:.1f} CPU s, {len(shown.splitlines())} lines")
        site = folder / "site"
        wall, cpu, _ = run("board", str(folder / "results"), "--out", str(site), "--jobs", str(given.jobs))
        pages = sorted((path.stat().st_size, path.name) for path in site.rglob("*.html"))
        total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        print(f"board: {wall:.1f} s, {cpu:.1f} CPU s, {len(pages)} pages, the largest {pages[-1][0] / 1e6:.2f} MB "
              f"({pages[-1][1]}), {total / 1e6:.0f} MB in all")  # fmt: skip


if __name__ == "__main__":
    main()
