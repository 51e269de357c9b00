"""How much fits on a device: free memory, lanes that fit into it, and how running out of it looks."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.errors import MosamError
from mosam.policies.base import TrackInfo

if TYPE_CHECKING:
    import torch

    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy

CPU_TOKEN_ROWS = 8192  # memory attention's rows * tokens in one CPU call; more only costs cache
GPU_TOKEN_ROWS = 65536  # 16 rows of 64x64 tokens
MAX_CPU_LANES = 16  # nano gains nothing beyond
MAX_GPU_LANES = 64  # each lane has a thread that reads
USABLE = 0.8  # share of the free memory that lanes may take; the rest is for fragments and neighbors
VIDEO_BYTES = 1920 * 1080  # pixels of a large video frame, for what depends on it
HOST_FRAMES = 8  # frames that wait in a reader, are tracked or are being written
CALM_CALLS = 32  # calls without running out of memory until a lowered limit of rows is doubled
MAX_CALM_CALLS = 5000
PLANES = 6  # copies of a mask at video size, in fp32, while it is made

# What running out of memory is called: torch's classes, its CPU allocator's message, the library's status codes.
_OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the host ran out of memory.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(ValueError("x"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _OUT_OF_MEMORY_WORDS)


def release_memory(device: torch.device) -> None:
    """Gives back what the allocator keeps, after the last reference to it is gone."""
    gc.collect()
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
    elif device.type == "mps":
        import torch

        torch.mps.empty_cache()


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; of the host, what can be used without swapping, within the container's limit."""
    if device.type == "cuda":
        import torch

        index = torch.cuda.current_device() if device.index is None else device.index  # not every call takes "cuda"
        free, total = torch.cuda.mem_get_info(index)
        share = torch.cuda.get_per_process_memory_fraction(index)  # of the card that this process may take
        return max(0, min(int(free), int(share * total) - int(torch.cuda.memory_reserved(index))))
    return _free_host_memory()


def _free_host_memory() -> int:
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) << 10)  # it says kB and means KiB
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file():
        text = limit.read_text(encoding="ascii").strip()
        if text.isdigit():
            found.append(max(0, int(text) - int(used.read_text(encoding="ascii"))))
    if not found:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return min(found)


class RowLimit:
    """Rows of one call: halved when a call runs out of memory, doubled again after a while without.

    A neighbor's peak on a shared card therefore does not slow down the rest of a run. Each further halving doubles the
    number of calls to wait, so that a limit that is real is seldom tried.

    Args:
        most: rows of a call while memory lasts.

    Attributes:
        rows: of the next call.
    """

    def __init__(self, most: int):
        self.most, self.rows = most, most
        self._wait, self._calm = CALM_CALLS, 0

    def exceeded(self, rows: int) -> None:
        """A call of `rows` ran out of memory."""
        self.rows, self._calm = max(1, rows // 2), 0
        self._wait = min(2 * self._wait, MAX_CALM_CALLS)

    def worked(self) -> None:
        """A call succeeded."""
        if self.rows < self.most:
            self._calm += 1
            if self._calm >= self._wait:
                self.rows, self._calm = min(self.most, 2 * self.rows), 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many rows a device takes.

    Attributes:
        fits: rows that fit into its free memory, 0 where not one does.
        useful: rows beyond which it only gets fuller, not faster.
    """

    fits: int
    useful: int

    @property
    def lanes(self) -> int:
        """What `--lanes auto` means."""
        return max(1, min(self.fits, self.useful))


def measure_capacity(model: Backbone, policy: MemoryPolicy, *, free: int | None = None) -> Capacity:
    """How many rows of a tracker a device takes.

    What grows with the rows is counted: stored memories, features of a frame, candidates, and masks at video size (a
    large video is assumed). Attention and the encoder work in chunks (`max_rows`), whose cost is the same for any
    number of rows.

    Args:
        model: the network, on its device.
        policy: the tracker.
        free: bytes that are free; None = asked of the device.
    """
    free = free_memory(model.device) if free is None else free
    on_cpu = model.device.type == "cpu"
    chunk = max_rows(model)
    fits = int((USABLE * free - chunk * chunk_bytes(model)) // row_bytes(model, policy))
    useful = min(2 * chunk, MAX_GPU_LANES)
    if on_cpu:  # a large network is bound by its arithmetic, and gains nothing from company
        useful = MAX_CPU_LANES if chunk >= MAX_CPU_LANES else 1
    return Capacity(max(0, fits), max(1, useful))


def max_rows(model: Backbone) -> int:
    """Rows of one memory-attention call."""
    budget = CPU_TOKEN_ROWS if model.device.type == "cpu" else GPU_TOKEN_ROWS
    return max(1, budget // model.sizes.grid**2)


def row_bytes(model: Backbone, policy: MemoryPolicy) -> int:
    """Bytes that one row more costs, whatever the chunks."""
    sizes = model.sizes
    track = TrackInfo(1, 0, None, (1, 1), sizes.slots, sizes.pointers, model.name)
    entries = -(-policy.live_features(track) // policy.hypotheses)
    stored = 2 * 2 * entries * sizes.tokens * sizes.memory  # 16 bits; a pool doubles when it grows
    if policy.keeps_views:
        stored += 2 * entries * sizes.grid**2 * (sizes.width * model.dtype.itemsize + 1)
    features = sizes.width * sizes.grid**2 * 4 + 2 * (sizes.width // 8) * sizes.mask**2 * 4
    candidates = 3 * sizes.candidates * sizes.mask**2 * 4
    video = VIDEO_BYTES * (4 * PLANES + (3 * HOST_FRAMES if model.device.type == "cpu" else 0))
    return stored + features + candidates + video


def chunk_bytes(model: Backbone) -> int:
    """Bytes that one row of a chunk needs while it is computed: keys, values, projections, the widest layers."""
    sizes = model.sizes
    keys = sizes.slots * sizes.tokens * (2 * sizes.memory + 3 * sizes.width) * 4
    encoder = 24 * sizes.image**2 * 4
    return keys + encoder + 2 * sizes.candidates * sizes.image**2 * 4


def choose_lanes(asked: int | str, capacity: Capacity) -> tuple[int, str | None]:
    """Rows of a batch.

    Args:
        asked: a number, or `auto`.
        capacity: of the device.
    Returns:
        the rows, and a line to tell where they are not what was asked for.
    Raises:
        MosamError: neither a number from 1 on nor `auto`.
    """
    if asked == "auto":
        return capacity.lanes, None
    lanes = parse_lanes(asked)
    assert isinstance(lanes, int)
    most = max(1, capacity.fits)
    if lanes <= most:
        return lanes, None
    return most, f"--lanes {lanes}: about {most} fit into the memory that is free, so many are used"


def parse_lanes(text: int | str | None) -> int | str | None:
    """`auto` or a number from 1 on; None stays None (the device's usual).

    >>> parse_lanes("8"), parse_lanes("auto")
    (8, 'auto')
    """
    if text is None or text == "auto":
        return text
    try:
        lanes = int(text)
    except ValueError:
        lanes = 0
    if lanes < 1:
        raise MosamError(f"--lanes: expected a number of at least 1 or auto, got {text!r}")
    return lanes
