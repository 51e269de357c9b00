"""Sections of gpu.py that run processes: other programs, workers, tests, compiled networks."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_tools as tools
import peers as programs
import torch

if TYPE_CHECKING:
    from gpu import Plan

HERE = Path(__file__).resolve().parent


def peers(plan: Plan) -> None:
    """The other programs, one process each, from JPEG files to label maps; ours beside them."""
    plan.forget_models()
    cases = [
        # model, program, objects, lanes, timed clips
        (plan.large, "official", 1, 1, 2),
        (plan.large, "ours", 1, 1, 2),
        (plan.large, "ours", 1, 16, 16),
        (plan.large, "official", 10, 1, 1),
        (plan.large, "ours", 10, 1, 1),
        (plan.tiny, "official", 1, 1, 2),
        (plan.tiny, "ours", 1, 1, 2),
        (plan.tiny, "ours", 1, 16, 16),
        (plan.large, "transformers", 1, 1, 2),
        (plan.tiny, "transformers", 1, 1, 2),
        (plan.large, "ours", 10, 4, 4),
    ]
    official: dict[tuple[str, int], float] = {}
    for model, program, objects, lanes, clips in cases[1:2] if plan.quick else cases:
        found = _peer(plan, program, model, objects, lanes, clips, seconds=75)
        if found and program == "official":
            official[model, objects] = found["fps"]
        if found and (model, objects) in official:
            plan.row(
                model=model,
                program=program,
                objects=objects,
                lanes=lanes,
                times_official=found["fps"] / official[model, objects],
            )


def _peer(
    plan: Plan, program: str, model: str, objects: int, lanes: int, clips: int, seconds: float
) -> dict[str, float] | None:
    """What benchmarks/peers.py measures of one program; None where it cannot."""
    reason = programs.why_not(program, objects)
    if reason is None:
        words = [str(HERE / "peers.py"), "--only", program, "--object", str(objects), "--lane", str(lanes)]
        words += ["--model", model, "--device", plan.device, "--precision", "bf16", "--clips", str(clips)]
        started = time.perf_counter()
        last, reason = plan.child([*words, "--frames", "3" if plan.quick else "60"], 600 if plan.quick else seconds)
    if reason is not None:
        plan.row(model=model, program=program, objects=objects, lanes=lanes, failed=reason)
        return None
    found: dict[str, float] = json.loads(last)
    took = time.perf_counter() - started
    plan.row(model=model, program=program, objects=objects, lanes=lanes, **found, with_start_s=took)
    return found


def workers(plan: Plan) -> None:
    """Two worker processes on one GPU (`--gpus 0,0`) against one, from JPEG files to label maps."""
    from mosam.tracking.launch.local import gpu_slots, run_workers
    from mosam.tracking.launch.worker import WorkerSlot

    plan.forget_models()
    clips, frames = (3, 24) if plan.quick else (32, 70)
    for model, lanes in [(plan.tiny, 1)] if plan.quick else [(plan.tiny, 16), (plan.large, 16)]:
        with tempfile.TemporaryDirectory() as name:
            work = tools.ClipRunSpec(Path(name) / "clips", clips, frames, plan.size, model)
            len(work.dataset)  # makes the clips
            for count in (1, 2):
                slots = (
                    gpu_slots(",".join(["0"] * count) + ",", 1)
                    if plan.cuda
                    else [WorkerSlot("cpu", 1, 1 / count)] * count
                )
                seen = tools.Throughput(max(1, lanes // count) * count, warm=1 if plan.quick else 28)
                out = Path(name) / f"out-{count}"
                done = run_workers(work, slots, out=out, max_lanes=max(1, lanes // count), progress=seen)
                plan.row(
                    model=model,
                    workers=count,
                    lanes_each=max(1, lanes // count),
                    fps=seen.fps(clips * frames),
                    failed=len(done.failed),
                )


def tests(plan: Plan) -> None:
    """The tests marked `gpu`, in a process of their own; `batches` does what the one that compiles does."""
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE.parent / "tests" / "gpu")]
    last, reason = plan.child([*words, "-k", "not compiled", "-m", "gpu" if plan.cuda else "not gpu"], plan.left)
    plan.row(tests=last, failed=reason or "-")


def compile(plan: Plan) -> None:
    """`--compile`: seconds to start, and frames per second, each in a process of its own."""
    plan.forget_models()
    for model, lanes in [(plan.tiny, 1)] if plan.quick else [(plan.large, 16), (plan.large, 1), (plan.tiny, 1)]:
        if plan.left > 60:
            _own_process(plan, "compile", model, str(lanes))


def batches(plan: Plan) -> None:
    """`--compile` with batches that change while the next frames are encoded beside: masks as without."""
    plan.forget_models()
    _own_process(plan, "batches", "nano")


def _own_process(plan: Plan, kind: str, model: str, *more: str) -> None:
    words = [
        str(HERE / "gpu.py"),
        "--device",
        plan.device,
        "--out",
        str(plan.out),
        "--child",
        ",".join((kind, model, *more)),
    ]
    last, reason = plan.child(words + ["--quick"] * plan.quick, 600 if plan.quick else plan.left)
    plan.row(model=model, what=",".join((kind, *more)), **({"failed": reason} if reason else json.loads(last)))


def compile_here(plan: Plan, model: str, lanes: str) -> dict[str, float]:
    """The work of `compile`, in this process."""
    plain, _ = tools.speed_of(plan.model(model), int(lanes), 1, plan.size, quick=plan.quick)
    net = plan.model(model)
    net.compile()
    started = time.perf_counter()
    tools.Stepper(net, int(lanes), 1, plan.size).step()
    first = time.perf_counter() - started
    compiled, _ = tools.speed_of(net, int(lanes), 1, plan.size, quick=plan.quick)
    peak = torch.cuda.max_memory_allocated() / 2**30 if plan.cuda else float("nan")
    return {"plain_fps": plain, "compiled_fps": compiled, "first_step_s": first, "peak_gib": peak}


def batches_here(plan: Plan, model: str) -> dict[str, object]:
    """The work of `batches`, in this process."""
    net = plan.model(model, "fp32")
    expected = tools.uneven_masks(plan, net)
    net.compile()
    found: dict[str, object] = {}
    for label, ahead in (("compiled", False), ("ahead", True), ("again", True)):
        differ, worst = tools.unequal(tools.uneven_masks(plan, net, ahead=ahead), expected)
        found[label] = f"{differ} of {len(expected)} masks differ, worst {worst} pixels"
    return found


def vos(plan: Plan) -> None:
    """The official predictor compiled as a whole (`vos_optimized`); it starts slowly."""
    plan.forget_models()
    for model in (plan.large, plan.tiny)[: 1 if plan.quick else 2]:
        _peer(plan, "official-vos", model, 1, 1, 2, seconds=plan.left)


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {"compile": compile_here, "batches": batches_here}
