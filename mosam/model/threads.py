"""How many threads a network should use on a processor."""

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
    """One torch thread for a small network on a processor, unless the environment says how many; as it was afterwards.

    The layers of a small network take microseconds: two threads wait for each other, and on a busy machine they nearly
    stand still (nano on two busy cores: 21 ms a frame with one thread, 44 to 52 ms with two).
    """
    import torch

    if model.device.type != "cpu" or model.sizes.grid > SMALL_GRID or "OMP_NUM_THREADS" in os.environ:
        yield
        return
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
