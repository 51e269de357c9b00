"""What rows attend to: stored memories and pointers gathered from the bank, and the bias of the pixel filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosam.engine.memory_bank import MemoryBank
from mosam.engine.transfer import upload
from mosam.model.backbone import Backbone, MemoryRead
from mosam.policies.base import PixelFilter, ReadPlan

RELIABILITY_FLOOR = 0.05  # MoSAM's pixel filter: smallest weight of a token, ln(0.05) = -3
DROP_LIMIT = 0.6  # a slot that would lose more of its tokens than this is weighted instead of cut


class MemoryReader:
    """Gathers the memories of a batch of rows.

    Args:
        model: the network, for its sizes.
        bank: where memories are stored.
    """

    def __init__(self, model: Backbone, bank: MemoryBank):
        self._model, self._bank = model, bank

    def read(self, plans: Sequence[ReadPlan], frame_rows: Sequence[int]) -> tuple[Tensor, MemoryRead]:
        """What a batch of rows attends to.

        Args:
            plans: what each row reads, equally many slots and pointers.
            frame_rows: row of the frame batch of each.
        Returns:
            the frame rows on the device, which went up together with the rest, and the memories.
        """
        frames, slots, temporal, slot_scale, pointers, positions, pointer_scale = upload(
            self._model.device, np.asarray(frame_rows, dtype=np.int64), *_slot_arrays(plans), *_pointer_arrays(plans)
        )
        return frames, MemoryRead(
            memory=self._bank.features.gather(slots),
            temporal=temporal,
            pointers=self._bank.pointers.gather(pointers).reshape(*pointers.shape, self._model.sizes.width),
            positions=positions,
            slot_scale=slot_scale,
            pointer_scale=pointer_scale,
            bias=self.bias(plans),
        )

    def bias(self, plans: Sequence[ReadPlan]) -> Tensor | None:
        """(R, keys) additive bias of the pixel filter on filtered slots; None where nothing is filtered."""
        if not any(p.pixel_filter is not None and any(s.filtered for s in p.slots) for p in plans):
            return None
        device, rows = self._model.device, len(plans)
        bias = torch.zeros(rows, len(plans[0].slots), self._model.sizes.tokens, device=device)
        rules = _filtered_slots(plans)
        indices = [np.asarray([*zip(*places, strict=True), stored], dtype=np.int64) for _, places, stored in rules]
        for (rule, _, _), index in zip(rules, upload(device, *indices) if indices else (), strict=True):
            bias[index[0], index[1]] = _filter_bias(self._bank.reliability.gather(index[2]), rule)
        free = torch.zeros(rows, len(plans[0].pointers) * self._model.tokens_per_pointer, device=device)
        return torch.cat([bias.flatten(1), free], dim=1)


def _slot_arrays(plans: Sequence[ReadPlan]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32] | None]:
    """(R, S) rows of the bank, temporal indices, and scales of the keys (None where all are 1)."""
    rows = [[_stored(slot.entry.feature_row) for slot in plan.slots] for plan in plans]
    temporal = [[slot.temporal for slot in plan.slots] for plan in plans]
    scale = [[slot.key_scale for slot in plan.slots] for plan in plans]
    return np.array(rows, dtype=np.int64), np.array(temporal, dtype=np.int64), _unless_one(scale)


def _pointer_arrays(
    plans: Sequence[ReadPlan],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None]:
    """(R, P) rows of the bank, normalized positions, and scales of the keys (None where all are 1)."""
    rows = [[_stored(pointer.entry.pointer_row) for pointer in plan.pointers] for plan in plans]
    positions = np.array([[pointer.position for pointer in plan.pointers] for plan in plans], dtype=np.float32)
    norms = np.array([[max(plan.span - 1, 1)] for plan in plans], dtype=np.float32)
    scale = [[pointer.key_scale for pointer in plan.pointers] for plan in plans]
    return np.array(rows, dtype=np.int64), positions / norms, _unless_one(scale)


def _unless_one(scale: list[list[float]]) -> NDArray[np.float32] | None:
    array = np.array(scale, dtype=np.float32)
    return None if (array == 1).all() else array


def _stored(row: int | None) -> int:
    """The row of an entry that a plan reads; a policy must not read what it gave back."""
    assert row is not None, "a plan reads an entry whose memory is not stored"
    return row


def _filtered_slots(plans: Sequence[ReadPlan]) -> list[tuple[PixelFilter, list[tuple[int, int]], list[int]]]:
    """For each rule in use: (row, slot) of the slots it filters, and the rows their reliability is stored in."""
    found: dict[PixelFilter, tuple[list[tuple[int, int]], list[int]]] = {}
    for i, plan in enumerate(plans):
        for j, slot in enumerate(plan.slots if plan.pixel_filter is not None else ()):
            if slot.filtered and slot.entry.reliability_row is not None:
                assert plan.pixel_filter is not None
                places, stored = found.setdefault(plan.pixel_filter, ([], []))
                places.append((i, j))
                stored.append(slot.entry.reliability_row)
    return [(rule, places, stored) for rule, (places, stored) in found.items()]


def _filter_bias(stored: Tensor, rule: PixelFilter) -> Tensor:
    """(N, tokens) bias of MoSAM's pixel filter from the stored reliability of N slots (255 = protected)."""
    c = torch.arange(256, device=stored.device) / 254  # every value a stored byte can stand for
    low = (c < rule.tau) & (c <= 1)
    level = stored.int()
    soft = torch.where(low, torch.log(c.clamp(min=RELIABILITY_FLOOR)), 0.0)[level]
    if rule.mode == "bias":
        return soft
    weak = low[level]
    many = weak.float().mean(dim=1, keepdim=True) > DROP_LIMIT
    return torch.where(many, soft, torch.where(weak, -torch.inf, 0.0))
