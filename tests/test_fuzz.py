"""Some thousand damaged files; `python tests/fuzzing.py` reads as many as one likes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz_readers import readers
from fuzzing import input_of, targets_of

for needed in ("av", "lmdb"):  # its readers read what these have written
    pytest.importorskip(needed)

FUZZING = Path(__file__).with_name("fuzzing.py")
NEVER_SOUND = ("checkpoint, zip", "checkpoint, old form", "safetensors", "its description", "config.json")


def counts_of(reader, text):
    row = re.search(rf"\| {reader} \| [\d,]+ \|([^\n]*)\|", text)[1]
    return [int(number.replace(",", "")) for number in row.split("|")]


def test_damaged_files_are_read_or_refused_in_one_line_that_names_them():
    command = [sys.executable, FUZZING, "--inputs", "2400", "--seed", "20", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    accepted, refused, *faults = counts_of("all", done.stdout)
    assert refused > accepted > 100
    assert faults == [0] * 5
    assert "\n0 faults" in done.stdout


def test_sound_files_are_read(tmp_path):
    for reader in readers(tmp_path):
        for seed in reader.seeds if reader.name not in NEVER_SOUND else ():
            reader.read(seed)


def test_mutations_change_files(tmp_path):
    rng = np.random.default_rng(0)
    found = [
        (mutation(seed, rng), seed) for one in readers(tmp_path) for seed in one.seeds for mutation in one.mutations
    ]
    assert sum(after != before for after, before in found) > 0.9 * len(found)


def test_an_input_follows_from_seed_and_number(tmp_path):
    targets = targets_of(tmp_path)
    for number in (0, 17, 40):
        assert input_of(number, 3, targets)[1] == input_of(number, 3, targets)[1]


BAD = """
import os, signal, time
from fuzz_readers import Reader
from mosam.errors import MosamError

def fail(how):
    def read(data):
        if len(data) % 3:
            how()
    return read

def refuse(text):
    raise MosamError(text)

def readers(folder):
    ways = {
        "bus": lambda: os.kill(os.getpid(), signal.SIGBUS),
        "hang": lambda: time.sleep(60),
        "trace": lambda: {}["x"],
        "unnamed": lambda: refuse("expected another"),
        "lines": lambda: refuse("a.txt: two" + chr(10) + "lines"),
        "fine": lambda: refuse("a.txt: expected another"),
    }
    grow = lambda data, rng: data + bytes(int(rng.integers(0, 2)))
    return tuple(Reader(name, fail(how), (b"xxx",), "a.txt", (grow,), 40) for name, how in ways.items())
"""


def test_what_kills_a_worker_is_counted_and_the_rest_goes_on(tmp_path):
    (tmp_path / "bad_readers.py").write_text(BAD)
    paths = [str(tmp_path), str(FUZZING.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    words = ["--inputs", "36", "--processes", "2", "--hang", "1", "--readers", "bad_readers"]
    done = subprocess.run(
        [sys.executable, FUZZING, *words], capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    for column, reader in enumerate(("fine", "trace", "bus", "hang", "unnamed", "lines"), start=1):
        counts = counts_of(reader, done.stdout)
        assert sum(counts) == 6
        assert counts[column] == 6 - counts[0] > 0, (reader, counts)
