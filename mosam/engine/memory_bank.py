"""Stored memories: preallocated rows, a free list, and a count of who still reads each row.

Nothing is kept per frame but the rows a policy can still read, so the size of the bank does not depend on the length of
the video. Rows are handed out as integers; `Entry.feature_row` and `Entry.pointer_row` hold them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mosam.engine.transfer import upload_index
from mosam.policies.base import Entry


class RowPool:
    """One tensor of equal rows with reference counts; doubles when it runs out.

    Args:
        shape: of one row.
        dtype: of the stored rows.
        device: where they live.
        capacity: rows allocated at first.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, capacity: int):
        self.rows = torch.zeros((capacity, *shape), dtype=dtype, device=device)
        self._counts = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))

    def __len__(self) -> int:
        """Rows in use."""
        return len(self._counts) - len(self._free)

    @property
    def capacity(self) -> int:
        """Rows allocated."""
        return len(self._counts)

    def allocate(self, count: int) -> list[int]:
        """`count` free rows, each held once."""
        while len(self._free) < count:
            self._grow()
        taken = [self._free.pop() for _ in range(count)]
        for row in taken:
            self._counts[row] = 1
        return taken

    def write(self, rows: Sequence[int] | Tensor, values: Tensor) -> None:
        """Store `values` (one per row), rounded to the pool's type; rows may be on the device already."""
        if not isinstance(rows, Tensor):
            if not rows:
                return
            rows = upload_index(self.rows.device, rows)
        self.rows[rows] = values.to(self.rows.dtype)

    def gather(self, rows: Tensor) -> Tensor:
        """Rows by an integer tensor of any shape -> that shape + row shape."""
        return self.rows[rows]

    def hold(self, row: int) -> None:
        """One more reader."""
        assert self._counts[row] > 0, "a freed row was held again"
        self._counts[row] += 1

    def drop(self, row: int) -> None:
        """One reader less; the last one frees the row."""
        assert self._counts[row] > 0, "a row was freed twice"
        self._counts[row] -= 1
        if self._counts[row] == 0:
            self._free.append(row)

    def _grow(self) -> None:
        old = self.capacity
        self.rows = torch.cat([self.rows, torch.zeros_like(self.rows)])
        self._counts += [0] * old
        self._free += range(2 * old - 1, old - 1, -1)


class MemoryBank:
    """Memory features and object pointers of every track of an engine.

    Args:
        tokens: tokens of one memory.
        memory: channels of a memory token.
        width: channels of an object pointer.
        device: where they live.
        capacity: memories allocated at first; pointers are small, four times as many.
        views: (width, grid, grid) of a frame's features and their type, where memories keep them; entries of one frame
            may share one.
    """

    def __init__(
        self,
        *,
        tokens: int,
        memory: int,
        width: int,
        device: torch.device,
        capacity: int,
        views: tuple[tuple[int, int, int], torch.dtype] | None = None,
    ):
        self.features = RowPool((tokens, memory), torch.bfloat16, device, capacity)
        self.pointers = RowPool((width,), torch.float32, device, 4 * capacity)
        self.reliability = RowPool((tokens,), torch.uint8, device, max(1, capacity))
        shape, dtype = views or ((1, 1, 1), torch.float32)
        self.views = RowPool(shape, dtype, device, capacity if views else 1)
        self.cells = RowPool(shape[1:], torch.bool, device, capacity if views else 1)

    def hold(self, features: Iterable[Entry], pointers: Iterable[Entry]) -> None:
        """A hypothesis will read these entries."""
        for entry in features:
            assert entry.feature_row is not None, f"the memory of frame {entry.frame} was never stored"
            self.features.hold(entry.feature_row)
            for pool, row in self._beside(entry):
                pool.hold(row)
        for entry in pointers:
            assert entry.pointer_row is not None, f"the pointer of frame {entry.frame} was never stored"
            self.pointers.hold(entry.pointer_row)

    def drop(self, features: Iterable[Entry], pointers: Iterable[Entry]) -> None:
        """A hypothesis is done with these entries; rows nobody reads are free again."""
        for entry in features:
            assert entry.feature_row is not None
            self.features.drop(entry.feature_row)
            for pool, row in self._beside(entry):
                pool.drop(row)
        for entry in pointers:
            assert entry.pointer_row is not None
            self.pointers.drop(entry.pointer_row)

    def _beside(self, entry: Entry) -> list[tuple[RowPool, int]]:
        """What is kept with a memory, where it is."""
        rows = (
            (self.reliability, entry.reliability_row),
            (self.views, entry.view_row),
            (self.cells, entry.cells_row),
        )
        return [(pool, row) for pool, row in rows if row is not None]
