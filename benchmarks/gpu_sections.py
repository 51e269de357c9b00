"""The sections of gpu.py, in the order in which they run."""

from __future__ import annotations

import collections
import contextlib
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_tools as tools
import numpy as np
import torch
from gpu_processes import batches, compile, peers, tests, vos, workers
from torch import Tensor

import mosam
from mosam.engine import transfer
from mosam.engine.capacity import measure_capacity
from mosam.engine.stages import StageClock, TimedBackbone, count_flops, gpu_busy_share, matmul_rate, synchronize
from mosam.model.formulas import Rotary, turn_pairs
from mosam.model.graphs import OFTEN
from mosam.model.norms import add_norm
from mosam.model.preprocess import load_pixels

if TYPE_CHECKING:
    from gpu import Plan

HERE = Path(__file__).resolve().parent
GRAY_LEVELS = 255 * 0.225  # of a normalized pixel, about


@dataclass(frozen=True)
class Section:
    """A part of the plan.

    Attributes:
        work: does it; its first line of documentation is its title.
        need: seconds without which it is not begun.
        limit: seconds after which it is ended.
    """

    work: Callable[[Plan], None]
    need: float
    limit: float

    @property
    def title(self) -> str:
        """One line."""
        return (self.work.__doc__ or "").strip().splitlines()[0].rstrip(".")


def where(plan: Plan) -> None:
    """The machine: rates of the device, cost of a launch, lanes that fit."""
    from mosam.datasets.decoders import decoder_in_use

    device = torch.device(plan.device)
    plan.row(torch=torch.__version__, numpy=np.__version__, decoder=decoder_in_use(), threads=torch.get_num_threads())
    if plan.cuda:
        block = torch.empty(2**30, dtype=torch.uint8, device=device)
        other = torch.empty_like(block)
        copy = 2 * block.numel() / tools.milliseconds(device, lambda: other.copy_(block), 0.2) / 1e9
        small = torch.zeros(1, device=device)
        synchronize(device)
        started = time.perf_counter()
        for _ in range(2000):
            small.add_(1)
        launch = (time.perf_counter() - started) / 2000
        rate = matmul_rate(device, torch.bfloat16, seconds=0.2)
        plan.row(copy_tb_s=copy, bf16_tflop_s=rate / 1e12, launch_us=1e6 * launch, cudnn=torch.backends.cudnn.version())
    for name in dict.fromkeys((plan.tiny, plan.large)):
        found = measure_capacity(plan.model(name), mosam.load_policy("sam2"))
        plan.row(model=name, rows_that_fit=found.fits, useful=found.useful, lanes_auto=found.lanes)


def correct(plan: Plan) -> None:
    """Stages against fp32 on the processor, graphs and kernels against plain calls, clips of toy as a whole."""
    _compare_resize(plan)
    _compare_stages(plan)
    for name in dict.fromkeys((plan.tiny, plan.large)):
        _compare_graphs(plan, name, rows=1)
    _compare_kernels(plan)
    data = mosam.load_dataset("toy").select(["scale-1"] if plan.quick else ["scale-1", "full_occlusion-1"])
    frames = 4 if plan.quick else 40
    for tracker in ("sam2",) if plan.quick else ("sam2", "mosam"):
        expected = tools.tracked_masks(data, plan.model("nano", "fp32", "cpu"), tracker, 1, frames)
        for precision, lanes in (("fp32", 1), ("fp32", 2), ("bf16", 1)):
            found = tools.tracked_masks(data, plan.model("nano", precision), tracker, lanes, frames)
            pixels, least = tools.differences(found, expected)
            plan.row(
                clip="toy", tracker=tracker, precision=precision, lanes=lanes, worst_pixels=pixels, least_iou=least
            )


def _compare_resize(plan: Plan) -> None:
    shot = tools.pictures(plan.size if plan.quick else (720, 1280), 1)
    for filter in ("pil_bicubic", "tv_bilinear_aa", "tv_bilinear"):
        here = load_pixels(shot, 1024, resize=filter, device=torch.device("cpu"))
        there = load_pixels(shot, 1024, resize=filter, device=torch.device(plan.device), on_device=plan.cuda)
        plan.row(resize=filter, gray_levels=float((here - there.cpu()).abs().max()) * GRAY_LEVELS)


def _compare_stages(plan: Plan) -> None:
    """Each call alone, on inputs that are the same for all."""
    with torch.inference_mode():
        ours = plan.model(plan.tiny, "fp32", "cpu")
        features = ours.encode(ours.preprocess(tools.pictures(plan.size, 1)))
        expected = {name: work()[0] for name, work in tools.steady_calls(ours, 1, plan.size, features).items()}
        for precision in ("fp32", "bf16"):
            calls = tools.steady_calls(plan.model(plan.tiny, precision), 1, plan.size, features)
            plan.row(precision=precision, **{k: tools.error_of(work()[0], expected[k]) for k, work in calls.items()})


def _compare_graphs(plan: Plan, name: str, rows: int) -> None:
    """Bit by bit, with the milliseconds of both ways."""
    net = plan.model(name)
    with torch.inference_mode():
        calls = tools.steady_calls(net, rows, plan.size)
        for call, work in calls.items():
            with tools.graphs_of(net, used=False):
                expected = [x.clone() for x in work()]
                plain = tools.milliseconds(net.device, work, 0.2)
            with tools.graphs_of(net):
                found = [work() for _ in range(OFTEN + 2)][-1]
                made, graph = tools.graphs_made(net), tools.milliseconds(net.device, work, 0.2)
            same = all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
            plan.row(model=name, rows=rows, call=call, equal=same, graphs=made, plain_ms=plain, graph_ms=graph)


def _compare_kernels(plan: Plan) -> None:
    """Rotary code and normalization as one kernel against torch's operations, in bf16."""
    device = torch.device(plan.device)
    grid, slots, rows, width = (8, 2, 2, 64) if plan.quick else (64, 7, 16, 256)
    rotary = Rotary(grid, width, formulas="official", device=device)
    keys = torch.randn(rows, slots * grid * grid + 64, width, device=device).bfloat16()
    if rotary.pairs is None:  # on a processor; the plain form stands for the kernel
        assert rotary.turn is not None
        rotary.pairs = rotary.turn.real.contiguous(), rotary.turn.imag.contiguous()
    kernel, count = rotary._kernel or turn_pairs, slots * grid * grid
    one, other = keys.clone(), keys.clone()
    kernel(one, *rotary.pairs, count)
    turn_pairs(other, *rotary.pairs, count)
    took = [tools.milliseconds(device, lambda f=f: f(keys, *rotary.pairs, count), 0.2) for f in (kernel, turn_pairs)]
    plan.row(
        kernel="rotary",
        there=rotary._kernel is not None,
        error=tools.error_of(one, other),
        ms=took[0],
        plain_ms=took[1],
    )

    shape = (2, 64, 144) if plan.quick else (16, 65536, 144)
    norm = torch.nn.LayerNorm(shape[-1], device=device)
    x, added = (torch.randn(shape, device=device).bfloat16() for _ in range(2))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):

        def work() -> Tensor:
            return add_norm(norm, x, added)[1].bfloat16()

        found, ms = work(), tools.milliseconds(device, work, 0.2)
        with tools.no_norm_kernel(None):
            expected, plain = work(), tools.milliseconds(device, work, 0.2)
    plan.row(kernel="add and norm", there=plan.cuda, error=tools.error_of(found, expected), ms=ms, plain_ms=plain)


def same(plan: Plan) -> None:
    """What must not change masks: encoding ahead, repetition, packed transfer."""
    for name, precision in ((plan.tiny, "bf16"), ("nano", "fp32")):
        net = plan.model(name, precision)
        expected = tools.uneven_masks(plan, net)
        for label, more in (("encode ahead", {"ahead": True}), ("again", {})):
            differ, worst = tools.unequal(tools.uneven_masks(plan, net, **more), expected)
            plan.row(
                model=name, precision=precision, what=label, masks=len(expected), differ=differ, worst_pixels=worst
            )
    masks = [torch.rand(n, *plan.size, device=plan.device) > 0.5 for n in (1, 3)]
    exact = all((a == b.cpu().numpy()).all() for a, b in zip(transfer.to_host(masks), masks, strict=True))
    plan.row(what="packed transfer", exact=exact)


def syncs(plan: Plan) -> None:
    """Waits of the host in a step of two lanes, by torch's own detector; 2 are needed."""
    for tracker in ("sam2", "mosam", "dam4sam"):
        stepper = tools.Stepper(plan.model(plan.tiny), 2, 1, plan.size, tracker=tracker).fill(plan.quick)
        steps, before = 4, transfer.COUNTS.copy()
        with _waits(plan) as found:
            for _ in range(steps):
                stepper.step()
        used = transfer.COUNTS - before
        waits = sum(found.values()) / steps if plan.cuda else "-"
        plan.row(tracker=tracker, waits=waits, uploads=used["uploads"] / steps, downloads=used["downloads"] / steps)
        for place, count in found.most_common(8):
            plan.say(f"    {count / steps:5.1f}  {place}")


@contextlib.contextmanager
def _waits(plan: Plan) -> Iterator[collections.Counter[str]]:
    """Counts what torch warns of, by the line of ours that did it."""
    found: collections.Counter[str] = collections.Counter()

    def see(message: object, category: object, file: str, line: int, *more: object) -> None:
        if "synchroniz" in str(message).lower():
            ours = [f for f in traceback.extract_stack() if "mosam" in f.filename and HERE.name not in f.filename]
            found[
                f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else f"{file}:{line}"
            ] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = see  # type: ignore[assignment]
        if plan.cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            if plan.cuda:
                torch.cuda.set_sync_debug_mode("default")


def speed(plan: Plan) -> None:
    """Frames per second of the engine alone: pictures in memory, no files, memory full."""
    cases = [(plan.large, 1, 1), (plan.large, 16, 1), (plan.tiny, 1, 1), (plan.tiny, 16, 1), (plan.large, 1, 10)]
    cases += [(plan.tiny, 1, 10), (plan.large, 4, 1), (plan.tiny, 4, 1), (plan.large, 32, 1), (plan.tiny, 32, 1)]
    for model, lanes, objects in [(plan.tiny, 2, 2)] if plan.quick else cases:
        net = plan.model(model)
        plan.free()
        with tools.graphs_of(net):
            fps, host = tools.speed_of(net, lanes, objects, plan.size, quick=plan.quick)
            peak = torch.cuda.max_memory_allocated() / 2**30 if plan.cuda else float("nan")
            made = tools.graphs_made(net)
        plan.row(model=model, lanes=lanes, objects=objects, fps=fps, host_ms=host, graphs=made, peak_gib=peak)


def busy(plan: Plan) -> None:
    """Share of the time in which the GPU works, of its matrix rate that is reached, and milliseconds by stage."""
    device = torch.device(plan.device)
    rate = matmul_rate(device, torch.bfloat16, seconds=0.3)
    cases = [(plan.large, 16, 1), (plan.large, 1, 1), (plan.tiny, 1, 1), (plan.large, 1, 10), (plan.tiny, 16, 1)]
    for model, lanes, objects in [(plan.tiny, 1, 1)] if plan.quick else cases:
        _busy_of(plan, rate, model, lanes, objects)


def _busy_of(plan: Plan, rate: float, model: str, lanes: int, objects: int) -> None:
    net, steps = plan.model(model), 2 if plan.quick else 8
    plan.free()
    stepper = tools.Stepper(net, lanes, objects, plan.size).fill(plan.quick)

    def work() -> None:
        for _ in range(steps):
            stepper.step()

    synchronize(net.device)
    started = time.perf_counter()
    work()
    synchronize(net.device)
    step = (time.perf_counter() - started) / steps
    share = gpu_busy_share(net.device, work)
    with tools.graphs_of(net, used=False):  # a graph's operations cannot be counted
        flops = count_flops(stepper.step)
    achieved = flops / step / rate
    plan.row(
        model=model, lanes=lanes, objects=objects, step_ms=1000 * step, busy="-" if share is None else share,
        tflop_a_frame=flops / lanes / 1e12, of_matrix_rate=achieved,
    )  # fmt: skip
    clock = StageClock(net.device)
    timed = tools.Stepper(TimedBackbone(net, clock), lanes, objects, plan.size, ahead=False).fill(plan.quick)
    clock.seconds.clear()
    started = time.perf_counter()
    for _ in range(steps):
        timed.step()
    whole = time.perf_counter() - started
    stages = {name: 1000 * seconds / steps for name, seconds in clock.seconds.items()}
    other = 1000 * whole / steps - sum(stages.values())
    plan.row(model=model, lanes=lanes, objects=objects, **{f"{k}_ms": v for k, v in stages.items()}, other_ms=other)


def wins(plan: Plan) -> None:
    """What each means brings: the engine with one of them switched off in turn."""
    off: dict[str, Callable[[Any], contextlib.AbstractContextManager[None]]] = {
        "graphs": lambda net: tools.graphs_of(net, used=False),
        "rotary kernel": tools.no_rotary_kernel,
        "norm kernel": tools.no_norm_kernel,
        "choice of attention": tools.torchs_attention,
        "one host thread": tools.many_threads,
        "encode ahead": lambda net: contextlib.nullcontext(),
    }
    cases = [(plan.tiny, 1)] if plan.quick else [(plan.large, 1), (plan.large, 16), (plan.tiny, 1), (plan.tiny, 16)]
    for model, lanes in cases:
        net, found = plan.model(model), {}
        for label in ("-", *off, "- again"):
            plan.free()
            with tools.graphs_of(net), off.get(label, lambda net: contextlib.nullcontext())(net):
                found[label], _ = tools.speed_of(
                    net, lanes, 1, plan.size, quick=plan.quick, ahead=label != "encode ahead"
                )
            whole = found["-"]
            plan.row(model=model, lanes=lanes, without=label, fps=found[label], whole_is_times=whole / found[label])


def oom(plan: Plan) -> None:
    """Out of memory: rows of a call go down, and come back (that a run ends well is among the tests)."""
    if not plan.cuda:
        plan.say("  left out: needs CUDA")
        return
    net = plan.model(plan.tiny)
    plan.free()
    total, base = torch.cuda.get_device_properties(0).total_memory, torch.cuda.memory_allocated()
    for gib in (3.0, 1.2):
        try:
            torch.cuda.set_per_process_memory_fraction((base + gib * 2**30) / total)
            with tools.graphs_of(net):
                stepper = tools.Stepper(net, 16, 1, plan.size)
                rows = []
                for _ in range(80):
                    stepper.step()
                    rows.append(stepper.engine.runner.max_rows)
            peak = torch.cuda.max_memory_reserved() / 2**30
            plan.row(gib_beside_weights=gib, least_rows=min(rows), rows_at_the_end=rows[-1], reserved_gib=peak)
        except Exception as error:
            plan.row(gib_beside_weights=gib, failed=f"{type(error).__name__} {str(error)[:120]}")
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            plan.free()


def flat(plan: Plan) -> None:
    """Memory of the GPU and the host over 2,000 frames of two small videos."""
    net, size = plan.model("random:nano", "fp32"), (96, 160)
    marks = (5, 20, 39) if plan.quick else (200, 500, 1000, 1500, 1999)
    for tracker in ("sam2", "mosam")[: 1 if plan.quick else 2]:
        plan.free()
        stepper = tools.Stepper(net, 2, 1, size, tracker=tracker)
        for t in range(marks[-1] + 1):
            stepper.step()
            if t in marks:
                pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
                gpu = (
                    [torch.cuda.memory_allocated() / 2**20, torch.cuda.memory_reserved() / 2**20]
                    if plan.cuda
                    else [0.0, 0.0]
                )
                host = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
                rows = len(stepper.engine.bank.features)
                plan.row(tracker=tracker, frame=t, host_mib=host, gpu_mib=gpu[0], reserved_mib=gpu[1], bank_rows=rows)


def trackers(plan: Plan) -> None:
    """Frames per second of every tracker, the engine alone."""
    net = plan.model(plan.tiny)
    for tracker in ("sam2", "samurai", "dam4sam", "sam2long", "mosam"):
        for lanes in (1,) if plan.quick else (1, 8):
            plan.free()
            with tools.graphs_of(net):
                fps, host = tools.speed_of(net, lanes, 1, plan.size, quick=plan.quick, tracker=tracker)
            plan.row(tracker=tracker, lanes=lanes, fps=fps, host_ms=host)


SECTIONS = {
    "where": Section(where, 5, 40),
    "correct": Section(correct, 20, 90),
    "same": Section(same, 8, 30),
    "syncs": Section(syncs, 5, 20),
    "peers": Section(peers, 40, 300),
    "speed": Section(speed, 20, 90),
    "busy": Section(busy, 15, 60),
    "wins": Section(wins, 20, 150),
    "workers": Section(workers, 40, 120),
    "tests": Section(tests, 40, 180),
    "oom": Section(oom, 10, 40),
    "flat": Section(flat, 20, 120),
    "trackers": Section(trackers, 12, 60),
    "compile": Section(compile, 170, 400),
    "batches": Section(batches, 60, 200),
    "vos": Section(vos, 100, 400),
}
