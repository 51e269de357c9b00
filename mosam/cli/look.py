"""Commands that show: demo, doctor, bench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.cli.output import note
from mosam.commands.demo.run import DemoOptions
from mosam.system import options as shared
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}
DONE, FAILED = 0, 1


@command(DemoOptions, table=COMMANDS)
def demo(options: DemoOptions) -> int:
    """Track objects in your own video and look at the result."""
    from mosam.commands.demo.run import run_demo
    from mosam.commands.demo.write import OVERLAY
    from mosam.commands.progress import FrameView

    result = run_demo(options, FrameView)
    print("\n".join(result.lines()))
    print(result.out / OVERLAY)
    if result.problem is not None:
        note(f"{result.problem}; what was tracked before is kept")
    elif result.interrupted:
        note(f"stopped after {result.frames} frames, which are kept")
    return FAILED if result.problem is not None else DONE


@command(table=COMMANDS)
def doctor() -> int:
    """Report what this installation has: versions, devices, decoders, optional parts, checkpoints, data, and advice."""
    from mosam.commands.doctor import examine, report

    findings = list(examine())
    print(report(findings))
    return FAILED if any(finding.state == "bad" for finding in findings) else DONE


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The options of `mosam bench`."""

    tracker: str | None = shared.TRACKERS.field()
    model: str | None = shared.MODEL.field(usual="large on a GPU, else nano")
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    objects: str = option("Objects in a clip; commas for several measurements.", "1")
    lanes: str = option("Clips tracked together; commas for several measurements.", "1")
    frames: int | None = option("Timed frames per clip.", None, usual="20, on a GPU 100", least=1)
    size: str = option("Of the frames, WIDTHxHEIGHT.", "1280x720")
    compile: bool = shared.COMPILE.field()
    format: str = shared.FORMAT.field()
    json: Path | None = shared.JSON.field(help="Also write the numbers to this file.")


@command(BenchOptions, table=COMMANDS)
def bench(options: BenchOptions) -> None:
    """Measure speed from images to result files, by stage, and against what the device can do."""
    from mosam.commands.bench import parse_numbers, parse_size, render_bench, run_bench

    results = run_bench(
        options.tracker,
        options.model,
        options.device,
        options.precision,
        objects=parse_numbers("--objects", options.objects),
        lanes=parse_numbers("--lanes", options.lanes),
        frames=options.frames,
        size=parse_size(options.size),
        compile=options.compile,
        json_file=options.json,
    )
    print(render_bench(results, options.format))
