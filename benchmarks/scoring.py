"""Processor seconds of scoring boxes and masks, ours against other programs: whole processes, in turn, caches empty.

    python benchmarks/scoring.py [--lasot ROOT RESULTS] [--davis ROOT RESULTS] [--peers PYTHON] [--rounds N]

ROOT is a benchmark's folder, RESULTS the folder of one tracker. PYTHON is an interpreter in which some of `pytracking`
(with a `local.py` that names the same LaSOT), `davis2017` and `vos_benchmark` can be imported; what cannot is left out,
and said so. Ours is measured twice, with an empty cache and with the score it kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PYTRACKING = """
import sys
from pytracking.analysis.plot_results import print_results
from pytracking.evaluation.lasotdataset import LaSOTDataset
class Tracker: pass
tracker = Tracker()
tracker.name, tracker.parameter_name, tracker.run_id, tracker.display_name = "t", "p", None, "t"
tracker.results_dir = sys.argv[2]
dataset = LaSOTDataset().get_sequence_list()
print_results([tracker], dataset, "timing", force_evaluation=True, plot_types=("success", "prec", "norm_prec"))
"""
DAVIS = """
import sys
import numpy as np
if not hasattr(np, "bool"): np.bool = np.bool_
from davis2017.evaluation import DAVISEvaluation
evaluation = DAVISEvaluation(davis_root=sys.argv[1], task="semi-supervised", gt_set="val")
found = evaluation.evaluate(sys.argv[2])
print(np.mean(found["J"]["M"]), np.mean(found["F"]["M"]))
"""
VOS = """
import os, sys
from vos_benchmark.benchmark import benchmark
annotations = os.path.join(sys.argv[1], "Annotations", "480p")
benchmark([annotations], [sys.argv[2]], strict=False, num_processes=1, verbose=False)
"""
PEERS = {"lasot": {"pytracking": PYTRACKING}, "davis2017": {"davis2017-evaluation": DAVIS, "vos-benchmark": VOS}}
MODULES = {"pytracking": "pytracking", "davis2017-evaluation": "davis2017", "vos-benchmark": "vos_benchmark"}


def processor_seconds(command: list[str], **variables: str) -> float:
    """User and system time of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | variables
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def has(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def compare(dataset: str, root: Path, results: Path, python: str | None, rounds: int) -> None:
    """One line for each program that is there."""
    mosam = str(Path(sys.executable).with_name("mosam"))
    ours = [mosam, "score", dataset, "--root", str(root), "--results", str(results), "--jobs", "1"]
    found = {name: code for name, code in PEERS[dataset].items() if python and has(python, MODULES[name])}
    for name in PEERS[dataset].keys() - found.keys():
        print(f"{dataset}: {name} cannot be imported, not compared")
    times: dict[str, list[float]] = {"ours": [], "ours, kept": [], **{name: [] for name in found}}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for label in ("ours", "ours, kept"):
                times[label].append(processor_seconds(ours, MOSAM_CACHE=cache))
        for name, code in found.items():
            times[name].append(processor_seconds([str(python), "-c", code, str(root), str(results)]))
    own = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{dataset:10} {name:22} {middle:7.2f} s   {middle / own:5.1f} times ours", flush=True)


def main() -> None:
    """Compares what data were given for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lasot", nargs=2, type=Path, metavar=("ROOT", "RESULTS"))
    parser.add_argument("--davis", nargs=2, type=Path, metavar=("ROOT", "RESULTS"))
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of the other programs")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for dataset, given in (("lasot", options.lasot), ("davis2017", options.davis)):
        if given is None:
            print(f"{dataset}: not measured, no --{dataset.removesuffix('2017')} ROOT RESULTS given")
        else:
            compare(dataset, *(path.resolve() for path in given), options.peers, options.rounds)


if __name__ == "__main__":
    main()
