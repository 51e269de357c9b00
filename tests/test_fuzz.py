"""A few thousand mutated files; `python tests/fuzzing.py` runs as many as one likes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from fuzzing import mutate, readers


def test_damaged_files_are_read_or_refused_in_one_line():
    # a process of its own: memory is traced on and off, which aborts where threads of other tests are about
    program = Path(__file__).with_name("fuzzing.py")
    done = subprocess.run([sys.executable, program, "3600", "20"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    count, refused = map(int, re.search(r"(\d+) inputs in \d+ s, (\d+) refused", done.stdout).groups())
    assert count == 3600
    assert refused > 1000
    assert "\n0 faults" in done.stdout


def test_mutations_change_files(tmp_path):
    rng = np.random.default_rng(0)
    seeds = [data for reader in readers(tmp_path) for data in reader.seeds]
    assert sum(mutate(data, rng) != data for data in seeds) > 0.9 * len(seeds)
