"""What mosam does on a GPU: correct, without waits, faster than its peers, and what each of its means brings.

    python benchmarks/gpu.py [--minutes 9] [--only correct,peers] [--skip wins] [--out gpu_out] [--device cuda]
    python benchmarks/gpu.py --sections
    python benchmarks/gpu.py --device cpu --quick      # a dry run of everything with the smallest network

A GPU may be at hand for minutes only: sections run in order of worth, each has a limit of time, every result is printed
at once, and a section that fails says so and the next one runs. The folder of `--out` gets `results.json`,
`results.md` (tables for docs/benchmarks.md) and `log.txt`. Peers are those of benchmarks/peers.py, where they can be
imported. Weights are random, clips are made; speed does not depend on either.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_sections import Section

STARTED = time.perf_counter()
MARGIN = 10.0  # seconds of the whole that are kept for the end
QUICK_LIMIT = 600.0  # seconds of a section of a dry run


class OutOfTimeError(BaseException):
    """A section has had its time; not an Exception, so that no part of it takes it for a failure of its own."""


@dataclass
class Plan:
    """What is asked for, what is left of the time, and what was found.

    Attributes:
        device: as torch calls it.
        quick: the smallest network and small pictures.
        out: folder of the results.
        minutes: of the whole.
    """

    device: str
    quick: bool
    out: Path
    minutes: float
    results: dict[str, Any] = field(default_factory=dict)
    _models: dict[tuple, Any] = field(default_factory=dict)
    _section: str = ""
    _until: float = float("inf")

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.startswith("cuda")

    @property
    def tiny(self) -> str:
        """The smallest published network."""
        return "random:nano" if self.quick else "random:tiny"

    @property
    def large(self) -> str:
        """The largest published network."""
        return "random:nano" if self.quick else "random:large"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of pictures."""
        return (96, 160) if self.quick else (480, 854)

    @property
    def left(self) -> float:
        """Seconds until the section, or all, must end."""
        whole = QUICK_LIMIT if self.quick else 60 * self.minutes - (time.perf_counter() - STARTED)
        return min(whole, self._until - time.perf_counter())

    def say(self, *words: object) -> None:
        """Prints a line and keeps it in the log."""
        line = " ".join(map(str, words))
        print(line, flush=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def row(self, **values: object) -> None:
        """Prints and keeps one result of the running section; all rows with the same names make a table."""
        self.say("  " + "  ".join(f"{name}={shown(value)}" for name, value in values.items()))
        self.results[self._section]["rows"].append(values)
        self.write()

    def write(self) -> None:
        """The files, as far as they go."""
        (self.out / "results.json").write_text(json.dumps(self.results, indent=1, default=str) + "\n", encoding="utf-8")
        (self.out / "results.md").write_text(render(self.results), encoding="utf-8")

    def model(self, name: str, precision: str = "bf16", device: str | None = None) -> Any:
        """A network, loaded once."""
        import mosam

        key = (name, precision, device or self.device)
        if key not in self._models:
            self._models[key] = mosam.load_model(name, device=key[2], precision=precision)  # type: ignore[arg-type]
        return self._models[key]

    def child(self, words: list[str], seconds: float, **environment: str) -> tuple[str, str | None]:
        """The last line that a Python program prints, and why it failed or None; all it says is kept in a file."""
        limit = max(5.0, min(seconds, self.left - 2))
        place = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        with subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=place,
        ) as process:  # fmt: skip
            late = False
            try:
                said, complained = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                late = True
                process.send_signal(signal.SIGABRT)  # it says where every thread is
                try:
                    said, complained = process.communicate(timeout=5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    said, complained = process.communicate()
            except BaseException:
                process.kill()
                raise
        self._keep_output(words, said, complained)
        last = (said.strip().splitlines() or [""])[-1]
        if late:
            return last, f"no end within {limit:.0f} s"
        if process.returncode == 0:
            return last, None
        return last, (complained.strip().splitlines() or [last or f"exit code {process.returncode}"])[-1][:300]

    def _keep_output(self, words: list[str], *texts: str) -> None:
        with (self.out / f"{self._section or 'child'}.txt").open("a", encoding="utf-8") as file:
            file.write("\n".join([" ".join(words), *texts]) + "\n")

    def run(self, name: str, section: Section) -> None:
        """One section, whatever becomes of it."""
        limit = min(section.limit, self.left) if not self.quick else QUICK_LIMIT
        self._section, self._until = name, time.perf_counter() + limit
        found = self.results[name] = {"title": section.title, "rows": []}
        self.say(f"== {name}: {section.title} ({self.left:.0f} s)")
        started = time.perf_counter()
        try:
            # a call that hangs inside a library ends no section: where it hangs is said all the same
            with traced(limit + 2, self.out / "late.txt"), limited(limit), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                section.work(self)
        except OutOfTimeError:
            found["failed"] = f"ended after its {limit:.0f} s"
        except Exception as error:
            found["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            with (self.out / "log.txt").open("a", encoding="utf-8") as log:
                log.write(traceback.format_exc())
        if "failed" in found:
            self.say(f"!! {name}: {found['failed']}")
        self._until = float("inf")
        found["seconds"] = round(time.perf_counter() - started, 1)
        self.say(f"-- {name}: {found['seconds']} s")
        self.free()
        self.write()

    def free(self) -> None:
        """Gives back what the device's allocator keeps, and forgets its peak."""
        import torch

        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def forget_models(self) -> None:
        """Gives the networks back: the next program wants the device for itself."""
        self._models.clear()
        self.free()


@contextlib.contextmanager
def traced(seconds: float, path: Path) -> Iterator[None]:
    """Writes where every thread is, should the block not have ended after so many seconds."""
    with path.open("a", encoding="utf-8") as file:
        faulthandler.dump_traceback_later(seconds, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `OutOfTimeError` inside after so many seconds, as soon as Python code runs."""

    def end(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def shown(value: object) -> str:
    """A number with four figures, anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def render(results: dict[str, Any]) -> str:
    """Results as Markdown: a heading for each section, a table for each set of columns."""
    lines = []
    for name, section in results.items():
        if "rows" not in section:  # where it ran
            lines += [", ".join(f"{key} {value}" for key, value in section.items()), ""]
            continue
        lines += [f"### {name}", "", section["title"], ""]
        if "failed" in section:
            lines += [f"Not whole: {section['failed']}.", ""]
        columns: tuple[str, ...] = ()
        for row in section["rows"]:
            if tuple(row) != columns:
                lines += [""] * bool(columns)
                columns = tuple(row)
                lines += ["| " + " | ".join(columns).replace("_", " ") + " |", "|" + "---|" * len(columns)]
            lines.append("| " + " | ".join(shown(value).replace("|", "/") for value in row.values()) + " |")
        lines.append("")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole; sections that need more are left out")
    parser.add_argument("--only", default="", help="sections with commas, in this order")
    parser.add_argument("--skip", default="", help="sections with commas")
    parser.add_argument("--sections", action="store_true", help="list them")
    parser.add_argument("--quick", action="store_true", help="a dry run with the smallest network")
    parser.add_argument("--out", type=Path, default=Path("gpu_out"))
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Runs the plan."""
    options = parse()
    os.environ.setdefault("USER", "root")  # torch asks for it, and fails for a user without a name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("MOSAM_GRAPHS", "1")
    import torch
    from gpu_processes import CHILDREN
    from gpu_sections import SECTIONS

    if options.sections:
        for name, section in SECTIONS.items():
            print(f"{name:10} {section.need:4.0f} to {section.limit:4.0f} s  {section.title}")
        return 0
    wanted = [name for name in options.only.split(",") if name] or list(SECTIONS)
    skipped = options.skip.split(",")
    unknown = [name for name in (*wanted, *skipped) if name and name not in SECTIONS]
    if unknown:
        print(f"gpu: no section {', '.join(unknown)}; --sections lists them", file=sys.stderr)
        return 2
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu: no GPU here; --device cpu --quick is a dry run")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(options.device, options.quick, options.out, options.minutes - MARGIN / 60)
    if options.child:
        kind, *values = options.child.split(",")
        print(json.dumps(CHILDREN[kind](plan, *values)))
        return 0
    plan.results["machine"] = {
        "card": torch.cuda.get_device_name() if plan.cuda else platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:]),
    }
    for name in wanted:
        if name in skipped:
            continue
        if plan.left < SECTIONS[name].need:
            plan.say(f"== {name}: left out, {plan.left:.0f} s left of the {SECTIONS[name].need:.0f} it needs")
            continue
        plan.run(name, SECTIONS[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
