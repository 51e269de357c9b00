"""Damaged and hostile files for every reader of what comes from outside, each read in a process of its own kind.

    python tests/fuzzing.py --inputs 100000 --seed 0 --processes 2

A reader may accept a file or raise a MosamError of one line that names the file. Anything else is a fault: a traceback,
a signal, a hang, a line without the file's name, or memory beyond a multiple of the file's own size. Inputs are read by
worker processes in a throw-away folder, so that one that dies or hangs is counted and the rest goes on. What an input
is follows from seed and number alone: `--only NUMBER` reads one again. Exit code 1 where there are faults.
"""

from __future__ import annotations

import argparse
import importlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SECONDS = 5.0  # of processor time that one input may take
START = 120.0  # seconds a worker has to start
BASE_BYTES = 48 << 20  # that a reader may use for the smallest file
BYTES_PER_BYTE = 40_000  # and for each byte more: a picture's pixels are the worst
MEASURED = 23  # of how many inputs the memory of one is measured; measuring is slow
OUTCOMES = ("accepted", "refused", "traceback", "signal", "hang", "unnamed", "lines", "memory", "slow")
FAULTS = OUTCOMES[2:]


@dataclass
class Report:
    """What happened: by reader how often each outcome, and a line for each fault."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, reader: str, outcome: str, detail: str) -> None:
        self.counts.setdefault(reader, Counter())[outcome] += 1
        if outcome in FAULTS:
            self.faults.append(f"{reader}: {outcome}: {detail}")

    def table(self) -> str:
        """Rows of Markdown."""
        shown = [outcome for outcome in OUTCOMES if outcome not in ("memory", "slow")]
        lines = [f"| reader | inputs | {' | '.join(shown)} |", f"|---|{'--:|' * (len(shown) + 1)}"]
        total: Counter[str] = Counter()
        for name, counts in self.counts.items():
            total += counts
            lines.append(_row(name, counts, shown))
        return "\n".join([*lines, _row("all", total, shown)])


def _row(name: str, counts: Counter[str], shown: list[str]) -> str:
    return f"| {name} | {sum(counts.values()):,} | {' | '.join(f'{counts[outcome]:,}' for outcome in shown)} |"


def input_of(number: int, seed: int, targets: list) -> tuple:
    """The reader and the file of a number; `targets` has each reader as often as its share says."""
    reader = targets[number % len(targets)]
    rng = np.random.default_rng((seed, number))
    sound = reader.seeds[int(rng.integers(0, len(reader.seeds)))]
    return reader, reader.mutations[int(rng.integers(0, len(reader.mutations)))](sound, rng)


def targets_of(folder: Path, module: str = "fuzz_readers") -> list:
    """Readers, mixed, each as often as its share."""
    all_readers = importlib.import_module(module).readers(folder)
    return [reader for turn in range(40) for reader in all_readers if turn * reader.share % 40 < reader.share]


def read(reader: object, data: bytes, measured: bool) -> tuple[str, str]:
    """One file: outcome and detail."""
    from mosam.errors import MosamError

    if measured:
        tracemalloc.start()
    started = time.thread_time()
    outcome, detail = "accepted", ""
    try:
        reader.read(data)  # type: ignore[attr-defined]
    except MosamError as error:
        outcome, detail = "refused", str(error)
        line = detail.split("; expected tree:")[0]
        if reader.file not in line:  # type: ignore[attr-defined]
            outcome = "unnamed"
        elif any(ord(letter) < 32 or letter == "\x7f" for letter in line):
            outcome = "lines"
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        outcome, detail = "traceback", f"{type(error).__name__}: {error}{where}"
    seconds = time.thread_time() - started
    if measured:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > BASE_BYTES + BYTES_PER_BYTE * len(data):
            outcome, detail = "memory", f"{peak} bytes of memory for {len(data)}"
    if seconds > SECONDS:
        outcome, detail = "slow", f"{seconds:.1f} s"
    return outcome, detail


def work(arguments: argparse.Namespace) -> None:
    """A worker: reads its part of the inputs, a line on standard output for each."""
    sys.path.insert(0, str(Path(__file__).parent))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    folder = Path(arguments.folder)
    targets = targets_of(folder, arguments.readers)
    numbers = range(arguments.first, arguments.inputs, arguments.processes)
    for number in numbers:
        reader, data = input_of(number, arguments.seed, targets)
        out.write(f"{number} {reader.name}\t?\n")
        measured = reader.measured and number // len(targets) % MEASURED == 0
        outcome, detail = read(reader, data, measured)
        out.write(f"{number} {reader.name}\t{outcome}\t{ascii(detail)[1:300]}\n")
    out.write("end\n")


@dataclass
class _Worker:
    """A worker process, seen from outside."""

    arguments: argparse.Namespace
    first: int
    folder: str
    process: subprocess.Popen = field(init=False)
    rest: bytes = b""
    open_input: tuple[int, str] | None = None
    heard: float = 0.0

    def start(self) -> None:
        given = self.arguments
        words = ["--work", "--inputs", given.inputs, "--seed", given.seed, "--processes", given.processes]
        words += ["--readers", given.readers]
        command = [sys.executable, __file__, *map(str, words), "--first", str(self.first), "--folder", self.folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": self.folder, "TMPDIR": self.folder}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        self.rest, self.open_input, self.heard = b"", None, time.monotonic()

    def lines(self) -> list[str]:
        data = os.read(self.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
        *whole, self.rest = (self.rest + data).split(b"\n")
        self.heard = time.monotonic()
        return [line.decode() for line in whole] if data else []


def fuzz(arguments: argparse.Namespace) -> Report:
    """Reads all inputs in worker processes."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="mosam-fuzz-") as folder:
        workers = []
        for part in range(arguments.processes):
            place = Path(folder, str(part))
            place.mkdir()
            workers.append(_Worker(arguments, part, str(place)))
        chosen = selectors.DefaultSelector()
        for worker in workers:
            worker.start()
            chosen.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        while chosen.get_map():
            for key, _ in chosen.select(1.0):
                lines = key.data.lines()
                _take(report, key.data, lines)
                if not lines and not key.data.rest:
                    _ended(report, chosen, key.data)
            for key in list(chosen.get_map().values()):
                if time.monotonic() - key.data.heard > (START if key.data.open_input is None else arguments.hang):
                    key.data.process.send_signal(signal.SIGKILL)
    return report


def _take(report: Report, worker: _Worker, lines: list[str]) -> None:
    for line in lines:
        if line == "end":
            worker.first = worker.arguments.inputs
            worker.open_input = None
            continue
        head, *outcome = line.split("\t")
        number, _, reader = head.partition(" ")
        if outcome[0] == "?":
            worker.open_input = (int(number), reader)
        else:
            report.add(reader, outcome[0], f"{number}: {outcome[1]}")
            worker.open_input, worker.first = None, int(number) + worker.arguments.processes


def _ended(report: Report, chosen: selectors.BaseSelector, worker: _Worker) -> None:
    """Counts what ended a worker, and starts it again behind that input."""
    chosen.unregister(worker.process.stdout)  # type: ignore[arg-type]
    code = worker.process.wait()
    if worker.open_input is not None:
        number, reader = worker.open_input
        report.add(reader, "hang" if code == -signal.SIGKILL else "signal", f"{number}: exit code {code}")
        worker.first = number + worker.arguments.processes
    elif code != 0:
        raise RuntimeError(f"a worker ended with {code} between inputs")
    if worker.first < worker.arguments.inputs:
        worker.start()
        chosen.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]


def main(words: list[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--hang", type=float, default=60.0, help="seconds after which an input counts as hanging")
    parser.add_argument("--readers", default="fuzz_readers", help=argparse.SUPPRESS)
    parser.add_argument("--only", type=int, help="read this one input here, with its traceback")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.work:
        work(arguments)
        return 0
    if arguments.only is not None:
        with tempfile.TemporaryDirectory(prefix="mosam-fuzz-") as folder:
            reader, data = input_of(arguments.only, arguments.seed, targets_of(Path(folder)))
            print(f"{reader.name}: {len(data)} bytes: {data[:2000]!r}")
            print(reader.read(data))
        return 0
    started = time.perf_counter()
    report = fuzz(arguments)
    inputs = sum(sum(counts.values()) for counts in report.counts.values())
    print(report.table())
    print(f"\n{inputs} inputs in {time.perf_counter() - started:.0f} s")
    for fault in report.faults[:40]:
        print(fault)
    print(f"{len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
