"""Where the time of a frame goes: a network whose calls are timed, its arithmetic, and what the device can do."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mosam.model.backbone import Backbone

CALLS = {  # of a backbone -> stage they are part of
    "preprocess": "resize",
    "encode": "encode",
    "attend": "attend",
    "without_memory": "decode masks",
    "decode": "decode masks",
    "prompt_tokens": "decode masks",
    "no_prompt": "decode masks",
    "mask_prompt": "decode masks",
    "mask_dense_prompt": "decode masks",
    "pointer": "decode masks",
    "memorize": "memorize",
    "pool_tokens": "memorize",
}
RATE_SIDE = {"cpu": 1536, "cuda": 8192}  # side of the matrices whose product is timed
RATE_SECONDS = 1.0


class StageClock:
    """Seconds by stage.

    Args:
        device: its queue is waited for at both ends of a stage.

    Attributes:
        seconds: by stage.
    """

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside."""
        synchronize(self._device)
        started = time.perf_counter()
        try:
            yield
        finally:
            synchronize(self._device)
            self.seconds[name] += time.perf_counter() - started


class TimedBackbone:
    """A backbone whose calls are timed; otherwise the same."""

    def __init__(self, model: Backbone, clock: StageClock):
        self._model, self._clock = model, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        if name not in CALLS:
            return value

        def timed(*arguments: Any, **named: Any) -> Any:
            with self._clock.stage(CALLS[name]):
                return value(*arguments, **named)

        return timed


def synchronize(device: torch.device) -> None:
    """Waits until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def count_flops(work: Callable[[], object]) -> int:
    """Floating point operations of matrix products, convolutions and attention (two for a multiply and add)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def matmul_rate(device: torch.device, dtype: torch.dtype, *, seconds: float | None = None) -> float:
    """Operations per second of a product of large square matrices: what is attainable."""
    side = RATE_SIDE.get(device.type, RATE_SIDE["cpu"])
    left = torch.randn(side, side, device=device).to(dtype)
    right = torch.randn(side, side, device=device).to(dtype)
    best, until = 0.0, None
    with torch.inference_mode():
        left @ right
        while until is None or time.perf_counter() < until:
            synchronize(device)
            started = time.perf_counter()
            until = until or started + (RATE_SECONDS if seconds is None else seconds)
            left @ right
            synchronize(device)
            best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best


def gpu_busy_share(device: torch.device, work: Callable[[], object]) -> float | None:
    """Share of the time in which at least one kernel ran, by torch's profiler; None where there is no GPU."""
    if device.type != "cuda":
        return None
    from torch.autograd import DeviceType  # type: ignore[attr-defined]
    from torch.profiler import ProfilerActivity, profile

    synchronize(device)
    # starting the profiler takes a second the first time, collecting what it saw several: neither is part of the work
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        work()
        synchronize(device)
        elapsed = time.perf_counter() - started
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    ]
    return min(1.0, covered(spans) / 1e6 / elapsed)


def covered(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    4.0
    """
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        if stop > end:
            total += stop - max(start, end)
            end = stop
    return total


def peak_memory(device: torch.device) -> int:
    """Most bytes of a GPU in use since `reset_peak`; without one, the most this process was resident with."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size << 10


def reset_peak(device: torch.device) -> None:
    """Forgets the peak of a GPU; that of a process cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
