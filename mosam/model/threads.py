"""How many threads of the host a network should use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone

SMALL_GRID = 16  # side of the feature grid up to which a second thread costs more than it brings


@contextlib.contextmanager
def suitable_threads(model: Backbone) -> Iterator[None]:
    """One torch thread beside a GPU and for a small network on the CPU; as it was afterwards.

    The layers of a small network take microseconds: two threads wait for each other, and on a busy machine they nearly
    stand still (nano on two busy cores: 21 ms a frame with one thread, 44 to 52 ms with two). Beside a GPU the
    host only copies frames, and threads spin for a while after each copy (on an H100's host with 16 of them one lane at
    36 frames per second kept 6.5 cores busy). `OMP_NUM_THREADS` wins.
    """
    gpu = model.device.type != "cpu"
    if "OMP_NUM_THREADS" in os.environ or not (gpu or model.sizes.grid <= SMALL_GRID):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_threads(count: int | None) -> None:
    """So many torch threads in this process from now on; None = as they are."""
    if count is not None:
        import torch

        torch.set_num_threads(count)
