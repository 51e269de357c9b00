"""CUDA graphs of a network's calls: what a step launches kernel by kernel, replayed with one launch.

With one video and one object a step of SAM 2.1 large is about a thousand kernels, and the host needs longer to launch
them than the GPU to run them. A graph is made for a shape of inputs once that shape has come often enough, is compared
with the plain call bit by bit, and is used only where it is right and no slower: measured, not assumed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mosam.errors import one_line
from mosam.model.streams import own_stream

OFTEN = 6  # calls of one shape before its graph is worth making
MOST = 24  # shapes of one call that a graph is recorded for; others stay plain
TRIALS = 3  # timings of each way, of which the best counts
SLOWER = 1.02  # a graph may take so many times the plain call's time: it also leaves the host free
FREE_SHARE = 0.4  # of the device's memory that must be free, as a graph keeps the memory it works in

Work = Callable[..., tuple[Tensor, ...]]

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Makes a graph; CUDA's, or a stand-in of a test."""

    def has_room(self) -> bool:
        """Whether there is memory for another graph."""

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        """What replays the work, and the tensors that a replay fills."""

    def wait(self) -> None:
        """Until all that was asked for is done."""

    def close(self) -> None:
        """Gives all graphs and their memory back; none is replayed again."""


class CudaRecorder:
    """Records CUDA graphs on a stream of its own, in one memory pool; their replays must not overlap.

    A graph lives as long as the recorder, also one that is not used: torch gives the workspace of a stream's matrix
    products back with the first graph of that stream that goes, while the others still compute in it.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def has_room(self) -> bool:
        """See `Recorder`."""
        free, total = torch.cuda.mem_get_info(self._device)
        return free > FREE_SHARE * total

    def record(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        """See `Recorder`."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        self._stream = self._stream or own_stream(self, self._device)
        if self._stream is None:
            raise RuntimeError("all streams of the device are in use")
        graph = torch.cuda.CUDAGraph()
        self._graphs.append(graph)
        # only this thread is watched: readers may pin memory meanwhile
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream(self._device)),  # is back also where the recording fails
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            outputs = work()
        return graph.replay, outputs

    def wait(self) -> None:
        """See `Recorder`."""
        torch.cuda.synchronize(self._device)

    def close(self) -> None:
        """See `Recorder`."""
        self._graphs.clear()
        self._pool = None


@dataclass(slots=True, eq=False)
class _Graph:
    inputs: list[Tensor | None]
    replay: Callable[[], None]
    outputs: tuple[Tensor, ...]


class Graphed:
    """A function of tensors that is replayed as a graph where that is right and no slower.

    Args:
        work: takes tensors or None, gives tensors; pure, without a wait for the device.
        recorder: makes graphs; several calls may share one if they never run at the same time.
        name: for the log.

    Attributes:
        made: graphs in use.
    """

    def __init__(self, work: Work, recorder: Recorder, *, name: str):
        self._work, self._recorder, self._name = work, recorder, name
        self._seen: dict[Any, int] = {}
        self._graphs: dict[Any, _Graph] = {}
        self._tried = 0
        self._off = False

    @property
    def made(self) -> int:
        """Graphs in use."""
        return len(self._graphs)

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """As the function; the outputs are the caller's own."""
        if self._off or not torch.is_inference_mode_enabled():
            return self._work(*inputs)
        key = tuple(None if x is None else (x.shape, x.stride(), x.dtype) for x in inputs)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._try(key, inputs)
        if graph is None:
            return self._work(*inputs)
        _fill(graph, inputs)
        graph.replay()
        return tuple(output.clone() for output in graph.outputs)

    def forget(self) -> None:
        """Replays no more; the graphs' memory is the recorder's."""
        self._graphs.clear()
        self._off = True

    def _try(self, key: Any, inputs: Sequence[Tensor | None]) -> _Graph | None:
        """A graph of this shape, if its time has come and it proves good."""
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen != OFTEN or self._tried >= MOST or not self._recorder.has_room():
            return None
        self._tried += 1
        try:
            graph = self._record(inputs)
        except Exception as error:  # a driver that cannot, no memory: the plain call stays
            _log.warning("%s: no CUDA graph is used (%s)", self._name, one_line(error))
            self.forget()
            return None
        if graph is not None:
            self._graphs[key] = graph
        return graph

    def _record(self, inputs: Sequence[Tensor | None]) -> _Graph | None:
        own = [None if x is None else _like(x) for x in inputs]
        expected, plain = self._timed(lambda: self._work(*own))
        replay, outputs = self._recorder.record(lambda: self._work(*own))
        graph = _Graph(own, replay, outputs)
        for output in outputs:
            output.zero_()  # so that a replay that fills nothing is seen

        def again() -> tuple[Tensor, ...]:
            replay()
            return outputs

        _, replayed = self._timed(again)
        if not all(torch.equal(a, b) for a, b in zip(expected, outputs, strict=True)):
            _log.warning("%s: a CUDA graph gave other numbers and is not used", self._name)
            return None
        return graph if replayed <= SLOWER * plain else None

    def _timed(self, work: Callable[[], tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], float]:
        """The result, and the least of some times in seconds."""
        best = float("inf")
        for _ in range(TRIALS):
            self._recorder.wait()
            started = time.perf_counter()
            made = work()
            self._recorder.wait()
            best = min(best, time.perf_counter() - started)
        return made, best


def _like(x: Tensor) -> Tensor:
    """A tensor of its own with the same content and strides, which decide over kernels."""
    own = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    return own.copy_(x)


def _fill(graph: _Graph, inputs: Sequence[Tensor | None]) -> None:
    for own, given in zip(graph.inputs, inputs, strict=True):
        if own is not None and given is not None:
            own.copy_(given)


def graphs_wanted() -> bool:
    """Whether CUDA graphs are used: where `MOSAM_GRAPHS` is 1.

    Not by themselves yet: a run hung with them on an H200, and what has been mended since (`mosam.model.streams`) has
    not run on a GPU (docs/benchmarks.md).
    """
    return os.environ.get("MOSAM_GRAPHS") == "1"
