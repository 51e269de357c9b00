"""A few thousand mutated files; `python tests/fuzzing.py` runs as many as one likes."""

import numpy as np
from fuzzing import fuzz, mutate, readers


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    report = fuzz(3600, 20, tmp_path)
    assert report.faults == []
    assert report.inputs == 3600
    assert report.refused > 1000


def test_mutations_change_files(tmp_path):
    rng = np.random.default_rng(0)
    seeds = [data for reader in readers(tmp_path) for data in reader.seeds]
    assert sum(mutate(data, rng) != data for data in seeds) > 0.9 * len(seeds)
